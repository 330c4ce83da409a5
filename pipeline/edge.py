"""An edge box: the same flow as in `app`, but that tracklets are sent instead of fused.

It leaves events.jsonl, with what happened to its cameras, and run.json.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.cameras import Camera
from pipeline.config import PipelineConfig
from pipeline.ingest.build import LIVE, locate
from pipeline.ingest.ticks import TickReader
from pipeline.live.config import live_config
from pipeline.live.figures import Snapshot
from pipeline.live.server import LiveServer
from pipeline.nodes import PREPARE, build_nodes
from pipeline.periodic import every
from pipeline.provenance import RUN_FILE, Ran, describe_run
from pipeline.reading import STOP_PERIOD_S, by_group, reading, spec_of, ticks_of
from pipeline.remote import stream_figures
from pipeline.report import Progress, RunOptions, RunReport
from pipeline.roster import Roster, reloaded_on_hangup
from pipeline.runtime.build import Runner, build_runner
from pipeline.runtime.chain import FLUSH, Node, Tick
from pipeline.runtime.config import RuntimeConfig
from pipeline.sinks.events import EventLog
from pipeline.sinks.files import ends_well
from pipeline.sinks.run_json import write_json_atomically
from pipeline.transport.redis_streams import connect
from pipeline.transport.sinks import TrackletSink
from pipeline.types import NO_PREVIEW, EmbeddedFrame, FusedFrame, GlobalTracks
from pipeline.watch import LOOK_PERIOD_S, Watch
from pipeline.yaml_file import ConfigError


class JoinStage:
    """Passes frames on; as a node that merges it joins the groups of cameras tick by tick."""

    def __call__(self, items: Sequence[EmbeddedFrame]) -> Sequence[EmbeddedFrame]:
        return items

    def state(self) -> None:
        return None

    def restore(self, state: None) -> None:
        pass

    def flush(self) -> list[EmbeddedFrame]:
        return []


@dataclass(frozen=True, slots=True)
class Edge:
    """What an edge box works with: as `app.run` has read it."""

    options: RunOptions
    cameras: tuple[Camera, ...]
    config: PipelineConfig
    runtime: RuntimeConfig
    base_dir: Path


def run_edge(
    edge: Edge, show: Callable[[Progress], None], stop: Callable[[], bool], asked: threading.Event
) -> RunReport:
    """Read, detect, track and embed; send each tick. `asked` is set by who asks for the end over HTTP.

    Raises as `app.run` does, and TransportError where the server refuses messages; one that is away is waited for.
    """
    _check(edge)
    config, cameras, options = edge.config, edge.cameras, edge.options
    transport = config.transport
    num_shards = edge.runtime.num_shards(len(cameras))
    nodes = build_nodes(cameras, config, edge.base_dir, 0, num_shards)[:3]
    nodes.append(Node("join", JoinStage, merges=True, stateless=True))
    names = [camera.name for camera in cameras]
    started_at, started = datetime.now(UTC), time.perf_counter()
    with ExitStack() as stack:
        reader = _reader(edge)
        client = connect(transport.redis)
        stack.enter_context(every(STOP_PERIOD_S, lambda: reader.close() if stop() else None))
        stack.enter_context(reading(reader, stop))
        runner = stack.enter_context(
            build_runner(edge.runtime, nodes, by_group(ticks_of(reader), len(cameras), num_shards), PREPARE)
        )
        events = stack.enter_context(_Events(options.output, names))
        sink = stack.enter_context(_sink(edge, client, reader))
        watch = Watch(reader, events, show, started)
        stack.enter_context(every(LOOK_PERIOD_S, watch.look))

        def figures() -> Snapshot:
            return replace(watch.figures(runner), streams=(stream_figures("redis", sink.writer),))

        roster = Roster(cameras, options.cams, reader, config, edge.base_dir)  # which refuses, and says why
        stack.enter_context(reloaded_on_hangup(roster))
        if live := live_config(config.live, options.live_port, edge.base_dir):
            stack.enter_context(LiveServer(live, figures, {"stop": asked.set}, changes=roster))
        _send_all(runner, sink, watch)
        times = runner.times()
    report = RunReport(
        cameras=reader.status(),
        num_tracklets=watch.num_tracklets,
        num_identities=0,
        num_cross_camera_links=0,
        wall_s=time.perf_counter() - started,
        nodes=times,
        output=options.output,
        interrupted=stop(),
        notes=_notes(transport.box or "", sink),
    )
    ran = Ran(edge.runtime.kind, num_shards, 0, runner.restarts())
    payload = describe_run(options, cameras, config, edge.base_dir, started_at, reader.clock_zero_s, report, ran=ran)
    write_json_atomically(options.output / RUN_FILE, payload)
    return report


def _check(edge: Edge) -> None:
    """Raises ConfigError for what an edge box can not do."""
    if edge.config.ingest.tick_s is None:
        raise ConfigError("ingest.tick_s: has to be set on an edge box, the same on all boxes and where they are fused")
    if edge.options.video:
        raise ConfigError("--video: an edge box knows no identities that could be drawn; leave it out")


def _reader(edge: Edge) -> TickReader:
    """What reads the cameras, not open yet. Raises ConfigError where their clock could differ from that of others."""
    transport = edge.config.transport
    specs = [spec_of(camid, camera) for camid, camera in enumerate(edge.cameras)]
    max_seconds = edge.options.max_seconds
    reader = TickReader(specs, edge.config.ingest, max_seconds=max_seconds, clock_zero_s=transport.clock_zero_s)
    if reader.clock_zero_s is not None and transport.clock_zero is None:
        raise ConfigError(
            "transport.clock_zero: has to be set, to the same moment on all boxes, since cameras are live or have "
            "a start_time; midnight before the first of them will do"
        )
    return reader


def _sink(edge: Edge, client: Any, reader: TickReader) -> TrackletSink:
    """Where tracklets are sent."""
    transport = edge.config.transport
    return TrackletSink(
        client,
        transport.box or "",
        transport.redis,
        [camera.name for camera in edge.cameras],
        tick_s=reader.tick_s,
        clock_zero_s=reader.clock_zero_s,
        live=any(locate(camera.source)[0] in LIVE for camera in edge.cameras),
    )


def _send_all(runner: Runner, sink: TrackletSink, watch: Watch) -> None:
    for tick in runner:
        if tick.index == FLUSH:
            sink.flush(tick.items)
        else:
            sink.write(tick.index, tick.items)
        watch.see(_shown(tick))


def _shown(tick: Tick) -> list[FusedFrame]:
    """The frames for who watches, without identities."""
    return [
        FusedFrame(
            frame.camid,
            frame.frame_idx,
            frame.time_s,
            frame.tracks,
            np.full((len(frame.tracks), 2), np.nan),
            GlobalTracks.empty(),
            (),
            NO_PREVIEW,
            1.0,
        )
        for frame in tick.items
    ]


def _notes(box: str, sink: TrackletSink) -> tuple[str, ...]:
    writer = sink.writer
    notes = [f"box {box}: {writer.num_sent} messages sent"]
    if writer.num_repeated:
        notes.append(
            f"{writer.num_repeated} messages were there already, from an earlier run of the same times; if they are of "
            f"other footage, delete the stream ({sink.stream}) or take another transport.redis.site"
        )
    if writer.num_dropped or writer.num_waiting:
        notes.append(f"{writer.num_dropped + writer.num_waiting} messages were lost: the server was away")
    return tuple(notes)


class _Events:
    """events.jsonl of a box: what happened to its cameras."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self._log = EventLog(folder, names)

    def log_camera(self, kind: str, camid: int, time_s: float, message: str = "") -> None:
        self._log.log_camera(kind, camid, time_s, message)

    def __enter__(self) -> _Events:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if ends_well(kind):
            self._log.publish()
        else:
            self._log.abandon()
