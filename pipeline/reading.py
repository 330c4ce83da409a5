"""How the cameras of a run are read: as ticks of the runtime, one source per group of cameras."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from pipeline.cameras import Camera
from pipeline.config import PipelineConfig
from pipeline.ingest.far_feed import FarFeeds
from pipeline.ingest.far_host import FeedHost
from pipeline.ingest.feed import Feed
from pipeline.ingest.items import OpenFeed
from pipeline.ingest.spec import CameraSpec
from pipeline.ingest.ticks import NoCameraError, TickReader
from pipeline.remote import Reader
from pipeline.runtime.build import Hosts, open_hosts
from pipeline.runtime.chain import Node, Notice, Tick
from pipeline.runtime.config import RuntimeConfig
from pipeline.runtime.pace import Splitter, spread

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


@contextmanager
def feeds_of(
    runtime: RuntimeConfig, nodes: Sequence[Node], num_groups: int, config: PipelineConfig, num_cameras: int
) -> Iterator[tuple[Hosts | None, OpenFeed]]:
    """What reads cameras: beside the workers of their groups where those may be on other machines, else here."""
    if config.transport.sources != "cameras":
        yield None, Feed
        return
    group_of = group_by_camid(num_cameras, num_groups)
    with open_hosts(runtime, nodes, num_groups, partial(FeedHost, config.ingest)) as hosts:
        if hosts is None:
            yield None, Feed
            return
        with FarFeeds(hosts.ways, group_of) as feeds:
            yield hosts, feeds


def group_by_camid(num_cameras: int, num_groups: int) -> Callable[[int], int]:
    """The group of a camera. Groups are neighbours in cams.yaml, so that the frames of a tick are in the same order
    whatever the number of groups; a camera that comes later goes to any."""
    groups = spread(num_cameras, num_groups)
    return lambda camid: groups[camid] if camid < num_cameras else camid % num_groups


def by_group(ticks: Iterable[Tick], num_cameras: int, num_groups: int) -> Sequence[Iterable[Tick]]:
    """The ticks, one source per group of cameras."""
    if num_groups == 1:
        return [ticks]
    group_of = group_by_camid(num_cameras, num_groups)
    return Splitter(ticks, num_groups, lambda frame: group_of(frame.camid)).sources()


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
