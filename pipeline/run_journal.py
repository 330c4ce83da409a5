"""What a run needs to go on after `kill -9`: its journal, written while it runs and read by `--resume`.

Every so often the state of all stages is saved right after one tick, with how far the cameras were read and how many
bytes of each `.partial` file were written by then. Who goes on cuts the files there, gives the stages their state and
reads recordings from the next tick on; so nothing is lost or doubled. Rows and events need no journal of their own:
the `.partial` files are append-only.

A snapshot is a small document of plain values (`pipeline.saved_state`); in it the states of the stages are bytes that
only the stages read. When a run has ended its journal says so, and holds nothing else any more.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pipeline import __version__
from pipeline.journal.config import JournalConfig
from pipeline.journal.disk import Disk
from pipeline.journal.journal import Journal
from pipeline.runtime.chain import Mark, Node, Saved
from pipeline.runtime.pace import spread
from pipeline.saved_state import StateError, load_state, save_state
from pipeline.sinks.files import JOURNAL_FOLDER, output_error

log = logging.getLogger(__name__)

_FORMAT = 2
_CONFIG = JournalConfig(retention_bytes=4096)  # what the last snapshot has made superfluous goes at once
BEFORE_ALL = -(1 << 60)
"""`tick` of a checkpoint that was taken before the first tick."""


class ResumeError(ValueError):
    """A run that can not be gone on with; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A run right after `tick`.

    states: of the stages, by node and worker. files: bytes of each `.partial` file. frames: number and time of the last
    frame of each camera, by camid. watch: what the display counts.
    """

    tick: int
    clock_zero_s: float | None
    tick_s: float
    wall_s: float
    states: tuple[tuple[str, int, Any], ...]
    files: dict[str, int]
    frames: dict[int, tuple[int, float]]
    watch: dict[str, Any]
    num_resumes: int = 0


@dataclass(frozen=True, slots=True)
class Asked:
    """What a run was asked for, as far as its results depend on it. `command` is what to ask for again by default;
    `facts` are the settings by dotted name."""

    command: dict[str, Any]
    facts: dict[str, str]


class RunJournal:
    """The journal of one run; a context manager. Marks are asked for by the thread that reads the cameras (`mark`),
    checkpoints taken by the one that reads the results."""

    def __init__(self, folder: Path, asked: Asked, snapshot_s: float, *, disk: Disk | None = None) -> None:
        """folder: the run's output folder. Raises JournalError where another process has the journal."""
        self._path = folder / JOURNAL_FOLDER
        self.asked = asked  # for the states that are saved from now on
        self._snapshot_s = snapshot_s
        try:
            self._journal = Journal(self._path, _CONFIG, disk)
        except OSError as error:
            raise output_error(self._path, error) from error
        self._due_s = time.monotonic() + snapshot_s
        self._saved_s: float | None = None  # time.monotonic() of the last saved state
        self._frames: dict[int, tuple[int, float]] = {}
        self._marked: dict[int, dict[int, tuple[int, float]]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let others open the journal; one that holds nothing is removed."""
        with contextlib.suppress(OSError):  # whatever is not there yet was not promised
            self._journal.close()
            if not self._journal.num_bytes:
                (self._path / "lock").unlink()
                self._path.rmdir()

    def mark(self, tick: int, frames: Iterable[tuple[int, int, float]]) -> tuple[Mark, ...]:
        """Called with (camid, frame_idx, time_s) of the frames of each tick that is read: a mark to send along, if it
        is time for one."""
        for camid, frame_idx, time_s in frames:
            self._frames[camid] = frame_idx, time_s
        if time.monotonic() < self._due_s or self._marked:
            return ()
        self._due_s = time.monotonic() + self._snapshot_s
        self._marked[tick] = dict(self._frames)
        return (Mark(),)

    def frames_at(self, tick: int) -> dict[int, tuple[int, float]]:
        """The last frame of each camera up to the tick that was marked."""
        return self._marked.pop(tick)

    def save(self, checkpoint: Checkpoint) -> None:
        """Go on from here after a crash. Raises OutputError."""
        document = {**_head(self.asked), "finished": False, "checkpoint": asdict(checkpoint)}
        started_s = time.perf_counter()
        size = self._snapshot(document)
        log.info("state saved: %.1f MB in %.0f ms", size / 1e6, 1e3 * (time.perf_counter() - started_s))

    @property
    def num_bytes(self) -> int:
        return self._journal.num_bytes

    @property
    def age_s(self) -> float | None:
        """Since a state was saved, None before the first."""
        return None if self._saved_s is None else time.monotonic() - self._saved_s

    def finish(self) -> None:
        """The run's results are whole: what was needed to go on is removed. Raises OutputError."""
        self._snapshot({**_head(self.asked), "finished": True})

    def _snapshot(self, document: Mapping[str, Any]) -> int:
        data = save_state(dict(document))
        now_s = time.time()
        try:
            self._journal.snapshot(data, now_s)
            self._journal.retain(now_s)
        except OSError as error:
            raise output_error(self._path, error) from error
        self._saved_s = time.monotonic()
        return len(data)

    def last(self) -> tuple[Asked, Checkpoint | None]:
        """What the journal holds; no checkpoint of a run that has ended. Raises ResumeError."""
        document = None
        for record in self._journal.replay():
            document = record.payload
        if document is None:
            raise ResumeError(f"{self._path}: is empty: the run was killed before it began; start it anew")
        return _read(document, self._path)


def _head(asked: Asked) -> dict[str, Any]:
    return {"format": _FORMAT, "crosscam": __version__, "asked": asdict(asked)}


def _read(data: bytes, path: Path) -> tuple[Asked, Checkpoint | None]:
    try:
        document = load_state(data, ())
        written, mine = (document["crosscam"], document["format"]), (__version__, _FORMAT)
        if written != mine:
            raise ResumeError(
                f"{path}: was written by version {written[0]} (states of kind {written[1]}), this is {mine[0]} (kind "
                f"{mine[1]}); go on with that version, or start the run anew"
            )
        asked = Asked(**document["asked"])
        return asked, None if document["finished"] else Checkpoint(**document["checkpoint"])
    except StateError as error:
        raise ResumeError(f"{path}: {error}; start the run anew") from error
    except (TypeError, KeyError) as error:
        raise ResumeError(f"{path}: is no journal of a run ({error}); start the run anew") from error


def asked_before(folder: Path) -> Asked:
    """What the run in this output folder was asked for. Raises ResumeError and JournalError."""
    if not (folder / JOURNAL_FOLDER).is_dir():
        raise ResumeError(
            f"{folder}: there is no {JOURNAL_FOLDER} to go on with; name the output folder of a run that was killed. "
            "Without a journal `python -m pipeline recover` makes the best of what is there"
        )
    with RunJournal(folder, Asked({}, {}), 0.0) as journal:
        return journal.last()[0]


def refuse_other(before: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Raises ResumeError that names the settings that are not what they were."""
    differing = [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]
    if differing:
        told = "; ".join(
            f"{name} was {before.get(name, 'not there')} and is {now.get(name, 'not there')}" for name in differing[:5]
        )
        more = f" (and {len(differing) - 5} more)" if len(differing) > 5 else ""
        raise ResumeError(
            f"--resume: the run was started with other settings: {told}{more}. Set them back, or start the run anew "
            "without --resume"
        )


def flat(name: str, value: Any) -> dict[str, str]:
    """Nested settings as texts by dotted name."""
    if isinstance(value, Mapping):
        return {key: text for part, inner in value.items() for key, text in flat(f"{name}.{part}", inner).items()}
    return {name: repr(value)}


def with_states(nodes: Sequence[Node], states: Sequence[tuple[str, int, Any]], num_cameras: int) -> list[Node]:
    """The nodes, with what their workers remember; states by camera go to the workers that have those cameras now."""
    out = []
    for node in nodes:
        mine = [Saved(*state) for state in states if state[0] == node.name]
        if not mine:
            out.append(node)
            continue
        if node.merges:
            saved: tuple[Any, ...] = (mine[0].state,)
        else:
            place_of = spread(num_cameras, node.workers)
            by_camera = {camid: state for part in mine for camid, state in part.state.items()}
            saved = tuple(
                {camid: state for camid, state in by_camera.items() if place_of[camid] == number}
                for number in range(node.workers)
            )
        out.append(replace(node, saved=saved))
    return out
