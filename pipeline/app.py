"""The whole flow, top to bottom: cameras, four stages, sinks, and the runner that moves ticks between them."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.asked import roster_before
from pipeline.cameras import Camera, load_cameras, load_given_travel
from pipeline.config import PipelineConfig, load_pipeline, load_runtime
from pipeline.floor_bounds import floor_bounds
from pipeline.live.config import live_config
from pipeline.live.figures import Snapshot
from pipeline.live.server import LiveServer
from pipeline.nodes import PREPARE, build_nodes
from pipeline.periodic import every
from pipeline.provenance import RUN_FILE, Ran, describe_run
from pipeline.reading import (
    STOP_PERIOD_S,
    by_group,
    feeds_of,
    reading,
    spec_of,
    ticks_of,
    with_notices,
    without_notices,
)
from pipeline.remote import Reader, Senders, box_figures, open_reader, open_senders
from pipeline.report import Progress, RunOptions, RunReport
from pipeline.resume import Keeper, parted
from pipeline.roster import Listener, Roster, as_they_were, is_gone, reloaded_on_hangup
from pipeline.runtime.build import Runner, build_runner
from pipeline.runtime.chain import FLUSH, Node, Tick
from pipeline.runtime.config import RuntimeConfig
from pipeline.sinks.build import Sinks, open_sinks
from pipeline.sinks.files import alone_in, prepare_output
from pipeline.sinks.recording import VIDEO_FILE
from pipeline.sinks.report.page import write_report
from pipeline.sinks.run_json import write_json_atomically
from pipeline.summary import summarize
from pipeline.transport.boxes import BoxReader
from pipeline.watch import LOOK_PERIOD_S, Watch
from pipeline.yaml_file import ConfigError

log = logging.getLogger(__name__)


def run(options: RunOptions, show: Callable[[Progress], None], stop: Callable[[], bool]) -> RunReport:
    """Run the cameras of `options.cams` to their end, or until `stop()`; all files are whole in either case.

    Raises ConfigError for a configuration that can not be used, NoCameraError where no camera could be read,
    OutputError where results can not be written, StageError where a stage failed.
    """
    PREPARE()
    asked = threading.Event()
    stop = _either(stop, asked.is_set)
    cameras, named_config = load_cameras(options.cams)
    roster = roster_before(options.output) if options.resume else None
    cameras = as_they_were(cameras, roster)
    config_path = options.config or named_config
    config = load_pipeline(config_path, options.settings)
    runtime = load_runtime(options.runtime, workers=options.workers, ray_address=options.ray_address)
    remote = config.transport.sources != "cameras"
    num_shards = 1 if remote else runtime.num_shards(len(cameras))
    base_dir = config_path.resolve().parent if config_path else Path.cwd()
    if remote and options.video:
        raise ConfigError("--video: boxes send no pictures; leave it out, or draw on the boxes' own videos")
    with ExitStack() as stack:
        stack.enter_context(alone_in(options.output))
        prepare_output(options.output, go_on=options.resume)
        if config.transport.box:
            from pipeline.edge import Edge, run_edge  # which is made of the parts of this file

            return run_edge(Edge(options, cameras, config, runtime, base_dir), show, stop, asked)
        keeper = stack.enter_context(Keeper.open(options, cameras, config, base_dir, remote=remote))
        job = _Job(options, cameras, keeper.config(config), runtime, base_dir, num_shards, roster)
        report = _run(job, keeper, show, stop, asked)
        keeper.end(options.output)
    return report


class _Job(NamedTuple):
    """What `run` has read."""

    options: RunOptions
    cameras: tuple[Camera, ...]
    config: PipelineConfig
    runtime: RuntimeConfig
    base_dir: Path
    num_shards: int
    roster: dict[str, Any] | None  # of a run that is gone on with, if cameras came or went in it


class _Parts(NamedTuple):
    """What is open while a run goes."""

    reader: Reader
    runner: Runner
    sinks: Sinks
    senders: Senders
    roster: Roster
    watch: Watch
    keeper: Keeper


def _run(
    job: _Job, keeper: Keeper, show: Callable[[Progress], None], stop: Callable[[], bool], asked: threading.Event
) -> RunReport:
    options, cameras, config, runtime, base_dir, num_shards, before = job
    specs = keeper.specs([spec_of(camid, camera) for camid, camera in enumerate(cameras) if not is_gone(camera)])
    nodes = keeper.nodes(_nodes(job), len(cameras))
    started_at, started = datetime.now(UTC), time.perf_counter()

    with ExitStack() as stack:
        hosts, open_feed = stack.enter_context(feeds_of(runtime, nodes, num_shards, config, len(cameras)))
        max_seconds = options.max_seconds
        reader = open_reader(config, cameras, specs, base_dir=base_dir, max_seconds=max_seconds, open_feed=open_feed)
        stack.enter_context(every(STOP_PERIOD_S, lambda: reader.close() if stop() else None))
        stack.enter_context(reading(reader, stop))
        roster = Roster(cameras, options.cams, reader, config, base_dir, before=before)
        ticks = with_notices(keeper.ticks(ticks_of(reader)), reader)
        sources = by_group(ticks, len(cameras), num_shards)
        runner = stack.enter_context(build_runner(runtime, nodes, sources, PREPARE, hosts))
        sinks = stack.enter_context(_sinks(job, reader, keeper))
        names = [camera.name for camera in cameras]
        senders = stack.enter_context(open_senders(config.transport, names, reader.clock_zero_s))
        watch = Watch(reader, sinks, show, started, keeper.recordings)
        if keeper.checkpoint:
            watch.restore(keeper.checkpoint.watch)
        keeper.begin(reader, sinks.settle, watch.state())
        stack.enter_context(every(LOOK_PERIOD_S, watch.look))
        parts = _Parts(reader, runner, sinks, senders, roster, watch, keeper)
        roster.tell(_listener(parts))
        stack.enter_context(reloaded_on_hangup(roster))
        if live := live_config(config.live, options.live_port, base_dir):
            stack.enter_context(LiveServer(live, partial(_figures, parts), {"stop": asked.set}, changes=roster))
        for tick in runner:
            _deliver(tick, parts)
        if isinstance(reader, BoxReader) and not stop():
            reader.done(FLUSH)
        watch.say_goodbye()
        times = runner.times()
    wall_s = time.perf_counter() - started
    report = summarize(options.output, reader.status(), times, wall_s=wall_s, interrupted=stop())
    ran = Ran(runtime.kind, num_shards, keeper.num_resumes, runner.restarts())
    payload = describe_run(options, roster.cameras, config, base_dir, started_at, reader.clock_zero_s, report, ran=ran)
    _write_up(job, payload)
    return report


def _nodes(job: _Job) -> list[Node]:
    """The stages of a run; where boxes detect, track and embed, what is left of them."""
    options, cameras, config, _, base_dir, num_shards, _ = job
    if config.reid.model == "colour":
        log.warning("reid.model is colour: clothes are compared by their colours alone; name a ReID network if you can")
    tiles_across = math.ceil(math.sqrt(len(cameras)))
    preview_px = config.output.video_width_px // tiles_across if options.video else 0
    given = load_given_travel(options.cams, cameras)
    nodes = build_nodes(cameras, config, base_dir, preview_px, num_shards, given=given, folder=options.output)
    return nodes if config.transport.sources == "cameras" else nodes[3:]


def _sinks(job: _Job, reader: Reader, keeper: Keeper) -> Sinks:
    """Where the results go."""
    return open_sinks(
        job.config.output,
        job.options.output,
        [camera.name for camera in job.cameras],
        video=job.options.video,
        fps=1 / reader.tick_s,
        floor_bounds_m=floor_bounds(job.cameras, reader.status()),
        resumable=keeper.keeps,
        kept=keeper.files,
        clock_zero_s=reader.clock_zero_s,
    )


def _listener(parts: _Parts) -> Listener:
    """Who is told of cameras that come and go."""

    def follow(names: Sequence[str], shown: Sequence[int]) -> None:
        for one in (parts.senders, parts.watch):
            one.follow(names)
        parts.sinks.follow(names, shown)

    return Listener(follow, parts.keeper.follow, parts.sinks.log_camera)


def _figures(parts: _Parts) -> Snapshot:
    """All there is to know of the run at this moment; from any thread."""
    roster = parts.roster
    changes = {"done": roster.num_changes, "refused": roster.num_refused}
    streams = (*parts.senders.figures(), *box_figures(parts.reader))
    size, age_s = parts.keeper.journal or (None, None)
    now = parts.watch.figures(parts.runner)
    return replace(now, streams=streams, camera_changes=changes, journal_bytes=size, journal_age_s=age_s)


def _deliver(tick: Tick, parts: _Parts) -> None:
    """Hand the results of a tick to all who want them, and keep the run's state if it came with them."""
    frames, mark = parted(without_notices(tick.items))
    parts.watch.introduce(frames)
    parts.sinks.write(frames)
    parts.senders.write(frames)
    parts.watch.see(frames)
    for gap in parts.keeper.gaps():
        parts.watch.miss(*gap)
    parts.keeper.keep(mark, tick.index, parts.reader, parts.sinks.settle, parts.watch.state())
    if isinstance(parts.reader, BoxReader):
        parts.reader.done(tick.index)


def _write_up(job: _Job, payload: Mapping[str, Any]) -> None:
    """run.json and the report of a run that has come to its end."""
    output = job.options.output
    write_json_atomically(output / RUN_FILE, payload)
    if job.config.output.report:
        write_report(output)
    if not job.options.video and (output / VIDEO_FILE).exists():
        log.warning("%s is of an earlier run; add --video to make it anew", output / VIDEO_FILE)


def _either(one: Callable[[], bool], other: Callable[[], bool]) -> Callable[[], bool]:
    return lambda: one() or other()
