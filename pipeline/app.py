"""The whole flow, top to bottom: cameras, four stages, sinks, and the runner that moves ticks between them."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
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
from pipeline.remote import box_figures, open_reader, open_senders
from pipeline.report import Progress, RunOptions, RunReport
from pipeline.resume import Keeper, parted
from pipeline.roster import Listener, Roster, as_they_were, is_gone, reloaded_on_hangup
from pipeline.runtime.build import build_runner
from pipeline.runtime.chain import FLUSH, Node
from pipeline.runtime.config import RuntimeConfig
from pipeline.sinks.build import open_sinks
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


def _run(
    job: _Job, keeper: Keeper, show: Callable[[Progress], None], stop: Callable[[], bool], asked: threading.Event
) -> RunReport:
    options, cameras, config, runtime, base_dir, num_shards, before = job
    names = [camera.name for camera in cameras]
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
        sinks = stack.enter_context(
            open_sinks(
                config.output,
                options.output,
                names,
                video=options.video,
                fps=1 / reader.tick_s,
                floor_bounds_m=floor_bounds(cameras, reader.status()),
                resumable=keeper.keeps,
                kept=keeper.files,
                clock_zero_s=reader.clock_zero_s,
            )
        )
        senders = stack.enter_context(open_senders(config.transport, names, reader.clock_zero_s))
        watch = Watch(reader, sinks, show, started, keeper.recordings)
        if keeper.checkpoint:
            watch.restore(keeper.checkpoint.watch)
        keeper.begin(reader, sinks.settle, watch.state())
        stack.enter_context(every(LOOK_PERIOD_S, watch.look))

        def follow(names: Sequence[str], shown: Sequence[int]) -> None:
            for one in (senders, watch):
                one.follow(names)
            sinks.follow(names, shown)

        roster.tell(Listener(follow, keeper.follow, sinks.log_camera))
        stack.enter_context(reloaded_on_hangup(roster))
        if live := live_config(config.live, options.live_port, base_dir):

            def figures() -> Snapshot:
                changes = {"done": roster.num_changes, "refused": roster.num_refused}
                streams = (*senders.figures(), *box_figures(reader))
                size, age_s = keeper.journal or (None, None)
                now = watch.figures(runner)
                return replace(now, streams=streams, camera_changes=changes, journal_bytes=size, journal_age_s=age_s)

            stack.enter_context(LiveServer(live, figures, {"stop": asked.set}, changes=roster))
        for tick in runner:
            frames, mark = parted(without_notices(tick.items))
            watch.introduce(frames)
            sinks.write(frames)
            senders.write(frames)
            watch.see(frames)
            for gap in keeper.gaps():
                watch.miss(*gap)
            keeper.keep(mark, tick.index, reader, sinks.settle, watch.state())
            if isinstance(reader, BoxReader):
                reader.done(tick.index)
        if isinstance(reader, BoxReader) and not stop():
            reader.done(FLUSH)
        watch.say_goodbye()
        times = runner.times()
    wall_s = time.perf_counter() - started
    report = summarize(options.output, reader.status(), times, wall_s=wall_s, interrupted=stop())
    ran = Ran(runtime.kind, num_shards, keeper.num_resumes, runner.restarts())
    payload = describe_run(options, roster.cameras, config, base_dir, started_at, reader.clock_zero_s, report, ran=ran)
    write_json_atomically(options.output / RUN_FILE, payload)
    if config.output.report:
        write_report(options.output)
    if not options.video and (options.output / VIDEO_FILE).exists():
        log.warning("%s is of an earlier run; add --video to make it anew", options.output / VIDEO_FILE)
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


def _either(one: Callable[[], bool], other: Callable[[], bool]) -> Callable[[], bool]:
    return lambda: one() or other()
