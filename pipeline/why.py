"""`why`: how an identity came to be, and why two tracklets are one person or two, from the events of a run."""

from __future__ import annotations

import csv
import json
import logging
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

from pipeline.evaluation.text import TableError
from pipeline.sinks.events import EVENTS_FILE, Decision, resolve
from pipeline.sinks.final import TRACKLETS_FILE
from pipeline.types import Event, EventKind
from pipeline.why_again import DAMAGED, Memory, compared_now, decided_again, fusion_config, load_memory

log = logging.getLogger(__name__)

_KINDS = frozenset(get_args(EventKind))
_NO_EVIDENCE = frozenset(("kind", "time_s", "camera", "track_id", "global_id", "other_id"))
_MARGIN = "margin"


@dataclass(frozen=True, slots=True)
class TrackletPart:
    """A row of tracklets.csv. `global_id` 0: nobody decided."""

    camera: str
    track_id: int
    global_id: int
    first_s: float
    last_s: float
    num_frames: int

    @property
    def name(self) -> str:
        return f"{self.camera}:{self.track_id}"


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What a run left behind of its identities. `lines` are the identity events as they stand in the file."""

    folder: Path
    lines: tuple[Mapping[str, Any], ...]
    parts: tuple[TrackletPart, ...]
    became: Mapping[int, int]  # identities that were merged away, and into which one at last
    again: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)  # by place in `lines`: decided again
    memory: Memory | None = None  # what the association knew at the end, None where it was not kept

    def final(self, global_id: int) -> int:
        return self.became.get(global_id, global_id)


def load_run(folder: Path) -> RunRecord:
    """The events and tracklets of a run. Raises TableError where they are not there."""
    for name in (EVENTS_FILE, TRACKLETS_FILE):
        if not (folder / name).is_file():
            raise TableError(f"{folder}: no {name}; name the output folder of a run")
    lines = tuple(_event_lines(folder / EVENTS_FILE))
    with (folder / TRACKLETS_FILE).open(encoding="utf-8", newline="") as file:
        parts = tuple(
            TrackletPart(
                camera=row["camera"],
                track_id=int(row["track_id"]),
                global_id=int(row["global_id"] or 0),
                first_s=float(row["first_s"]),
                last_s=float(row["last_s"]),
                num_frames=int(row["num_frames"]),
            )
            for row in csv.DictReader(file)
        )
    config = fusion_config(folder)
    try:
        memory = load_memory(folder, config)
    except DAMAGED as error:
        log.warning("%s; nothing is compared anew", error)
        memory = None
    return RunRecord(folder, lines, parts, _merged(lines), decided_again(lines, config), memory)


def why_identity(run: RunRecord, global_id: int) -> dict[str, Any]:
    """How `global_id` came to be: its tracklets, and every event that made or changed it, in order.

    An identity that was merged away has the story of the one it went into. Raises TableError for one that never was.
    """
    if not any(global_id == line["global_id"] for line in run.lines):
        known = sorted({part.global_id for part in run.parts if part.global_id})
        range_text = f"there are {known[0]} to {known[-1]}" if known else "there are none"
        raise TableError(f"{run.folder}: no identity {global_id}; {range_text}")
    final = run.final(global_id)
    family = {final, *(gone for gone, into in run.became.items() if into == final)}
    own = sorted((part for part in run.parts if part.global_id == final), key=lambda p: (p.first_s, p.name))
    return {
        "global_id": final,
        "asked_for": global_id,
        "was": sorted(family - {final}),
        "tracklets": [_part_dict(part) for part in own],
        "events": [_told(run, place) for place, line in enumerate(run.lines) if _concerns(line, family)],
        "compared_now": _steps(run, own),
    }


def why_pair(run: RunRecord, one: str, other: str) -> dict[str, Any]:
    """Why two tracklets, `CAMERA:TRACK` each, are the same person or not. Raises TableError for unknown ones."""
    sides = [_parts_of(run, name) for name in (one, other)]
    ids = [sorted({part.global_id for part in parts if part.global_id}) for parts in sides]
    common = sorted(set(ids[0]) & set(ids[1]))
    tracklets = [(parts[0].camera, parts[0].track_id) for parts in sides]
    told = []
    for place, line in enumerate(run.lines):
        names_one = (line.get("camera"), line.get("track_id")) in tracklets
        merges = line["kind"] == "merge" and run.final(line["global_id"]) in common and _moved(run, line, tracklets)
        if names_one or merges:
            told.append(_told(run, place))
    now = compared_now(run.memory, *tracklets) if run.memory and tracklets[0] != tracklets[1] else None
    return {
        "tracklets": [[_part_dict(part) for part in parts] for parts in sides],
        "same": bool(common),
        "global_ids": ids,
        "reasons": [] if common else _reasons_apart(run, sides),
        "events": told,
        "compared_now": now,
    }


def _event_lines(path: Path) -> Iterator[Mapping[str, Any]]:
    """The identity events as written, with all their fields; damaged lines are left out."""
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, text in enumerate(file, 1):
            try:
                line = json.loads(text)
                if line["kind"] in _KINDS:
                    int(line["global_id"])
                    yield line
            except (ValueError, TypeError, KeyError):
                log.warning("%s:%d: left out, the line is cut off or damaged", path, number)


def _merged(lines: Iterable[Mapping[str, Any]]) -> dict[int, int]:
    """Identities that were merged away -> the one they are at last."""
    into: dict[int, int] = {}
    for line in lines:
        if line["kind"] == "split":
            into.pop(line["global_id"], None)
        elif line["kind"] == "merge" and _end(into, line["other_id"]) != _end(into, line["global_id"]):
            into[_end(into, line["other_id"])] = _end(into, line["global_id"])
    return {gone: _end(into, gone) for gone in into}


def _end(into: Mapping[int, int], global_id: int) -> int:
    while global_id in into:
        global_id = into[global_id]
    return global_id


def _concerns(line: Mapping[str, Any], family: set[int]) -> bool:
    """Whether an event made or changed one of these identities; a runner-up is not changed."""
    return line["global_id"] in family or (line["kind"] in ("merge", "split") and line.get("other_id") in family)


def _steps(run: RunRecord, parts: Sequence[TrackletPart]) -> list[dict[str, Any]]:
    """From each tracklet of an identity to the next one, by what was known at the end."""
    names = list(dict.fromkeys((part.camera, part.track_id) for part in parts))
    found = (compared_now(run.memory, *pair) for pair in pairwise(names)) if run.memory else ()
    return [step for step in found if step]


def _told(run: RunRecord, place: int) -> dict[str, Any]:
    line = run.lines[place]
    evidence = {
        name: float(value)
        for name, value in line.items()
        if name not in _NO_EVIDENCE and isinstance(value, int | float) and math.isfinite(value)
    }
    told: dict[str, Any] = {"kind": line["kind"], "time_s": line.get("time_s"), "global_id": line["global_id"]}
    if line.get("camera") is not None and line.get("track_id"):
        told["tracklet"] = f"{line['camera']}:{line['track_id']}"
    if line.get("other_id"):
        told["other_id"] = line["other_id"]
    if place in run.again:
        told["again"] = dict(run.again[place])
    return {**told, "evidence": evidence}


def _part_dict(part: TrackletPart) -> dict[str, Any]:
    return {
        "tracklet": part.name,
        "camera": part.camera,
        "track_id": part.track_id,
        "global_id": part.global_id or None,
        "first_s": part.first_s,
        "last_s": part.last_s,
        "num_frames": part.num_frames,
    }


def _parts_of(run: RunRecord, name: str) -> list[TrackletPart]:
    camera, colon, number = name.rpartition(":")
    if not colon or not number.isdecimal():
        raise TableError(f"{name!r}: want CAMERA:TRACK, for example {run.parts[0].name if run.parts else 'door:3'}")
    found = [part for part in run.parts if (part.camera, part.track_id) == (camera, int(number))]
    if not found:
        there = sorted({part.camera for part in run.parts})
        what = f"no track {number} in camera {camera}" if camera in there else f"no camera {camera!r}"
        raise TableError(f"{run.folder}: {what}; cameras are {', '.join(there)}, tracks stand in {TRACKLETS_FILE}")
    return found


def _reasons_apart(run: RunRecord, sides: Sequence[Sequence[TrackletPart]]) -> list[str]:
    """What the run's files say against two tracklets being one person."""
    one, other = sides
    reasons = []
    both_s = min(one[-1].last_s, other[-1].last_s) - max(one[0].first_s, other[0].first_s)
    if one[0].camera == other[0].camera and both_s >= 0:
        reasons.append(f"Both are in camera {one[0].camera} at once, for {both_s:.2f} s: nobody is there twice.")
    elif both_s >= 0:
        reasons.append(f"They are seen at once, for {both_s:.2f} s: one person only if the cameras overlap there.")
    for mine, theirs in ((one, other), (other, one)):
        key = (mine[0].camera, mine[0].track_id)
        ids = {part.global_id for part in theirs}
        for line in run.lines:
            if line["kind"] in ("create", "link") and (line.get("camera"), line.get("track_id")) == key:
                runner_up = run.final(line.get("other_id") or 0)
                if runner_up in ids and runner_up:
                    margin = f", behind by {line[_MARGIN]:.2f}" if _MARGIN in line else ""
                    reasons.append(
                        f"When {mine[0].name} was decided, the identity of {theirs[0].name} was the runner-up{margin}."
                    )
    return reasons or [
        "No decision weighed one against the other: better choices were there, or they are too far apart."
    ]


def _moved(run: RunRecord, line: Mapping[str, Any], tracklets: Sequence[tuple[str, int]]) -> bool:
    """Whether a merge took one of the tracklets along: before it, they were two people; after it, one."""
    place = run.lines.index(line)
    camids: dict[str, int] = {}
    before, after = (
        {
            name: _ids(resolve(_events(run.lines[:stop], camids)), (camids.get(name[0], -1), name[1]))
            for name in tracklets
        }
        for stop in (place, place + 1)
    )
    return before != after


def _ids(decisions: Mapping[tuple[int, int], Sequence[Decision]], tracklet: tuple[int, int]) -> list[int]:
    return [decision.global_id for decision in decisions.get(tracklet, ())]


def _events(lines: Iterable[Mapping[str, Any]], camids: dict[str, int]) -> Iterator[Event]:
    for line in lines:
        camera = line.get("camera")
        yield Event(
            kind=line["kind"],
            time_s=float(line.get("time_s", math.nan)),
            global_id=int(line["global_id"]),
            camid=-1 if camera is None else camids.setdefault(str(camera), len(camids)),
            track_id=int(line.get("track_id", 0)),
            other_id=int(line.get("other_id", 0)),
        )
