"""One process per device under torchrun, or one process alone: who am I, and how values meet."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils.data import Sampler

from reid_train.data.samplers import ClipBatches, ClipKey

_TIMEOUT = timedelta(hours=6)  # others wait while the first process scores the test set


@dataclass(frozen=True, slots=True)
class World:
    """The processes that train together; `rank` 0 writes the files."""

    rank: int
    size: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        return self.rank == 0


@contextmanager
def joined_world(device: str | None = None) -> Iterator[World]:
    """The world that torchrun's environment describes (alone without it); left when the block ends.

    `device` None: the accelerator of this process's LOCAL_RANK where there is one, else the CPU. Raises ValueError
    for a device that is not there.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    rank = int(os.environ.get("RANK", "0"))
    chosen = _device(device, int(os.environ.get("LOCAL_RANK", "0")))
    if size == 1:
        yield World(0, 1, chosen)
        return
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo", timeout=_TIMEOUT)
    try:
        yield World(rank, size, chosen)
    finally:
        dist.destroy_process_group()


class RankPart(Sampler[list[ClipKey]]):
    """This process's equal part of every batch, in the order of ranks: the batch of a recipe is that of all processes.

    What does not divide is left out, and a batch of which a process would get less than two clips, as batch
    normalisation needs them, is too small: the epoch ends before it.
    """

    def __init__(self, batches: ClipBatches, world: World) -> None:
        self._batches, self._world = batches, world

    def __iter__(self) -> Iterator[list[ClipKey]]:
        for keys in self._batches:
            share = len(keys) // self._world.size
            if share < 2:
                return
            yield keys[self._world.rank * share : (self._world.rank + 1) * share]

    def __len__(self) -> int:
        return len(self._batches)


def gather_rows(values: dict[str, Tensor], world: World) -> dict[str, Tensor]:
    """Each (n, ...) of every process under one another, in the order of ranks, with gradients.

    The loss then sees the whole batch, as a single process would. It must be the same in every process: the average
    over processes that DistributedDataParallel takes of the gradients is then exactly that of the single process.
    """
    if world.size == 1:
        return values
    return {name: _GatheredRows.apply(value, world.rank, world.size) for name, value in values.items()}


class _GatheredRows(torch.autograd.Function):
    """All processes compute one loss from the same rows, so each knows the gradient of its own without asking."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, rank: int, size: int) -> Tensor:
        ctx.rank, ctx.size = rank, size
        parts = [torch.empty_like(value, memory_format=torch.contiguous_format) for _ in range(size)]
        dist.all_gather(parts, value.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        own: Tensor = grad.chunk(ctx.size)[ctx.rank] * ctx.size  # which the average over processes divides again
        return own, None, None


def gather_fixed(value: Tensor, world: World) -> list[Tensor]:
    """A tensor of the same shape from every process, on the CPU, without gradients."""
    if world.size == 1:
        return [value.cpu()]
    sent = value.to(world.device)
    received = [torch.empty_like(sent) for _ in range(world.size)]
    dist.all_gather(received, sent)
    return [part.cpu() for part in received]


def any_of(flag: bool, world: World) -> bool:
    """Whether the flag is up in any process."""
    if world.size == 1:
        return flag
    value = torch.tensor([float(flag)], device=world.device)
    dist.all_reduce(value, dist.ReduceOp.MAX)
    return bool(value.item())


def wait_for_all(world: World) -> None:
    """Go on when every process has come here."""
    if world.size > 1:
        dist.barrier()


def _device(name: str | None, local_rank: int) -> torch.device:
    if name is None:
        name = f"cuda:{local_rank}" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"--device {name}: want cpu, cuda or cuda:1") from None
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise ValueError(f"--device {name}: no such accelerator here; leave the option out or say cpu")
        if device.index is None:
            device = torch.device("cuda", local_rank)
        if device.index is not None and device.index >= torch.cuda.device_count():
            raise ValueError(f"--device {name}: this machine has {torch.cuda.device_count()}; count from 0")
        torch.cuda.set_device(device)
    return device
