"""One number for one person over several sites, each with a fuser of its own.

A site's fuser sees the tracklets of its own cameras and, as guests, those of the cameras next door; it numbers people
as it likes. Over all sites a tracklet is who the site of its own camera takes it for. A person who has walked from one
site into the next is known in both: the later site has linked a tracklet of its own with one of its guests, and that
guest has a number already, which the person keeps. So sites agree on people through the tracklets that both have seen.

No number is ever in two places at once, whatever the sites say: what would break that gets a number of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from pipeline.fusion.constraints import Presence, cannot_be_one
from pipeline.fusion.travel import GivenTravel
from pipeline.types import Event, Int64

_MOMENT_S = 1e-3  # two sites that split a tracklet do it at the same time but for this
_NO_EVIDENCE: dict[str, Any] = dict.fromkeys(
    ("similarity", "ground_m", "gap_s", "margin", "appearance", "travel", "motion", "floor"), math.nan
)
_NOT_SAID = 0.5  # confidence where a site knows a person whom the others may know, too, by another number
_SWEEP_S = 1.0

Tracklet = tuple[int, int]  # camid, track_id
Local = tuple[int, int]  # place of a site, its own number of a person


@dataclass(slots=True, eq=False)
class _Part:
    """A tracklet from some time on, up to its next part: whose it is."""

    track: _Track
    from_s: float  # -inf for the first part
    global_id: int
    local: Local  # who it is in the site that has said so

    def presence(self) -> Presence:
        """As in `identities.Member`: for good while it may go on."""
        track, until_s = self.track, math.inf
        for other in track.parts:
            if self.from_s < other.from_s < until_s:
                until_s = other.from_s
        last_s = track.last_s if not track.open or until_s < math.inf else math.inf
        last_s = min(last_s, math.nextafter(until_s, -math.inf))
        return Presence(track.camid, max(self.from_s, track.first_s), last_s)


@dataclass(slots=True, eq=False)
class _Track:
    camid: int
    first_s: float
    last_s: float
    open: bool
    parts: list[_Part]  # in order of time

    def part_at(self, time_s: float) -> _Part | None:
        """Whose it was then; None where that is not decided."""
        found = None
        for part in self.parts:
            if found is None or part.from_s <= time_s:
                found = part
        return found


class Names:
    """The numbers of all people of all sites, and in which tracklets they were of late. Bounded by who is open.

    Tracklets are to be shown with `see` before events speak of them.
    """

    def __init__(
        self,
        overlaps: frozenset[tuple[int, int]],
        given: Iterable[GivenTravel],
        *,
        simultaneous_s: float,
        keep_s: float,
        stale_s: float,
    ) -> None:
        """overlaps: ordered pairs of camids that look at one place. keep_s: how long a tracklet is remembered."""
        self._overlaps = overlaps
        self._least_s = {(way.from_camid, way.to_camid): way.min_s for way in given if way.min_s > 0}
        self._simultaneous_s = simultaneous_s
        self._keep_s = keep_s
        self._stale_s = stale_s
        self._next_id = 1
        self._tracks: dict[Tracklet, _Track] = {}
        self._global_of: dict[Local, int] = {}
        self._locals_of: dict[int, set[Local]] = {}  # of every number that may get another tracklet
        self._parts_of: dict[int, list[_Part]] = {}
        self._seen_s: dict[int, float] = {}  # when last, in tracklets that have been forgotten
        self._own: set[Local] = set()  # who was seen by a camera of the site itself
        self._guest_of: dict[Local, tuple[Tracklet, float]] = {}  # a guest who tells the number, and when he was it
        self._waiting: dict[Tracklet, list[Local]] = {}  # the same the other way round
        self._swept_s = -math.inf
        self.num_refused = 0  # links that would have put a number in two places

    def __len__(self) -> int:
        """How many people may get another tracklet."""
        return len(self._locals_of)

    def see(self, camid: int, time_s: float, track_id: Int64, ended: Int64) -> None:
        """What a camera shows at one time, before the fusers are asked."""
        for tid in track_id.tolist():
            track = self._tracks.get((camid, tid))
            if track is None:
                self._tracks[camid, tid] = _Track(camid, time_s, time_s, True, [])
            else:
                track.last_s = max(track.last_s, time_s)
        for tid in ended.tolist():
            if (camid, tid) in self._tracks:
                self._tracks[camid, tid].open = False

    def of(self, camid: int, track_id: int) -> int:
        """Whose number a tracklet in view wears, 0 where that is not decided."""
        track = self._tracks.get((camid, track_id))
        return track.parts[-1].global_id if track and track.parts else 0

    def take(self, site: int, event: Event, *, own: bool) -> list[Event]:
        """What an event of a site's fuser (camids of all sites, its own numbers) means for all.

        own: whether the event speaks of a tracklet of the site's own camera.
        """
        local, tracklet = (site, event.global_id), (event.camid, event.track_id)
        match event.kind:
            case "merge":
                return self._merge(local, (site, event.other_id), event)
            case "close":
                return self._close(local, event)
            case "create" | "split" if own:
                return self._found(event, local)
            case "create" | "split":
                self._invite(local, tracklet, event.time_s if event.kind == "split" else -math.inf)
                return []
        global_id = self._resolve(local)
        if not own:
            if not global_id:
                self._invite(local, tracklet, -math.inf)
            return []
        part = _Part(self._tracks[tracklet], -math.inf, global_id, local)
        if global_id and self._clash([part], self._parts_of.get(global_id, []), {local}):
            self.num_refused += 1
            global_id = 0
        if not global_id:
            new = replace(event, kind="create", other_id=0, confidence=_NOT_SAID, **_NO_EVIDENCE)
            return self._found(new, local)
        self._wear(part)
        return [replace(event, global_id=global_id, other_id=self._known(site, event.other_id, global_id))]

    def sweep(self, now_s: float) -> None:
        """Forget tracklets that nothing can meet any more."""
        if now_s < self._swept_s + _SWEEP_S:
            return
        self._swept_s = now_s
        for tracklet, track in list(self._tracks.items()):
            track.open = track.open and track.last_s >= now_s - self._stale_s
            if track.open or track.last_s >= now_s - self._keep_s:
                continue
            for local in self._waiting.pop(tracklet, ()):
                self._resolve(local)
                self._guest_of.pop(local, None)
            del self._tracks[tracklet]
            for part in track.parts:
                self._drop(part)

    def _drop(self, part: _Part) -> None:
        gid = part.global_id
        parts = self._parts_of[gid]
        parts.remove(part)
        if not parts:
            del self._parts_of[gid]
        if gid in self._locals_of:
            self._seen_s[gid] = max(self._seen_s.get(gid, -math.inf), min(part.presence().last_s, part.track.last_s))

    def _found(self, event: Event, local: Local) -> list[Event]:
        """A new number for a tracklet of the site's own camera."""
        track = self._tracks[event.camid, event.track_id]
        from_s = event.time_s if event.kind == "split" else -math.inf
        before = track.part_at(from_s) if event.kind == "split" else None
        closed = self._call(local, self._next_id, event)
        part = _Part(track, from_s, self._next_id, local)
        self._next_id += 1
        self._wear(part)
        other_id = before.global_id if before else self._known(local[0], event.other_id, part.global_id)
        return [replace(event, global_id=part.global_id, other_id=other_id), *closed]

    def _wear(self, part: _Part) -> None:
        same = [p for p in part.track.parts if p.from_s == part.from_s]
        for old in same:
            self._drop(old)
            part.track.parts.remove(old)
        part.track.parts.append(part)
        part.track.parts.sort(key=lambda p: p.from_s)
        self._parts_of.setdefault(part.global_id, []).append(part)
        self._own.add(part.local)

    def _invite(self, local: Local, guest: Tracklet, from_s: float) -> None:
        """The number of `local` is that of a guest, as soon as that is known."""
        if local not in self._guest_of:
            self._guest_of[local] = guest, from_s
            self._waiting.setdefault(guest, []).append(local)

    def _resolve(self, local: Local) -> int:
        """The number of a person of a site, 0 where nobody has given one yet."""
        if local in self._global_of:
            return self._global_of[local]
        guest, from_s = self._guest_of.get(local, ((-1, 0), 0.0))
        track = self._tracks.get(guest)
        part = track.part_at(from_s + _MOMENT_S) if track else None
        if part is None or part.global_id not in self._locals_of:
            return 0
        self._call(local, part.global_id)
        return part.global_id

    def _call(self, local: Local, global_id: int, event: Event | None = None) -> list[Event]:
        """From now on this person of a site has that number -> the end of the former one, if nobody has it any more."""
        former = self._global_of.get(local, 0)
        self._global_of[local] = global_id
        self._locals_of.setdefault(global_id, set()).add(local)
        return self._leave(local, former, event) if event and former not in (0, global_id) else []

    def _leave(self, local: Local, global_id: int, event: Event) -> list[Event]:
        holders = self._locals_of[global_id]
        holders.discard(local)
        if holders:
            return []
        del self._locals_of[global_id]
        parts = self._parts_of.get(global_id, ())
        seen_s = [min(part.presence().last_s, part.track.last_s) for part in parts]
        last_s = max([self._seen_s.pop(global_id, -math.inf), *seen_s])
        return [Event("close", event.time_s, global_id, gap_s=max(event.time_s - last_s, 0.0))]

    def _close(self, local: Local, event: Event) -> list[Event]:
        self._resolve(local)
        self._own.discard(local)
        guest, _ = self._guest_of.pop(local, ((-1, 0), 0.0))
        if local in self._waiting.get(guest, ()):
            self._waiting[guest].remove(local)
        global_id = self._global_of.pop(local, 0)
        return self._leave(local, global_id, event) if global_id else []

    def _merge(self, kept: Local, gone: Local, event: Event) -> list[Event]:
        """Two people of a site are one; if both had numbers, these become one if they can be."""
        one, other = self._resolve(kept), self._resolve(gone)
        own = kept in self._own, gone in self._own
        events: list[Event] = []
        for part in [*self._parts_of.get(one, ()), *self._parts_of.get(other, ())]:
            if part.local == gone:
                part.local = kept
        if one and other and one != other:
            if any(own) and not self._clash(self._parts_of.get(one, []), self._parts_of.get(other, []), {kept}):
                low, high = min(one, other), max(one, other)
                self._unite(low, high)
                events.append(replace(event, global_id=low, other_id=high))
                one = other = low
            elif own[1] and not own[0]:
                one = other
        if not (one or other) and gone in self._guest_of:
            self._invite(kept, *self._guest_of[gone])
        if own[1]:
            self._own.add(kept)
        if one or other:
            events += self._call(kept, one or other, event)
        return events + self._close(gone, event)

    def _unite(self, low: int, high: int) -> None:
        for part in self._parts_of.get(high, ()):
            part.global_id = low
        self._parts_of.setdefault(low, []).extend(self._parts_of.pop(high, ()))
        if not self._parts_of[low]:
            del self._parts_of[low]
        for local in self._locals_of.pop(high):
            self._global_of[local] = low
            self._locals_of[low].add(local)
        self._seen_s[low] = max(self._seen_s.get(low, -math.inf), self._seen_s.pop(high, -math.inf))

    def _known(self, site: int, number: int, global_id: int) -> int:
        """The number of a runner-up, 0 where it has none or is the same person."""
        other = self._global_of.get((site, number), 0)
        return other if other != global_id else 0

    def _clash(self, ones: list[_Part], others: list[_Part], judged: set[Local]) -> bool:
        """Whether nobody can be in all these tracklets; what one site has joined itself, it has judged."""
        for one in ones:
            here = one.presence()
            for other in others:
                if one.local == other.local and one.local in judged:
                    continue
                there = other.presence()
                if cannot_be_one((here,), (there,), self._overlaps, self._simultaneous_s):
                    return True
                first, then = sorted((here, there), key=lambda p: p.first_s)
                if then.first_s - first.last_s < self._least_s.get((first.camid, then.camid), -math.inf):
                    return True
        return False
