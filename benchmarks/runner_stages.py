"""Stages of `benchmarks/runners.py`, in a module that worker processes can import."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.runtime.chain import Tick


class Look:
    """Costs about what a small detector's pre-processing costs: one pass over the picture. Picture in, picture out."""

    def __call__(self, items: Sequence[np.ndarray]) -> list[np.ndarray]:
        for image in items:
            image[::4, ::4].astype(np.float32).mean()
        return list(items)

    def flush(self) -> list[Any]:
        return []


class Reduce(Look):
    """Picture in, a row of numbers out: what is left of a frame once tracked."""

    def __call__(self, items: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [image[::16, ::16].reshape(-1)[:64].astype(np.float32) for image in super().__call__(items)]


class Glance(Look):
    """Costs next to nothing."""

    def __call__(self, items: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [image[0, :8].astype(np.float32) for image in items]


class Pass:
    def __call__(self, items: Sequence[Any]) -> list[Any]:
        return list(items)

    def flush(self) -> list[Any]:
        return []


class Sleeps:
    """A network on a GPU: so long a tick, and the processor is free meanwhile."""

    def __init__(self, tick_s: float) -> None:
        self._tick_s = tick_s

    def __call__(self, items: Sequence[np.ndarray]) -> list[np.ndarray]:
        time.sleep(self._tick_s)
        return [image[0, :8].astype(np.float32) for image in items]

    def flush(self) -> list[Any]:
        return []


@dataclass(frozen=True, slots=True)
class HeldPicture:
    """A picture that stays with the host that read it."""

    where: Any

    def whole(self, content: tuple[np.ndarray, ...]) -> np.ndarray:
        return content[0]


class PictureHost:
    """Stands for what reads cameras beside their worker: every picture is a new one for the object store."""

    def __init__(self, height_px: int, width_px: int) -> None:
        self._image = np.random.default_rng(0).integers(0, 255, (height_px, width_px, 3), dtype=np.uint8)

    def some(self, count: int) -> tuple[None, list[tuple[np.ndarray, ...]]]:
        return None, [(self._image[:],) for _ in range(count)]


def held_pictures(way: Any, shard: int, num_ticks: int, at_once: int = 4) -> Iterator[Tick]:
    """Ticks of a camera whose pictures a host holds; it is asked for some at once, as a run's reader does."""
    for first in range(0, num_ticks, at_once):
        _, places = way.fetch("some", min(at_once, num_ticks - first))
        for index, where in enumerate(places, first):
            yield Tick(shard, index, (HeldPicture(where),))


def pictures(shard: int, num_ticks: int, num_cameras: int, height_px: int, width_px: int) -> Iterator[Tick]:
    """Ticks of a group of cameras; the pictures are made once, so that the source costs nothing."""
    rng = np.random.default_rng(shard)
    images = tuple(rng.integers(0, 255, (height_px, width_px, 3), dtype=np.uint8) for _ in range(num_cameras))
    for index in range(num_ticks):
        yield Tick(shard, index, images)
