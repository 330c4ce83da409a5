"""How the cameras of a run are read: as ticks of the runtime, one source per group of cameras."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from pipeline.config import Camera
from pipeline.ingest.spec import CameraSpec
from pipeline.ingest.ticks import NoCameraError, TickReader
from pipeline.remote import Reader
from pipeline.runtime.chain import Notice, Tick
from pipeline.runtime.pace import Splitter, spread
from pipeline.types import Frame

STOP_PERIOD_S = 0.1
"""How often it is looked whether the run was asked to end."""


def spec_of(camid: int, camera: Camera) -> CameraSpec:
    return CameraSpec(
        camid=camid,
        name=camera.name,
        source=camera.source,
        start_time_s=camera.start_time_s,
        offset_s=camera.offset_s,
        fps=camera.fps,
        crop=camera.crop,
    )


@contextmanager
def reading(reader: Reader, stop: Callable[[], bool]) -> Iterator[None]:
    """The open reader. Who is asked to stop before any camera was there has been interrupted, not failed."""
    try:
        reader.open()
    except NoCameraError:
        if stop():
            raise KeyboardInterrupt from None
        raise
    with reader:
        yield


def by_group(ticks: Iterable[Tick], num_cameras: int, numby_group: int) -> Sequence[Iterable[Tick]]:
    """The ticks, one source per group of cameras. Groups are neighbours in cams.yaml, so that the frames of
    a tick are in the same order whatever the number of groups."""
    if numby_group == 1:
        return [ticks]
    shard_of = spread(num_cameras, numby_group)

    def group_of(frame: Frame) -> int:
        return shard_of[frame.camid] if frame.camid < num_cameras else frame.camid % numby_group

    return Splitter(ticks, numby_group, group_of).sources()


def with_notices(ticks: Iterable[Tick], reader: Reader) -> Iterator[Tick]:
    """The ticks, each with what the stages have to know of cameras that came or went."""
    for tick in ticks:
        notice = reader.notice if isinstance(reader, TickReader) else None
        yield tick if notice is None else replace(tick, items=(*tick.items, Notice(notice)))


def ticks_of(reader: Reader) -> Iterator[Tick]:
    """The reader's ticks as the runtime knows them, all cameras in one shard."""
    for tick in reader:
        yield Tick(0, tick.index, tick.frames)


def without_notices(items: Sequence[Any]) -> tuple[Any, ...]:
    """What the stages have made, without what they were told."""
    return tuple(item for item in items if not isinstance(item, Notice))
