"""The loop on a tiny network: it learns, repeats, resumes to the last digit, and says why it stops."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import reid_train.train as loop
from pipeline.yaml_file import ConfigError
from reid_train.config import Recipe, recipe_yaml
from reid_train.data.config import SamplerConfig
from reid_train.data.samplers import ClipBatches
from reid_train.data.tracklet import ReidSplit
from reid_train.distributed import RankPart, World
from reid_train.models import MODELS
from reid_train.progress import StepReport
from reid_train.state import CheckpointError, load_checkpoint, load_model
from reid_train.train import TrainingError, train
from reid_train.trainer import Trainer
from tests.reid_train.tiny import Tiny, tiny_recipe, write_people

ROOT = Path(__file__).parents[2]
CPU = World(0, 1, torch.device("cpu"))


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_people(tmp_path_factory.mktemp("data") / "people")


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(MODELS, "tiny", Tiny)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def run(recipe: Recipe, output: Path, **options: Any) -> loop.TrainingSummary:
    return train(recipe, output, device="cpu", **options)


def curve(output: Path) -> str:
    return (output / "log.csv").read_text()


def losses(output: Path) -> list[float]:
    return [float(line.split(",")[2]) for line in curve(output).splitlines()[1:]]


class StopAfter:
    """Asks a run to stop when so many steps are done, as Ctrl-C does; `**StopAfter(3).watching`."""

    def __init__(self, num_steps: int) -> None:
        self._num_steps, self._step = num_steps, 0

    def _show(self, report: StepReport) -> None:
        self._step = report.step

    @property
    def watching(self) -> dict[str, Any]:
        return {"show": self._show, "should_stop": lambda: self._step >= self._num_steps}


# --- it learns, and leaves its files -----------------------------------------------------------------------------


def test_a_run_learns_and_leaves_its_files(people: Path, tmp_path: Path) -> None:
    reports: list[StepReport] = []
    recipe = tiny_recipe(people, model={"options": {"dropout": 0.0}}, training={"epochs": 25, "tensorboard": True})
    summary = run(recipe, tmp_path, show=reports.append)
    assert (summary.epochs_done, summary.steps, summary.interrupted) == (25, 75, False)
    first, last = losses(tmp_path)[:6], losses(tmp_path)[-6:]
    assert sum(last) < 0.6 * sum(first)
    assert {path.name for path in tmp_path.iterdir()} >= {"recipe.yaml", "last.safetensors", "last.json", "log.csv"}
    assert list((tmp_path / "tensorboard").iterdir())
    assert not list(tmp_path.glob("*.partial"))
    assert [(r.step, r.epoch, r.batch) for r in reports[:4]] == [(1, 1, 1), (2, 1, 2), (3, 1, 3), (4, 2, 1)]
    assert curve(tmp_path).startswith("step,epoch,loss,cross_entropy,triplet,lr,grad_norm\n1,1,")


def test_the_same_seed_gives_the_same_curve_whatever_the_workers(people: Path, tmp_path: Path) -> None:
    run(tiny_recipe(people), tmp_path / "a")
    with_workers = tiny_recipe(people)
    data = with_workers.data.model_copy(update={"workers": 2})
    run(with_workers.model_copy(update={"data": data}), tmp_path / "b")
    run(
        tiny_recipe(people, training={"epochs": 2, "evaluate_epochs": 0, "tensorboard": False, "seed": 2}),
        tmp_path / "c",
    )
    assert curve(tmp_path / "a") == curve(tmp_path / "b")
    assert curve(tmp_path / "a") != curve(tmp_path / "c")


# --- resume ------------------------------------------------------------------------------------------------------


EVERYTHING: dict[str, dict[str, Any]] = {
    "training": {"epochs": 4, "ema_decay": 0.9, "accumulate": 2, "clip_norm": 1.0, "checkpoint_steps": 3},
    "schedule": {"kind": "cosine", "warmup_epochs": 1, "per": "step"},
    "optimiser": {"lr_factors": {"backbone": 0.5}},
}


@pytest.mark.parametrize("num_steps", [1, 2, 5])
def test_a_stopped_run_goes_on_to_the_last_digit(people: Path, tmp_path: Path, num_steps: int) -> None:
    recipe = tiny_recipe(people, **EVERYTHING)
    run(recipe, tmp_path / "straight")
    summary = run(recipe, tmp_path / "stopped", **StopAfter(num_steps).watching)
    assert (summary.interrupted, summary.steps) == (True, num_steps)
    torch.rand(7)  # whatever else draws between the two runs
    resumed = run(recipe, tmp_path / "stopped", resume=True)
    assert not resumed.interrupted
    assert curve(tmp_path / "stopped") == curve(tmp_path / "straight")
    assert_same_state(tmp_path / "stopped", tmp_path / "straight")


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_last_digit(people: Path, tmp_path: Path) -> None:
    """A real process, SIGKILL in the middle of an epoch, between two checkpoints; another one resumes."""
    recipe = tiny_recipe(
        people,
        model={"options": {"slow_s": 0.2}},
        training={"epochs": 3, "checkpoint_steps": 2, "evaluate_epochs": 0, "tensorboard": False, "ema_decay": 0.9},
    )
    (tmp_path / "recipe.yaml").write_text(recipe_yaml(recipe))
    command = [sys.executable, "-m", "tests.reid_train.tiny", str(tmp_path / "recipe.yaml"), str(tmp_path / "killed")]
    with subprocess.Popen(command, cwd=ROOT) as process:
        wait_for(lambda: (tmp_path / "killed/log.csv").exists() and len(losses(tmp_path / "killed")) >= 5, process)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    checkpoint = load_checkpoint(tmp_path / "killed/last.safetensors")
    assert checkpoint.about["position"]["batch"] > 0, "it was killed in the middle of an epoch"
    assert checkpoint.about["step"] < len(losses(tmp_path / "killed")), "the last rows have to be computed again"
    subprocess.run([*command, "--resume"], cwd=ROOT, check=True, timeout=120)
    run(recipe, tmp_path / "straight")
    assert curve(tmp_path / "killed") == curve(tmp_path / "straight")
    assert_same_state(tmp_path / "killed", tmp_path / "straight")


def wait_for(done: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while not done():
        assert process.poll() is None, "the run ended by itself"
        assert time.monotonic() < deadline
        time.sleep(0.01)


def assert_same_state(one: Path, other: Path) -> None:
    a, b = (load_file(folder / "last.safetensors") for folder in (one, other))
    assert a.keys() == b.keys()
    for key in a:
        assert torch.equal(a[key], b[key]), key


def test_a_run_that_is_stopped_while_it_scores_stops_before_the_next_epoch(
    people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []

    def scores(trainer: Trainer, split: ReidSplit) -> dict[str, float]:
        asked.append(True)
        return {"mAP": 1.0, "rank1": 1.0}

    monkeypatch.setattr(loop, "scores_of", scores)
    recipe = tiny_recipe(people, training={"evaluate_epochs": 1})
    summary = run(recipe, tmp_path, should_stop=lambda: bool(asked))
    assert (summary.interrupted, summary.epochs_done, summary.steps) == (True, 1, 3)
    assert run(recipe, tmp_path, resume=True).steps == 6


def test_a_folder_with_a_run_is_not_overwritten(people: Path, tmp_path: Path) -> None:
    run(tiny_recipe(people), tmp_path)
    with pytest.raises(ConfigError, match="holds a run already; go on with --resume"):
        run(tiny_recipe(people), tmp_path)
    before = curve(tmp_path)
    assert run(tiny_recipe(people), tmp_path, resume=True).steps == 6
    assert curve(tmp_path) == before, "a finished run has nothing left to do"


def test_other_data_are_not_resumed_on(people: Path, tmp_path: Path) -> None:
    run(tiny_recipe(people), tmp_path / "run")
    other = write_people(tmp_path / "other", num_people=8)
    with pytest.raises(CheckpointError, match=r"3 people, 6 tracklets.* then, .*4 people, 8 tracklets"):
        run(tiny_recipe(other), tmp_path / "run", resume=True)


def test_a_changed_recipe_is_told(people: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run(tiny_recipe(people), tmp_path)
    longer = tiny_recipe(people, training={"epochs": 3, "evaluate_epochs": 0, "tensorboard": False})
    assert run(longer, tmp_path, resume=True).epochs_done == 3
    assert "new values from here on: training.epochs" in caplog.text
    assert "last digit" not in caplog.text
    torch.set_num_threads(2)
    run(longer, tmp_path, resume=True)
    assert "1 processes of 2 threads on cpu now, 1 processes of 1 threads on cpu before" in caplog.text


# --- what goes wrong ---------------------------------------------------------------------------------------------


def test_a_loss_that_is_not_finite_stops_the_run_and_leaves_the_last_good_state(
    people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    true_terms, calls = Tiny.loss_terms, iter(range(99))

    def breaking(self: Tiny, outputs: dict[str, Tensor], pids: Tensor) -> dict[str, Tensor]:
        terms = true_terms(self, outputs, pids)
        return terms | {"triplet": terms["triplet"] * math.nan} if next(calls) == 4 else terms

    monkeypatch.setattr(Tiny, "loss_terms", breaking)
    with pytest.raises(TrainingError) as error:
        run(tiny_recipe(people, training={"epochs": 4, "evaluate_epochs": 0, "tensorboard": False}), tmp_path)
    for part in (
        "step 5 (epoch 2)",
        "triplet nan",
        "cross_entropy",
        "optimiser.lr",
        "training.clip_norm",
        "The state after step 3 stays",
    ):
        assert part in str(error.value)
    kept = load_checkpoint(tmp_path / "last.safetensors")
    assert kept.about["step"] == 3
    assert all(value.isfinite().all() for value in kept.model.values())


def test_a_recipe_without_a_root_is_refused(people: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data.root: is missing; .* --root"):
        run(tiny_recipe(people, data={"root": None}), tmp_path)


# --- scores --------------------------------------------------------------------------------------------------------


def test_the_best_epoch_is_kept_and_a_tie_goes_to_the_earlier(
    people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([30.0, 50.0, 40.0, 50.0])
    monkeypatch.setattr(loop, "scores_of", lambda trainer, split: {"mAP": 1.0, "rank1": next(scores)})
    recipe = tiny_recipe(people, training={"epochs": 4, "evaluate_epochs": 1, "tensorboard": False, "ema_decay": 0.9})
    summary = run(recipe, tmp_path)
    assert (summary.best_score, summary.best_epoch) == (50.0, 2)
    best, last = load_checkpoint(tmp_path / "best.safetensors"), load_checkpoint(tmp_path / "last.safetensors")
    assert best.about["scores"] == {"epoch": 2, "mAP": 1.0, "rank1": 50.0}
    assert best.training == {}
    assert last.about["position"]["best_score"] == 50.0
    rows = [line.split(",") for line in (tmp_path / "scores.csv").read_text().splitlines()]
    assert rows[0] == ["step", "epoch", "mAP", "rank1"]
    assert [row[3] for row in rows[1:]] == ["30.0", "50.0", "40.0", "50.0"]


def test_scoring_does_not_disturb_the_curve(people: Path, tmp_path: Path) -> None:
    run(tiny_recipe(people), tmp_path / "plain")
    scored = tiny_recipe(people, training={"evaluate_epochs": 1})
    run(scored, tmp_path / "scored", **StopAfter(4).watching)
    summary = run(scored, tmp_path / "scored", resume=True)
    assert curve(tmp_path / "scored") == curve(tmp_path / "plain")
    rows = (tmp_path / "scored/scores.csv").read_text().splitlines()
    assert [row.split(",")[1] for row in rows] == ["epoch", "1", "2"]
    assert summary.best_score is not None
    assert 0 <= summary.best_score <= 100
    assert load_model(tmp_path / "scored")[1]["scores"]["rank1"] == summary.best_score


# --- several processes -------------------------------------------------------------------------------------------


def test_processes_share_every_batch() -> None:
    pids = [person for person in range(5) for _ in range(2)]
    batches = ClipBatches(pids, SamplerConfig(name="shuffled", num_ids=2, per_id=2), 1)  # of 4, 4 and 2 clips
    whole = list(batches)
    parts = [list(RankPart(batches, World(rank, 2, torch.device("cpu")))) for rank in (0, 1)]
    assert [len(batch) for batch in whole] == [4, 4, 2]
    assert [one + other for one, other in zip(*parts, strict=True)] == whole[:2], "one clip each is too few"
    assert list(RankPart(batches, CPU)) == whole


@pytest.mark.slow
def test_two_processes_follow_the_curve_of_one(tmp_path: Path) -> None:
    """Each takes half of every batch; without batch norm and dropout nothing else may differ."""
    recipe = tiny_recipe(
        write_people(tmp_path / "people", num_people=12),
        model={"options": {"dropout": 0.0, "use_norm": False}},
        data={"sampler": {"name": "identity", "num_ids": 2, "per_id": 2}},
        training={"epochs": 3, "accumulate": 2, "evaluate_epochs": 0, "tensorboard": False},
    )
    (tmp_path / "recipe.yaml").write_text(recipe_yaml(recipe))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m",
               "tests.reid_train.tiny", str(tmp_path / "recipe.yaml"), str(tmp_path / "two")]  # fmt: skip
    subprocess.run(command, cwd=ROOT, check=True, timeout=240, env=os.environ | {"OMP_NUM_THREADS": "1"})
    run(recipe, tmp_path / "one")
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-4)
    assert {"rng/0", "rng/1"} <= load_checkpoint(tmp_path / "two/last.safetensors").training.keys()
