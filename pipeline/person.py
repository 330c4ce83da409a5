"""A person in the output of a run: all numbers that it has had, and which rows are its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.sinks.events import EVENTS_FILE, Decision, Tracklet, read_events, resolve
from pipeline.sinks.files import OutputError
from pipeline.sinks.final import TABLE_FILE


class NobodyError(OutputError):
    """Nobody in the run has that number."""


@dataclass(frozen=True, slots=True)
class Person:
    """All numbers that the person has had, and what is theirs."""

    ids: frozenset[int]
    decisions: Mapping[Tracklet, Sequence[Decision]]  # of all tracklets
    names: tuple[str, ...]  # of cameras by the events' camid

    def has(self, camid: int, track_id: int, time_s: float) -> bool:
        """Whether a row at this time is the person's."""
        parts = self.decisions.get((camid, track_id), ())
        at = [part for place, part in enumerate(parts) if not place or part.from_s <= time_s]
        return bool(at) and at[-1].global_id in self.ids

    @property
    def tracklets(self) -> list[Tracklet]:
        return [one for one, parts in self.decisions.items() if any(part.global_id in self.ids for part in parts)]


def person_of(folder: Path, global_id: int) -> Person:
    """Who has the number `global_id` in the end. Raises NobodyError, and OutputError for no run."""
    events = folder / EVENTS_FILE
    if not events.is_file() or not (folder / TABLE_FILE).is_file():
        raise OutputError(f"{folder}: no {EVENTS_FILE} and {TABLE_FILE}; name the output folder of a finished run")
    camids: dict[str, int] = {}
    told = list(read_events(events, camids))
    became: dict[int, int] = {}
    for event in told:
        if event.kind == "merge":
            became[event.other_id] = event.global_id
        elif event.kind == "split":
            became.pop(event.global_id, None)
    ids = {global_id}
    for gone in became:
        last, seen = gone, set()
        while last in became and last not in seen:
            seen.add(last)
            last = became[last]
        if last == global_id:
            ids |= seen
    person = Person(frozenset(ids), resolve(told), tuple(camids))
    if not person.tracklets:
        raise NobodyError(f"{folder}: nobody has the number {global_id}; identities.csv lists who has one")
    return person
