"""events.jsonl, one JSON object a line, and what the events come to: the final identity of every tracklet.

The first line is `{"kind": "run_started", "cameras": [...]}`. Every other line has `kind` and `time_s` (seconds on
the shared clock). Identity events (`pipeline.types.Event`) add `camera` and `track_id` where they concern a tracklet,
`global_id`, `other_id` where there is one, and the evidence: `confidence`, `similarity`, `ground_m`, `gap_s`,
`margin`, and its parts in nats (`appearance`, `travel`, `motion`, `floor`). What has no meaning for a kind is left
out. Camera events (`camera_failed`, `camera_reconnected`, ...) add `camera` and `message`.
"""

from __future__ import annotations

import json
import logging
import math
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args

from pipeline.sinks.files import AtomicFile, naming
from pipeline.types import Event, EventKind, FusedFrame

logger = logging.getLogger(__name__)

EVENTS_FILE = "events.jsonl"
RUN_STARTED = "run_started"
CAMERA_ADDED, CAMERA_REMOVED = "camera_added", "camera_removed"
_IDENTITY_KINDS = frozenset(get_args(EventKind))
_EVIDENCE = (
    *("confidence", "similarity", "ground_m", "gap_s", "margin"),
    *("appearance", "travel", "motion", "floor"),
)

Tracklet = tuple[int, int]  # (camid, track_id)


class Decision(NamedTuple):
    """Which identity a tracklet has from `from_s` on, and how sure that is (NaN: nothing was said)."""

    global_id: int
    confidence: float
    from_s: float = -math.inf


class EventLog:
    """Writes events.jsonl as the run goes. Every line reaches the operating system before the call returns.

    May be called from several threads: cameras report failures from theirs.
    """

    def __init__(self, folder: Path, camera_names: Sequence[str], *, keep_bytes: int | None = None) -> None:
        """keep_bytes: go on behind so many bytes of what a run that was killed has written."""
        self._camera_names = tuple(camera_names)
        self._file = AtomicFile(folder / EVENTS_FILE, keep_bytes=keep_bytes)
        self.temporary = self._file.temporary
        self._path = self._file.path
        self._lock = threading.Lock()
        if keep_bytes is None:
            self._append([{"kind": RUN_STARTED, "cameras": list(self._camera_names)}])

    def write(self, frames: Sequence[FusedFrame]) -> None:
        """The identity events of one tick, in their order."""
        lines = [self._identity_line(event) for frame in frames for event in frame.events]
        if lines:
            self._append(lines)

    def log_camera(self, kind: str, camid: int, time_s: float, message: str = "") -> None:
        """Something happened to a camera. `message` must hold no credentials. NaN where the time is not known."""
        if kind in _IDENTITY_KINDS or kind == RUN_STARTED:
            raise ValueError(f"camera event {kind!r}: the name is taken by an identity event")
        line: dict[str, Any] = {"kind": kind, **_number("time_s", time_s), "camera": self._camera_names[camid]}
        self._append([{**line, "message": message} if message else line])

    def follow(self, camera_names: Sequence[str]) -> None:
        """The cameras of the run have changed; names by camid."""
        self._camera_names = tuple(camera_names)

    @property
    def current(self) -> Path:
        """Where the events are now."""
        return self.temporary if self.temporary.exists() else self._path

    def settle(self) -> int:
        """Write through to the disk what was written so far -> how many bytes that is."""
        with self._lock:
            return self._file.settle()

    def close(self) -> None:
        """Write through to the disk; the file keeps its temporary name."""
        with self._lock:
            self._file.close()

    def publish(self) -> None:
        """Close and give the file its name."""
        with self._lock:
            self._file.publish()

    def abandon(self) -> None:
        """Close without a word; the `.partial` file stays."""
        with self._lock:
            self._file.abandon()

    def _append(self, lines: Iterable[Mapping[str, Any]]) -> None:
        text = "".join(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n" for line in lines)
        with self._lock:
            self._file.write(text)
            self._file.flush()

    def _identity_line(self, event: Event) -> dict[str, Any]:
        line: dict[str, Any] = {"kind": event.kind, **_number("time_s", event.time_s)}
        if event.camid >= 0:
            line["camera"] = self._camera_names[event.camid]
        if event.track_id > 0:
            line["track_id"] = int(event.track_id)
        line["global_id"] = int(event.global_id)
        if event.other_id > 0:
            line["other_id"] = int(event.other_id)
        for name in _EVIDENCE:
            line |= _number(name, getattr(event, name))
        return line


def resolve(events: Iterable[Event]) -> dict[Tracklet, list[Decision]]:
    """The final identities of every tracklet that the events, taken in their order, speak of; in order of time, one
    each unless the tracklet was split.

    create, link   the tracklet has `global_id`
    split          the tracklet has `global_id` from the event's time on, up to its next split; to an identity that
                   was merged away it brings that identity back
    merge          what has `other_id` has `global_id` instead, and so has whoever joins `other_id` later; merges add
                   up (3 into 2, then 2 into 1: all are 1)

    The confidence of a tracklet is that of the last event that named it, lowered to the confidence of each merge
    that moved it since: a chain is as strong as its weakest link. `close` changes nothing.
    """
    decisions: dict[Tracklet, list[Decision]] = {}
    members: dict[int, dict[Tracklet, None]] = {}  # of each identity, in order of joining
    became: dict[int, int] = {}  # merged identity -> the one it went into
    for event in events:
        tracklet = (event.camid, event.track_id)
        match event.kind:
            case "create" | "link" | "split":
                from_s = event.time_s if event.kind == "split" and math.isfinite(event.time_s) else -math.inf
                if event.kind == "split":
                    became.pop(event.global_id, None)
                global_id = _follow(became, event.global_id)
                before = decisions.get(tracklet, [])
                now = [Decision(global_id, float(event.confidence), from_s)]
                if from_s > -math.inf:  # the others hold before this time, and from the next split on
                    now = sorted([*(d for d in before if d.from_s != from_s), *now], key=lambda d: d.from_s)
                decisions[tracklet] = now
                for gone in {d.global_id for d in before} - {d.global_id for d in now}:
                    members[gone].pop(tracklet, None)
                members.setdefault(global_id, {})[tracklet] = None
            case "merge":
                into, from_id = _follow(became, event.global_id), _follow(became, event.other_id)
                if into == from_id:
                    continue
                became[from_id] = into
                moved = members.pop(from_id, {})
                for one in moved:
                    decisions[one] = [
                        Decision(into, _weaker(d.confidence, event.confidence), d.from_s)
                        if d.global_id == from_id
                        else d
                        for d in decisions[one]
                    ]
                members.setdefault(into, {}).update(moved)
            case "close":
                pass
    return decisions


def read_events(path: Path, camids: dict[str, int]) -> Iterator[Event]:
    """The identity events of an events.jsonl, whole or cut off, one at a time.

    `camids` maps camera names to numbers; names it lacks are added. A line that was cut off, or that is damaged, is
    left out with a warning. Raises OutputError where the file can not be read.
    """
    with naming(path), path.open(encoding="utf-8", errors="replace") as file:
        for number, text in enumerate(file, 1):
            try:
                line = json.loads(text)
                if line["kind"] == RUN_STARTED:
                    for name in line["cameras"]:
                        camids.setdefault(name, len(camids))
                elif line["kind"] == CAMERA_ADDED:
                    camids.setdefault(line["camera"], len(camids))
                elif line["kind"] in _IDENTITY_KINDS:
                    yield _event(line, camids)
            except (ValueError, TypeError, KeyError):
                logger.warning("%s:%d: left out, the line is cut off or damaged", path, number)


def copy_whole_lines(source: Path, target: AtomicFile) -> None:
    """Copy an events.jsonl that may be cut off, without its damaged lines. Raises OutputError."""
    with naming(source), source.open(encoding="utf-8", errors="replace") as file:
        for text in file:
            try:
                json.loads(text)
            except ValueError:
                continue
            target.write(text.rstrip("\n") + "\n")


def _event(line: Mapping[str, Any], camids: dict[str, int]) -> Event:
    camera = line.get("camera")
    return Event(
        kind=line["kind"],
        time_s=float(line.get("time_s", math.nan)),
        global_id=int(line["global_id"]),
        camid=-1 if camera is None else camids.setdefault(str(camera), len(camids)),
        track_id=int(line.get("track_id", 0)),
        other_id=int(line.get("other_id", 0)),
        **{name: float(line[name]) for name in _EVIDENCE if name in line},
    )


def _number(name: str, value: float) -> dict[str, float]:
    """The number to a millionth, or nothing where it is none."""
    return {name: round(float(value), 6)} if math.isfinite(value) else {}


def _follow(became: Mapping[int, int], global_id: int) -> int:
    while global_id in became:
        global_id = became[global_id]
    return global_id


def _weaker(one: float, other: float) -> float:
    """The lower of two confidences; NaN says nothing and lowers nothing."""
    return min((confidence for confidence in (one, other) if not math.isnan(confidence)), default=math.nan)
