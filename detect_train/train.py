"""The training loop: crops of drawn pictures in, checkpoints out; a run that was ended goes on where it was."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler

from detect_train.config import Recipe
from detect_train.data import Crops, People, collate, read_set
from detect_train.losses import detection_loss
from detect_train.model import PersonNet, cells
from reid_train.optimiser import MovingAverage
from reid_train.trainer import TrainingError

log = logging.getLogger(__name__)

CHECKPOINT, RECIPE, LOG = "last.pt", "recipe.json", "log.csv"
LOG_EVERY = 10

Show = Callable[[dict[str, float]], None]


class _From(Sampler[int]):
    """Sample numbers in order, from one on."""

    def __init__(self, first: int, last: int) -> None:
        self._range = range(first, last)

    def __iter__(self) -> Iterator[int]:
        return iter(self._range)

    def __len__(self) -> int:
        return len(self._range)


def train(
    recipe: Recipe,
    output: Path,
    *,
    resume: bool = False,
    start_from: Path | None = None,
    device: str = "cpu",
    show: Show | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> int:
    """Train as the recipe says, into the folder `output`. -> steps done; fewer than asked for where it was stopped.

    `start_from` is another run, whose averaged network is the beginning of this one instead of ImageNet's weights.
    """
    options = recipe.training
    pictures = [picture for root in recipe.data.roots for picture in read_set(root)]
    torch.manual_seed(options.seed)
    net = PersonNet(**recipe.model.model_dump()).to(device).to(memory_format=torch.channels_last)
    if start_from is not None and not resume:
        _start_from(start_from, net)
    optimiser = _optimiser(net, recipe)
    average = MovingAverage(net, options.average)
    output.mkdir(parents=True, exist_ok=True)
    done = _load(output / CHECKPOINT, net, optimiser, average) if resume else 0
    (output / RECIPE).write_text(recipe.model_dump_json(indent=2) + "\n", encoding="utf-8")
    size = options.batch_size
    crops = Crops(pictures, recipe.data, num_samples=options.steps * size, batch_size=size, seed=options.seed)
    workers = recipe.data.workers
    loader = DataLoader(
        crops, size, sampler=_From(done * size, options.steps * size), collate_fn=collate, num_workers=workers
    )
    net.train()
    before = time.perf_counter()
    for step, (images, people) in enumerate(loader, done):
        parts = _step(net, optimiser, recipe, step, images.to(device), people)
        average.update(net)
        done = step + 1
        stop = should_stop()
        if done % LOG_EVERY == 0:
            now = time.perf_counter()
            row = {"step": done, **parts, "step_s": (now - before) / LOG_EVERY}
            before = now
            _append(output / LOG, row)
            if show is not None:
                show(row)
        if stop or done % options.save_every == 0 or done == options.steps:
            _save(output / CHECKPOINT, net, optimiser, average, done)
        if stop:
            break
    return done


def load_network(folder: Path) -> tuple[PersonNet, Recipe, int]:
    """The moving average of a run's last checkpoint, its recipe and its steps."""
    recipe = Recipe.model_validate_json((folder / RECIPE).read_text(encoding="utf-8"))
    checkpoint = torch.load(folder / CHECKPOINT, "cpu", weights_only=True)
    net = PersonNet(**(recipe.model.model_dump() | {"pretrained": False}))
    net.load_state_dict(checkpoint["average"])
    return net.eval(), recipe, int(checkpoint["step"])


def rate(step: int, recipe: Recipe) -> float:
    """Factor on the learning rates: a linear rise, then half a cosine wave."""
    options = recipe.training
    if step < options.warmup_steps:
        return (step + 1) / options.warmup_steps
    share = (step - options.warmup_steps) / max(options.steps - options.warmup_steps, 1)
    return options.final_lr + (1 - options.final_lr) * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))


def _step(
    net: PersonNet, optimiser: torch.optim.Optimizer, recipe: Recipe, step: int, images: Tensor, people: list[People]
) -> dict[str, float]:
    factor = rate(step, recipe)
    for group in optimiser.param_groups:
        group["lr"] = group["base_lr"] * factor
    batch = images.float().contiguous(memory_format=torch.channels_last)
    with torch.autocast(images.device.type, torch.bfloat16, enabled=recipe.training.bf16):
        raw = net(batch).float().cpu()
    cell_xy, stride_px = cells(images.shape[2], images.shape[3])
    loss, parts = detection_loss(raw, people, cell_xy, stride_px, recipe.training.box_weight)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    norm = float(nn.utils.clip_grad_norm_(net.parameters(), recipe.training.clip_norm))
    if not math.isfinite(norm):
        was = float(loss.detach())
        raise TrainingError(f"step {step + 1}: the loss is {was}, its gradient {norm}; try a lower training.lr")
    optimiser.step()
    return {"loss": float(loss.detach()), **parts}


def _optimiser(net: PersonNet, recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW; four groups: backbone or not, matrices (decayed) or vectors."""
    options = recipe.training
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in net.named_parameters():
        if parameter.requires_grad:
            lr = options.backbone_lr if name.startswith("backbone.") else options.lr
            decay = options.weight_decay if parameter.dim() > 1 else 0.0
            groups.setdefault((lr, decay), []).append(parameter)
    rows: list[dict[str, Any]] = [
        {"params": parameters, "lr": lr, "base_lr": lr, "weight_decay": decay}
        for (lr, decay), parameters in groups.items()
    ]
    return torch.optim.AdamW(rows)


def _save(path: Path, net: PersonNet, optimiser: torch.optim.Optimizer, average: MovingAverage, step: int) -> None:
    partial = path.with_suffix(".partial")
    state = {
        "step": step,
        "network": net.state_dict(),
        "average": average.average,
        "num_updates": average.num_updates,
        "optimiser": optimiser.state_dict(),
    }
    torch.save(state, partial)
    partial.replace(path)


def _load(path: Path, net: PersonNet, optimiser: torch.optim.Optimizer, average: MovingAverage) -> int:
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path} to go on from; leave --resume out")
    state = torch.load(path, "cpu", weights_only=True)
    net.load_state_dict(state["network"])
    average.load(state["average"], int(state["num_updates"]))
    optimiser.load_state_dict(state["optimiser"])
    return int(state["step"])


def _start_from(folder: Path, net: PersonNet) -> None:
    """The averaged network of another run, into `net`. Raises TrainingError where the two differ in shape."""
    if not (folder / CHECKPOINT).is_file():
        raise FileNotFoundError(f"no run to start from in {folder}: {CHECKPOINT} is missing")
    state = torch.load(folder / CHECKPOINT, "cpu", weights_only=True)
    try:
        net.load_state_dict(state["average"])
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise TrainingError(f"{folder} is a run of another network than the recipe's `model`: {reason}") from error


def _append(path: Path, row: dict[str, float]) -> None:
    is_new = not path.exists()
    with path.open("a", encoding="utf-8") as file:
        if is_new:
            file.write(",".join(row) + "\n")
        file.write(",".join(f"{value:.6g}" for value in row.values()) + "\n")
    log.info("%s", json.dumps(row))
