"""What trains and where it stands: the network, its optimiser, its moving average; one step; to a file and back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast
from zlib import crc32

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from pipeline import __version__
from pipeline.yaml_file import ConfigError
from reid_train.config import PACKAGE, Recipe
from reid_train.data.loading import TrainBatch
from reid_train.data.tracklet import ReidSplit
from reid_train.distributed import World, gather_fixed, gather_rows
from reid_train.models import build_model
from reid_train.models.backbones import EfficientNetLite0, load_lite0, load_pretrained
from reid_train.models.model import ReidModel
from reid_train.optimiser import MovingAverage, build_optimiser, set_rates
from reid_train.state import (
    Checkpoint,
    CheckpointError,
    about_network,
    find_checkpoint,
    load_checkpoint,
    load_fitting,
    load_weights,
    pack_optimiser,
    pack_rng,
    unpack_optimiser,
    unpack_rng,
)


class TrainingError(RuntimeError):
    """Training can not go on; the message says at which step, why, and what may help."""


@dataclass(slots=True)
class Position:
    """How far a run has come: `batch` batches of epoch `epoch` (from 0) are done, in `step` steps of the optimiser."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    best_score: float | None = None
    best_epoch: int = 0


class Trainer:
    """A network in training. Every process of a run holds one; all of them take the same steps."""

    def __init__(self, recipe: Recipe, split: ReidSplit, world: World) -> None:
        self.recipe, self.world = recipe, world
        self.position = Position()
        self._data = _fingerprint(split)
        self._num_pids = split.num_pids
        # A checkpoint holds all weights: to load it nobody needs the package from which `light` began.
        self._filled = {"pretrained": False} if recipe.model.name == "light" else {}
        torch.manual_seed(recipe.training.seed)
        self.model = build_network(recipe, split.num_pids).to(world.device)
        if recipe.training.begin_with is not None:
            begun = find_checkpoint(Path(recipe.training.begin_with))
            load_fitting(self.model, load_checkpoint(begun, training=False), begun)
        if recipe.training.channels_last:
            for parameter in self.model.parameters():
                if parameter.dim() == 4:
                    parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        self._reid = cast(ReidModel, self.model)
        groups = self._reid.param_groups()
        self._parameters = [parameter for group in groups.values() for parameter in group]
        self._names: dict[Tensor, str] = {parameter: name for name, parameter in self.model.named_parameters()}
        self.optimiser = build_optimiser(groups, recipe.optimiser, recipe.schedule, world.device)
        decay = recipe.training.ema_decay
        self.average = MovingAverage(self.model, decay) if decay is not None else None
        if recipe.training.compile:
            self.model.compile()
        self._network: nn.Module = self.model
        if world.size > 1:
            # Some networks have parameters that take no part in the loss, e.g. STAFormer's unused token.
            self._network = DistributedDataParallel(self.model, find_unused_parameters=True)
        torch.manual_seed(recipe.training.seed + 1 + world.rank)  # dropout differs between processes

    def step(self, batches: Sequence[TrainBatch], epoch: float) -> dict[str, float] | None:
        """One step of the optimiser on the mean loss of some batches: the loss, its terms, the rate, the gradient.

        `epoch` is the time by which the schedule goes. None where every batch was skipped. Raises TrainingError where
        loss or gradient is not finite; the weights are then still those of the step before.
        """
        self.model.train()
        set_rates(self.optimiser, self.recipe.schedule, epoch, self.recipe.training.epochs)
        self.optimiser.zero_grad(set_to_none=True)
        labels = [torch.cat(gather_fixed(pids, self.world)).to(self.world.device) for _, pids, _ in batches]
        kept = [row for row, pids in enumerate(labels) if not self._is_skipped(pids)]
        totals: dict[str, Tensor] = {}
        for row in kept:
            with self._without_sync() if row != kept[-1] else nullcontext():
                terms = self._terms(batches[row][0], labels[row])
                (torch.stack(list(terms.values())).sum() / len(kept)).backward()  # type: ignore[no-untyped-call]
            for name, value in terms.items():
                totals[name] = totals.get(name, torch.zeros_like(value)) + value.detach() / len(kept)
        self.position.step += 1
        if not kept:
            return None
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        totals["grad_norm"] = torch.nn.utils.get_total_norm(gradients)
        read = torch.stack([value.double() for value in totals.values()]).tolist()
        values = dict(zip(totals, read, strict=True))
        self._check_finite(values)
        if (largest := self.recipe.training.clip_norm) is not None:
            torch.nn.utils.clip_grads_with_norm_(self._parameters, largest, totals["grad_norm"])
        self.optimiser.step()
        if self.average:
            self.average.update(self.model)
        norm = values.pop("grad_norm")
        rate = max(group["lr"] for group in self.optimiser.param_groups)
        return {"loss": math.fsum(values.values()), **values, "lr": rate, "grad_norm": norm}

    def averaged(self) -> AbstractContextManager[None]:
        """While it lasts, the network has the weights that are scored and kept as best."""
        return self.average.applied(self.model) if self.average else nullcontext()

    def weights(self, scores: Mapping[str, Any]) -> Checkpoint:
        """The weights as they are now with their scores, without what only the loop needs."""
        return Checkpoint(self.model.state_dict(), self._about() | {"scores": dict(scores)})

    def checkpoint(self) -> Checkpoint:
        """Everything from which `restore` goes on. All processes must call it together."""
        training = pack_optimiser(self.optimiser, self._names)
        for rank, state in enumerate(gather_fixed(pack_rng(self.world.device), self.world)):
            training[f"rng/{rank}"] = state
        about = self._about() | {"position": asdict(self.position), "machine": machine(self.world)}
        if self.average:
            training |= {f"average/{name}": value for name, value in self.average.average.items()}
            about["average_updates"] = self.average.num_updates
        return Checkpoint(self.model.state_dict(), about, training)

    def restore(self, checkpoint: Checkpoint, path: Path) -> None:
        """Go on where a checkpoint stopped. Raises CheckpointError where it is of other data or another network."""
        about = checkpoint.about
        if "position" not in about:
            raise CheckpointError(f"{path}: holds weights only; training goes on from a last.safetensors")
        if about.get("data") != self._data:
            raise CheckpointError(
                f"{path}: the training data are not those of the checkpoint ({about.get('data')} then, {self._data} "
                "now); point data.root to the old ones, or begin a new run"
            )
        load_weights(self.model, checkpoint.model, path)
        unpack_optimiser(self.optimiser, self._names, checkpoint.training)
        if self.average and "average_updates" in about:
            prefix = "average/"
            average = {k.removeprefix(prefix): v for k, v in checkpoint.training.items() if k.startswith(prefix)}
            self.average.load(average, about["average_updates"])
        self.position = Position(**about["position"])
        if (state := checkpoint.training.get(f"rng/{self.world.rank}")) is not None:
            unpack_rng(state, self.world.device)

    def _terms(self, clips: Tensor, pids: Tensor) -> dict[str, Tensor]:
        """The weighted terms of one batch, over all processes. `clips` (n, T, 3, H, W), `pids` (N,) of all."""
        device, training = self.world.device, self.recipe.training
        clips = clips.to(device, non_blocking=True)
        if training.channels_last and clips.dim() == 5:  # not the features of a frozen backbone
            clips = clips.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)
        with torch.autocast(device.type, torch.bfloat16, enabled=training.precision == "bf16"):
            outputs = self._network(clips)
        outputs = {name: value.float() if value.is_floating_point() else value for name, value in outputs.items()}
        return self._reid.loss_terms(gather_rows(outputs, self.world), pids)

    def _is_skipped(self, pids: Tensor) -> bool:
        return self.recipe.training.skip_single_id and bool((pids == pids[0]).all())

    def _without_sync(self) -> AbstractContextManager[None]:
        network = self._network
        return network.no_sync() if isinstance(network, DistributedDataParallel) else nullcontext()

    def _check_finite(self, values: Mapping[str, float]) -> None:
        if all(math.isfinite(value) for value in values.values()):
            return
        told = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
        raise TrainingError(
            f"step {self.position.step} (epoch {self.position.epoch + 1}): the loss is not finite: {told}. Lower "
            "optimiser.lr, lengthen schedule.warmup_epochs, set training.clip_norm (e.g. 5), or train with "
            "training.precision=fp32"
        )

    def _about(self) -> dict[str, Any]:
        recipe = self.recipe
        return {
            **about_network(recipe.model.name, self._num_pids, network_options(recipe) | self._filled),
            "epochs_done": self.position.epoch,
            "step": self.position.step,
            "data": self._data,
            "recipe": recipe.model_dump(mode="json"),
            "versions": {"crosscam": __version__, "torch": torch.__version__},
        }


def machine(world: World) -> dict[str, Any]:
    """What has to stay the same for a run to go on to the last digit."""
    return {"processes": world.size, "device": world.device.type, "threads": torch.get_num_threads()}


def network_options(recipe: Recipe) -> dict[str, Any]:
    """The keyword arguments with which the recipe's network is built."""
    return {"input_hw": list(recipe.transform.input_hw), **recipe.model.options}


def build_network(recipe: Recipe, num_pids: int) -> nn.Module:
    """The recipe's network, its backbone from `model.pretrained`. Raises ConfigError where the two do not fit."""
    model = build_model(recipe.model.name, num_pids, **network_options(recipe))
    reid = cast(ReidModel, model)
    if tuple(reid.input_hw) != recipe.transform.input_hw:
        raise ConfigError(
            f"transform.input_hw: {list(recipe.transform.input_hw)}, but {recipe.model.name} was built for "
            f"{list(reid.input_hw)}; make them equal"
        )
    if recipe.data.clip_length % reid.frame_multiple:
        raise ConfigError(
            f"data.clip_length: {recipe.data.clip_length} frames; {recipe.model.name} needs a multiple of "
            f"{reid.frame_multiple}"
        )
    backbone = cast(nn.Module, model.backbone)
    if recipe.model.pretrained == PACKAGE:
        if not isinstance(backbone, EfficientNetLite0):
            raise ConfigError("model.pretrained: package: holds weights of the light backbone only; name a file")
        load_lite0(backbone)
    elif recipe.model.pretrained is not None:
        load_pretrained(backbone, Path(recipe.model.pretrained))
    return model


def _fingerprint(split: ReidSplit) -> str:
    """Equal for equal training data, wherever they lie."""
    rows = [(t.pid, t.camid, [Path(path).name for path in t.paths]) for t in split.train]
    return f"{split.name}: {split.num_pids} people, {len(split.train)} tracklets, {crc32(repr(rows).encode()):08x}"
