"""The whole flow, top to bottom: cameras, four stages, sinks, and the runner that moves ticks between them."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np

from pipeline.config import (
    Camera,
    PipelineConfig,
    load_cameras,
    load_given_travel,
    load_pipeline,
    load_runtime,
    overlapping_pairs,
)
from pipeline.fusion.travel import GivenTravel
from pipeline.ingest.spec import CameraSpec
from pipeline.ingest.status import CameraStatus
from pipeline.ingest.ticks import NoCameraError
from pipeline.live.config import LiveConfig
from pipeline.live.figures import CameraFigures, NodeFigures, Snapshot
from pipeline.live.server import LiveServer
from pipeline.provenance import describe_run
from pipeline.reid.build import build_embedder
from pipeline.remote import Reader, box_figures, open_reader, open_senders
from pipeline.report import Progress, RunOptions, RunReport
from pipeline.resume import Keeper, parted
from pipeline.runtime.build import Runner, build_runner
from pipeline.runtime.chain import FLUSH, Node, Tick
from pipeline.runtime.config import RuntimeConfig, available_cores
from pipeline.runtime.pace import Splitter, spread
from pipeline.sinks.build import open_sinks
from pipeline.sinks.files import OutputError, prepare_output
from pipeline.sinks.recording import VIDEO_FILE
from pipeline.sinks.report.page import write_report
from pipeline.sinks.run_json import write_json_atomically
from pipeline.stages import DetectFactory, EmbedFactory, FuseFactory, Region, TrackFactory
from pipeline.summary import summarize
from pipeline.transport.boxes import BoxReader
from pipeline.types import FusedFrame
from pipeline.yaml_file import ConfigError

log = logging.getLogger(__name__)

RUN_FILE = "run.json"
_LOOK_PERIOD_S = 0.1
_SHOW_PERIOD_S = 0.25
_STOP_PERIOD_S = 0.1
_PREPARE = partial(cv2.setNumThreads, 1)  # stages share the cores; OpenCV's own threads would only get in the way


def run(options: RunOptions, show: Callable[[Progress], None], stop: Callable[[], bool]) -> RunReport:
    """Run the cameras of `options.cams` to their end, or until `stop()`; all files are whole in either case.

    Raises ConfigError for a configuration that can not be used, NoCameraError where no camera could be read,
    OutputError where results can not be written, StageError where a stage failed.
    """
    _PREPARE()
    asked = threading.Event()
    stop = _either(stop, asked.is_set)
    cameras, named_config = load_cameras(options.cams)
    config_path = options.config or named_config
    config = load_pipeline(config_path, options.settings)
    runtime = load_runtime(options.runtime, workers=options.workers, ray_address=options.ray_address)
    remote = config.transport.sources != "cameras"
    num_shards = 1 if remote else runtime.num_shards(len(cameras))
    base_dir = config_path.resolve().parent if config_path else Path.cwd()
    prepare_output(options.output, go_on=options.resume)
    if config.transport.box:
        from pipeline.edge import Edge, run_edge  # which is made of the parts of this file

        return run_edge(Edge(options, cameras, config, runtime, base_dir), show, stop, asked)
    if remote and options.video:
        raise ConfigError("--video: boxes send no pictures; leave it out, or draw on the boxes' own videos")
    with Keeper.open(options, cameras, config, base_dir, remote=remote) as keeper:
        job = _Job(options, cameras, keeper.config(config), runtime, base_dir, num_shards)
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


def _run(
    job: _Job, keeper: Keeper, show: Callable[[Progress], None], stop: Callable[[], bool], asked: threading.Event
) -> RunReport:
    options, cameras, config, runtime, base_dir, num_shards = job
    remote = config.transport.sources != "cameras"
    specs = [_spec(camid, camera) for camid, camera in enumerate(cameras)]
    tiles_across = math.ceil(math.sqrt(len(cameras)))
    preview_px = config.output.video_width_px // tiles_across if options.video else 0
    given = load_given_travel(options.cams, cameras)
    nodes = build_nodes(cameras, config, base_dir, preview_px, num_shards, given=given, folder=options.output)
    if config.reid.model == "colour":
        log.warning("reid.model is colour: clothes are compared by their colours alone; name a ReID network if you can")
    if remote:
        nodes = nodes[3:]  # boxes detect, track and embed
    nodes = keeper.nodes(nodes, len(cameras))
    started_at, started = datetime.now(UTC), time.perf_counter()

    with ExitStack() as stack:
        reader = open_reader(config, cameras, specs, base_dir=base_dir, max_seconds=options.max_seconds)
        stack.enter_context(_every(_STOP_PERIOD_S, lambda: reader.close() if stop() else None))
        stack.enter_context(_reading(reader, stop))
        ticks = keeper.ticks(_ticks(reader))
        runner = stack.enter_context(build_runner(runtime, nodes, _shards(ticks, len(cameras), num_shards), _PREPARE))
        sinks = stack.enter_context(
            open_sinks(
                config.output,
                options.output,
                [camera.name for camera in cameras],
                video=options.video,
                fps=1 / reader.tick_s,
                floor_bounds_m=floor_bounds(cameras, reader.status()),
                resumable=keeper.keeps,
                kept=keeper.files,
            )
        )
        senders = stack.enter_context(
            open_senders(config.transport, [camera.name for camera in cameras], reader.clock_zero_s)
        )
        watch = _Watch(reader, sinks, show, started, keeper.recordings)
        if keeper.checkpoint:
            watch.restore(keeper.checkpoint.watch)
        keeper.begin(reader, sinks.settle, watch.state())
        stack.enter_context(_every(_LOOK_PERIOD_S, watch.look))
        if options.live_port is not None:
            live = LiveConfig(port=options.live_port)

            def figures() -> Snapshot:
                return replace(watch.figures(runner), streams=(*senders.figures(), *box_figures(reader)))

            stack.enter_context(LiveServer(live, figures, {"stop": asked.set}))
        for tick in runner:
            frames, mark = parted(tick.items)
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
    payload = describe_run(options, cameras, config, base_dir, started_at, reader.clock_zero_s, report)
    write_json_atomically(options.output / RUN_FILE, payload)
    if config.output.report:
        write_report(options.output)
    if not options.video and (options.output / VIDEO_FILE).exists():
        log.warning("%s is of an earlier run; add --video to make it anew", options.output / VIDEO_FILE)
    return report


def build_nodes(
    cameras: Sequence[Camera],
    config: PipelineConfig,
    base_dir: Path,
    preview_px: int,
    num_shards: int = 1,
    *,
    given: tuple[GivenTravel, ...] = (),
    folder: Path | None = None,
) -> list[Node]:
    """The four stages, the first three with a worker for each of `num_shards` groups of cameras.

    given: what is known of travel times. folder: where the fuse stage leaves those that it has learned.
    What the embedder takes (clip length, size, dimension) is what the others are built for.
    """
    embedder = build_embedder(config.reid, base_dir)
    names = tuple(camera.name for camera in cameras)
    regions = tuple(_region(camera) for camera in cameras)
    grounds = tuple(camera.ground for camera in cameras)
    crops = embedder.clip_length, embedder.input_hw
    detect, reid = config.detect, config.reid
    if num_shards > 1:  # each worker has its share of the cores, if nobody said otherwise
        share = max(1, available_cores() // num_shards)
        detect = detect.model_copy(update={"threads": detect.threads or share})
        reid = reid.model_copy(update={"threads": reid.threads or max(1, share // 2)})
    site = grounds, overlapping_pairs(cameras), embedder.dim
    fuse = FuseFactory(config.fusion, *site, names, given, base_dir, folder.resolve() if folder else None)
    return [
        Node("detect", DetectFactory(detect, names, regions, base_dir), num_shards, stateless=True),
        Node("track", TrackFactory(config.track, config.clips, *crops, grounds, preview_px), num_shards),
        Node("embed", EmbedFactory(reid, base_dir), num_shards, stateless=True),
        Node("fuse", fuse, merges=True, holds=config.fusion.lateness_s > 0),
    ]


def _either(one: Callable[[], bool], other: Callable[[], bool]) -> Callable[[], bool]:
    return lambda: one() or other()


def floor_bounds(
    cameras: Sequence[Camera], status: Sequence[CameraStatus], max_sigma_m: float = 0.1
) -> tuple[float, float, float, float] | None:
    """The rectangle of floor, x_min, y_min, x_max, y_max in metres, that the calibrated cameras see well.

    A point counts where an error of 5 pixels moves it by less than `max_sigma_m`. None without calibration.
    """
    seen = []
    for camera, state in zip(cameras, status, strict=True):
        if camera.ground is None or not state.width:
            continue
        x, y = np.meshgrid(np.linspace(0, state.width - 1, 25), np.linspace(0, state.height - 1, 25))
        pixels = np.stack([x.ravel(), y.ravel()], axis=1)
        ground, sigma_m = camera.ground.to_ground(pixels), camera.ground.ground_sigma_m(pixels, 5.0)
        seen.append(ground[np.isfinite(ground).all(axis=1) & (sigma_m < max_sigma_m)])
    points = np.concatenate(seen) if seen else np.zeros((0, 2))
    if not len(points):
        return None
    (x_min, y_min), (x_max, y_max) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return x_min, y_min, x_max, y_max


def _spec(camid: int, camera: Camera) -> CameraSpec:
    return CameraSpec(
        camid=camid,
        name=camera.name,
        source=camera.source,
        start_time_s=camera.start_time_s,
        offset_s=camera.offset_s,
        fps=camera.fps,
        crop=camera.crop,
    )


def _region(camera: Camera) -> Region:
    keep = tuple(np.asarray(polygon, np.float64) for polygon in camera.regions.keep)
    return Region(keep, tuple(np.asarray(polygon, np.float64) for polygon in camera.regions.ignore))


@contextmanager
def _reading(reader: Reader, stop: Callable[[], bool]) -> Iterator[None]:
    """The open reader. Who is asked to stop before any camera was there has been interrupted, not failed."""
    try:
        reader.open()
    except NoCameraError:
        if stop():
            raise KeyboardInterrupt from None
        raise
    with reader:
        yield


def _shards(ticks: Iterable[Tick], num_cameras: int, num_shards: int) -> Sequence[Iterable[Tick]]:
    """The ticks, one source per group of cameras. Groups are neighbours in cams.yaml, so that the frames of
    a tick are in the same order whatever the number of groups."""
    if num_shards == 1:
        return [ticks]
    shard_of = spread(num_cameras, num_shards)
    return Splitter(ticks, num_shards, lambda frame: shard_of[frame.camid]).sources()


def _ticks(reader: Reader) -> Iterator[Tick]:
    """The reader's ticks as the runtime knows them, all cameras in one shard."""
    for tick in reader:
        yield Tick(0, tick.index, tick.frames)


@contextmanager
def _every(period_s: float, call: Callable[[], object]) -> Iterator[None]:
    """Call something again and again in a thread of its own, and once more at the end.

    Output that can not be written is not the thread's to report: the call at the end raises it, if the run has not.
    """
    done = threading.Event()

    def loop() -> None:
        while not done.wait(period_s):
            with suppress(OutputError):
                call()

    thread = threading.Thread(name="watch", target=loop, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        call()


class _CameraLog(Protocol):
    """Where it is noted what happens to cameras."""

    def log_camera(self, kind: str, camid: int, time_s: float, message: str = "") -> None: ...


class _Watch:
    """Keeps the live figures of a run, shows them now and then, and records what happens to cameras."""

    def __init__(
        self,
        reader: Reader,
        sinks: _CameraLog,
        show: Callable[[Progress], None],
        started: float,
        recordings: frozenset[int] = frozenset(),
    ) -> None:
        """recordings: camids of cameras that can be read again: what is told of them does not depend on when."""
        self._reader = reader
        self._recordings = recordings
        self._sinks = sinks
        self._show = show
        self._started = started
        self._shown = 0.0
        self._names = [status.name for status in reader.status()]
        self._states = dict.fromkeys(self._names, "connecting")
        self._live = [0] * len(self._states)
        self._last_ids = [0] * len(self._states)
        self._num_tracklets = [0] * len(self._states)
        self._num_identities = 0
        self._num_events: Counter[str] = Counter()
        self._num_ticks = 0
        self._last_tick_s: float | None = None

    @property
    def num_tracklets(self) -> tuple[int, ...]:
        """Of each camera, so far."""
        return tuple(self._num_tracklets)

    def state(self) -> dict[str, Any]:
        """What `restore` needs in a run that goes on."""
        return {
            "states": dict(self._states),
            "last_ids": list(self._last_ids),
            "num_tracklets": list(self._num_tracklets),
            "num_identities": self._num_identities,
            "num_events": dict(self._num_events),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on as the one did whose `state` this was."""
        self._states |= state["states"]
        self._last_ids, self._num_tracklets = list(state["last_ids"]), list(state["num_tracklets"])
        self._num_identities, self._num_events = state["num_identities"], Counter(state["num_events"])

    def introduce(self, frames: Sequence[FusedFrame]) -> None:
        """Record that recordings run, at their first frame."""
        for frame in frames:
            name = self._names[frame.camid]
            if frame.camid in self._recordings and self._states[name] == "connecting":
                self._states[name] = "running"
                self._sinks.log_camera("camera_running", frame.camid, frame.time_s)

    def say_goodbye(self) -> None:
        """Record how recordings have ended."""
        self._record([camera for camera in self._reader.status() if camera.camid in self._recordings])

    def miss(self, camid: int, from_s: float, to_s: float) -> None:
        """Record that a live camera was not read for a while, because the run was killed."""
        text = f"nothing was read from {from_s:.3f} s to {to_s:.3f} s: the run was cut off and gone on with"
        log.warning("camera %s: %s", self._names[camid], text)
        self._sinks.log_camera("camera_resumed", camid, to_s, text)

    def see(self, frames: Sequence[FusedFrame]) -> None:
        """Take in the results of a tick."""
        self._num_ticks, self._last_tick_s = self._num_ticks + 1, time.perf_counter()
        for frame in frames:
            self._live[frame.camid] = len(frame.tracks)
            if len(frame.tracks):  # ids rise: what is above the highest so far is new
                new = frame.tracks.track_id > self._last_ids[frame.camid]
                self._num_tracklets[frame.camid] += int(new.sum())
                self._last_ids[frame.camid] = max(self._last_ids[frame.camid], int(frame.tracks.track_id.max()))
            for event in frame.events:
                self._num_events[event.kind] += 1
                self._num_identities += (event.kind in ("create", "split")) - (event.kind == "merge")

    def figures(self, runner: Runner) -> Snapshot:
        """All there is to know of the run at this moment; from any thread."""
        now = time.perf_counter()
        status, times = self._reader.status(), runner.times()
        number: Counter[str] = Counter()
        nodes = []
        for node in times:
            nodes.append(NodeFigures(node.name, number[node.name], node.wall_s, node.num_items))
            number[node.name] += 1
        return Snapshot(
            wall_s=now - self._started,
            idle_s=None if self._last_tick_s is None else now - self._last_tick_s,
            cameras=tuple(
                CameraFigures(
                    camera.name,
                    camera.state,
                    num_frames=camera.num_frames,
                    num_dropped=camera.num_dropped,
                    num_broken=camera.num_broken,
                    num_reconnects=camera.num_reconnects,
                    fps=camera.fps,
                    lag_s=camera.lag_s,
                    num_people=self._live[camera.camid],
                    num_tracklets=self._num_tracklets[camera.camid],
                )
                for camera in status
            ),
            nodes=tuple(nodes),
            num_ticks=self._num_ticks,
            num_identities=self._num_identities,
            num_merges=self._num_events["merge"],
            num_splits=self._num_events["split"],
            num_restarts=len(runner.restarts()),
        )

    def look(self) -> None:
        """Record what has changed, and show how things are if it is time to."""
        status = self._reader.status()
        self._record([camera for camera in status if camera.camid not in self._recordings])
        now = time.perf_counter()
        if now - self._shown >= _SHOW_PERIOD_S:
            self._shown = now
            self._show(Progress(status, tuple(self._live), self._num_identities, now - self._started))

    def _record(self, cameras: Sequence[CameraStatus]) -> None:
        for camera in cameras:
            if camera.state not in ("connecting", self._states[camera.name]):
                self._states[camera.name] = camera.state
                self._sinks.log_camera(f"camera_{camera.state}", camera.camid, camera.last_time_s, camera.message)
