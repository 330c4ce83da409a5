"""`--resume DIR`: how a run goes on after a crash, and how its cameras are read on."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from pipeline.asked import asked_of, facts_of, is_live
from pipeline.cameras import Camera
from pipeline.config import PipelineConfig
from pipeline.ingest.spec import CameraSpec
from pipeline.report import RunOptions
from pipeline.run_journal import (
    BEFORE_ALL,
    Asked,
    Checkpoint,
    ResumeError,
    RunJournal,
    refuse_other,
    with_states,
)
from pipeline.runtime.chain import Mark, Node, Saved, Tick
from pipeline.sinks.files import OutputError, partial_path, remove_partials
from pipeline.sinks.recording import VIDEO_FILE, finish_recording
from pipeline.types import Frame

log = logging.getLogger(__name__)


class Clocked(Protocol):
    """What reads the cameras."""

    clock_zero_s: float | None
    tick_s: float


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
            for frame in tick.items:
                if frame.camid not in live and _differs(frame, last.get(frame.camid)):
                    raise ResumeError(
                        f"--resume: frame {frame.frame_idx} of camera number {frame.camid + 1} is of "
                        f"{frame.time_s:.3f} s and was of {last[frame.camid][1]:.3f} s: the recording is another one; "
                        "put it back, or start the run anew without --resume"
                    )
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


def _differs(frame: Frame, last: tuple[int, float] | None) -> bool:
    """Whether a frame that was the last when the state was saved has another time now."""
    return last is not None and frame.frame_idx == last[0] and frame.time_s != last[1]


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
            if options.resume and journal.last()[1] is None:
                remove_partials(options.output)  # as that run was about to
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
    def journal(self) -> tuple[int, float | None] | None:
        """Bytes of the journal, and seconds since a state was saved; None without a journal."""
        return None if self._journal is None else (self._journal.num_bytes, self._journal.age_s)

    def follow(self, cameras: Sequence[Camera], roster: Mapping[str, Any]) -> None:
        """The cameras of the run are these from now on, by camid; `roster` is kept for `roster_before`. From any
        thread, before the first tick for which it counts: who goes on from an earlier one is told of the change anew.
        """
        if self._journal is not None:
            asked = self._journal.asked
            facts = {name: text for name, text in asked.facts.items() if not name.startswith("cameras")}
            command = {**asked.command, "roster": dict(roster)}
            self._journal.asked = Asked(command, facts | facts_of(cameras))

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

    def specs(self, specs: Sequence[CameraSpec]) -> list[CameraSpec]:
        """How the cameras are read: what has been seen of recordings need not be decoded again, unless some of it was
        damaged, as only decoding tells."""
        if self.checkpoint is None:
            return list(specs)
        last, broken = self.checkpoint.frames, self.checkpoint.watch.get("broken", {})
        return [
            replace(spec, num_passed=last[spec.camid][0] + 1)
            if spec.camid in self.recordings and spec.camid in last and broken.get(spec.name) == 0
            else spec
            for spec in specs
        ]

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
