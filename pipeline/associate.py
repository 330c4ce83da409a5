"""Association behind another tracker: its files in, the same files out as a run writes."""

from __future__ import annotations

import heapq
import logging
import math
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline import __version__
from pipeline.cameras import Camera, load_cameras, load_given_travel, overlapping_pairs
from pipeline.config import PipelineConfig, load_pipeline
from pipeline.factories import FuseFactory
from pipeline.fusion.association_file import floors_told
from pipeline.ingest.status import CameraStatus
from pipeline.interchange.readers import READERS, files_of, frame_rates, ids_from_one, kind_of
from pipeline.interchange.rows import TrackRows
from pipeline.interchange.spool import CameraSpool, spool
from pipeline.interchange.track_feed import TrackFeed
from pipeline.interchange.vectors import VectorFile
from pipeline.provenance import RUN_FILE, node_times
from pipeline.report import Progress, RunReport
from pipeline.runtime.chain import Node, Tick
from pipeline.runtime.inline import InlineRunner
from pipeline.sinks.build import open_sinks
from pipeline.sinks.files import prepare_output
from pipeline.sinks.report.page import write_report
from pipeline.sinks.run_json import write_json_atomically
from pipeline.summary import summarize
from pipeline.types import EmbeddedFrame
from pipeline.yaml_file import ConfigError, near_miss

log = logging.getLogger(__name__)

_SLOT_EPS = 0.05  # of a tick: times are rounded
_SHOW_PERIOD_S = 0.25


@dataclass(frozen=True, slots=True)
class AssociateOptions:
    """What the command line asks for."""

    tracklets: Path
    output: Path
    embeddings: Path | None = None
    cams: Path | None = None
    config: Path | None = None
    settings: tuple[str, ...] = ()
    kind: str | None = None
    fps: float | None = None
    first_id: int = 1


def associate(options: AssociateOptions, show: Callable[[Progress], None], stop: Callable[[], bool]) -> RunReport:
    """Give the tracklets of other trackers identities over all cameras, and write what a run writes.

    Raises ConfigError and TableError for what can not be used, OutputError where results can not be written.
    """
    cameras, named_config = load_cameras(options.cams) if options.cams else ((), None)
    given = load_given_travel(options.cams, cameras) if options.cams else ()
    config = load_pipeline(options.config or named_config, options.settings)
    kind = options.kind or kind_of(options.tracklets)
    prepare_output(options.output)
    started_at, started = datetime.now(UTC), time.perf_counter()
    with tempfile.TemporaryDirectory(prefix=".tracks-", dir=options.output) as scratch:
        spools = _spooled(options, kind, cameras, Path(scratch))
        names = [camera.name for camera in cameras] or [one.camera for one in spools]
        vectors = VectorFile(options.embeddings, Path(scratch)) if options.embeddings else None
        if vectors and (unknown := vectors.unknown_cameras(names)):
            raise ConfigError(f"{options.embeddings}: vectors of camera {unknown[0]!r}{near_miss(unknown[0], names)}")
        if not cameras and len(spools) > 1:
            log.warning("without --cams no two cameras are taken to overlap, and no floor is known")
        feeds = [TrackFeed(names.index(one.camera), one, vectors, options.first_id) for one in spools]
        tick_s = config.ingest.tick_s or min((one.step_s for one in spools if one.step_s > 0), default=1.0)
        grounds = tuple(camera.ground for camera in cameras) or (None,) * len(names)
        site = grounds, overlapping_pairs(cameras), vectors.dim if vectors else 1
        config_path = options.config or named_config
        base_dir = config_path.resolve().parent if config_path else Path.cwd()
        fuse = FuseFactory(config.fusion, *site, tuple(names), given, base_dir, options.output.resolve())
        holds = config.fusion.lateness_s > 0
        watch = _Watch(names, feeds, show, started)
        with (
            InlineRunner([Node("fuse", fuse, merges=True, holds=holds)], [_ticks(feeds, tick_s, stop)]) as runner,
            open_sinks(config.output, options.output, names, video=False, fps=1 / tick_s) as sinks,
        ):
            for tick in runner:
                sinks.write(tick.items)
                watch.see(tick.items)
            for camid, status in enumerate(watch.status(ended=not stop())):
                sinks.log_camera(f"camera_{status.state}", camid, status.last_time_s)
            times = runner.times()
    report = summarize(
        options.output, watch.status(ended=not stop()), times, wall_s=time.perf_counter() - started, interrupted=stop()
    )
    write_json_atomically(options.output / RUN_FILE, _describe(options, kind, cameras, config, started_at, report))
    if config.output.report:
        write_report(options.output)
    return report


def _spooled(options: AssociateOptions, kind: str, cameras: Sequence[Camera], scratch: Path) -> list[CameraSpool]:
    """The tracks on the disk, by camera, in order of time."""
    rates = frame_rates(options.tracklets)
    files = files_of(options.tracklets, kind)

    def blocks() -> Iterator[TrackRows]:
        for file in files:
            for block in READERS[kind](file):
                yield ids_from_one(block, options.first_id)

    own = {camera.name: camera.fps for camera in cameras}
    starts = [camera.start_time_s for camera in cameras if camera.start_time_s is not None]
    first_s = min(starts, default=0.0)
    zero_s = {c.name: c.offset_s + (c.start_time_s - first_s if c.start_time_s is not None else 0.0) for c in cameras}
    spools = spool(
        blocks(),
        scratch,
        cameras=[camera.name for camera in cameras] or None,
        fps=lambda name: own.get(name) or rates.get(name) or options.fps,
        zero_s=zero_s,
    )
    if not spools:
        raise ConfigError(f"{options.tracklets}: no tracks in it")
    missing = sorted({camera.name for camera in cameras} - {one.camera for one in spools})
    if missing:
        log.warning("no tracks of camera %s", ", ".join(missing))
    return spools


def _ticks(feeds: Sequence[TrackFeed], tick_s: float, stop: Callable[[], bool]) -> Iterator[Tick]:
    """The frames of all cameras in slots of `tick_s`, at most one of each camera in a slot; until `stop()`."""
    streams = [_slotted(feed, tick_s) for feed in feeds]
    slot = -1
    items: list[EmbeddedFrame] = []
    for at, _, frame in heapq.merge(*streams, key=lambda entry: entry[:2]):
        if at != slot and items:
            if stop():
                return
            yield Tick(0, slot, tuple(items))
            items = []
        slot = at
        items.append(frame)
    if items:
        yield Tick(0, slot, tuple(items))


def _slotted(feed: TrackFeed, tick_s: float) -> Iterator[tuple[int, int, EmbeddedFrame]]:
    last: int | None = None
    for frame in feed:
        at = math.floor(frame.time_s / tick_s + _SLOT_EPS)
        last = at if last is None else max(at, last + 1)
        yield last, feed.camid, frame


class _Watch:
    """Keeps the live figures, and shows them now and then."""

    def __init__(
        self, names: Sequence[str], feeds: Sequence[TrackFeed], show: Callable[[Progress], None], started: float
    ) -> None:
        self._names = tuple(names)
        self._expected = {feed.camid: feed.num_frames for feed in feeds}
        self._show = show
        self._started = started
        self._shown = 0.0
        self._frames = [0] * len(names)
        self._live = [0] * len(names)
        self._last_s = [0.0] * len(names)
        self._num_identities = 0

    def see(self, frames: Sequence[Any]) -> None:
        for frame in frames:
            self._frames[frame.camid] += bool(len(frame.tracks))
            self._live[frame.camid] = len(frame.tracks)
            self._last_s[frame.camid] = frame.time_s
            for event in frame.events:
                self._num_identities += (event.kind in ("create", "split")) - (event.kind == "merge")
        now = time.perf_counter()
        if now - self._shown >= _SHOW_PERIOD_S:
            self._shown = now
            self._show(Progress(self.status(), tuple(self._live), self._num_identities, now - self._started))

    def status(self, *, ended: bool | None = None) -> tuple[CameraStatus, ...]:
        state = {None: "running", True: "ended", False: "stopped"}[ended]
        return tuple(
            CameraStatus(
                camid,
                name,
                state=state,  # type: ignore[arg-type]
                num_frames=self._frames[camid],
                expected_frames=self._expected.get(camid, 0),
                last_time_s=self._last_s[camid],
                message="" if camid in self._expected else "no tracks",
            )
            for camid, name in enumerate(self._names)
        )


def _describe(
    options: AssociateOptions,
    kind: str,
    cameras: Sequence[Camera],
    config: PipelineConfig,
    started_at: datetime,
    report: RunReport,
) -> Mapping[str, Any]:
    """The content of run.json."""
    by_name = {camera.name: camera for camera in cameras}
    pairs = [{cameras[a].name, cameras[b].name} for a, b in sorted(overlapping_pairs(cameras))]
    return {
        "crosscam": __version__,
        "command": "associate",
        "started_at": started_at.isoformat(),
        "wall_s": round(report.wall_s, 3),
        "interrupted": report.interrupted,
        "tracklets": str(options.tracklets),
        "format": kind,
        "embeddings": str(options.embeddings) if options.embeddings else None,
        "cams": str(options.cams) if options.cams else None,
        "settings": list(options.settings),
        "config": {"fusion": config.fusion.model_dump(mode="json"), "output": config.output.model_dump(mode="json")},
        "cameras": [
            {
                "id": status.name,
                "calibrated": status.name in by_name and by_name[status.name].ground is not None,
                "overlaps": sorted(other for pair in pairs if status.name in pair for other in pair - {status.name}),
                "state": status.state,
                "message": status.message,
                "frames": status.num_frames,
                "tracklets": tracklets,
            }
            for status, tracklets in zip(report.cameras, report.num_tracklets, strict=True)
        ],
        "identities": report.num_identities,
        "cross_camera_links": report.num_cross_camera_links,
        "learned_floor": floors_told(options.output),
        "nodes": node_times(report),
    }
