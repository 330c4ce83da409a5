"""`--resume DIR`: what a run is that goes on after a crash, and how the cameras are read on."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np

from pipeline.config import Camera, PipelineConfig
from pipeline.detect.build import model_hash
from pipeline.detect.build import model_path as detector_path
from pipeline.ingest.build import LIVE, locate
from pipeline.ingest.urls import mask_credentials
from pipeline.reid.build import model_path as embedder_path
from pipeline.report import RunOptions
from pipeline.run_journal import (
    BEFORE_ALL,
    Asked,
    Checkpoint,
    ResumeError,
    RunJournal,
    asked_before,
    flat,
    refuse_other,
    with_states,
)
from pipeline.runtime.chain import Mark, Node, Saved, Tick
from pipeline.sinks.files import OutputError, partial_path, remove_partials
from pipeline.sinks.recording import VIDEO_FILE, finish_recording
from pipeline.types import Frame

log = logging.getLogger(__name__)

_NO_MATTER = (
    *("detect.threads", "reid.threads", "ingest.decode_threads", "ingest.buffer_frames"),
    *("output.journal", "output.snapshot_s", "output.report"),
)  # settings that change nothing in the tables


class Clocked(Protocol):
    """What reads the cameras."""

    clock_zero_s: float | None
    tick_s: float


def resumed_options(
    folder: Path,
    *,
    cams: Path | None,
    config: Path | None,
    settings: tuple[str, ...],
    video: bool,
    where: tuple[str, int | None, str | None, int | None],
) -> RunOptions:
    """What `--resume folder` stands for: what that run was asked for, unless it is given anew. where: runtime, workers,
    ray_address and live_port, which may be others than they were. Raises ResumeError and JournalError."""
    command = asked_before(folder).command
    config = config or (Path(command["config"]) if command["config"] and cams is None else None)
    cams = cams or Path(command["cams"])
    settings, video = settings or tuple(command["settings"]), video or command["video"]
    return RunOptions(cams, folder, config, settings, video, command["max_seconds"], *where, resume=True)


def asked_of(options: RunOptions, cameras: Sequence[Camera], config: PipelineConfig, base_dir: Path) -> Asked:
    """What the results of a run depend on."""
    command = {
        "cams": str(options.cams.resolve()),
        "config": str(options.config.resolve()) if options.config else None,
        "settings": [text for text in options.settings if mask_credentials(text) == text],  # others are given anew
        "video": options.video,
        "max_seconds": options.max_seconds,
    }
    facts = flat("max_seconds", options.max_seconds) | flat("video", options.video)
    for part, settings in config.model_dump(mode="json").items():
        facts |= flat(part, settings)
    for name, path in (
        ("detect", detector_path(config.detect, base_dir)),
        ("reid", embedder_path(config.reid, base_dir)),
    ):
        with suppress(ValueError, OSError):  # a model that is missing is the stage's to report
            facts[f"{name}.model (content)"] = model_hash(path) if path else "built in"
    for camera in cameras:
        facts |= flat(f"cameras[{camera.name}]", _camera_facts(camera))
    facts["cameras"] = ", ".join(camera.name for camera in cameras)
    return Asked(
        command, {name: mask_credentials(text) for name, text in sorted(facts.items()) if name not in _NO_MATTER}
    )


def _camera_facts(camera: Camera) -> dict[str, object]:
    ground = camera.ground
    shape = hashlib.sha256()
    for part in () if ground is None else (ground.image_to_ground, ground.intrinsic, ground.distortion):
        shape.update(np.ascontiguousarray(part, np.float64).tobytes())
    facts: dict[str, object] = {
        "source": camera.source,
        "start_time": camera.start_time_s,
        "offset_s": camera.offset_s,
        "fps": camera.fps,
        "crop": camera.crop,
        "regions": json.dumps(camera.regions.model_dump(mode="json")),
        "overlaps": camera.overlaps,
        "calibration": shape.hexdigest()[:16] if ground is not None else None,
    }
    path = Path(camera.source)
    if not is_live(camera) and path.is_file():
        facts["source (bytes)"] = path.stat().st_size
    return facts


def is_live(camera: Camera) -> bool:
    """Whether the camera shows the present, and can not be read again."""
    return locate(camera.source)[0] in LIVE


def checkpoint_of(journal: RunJournal, asked: Asked, cameras: Sequence[Camera], config: PipelineConfig) -> Checkpoint:
    """Where the run is gone on with. Raises ResumeError where it can not be."""
    before, checkpoint = journal.last()
    if checkpoint is None:
        raise ResumeError("--resume: this run has ended, its results are whole; there is nothing to go on with")
    refuse_other(before.facts, asked.facts)
    live = [is_live(camera) for camera in cameras]
    if not all(live) and (any(live) or config.ingest.policy == "drop_oldest"):
        raise ResumeError(
            "--resume: recordings that are played in real time (beside live cameras, or with ingest.policy "
            "drop_oldest) can not be gone on with; `python -m pipeline recover` makes whole tables of what is there"
        )
    return checkpoint


def as_before(config: PipelineConfig, checkpoint: Checkpoint) -> PipelineConfig:
    """The settings with the clock that the run had."""
    ingest = config.ingest.model_copy(update={"tick_s": checkpoint.tick_s or config.ingest.tick_s})
    transport = config.transport.model_copy(update={"clock_zero_s": checkpoint.clock_zero_s})
    return config.model_copy(update={"ingest": ingest, "transport": transport})


def journaled(
    ticks: Iterable[Tick],
    journal: RunJournal,
    checkpoint: Checkpoint | None,
    live: frozenset[int],
    gap: Callable[[int, float, float], None],
) -> Iterator[Tick]:
    """The ticks after the checkpoint, with a mark now and then.

    live: camids of live cameras; their frames are numbered on, and `gap(camid, from_s, to_s)` is told what was missed.
    """
    after = checkpoint.tick if checkpoint else BEFORE_ALL
    last = dict(checkpoint.frames) if checkpoint else {}
    behind = {camid: last[camid][0] + 1 for camid in live if camid in last}
    missed = set(behind)
    for tick in ticks:
        if tick.index <= after:
            continue
        frames: tuple[Frame, ...] = tick.items
        if behind:
            frames = tuple(replace(f, frame_idx=f.frame_idx + behind.get(f.camid, 0)) for f in frames)
            for frame in frames:
                if frame.camid in missed:
                    missed.remove(frame.camid)
                    gap(frame.camid, last[frame.camid][1], frame.time_s)
        marks = journal.mark(tick.index, ((f.camid, f.frame_idx, f.time_s) for f in frames))
        yield Tick(tick.shard, tick.index, (*frames, *marks))


def parted(items: Sequence[Any]) -> tuple[tuple[Any, ...], Mark | None]:
    """The items of a tick, and the mark that came behind them."""
    if items and isinstance(items[-1], Mark):
        return tuple(items[:-1]), items[-1]
    return tuple(items), None


def _keep_video(folder: Path) -> None:
    """What was recorded before the crash stays, under a name of its own."""
    recording = partial_path(folder / VIDEO_FILE)
    if recording.is_file():
        number = 1
        while (before := folder / f"mosaic-before-{number}.mp4").exists():
            number += 1
        try:
            finish_recording(recording, before)
        except OutputError as error:
            log.warning("%s; the tables are not touched by that", error)


class Keeper:
    """Keeps a run such that it can be gone on with; a context manager around the whole of it. Without a journal it
    does nothing."""

    def __init__(
        self,
        journal: RunJournal | None,
        checkpoint: Checkpoint | None,
        live: frozenset[int],
        recordings: frozenset[int],
    ) -> None:
        """checkpoint: where the run is gone on with, None for one that begins. live, recordings: camids of cameras that
        show the present, and of those that can be read again."""
        self.recordings = recordings
        self._gaps: deque[tuple[int, float, float]] = deque()
        self.checkpoint = checkpoint
        self._journal = journal
        self._live = live
        self._before_s = checkpoint.wall_s if checkpoint else 0.0
        self._started_s = time.perf_counter()

    @classmethod
    def open(
        cls, options: RunOptions, cameras: Sequence[Camera], config: PipelineConfig, base_dir: Path, *, remote: bool
    ) -> Keeper:
        """Raises ResumeError, JournalError and OutputError."""
        near = () if remote else tuple(enumerate(cameras))
        live = frozenset(camid for camid, camera in near if is_live(camera))
        recordings = frozenset(camid for camid, _ in near) - live
        if options.resume and remote:
            raise ResumeError("--resume: what boxes send is kept by the Redis server; start the run anew")
        if not options.resume and (remote or not config.output.journal):
            return cls(None, None, live, recordings)
        asked = asked_of(options, cameras, config, base_dir)
        journal = RunJournal(options.output, asked, config.output.snapshot_s)
        try:
            checkpoint = checkpoint_of(journal, asked, cameras, config) if options.resume else None
            if options.resume:
                _keep_video(options.output)
            return cls(journal, checkpoint, live, recordings)
        except BaseException:
            journal.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._journal is not None:
            self._journal.close()

    @property
    def keeps(self) -> bool:
        return self._journal is not None

    @property
    def num_resumes(self) -> int:
        return self.checkpoint.num_resumes + 1 if self.checkpoint else 0

    @property
    def files(self) -> dict[str, int] | None:
        """What is to be kept of the `.partial` files of the run that is gone on with."""
        return self.checkpoint.files if self.checkpoint else None

    def config(self, config: PipelineConfig) -> PipelineConfig:
        """The settings, with the clock of the run that is gone on with."""
        return as_before(config, self.checkpoint) if self.checkpoint else config

    def nodes(self, nodes: Sequence[Node], num_cameras: int) -> list[Node]:
        """The nodes, with what they remember of the run that is gone on with."""
        return with_states(nodes, self.checkpoint.states, num_cameras) if self.checkpoint else list(nodes)

    def ticks(self, ticks: Iterable[Tick]) -> Iterable[Tick]:
        """The ticks that are to be worked on."""
        if self._journal is None:
            return ticks
        return journaled(ticks, self._journal, self.checkpoint, self._live, lambda *gap: self._gaps.append(gap))

    def gaps(self) -> Iterator[tuple[int, float, float]]:
        """What was missed of live cameras and not yet told: camid, from when and to when."""
        while self._gaps:
            yield self._gaps.popleft()

    def begin(self, reader: Clocked, files: Callable[[], dict[str, int]], watch: Mapping[str, Any]) -> None:
        """The files are there, and the cameras' clock: from now on the run can be gone on with."""
        if self._journal is not None and self.checkpoint is None:
            self._save(self._journal, BEFORE_ALL, reader, (), files(), {}, watch)

    def keep(
        self,
        mark: Mark | None,
        tick: int,
        reader: Clocked,
        files: Callable[[], dict[str, int]],
        watch: Mapping[str, Any],
    ) -> None:
        """A tick has been written, and came with a mark or without: where it did, the run can go on from here."""
        if self._journal is not None and mark is not None:
            self._save(self._journal, tick, reader, mark.states, files(), self._journal.frames_at(tick), watch)

    def end(self, folder: Path) -> None:
        """All results are whole."""
        if self._journal is not None:
            self._journal.finish()
            remove_partials(folder)

    def _save(
        self,
        journal: RunJournal,
        tick: int,
        reader: Clocked,
        states: tuple[Saved, ...],
        files: dict[str, int],
        frames: dict[int, tuple[int, float]],
        watch: Mapping[str, Any],
    ) -> None:
        journal.save(
            Checkpoint(
                tick=tick,
                clock_zero_s=reader.clock_zero_s,
                tick_s=reader.tick_s,
                wall_s=self._before_s + time.perf_counter() - self._started_s,
                states=tuple(tuple(saved) for saved in states),
                files=files,
                frames=frames,
                watch=dict(watch),
                num_resumes=self.num_resumes,
            )
        )
