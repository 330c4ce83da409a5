"""Training, top to bottom: read the data, build the network, go on or begin, and loop over epochs and steps.

A run's folder holds `recipe.yaml`, `last.safetensors` (from which `resume` goes on, on the CPU to the last digit),
`best.safetensors`, `log.csv`, `scores.csv` and `tensorboard/`. Under torchrun every process takes its part of every
batch, and the first one writes the files.
"""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset

from pipeline.yaml_file import ConfigError
from reid_train.config import Recipe, changed_keys, recipe_yaml
from reid_train.data.build import load_split
from reid_train.data.loading import ClipDataset, TrainItem, train_loader
from reid_train.data.samplers import ClipBatches
from reid_train.data.tracklet import ReidSplit
from reid_train.discriminant import fit_discriminant
from reid_train.distributed import RankPart, World, any_of, gather_fixed, joined_world
from reid_train.memory import keep_freed_memory
from reid_train.progress import StepReport
from reid_train.run_log import RunLog
from reid_train.state import CheckpointError, load_checkpoint, save_checkpoint
from reid_train.trainer import Trainer, TrainingError, machine
from reid_train.views import ViewClips, frozen_views, log_progress

log = logging.getLogger(__name__)

LAST, BEST = "last.safetensors", "best.safetensors"

__all__ = ["TrainingError", "TrainingSummary", "train"]


@dataclass(frozen=True, slots=True)
class TrainingSummary:
    """How a run ended: `loss` is the mean of the last epoch, `best_score` in percent of `best_by`, None unscored."""

    folder: Path
    epochs_done: int
    steps: int
    loss: float
    best_by: str
    best_score: float | None
    best_epoch: int
    interrupted: bool


def train(
    recipe: Recipe,
    output: Path,
    *,
    resume: bool = False,
    device: str | None = None,
    show: Callable[[StepReport], None] = lambda report: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> TrainingSummary:
    """Train as the recipe says, in the folder `output`.

    `resume` goes on from the folder's last checkpoint, if it has one. `should_stop` is asked after every step; a run
    that is stopped writes its checkpoint first. Raises ConfigError, DataSetError, ImageError, CheckpointError, and
    TrainingError where the loss is not finite (the last checkpoint stays).
    """
    with joined_world(device) as world, _repeatable(recipe, world):
        if world.device.type == "cpu":
            keep_freed_memory()
        split = _load_data(recipe)
        batches = ClipBatches([t.pid for t in split.train], recipe.data.sampler, recipe.training.seed)
        trainer = Trainer(recipe, split, world)
        _begin_or_resume(trainer, output, resume)
        at = trainer.position
        views = _views(trainer, split)
        loader = _loader(trainer, split, batches, views)
        log.info("%s: %d people, %d batches an epoch", split.name, split.num_pids, batches.num_batches)
        with _run_log(trainer, output) as curves:
            mean_loss, interrupted = float("nan"), False
            while at.epoch < recipe.training.epochs and not interrupted:
                batches.set_epoch(at.epoch, at.batch)
                mean_loss, interrupted = _epoch(trainer, loader, batches.num_batches, curves, output, show, should_stop)
                if interrupted:
                    break
                at.epoch, at.batch = at.epoch + 1, 0
                if _is_scored(recipe, split, at.epoch):
                    _score(trainer, split, curves, output)
                _save(trainer, output)
                interrupted = at.epoch < recipe.training.epochs and any_of(should_stop(), world)
            if not recipe.training.epochs:
                _save(trainer, output)
        return TrainingSummary(
            output, at.epoch, at.step, mean_loss, recipe.training.best_by, at.best_score, at.best_epoch, interrupted
        )


def _epoch(
    trainer: Trainer,
    loader: DataLoader[TrainItem],
    num_batches: int,
    curves: RunLog | None,
    output: Path,
    show: Callable[[StepReport], None],
    should_stop: Callable[[], bool],
) -> tuple[float, bool]:
    """The rest of an epoch. -> mean loss of its steps, and whether the run is to stop in the middle of it."""
    recipe, world, at = trainer.recipe, trainer.world, trainer.position
    training = recipe.training
    losses: list[float] = []
    stream, begun_s, num_clips = iter(loader), time.perf_counter(), 0
    while group := list(islice(stream, training.accumulate)):
        time_in_epochs = at.epoch + at.batch / num_batches
        try:
            values = trainer.step(group, time_in_epochs)
        except TrainingError as error:
            raise TrainingError(f"{error}. {_last_good(output)}") from None
        at.batch += len(group)
        num_clips += world.size * sum(len(pids) for _, pids, _ in group)
        clips_per_s = num_clips / (time.perf_counter() - begun_s)
        if values is None:
            log.info("step %d skipped: one person only", at.step)
        else:
            losses.append(values["loss"])
            if curves:
                curves.step(at.step, at.epoch + 1, values)
                curves.speed(at.step, clips_per_s)
            show(
                StepReport(
                    step=at.step,
                    epoch=at.epoch + 1,
                    num_epochs=training.epochs,
                    batch=at.batch,
                    num_batches=num_batches,
                    loss=_mean(losses),
                    lr=values["lr"],
                    clips_per_s=clips_per_s,
                )
            )
        stopping = any_of(should_stop(), world)
        due = training.checkpoint_steps and at.step % training.checkpoint_steps == 0
        if stopping or (due and at.batch < num_batches):
            _save(trainer, output)
        if stopping:
            return _mean(losses), True
    return _mean(losses), False


def _load_data(recipe: Recipe) -> ReidSplit:
    data = recipe.data
    if data.root is None:
        raise ConfigError(f"data.root: is missing; say where {data.name} lies with --root FOLDER")
    split = load_split(data.name, Path(data.root), **data.options)
    if split.num_pids < 2:
        raise ConfigError(f"data: {split.name} has {split.num_pids} people to train on; a network needs at least 2")
    return split


def _views(trainer: Trainer, split: ReidSplit) -> npt.NDArray[np.float16] | None:
    """What a frozen backbone sees, where the recipe asks for it; a run that begins may begin with its discriminant."""
    recipe = trainer.recipe
    if recipe.training.discriminant is not None and not recipe.data.views:
        raise ConfigError("training.discriminant: is made of what a frozen backbone sees; say data.views, 2 or more")
    if not recipe.data.views:
        return None
    views = frozen_views(trainer.model, split, recipe, show=log_progress())
    if recipe.training.discriminant is not None and trainer.position.step == 0:
        pids = np.repeat([t.pid for t in split.train], [len(t) for t in split.train])
        shrinkage, power = recipe.training.discriminant, recipe.training.discriminant_power
        fit_discriminant(trainer.model, views, pids.astype(np.int64), shrinkage, power)
    return views


def _loader(
    trainer: Trainer, split: ReidSplit, batches: ClipBatches, views: npt.NDArray[np.float16] | None
) -> DataLoader[TrainItem]:
    recipe, world = trainer.recipe, trainer.world
    data = recipe.data
    clips: Dataset[TrainItem]
    if views is not None:
        clips = ViewClips(split, recipe, views)
    else:
        clips = ClipDataset(
            split.train,
            recipe.transform,
            data.clip_length,
            rule=data.rule,
            seed=recipe.training.seed,
            cache_bytes=data.cache_mb * 1_000_000,
        )
    pinned = world.device.type == "cuda"
    loader = train_loader(clips, RankPart(batches, world), workers=data.workers, pin_memory=pinned)
    loader.worker_init_fn = _leave_signals
    return loader


def _leave_signals(worker: int) -> None:
    """Ctrl-C reaches all processes of a terminal; a reading one goes on until the loop has written its checkpoint."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _begin_or_resume(trainer: Trainer, output: Path, resume: bool) -> None:
    """Load the folder's last checkpoint, or begin a run in it."""
    last = output / LAST
    if last.exists() and not resume:
        raise ConfigError(f"{output}: holds a run already; go on with --resume or choose another --output")
    if last.exists():
        checkpoint = load_checkpoint(last)
        trainer.restore(checkpoint, last)
        before = Recipe.model_validate(checkpoint.about["recipe"])
        if changed := changed_keys(before, trainer.recipe):
            log.warning("the recipe is not that of the checkpoint; new values from here on: %s", ", ".join(changed))
        then, now = checkpoint.about["machine"], machine(trainer.world)
        if then != now:
            log.warning("%s now, %s before: the run goes on, but not to the last digit", _words(now), _words(then))
        log.info("%s: going on after step %d", last, trainer.position.step)
    elif resume:
        log.warning("%s: no %s to go on from, beginning", output, LAST)
    if trainer.world.is_first:
        output.mkdir(parents=True, exist_ok=True)
        (output / "recipe.yaml").write_text(recipe_yaml(trainer.recipe), encoding="utf-8")


def _run_log(trainer: Trainer, output: Path) -> RunLog | nullcontext[None]:
    if not trainer.world.is_first:
        return nullcontext()
    return RunLog(output, kept_step=trainer.position.step, tensorboard=trainer.recipe.training.tensorboard)


def _is_scored(recipe: Recipe, split: ReidSplit, epochs_done: int) -> bool:
    every = recipe.training.evaluate_epochs
    if not every or not split.query:
        return False
    return epochs_done % every == 0 or epochs_done == recipe.training.epochs


def _score(trainer: Trainer, split: ReidSplit, curves: RunLog | None, output: Path) -> None:
    """Score the test set on the first process, and keep the weights if they are the best so far."""
    at, training = trainer.position, trainer.recipe.training
    score = float("-inf")
    with trainer.averaged():
        if trainer.world.is_first:
            figures = scores_of(trainer, split)
            log.info("epoch %d: %s", at.epoch, ", ".join(f"{name} {value:.1f}" for name, value in figures.items()))
            if curves:
                curves.scores(at.step, at.epoch, figures)
            score = figures[training.best_by]
            if at.best_score is None or score > at.best_score:
                save_checkpoint(output / BEST, trainer.weights({"epoch": at.epoch, **figures}))
    score = gather_fixed(torch.tensor([score], dtype=torch.float64), trainer.world)[0].item()
    if at.best_score is None or score > at.best_score:
        at.best_score, at.best_epoch = score, at.epoch


def scores_of(trainer: Trainer, split: ReidSplit) -> dict[str, float]:
    """mAP and Rank-1 (percent) of the network as it is now, under the recipe's test protocol."""
    from reid_train.evaluate import quick_scores  # which only a run that scores needs

    return quick_scores(trainer.model, split, trainer.recipe, workers=trainer.recipe.data.workers)


def _save(trainer: Trainer, output: Path) -> None:
    checkpoint = trainer.checkpoint()
    if trainer.world.is_first:
        save_checkpoint(output / LAST, checkpoint)


def _last_good(output: Path) -> str:
    try:
        step = load_checkpoint(output / LAST, training=False).about["step"]
    except CheckpointError:
        return "No checkpoint was written before"
    return f"The state after step {step} stays in {output / LAST}; --resume with other settings goes on from there"


def _words(machine: Mapping[str, Any]) -> str:
    return "{processes} processes of {threads} threads on {device}".format(**machine)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else float("nan")


@contextmanager
def _repeatable(recipe: Recipe, world: World) -> Iterator[None]:
    """Deterministic kernels on the CPU, and elsewhere if the recipe asks for them; all as before at the end."""
    wanted = recipe.training.deterministic or world.device.type == "cpu"
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    fills = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    torch.use_deterministic_algorithms(wanted, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = not wanted
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.utils.deterministic.fill_uninitialized_memory = fills  # type: ignore[attr-defined]
