"""What offline resolution remembers of tracklets that are over: a bounded table of their parts.

A tracklet whose tracker slipped from one person to another has several parts, each with an identity of its own. What
they looked like and where they began and ended is kept as the online mode leaves them; who they were taken for follows
from its events.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace

import numpy as np

from pipeline.fusion.floor import FloorAgreement
from pipeline.fusion.store import TrackletStore
from pipeline.types import Event, Float32, Float64, Int64

_COPIED = (
    "entry_xyxy",
    "exit_xyxy",
    "velocity_px",
    "entry_velocity_px",
    "entry_ground_xy",
    "ground_xy",
    "ground_sigma_m",
    "ground_velocity",
)
_AGREED = 2.0  # log-odds of two tracklets that agreed on the floor until one of them slipped
_DROPPED = 0.25  # share of a full archive that makes room at once

Tracklet = tuple[int, int]  # camid, track_id
Key = tuple[int, int, float]  # camid, track_id, from when on: -inf for the first part of a tracklet


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """Parts of tracklets (N,), in order of time; each shows one person. Columns as in `TrackletStore`."""

    camid: Int64
    track_id: Int64
    from_s: Float64  # the time of the event that began the part, -inf for the first one of a tracklet
    first_s: Float64
    last_s: Float64
    global_id: Int64  # who it was taken for online
    entry_zone: Int64  # -1: unknown
    exit_zone: Int64
    vector: Float32  # (N, D) of unit norm, zeros where it had no clip
    entry_xyxy: Float64
    exit_xyxy: Float64
    velocity_px: Float64
    entry_velocity_px: Float64
    entry_ground_xy: Float64
    ground_xy: Float64
    ground_sigma_m: Float64
    ground_velocity: Float64

    def __len__(self) -> int:
        return len(self.camid)

    def __getitem__(self, rows: Int64) -> Parts:
        return replace(self, **{column.name: getattr(self, column.name)[rows] for column in fields(self)})


@dataclass(slots=True)
class _Past:
    """A stretch of a tracklet between its beginning, or a restart, and the next restart, or its end."""

    first_s: float
    last_s: float
    zones: tuple[int, int]
    vector: Float32
    row: dict[str, Float64]


class TrackletArchive:
    """Parts of at most `capacity` tracklets; the ones longest over make room and stay what they are."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._past: dict[Tracklet, list[_Past]] = {}  # in order of their end
        self._worn: dict[Tracklet, list[tuple[float, int]]] = {}  # (from_s, global_id), ascending
        self._members: dict[int, set[Tracklet]] = {}  # tracklets of each identity
        self._floor: dict[tuple[Key, Key], float] = {}  # keys with the true beginning instead of -inf
        self._closes: dict[int, Event] = {}
        self._released: list[Event] = []
        self.incomplete: set[int] = set()  # identities of whose tracklets some are gone

    def __len__(self) -> int:
        return len(self._past)

    def keep(
        self,
        store: TrackletStore,
        floor: FloorAgreement,
        slot: int,
        zones: tuple[int, int],
        until_s: float | None = None,
    ) -> None:
        """A tracklet leaves the store, or with `until_s` shows somebody else from then on.

        zones: where it came in and went out, -1: unknown.
        """
        tracklet = int(store.camid[slot]), int(store.track_id[slot])
        row = {name: np.array(getattr(store, name)[slot], np.float64) for name in _COPIED}
        last_s = float(store.last_s[slot])
        if until_s is not None:
            last_s, zones = until_s, (zones[0], -1)
            for name in ("exit_xyxy", "velocity_px", "ground_xy", "ground_velocity"):
                row[name][:] = np.nan
        vector = store.vectors(np.array([slot]))[0].copy()
        self._past.setdefault(tracklet, []).append(_Past(float(store.first_s[slot]), last_s, zones, vector, row))
        self._keep_floor(store, floor, slot, slipped=until_s is not None)
        if len(self._past) > self._capacity:
            self._drop(max(1, int(_DROPPED * self._capacity)))

    def take(self, events: Iterable[Event]) -> list[Event]:
        """Note what events of the online mode mean -> those to pass on: closing waits until all is resolved."""
        passed, self._released = self._released, []
        for event in events:
            tracklet = event.camid, event.track_id
            match event.kind:
                case "create" | "link":
                    self._wear(tracklet, [(-math.inf, event.global_id)])
                case "split":
                    worn = [one for one in self._worn.get(tracklet, []) if one[0] != event.time_s]
                    bisect.insort(worn, (event.time_s, event.global_id))
                    self._wear(tracklet, worn)
                case "merge":
                    for one in sorted(self._members.get(event.other_id, ())):
                        swap = [(t, event.global_id if g == event.other_id else g) for t, g in self._worn[one]]
                        self._wear(one, swap)
                    if event.other_id in self.incomplete:
                        self.incomplete = (self.incomplete - {event.other_id}) | {event.global_id}
                case "close":
                    if event.global_id in self._members:
                        self._closes[event.global_id] = event
                        continue
            passed.append(event)
        return passed

    def closes(self) -> list[Event]:
        """The events that closed identities, held back until now."""
        closes, self._closes = [*self._released, *self._closes.values()], {}
        self._released = []
        return closes

    def parts(self) -> tuple[Parts, dict[tuple[int, int], float]]:
        """All parts that were decided; log-odds on the floor of pairs (earlier row, later row) seen at once."""
        keys, pasts, ids = [], [], []
        for tracklet in sorted(self._past):
            worn = self._worn.get(tracklet, [])
            for (from_s, gid), (until_s, _) in zip(worn, [*worn[1:], (math.inf, 0)], strict=True):
                inside = [p for p in self._past[tracklet] if from_s <= p.first_s < until_s]
                if inside:  # else it is the rest of a tracklet that hung on to something: nobody
                    past = inside[0] if inside[0].last_s < until_s else _cut(inside[0], until_s)
                    keys.append((*tracklet, from_s))
                    pasts.append(past)
                    ids.append(gid)
        order = sorted(range(len(keys)), key=lambda i: (pasts[i].first_s, keys[i]))
        keys, pasts, ids = [keys[i] for i in order], [pasts[i] for i in order], [ids[i] for i in order]
        parts = _table(keys, pasts, ids)
        row_of = {(k[0], k[1], p.first_s): row for row, (k, p) in enumerate(zip(keys, pasts, strict=True))}
        pairs = {}
        for (one, other), log_odds in self._floor.items():
            if one in row_of and other in row_of:
                a, b = row_of[one], row_of[other]
                pairs[min(a, b), max(a, b)] = log_odds
        return parts, pairs

    def worn(self) -> dict[Tracklet, list[tuple[float, int]]]:
        """Who each tracklet was taken for: (from when on, identity), in order of time."""
        return {tracklet: list(worn) for tracklet, worn in sorted(self._worn.items())}

    def _keep_floor(self, store: TrackletStore, floor: FloorAgreement, slot: int, *, slipped: bool) -> None:
        if not floor.active:
            return
        others = store.slots()
        others = others[others != slot]
        odds_s, _, seen_s = (table[0] for table in floor.pairs(np.array([slot]), others))
        log_odds = floor.log_odds(odds_s, seen_s)
        own = _key(store, slot)
        for place in np.flatnonzero(seen_s > 0).tolist():
            other = int(others[place])
            value = float(log_odds[place])
            if slipped:  # what disagrees is the person after it
                value = _AGREED if math.isfinite(floor.agreed_at_s(slot, np.array([other]))) else max(value, 0.0)
            self._floor[own, _key(store, other)] = value

    def _wear(self, tracklet: Tracklet, worn: list[tuple[float, int]]) -> None:
        for gid in {gid for _, gid in self._worn.get(tracklet, [])} - {gid for _, gid in worn}:
            self._members[gid].discard(tracklet)
            if not self._members[gid]:
                del self._members[gid]
        self._worn[tracklet] = worn
        for _, gid in worn:
            self._members.setdefault(gid, set()).add(tracklet)

    def _drop(self, count: int) -> None:
        """Forget the tracklets that ended first."""
        oldest = sorted(self._past, key=lambda t: (self._past[t][-1].last_s, t))[:count]
        for tracklet in oldest:
            self.incomplete |= {gid for _, gid in self._worn.get(tracklet, [])}
            self._wear(tracklet, [])
            del self._worn[tracklet], self._past[tracklet]
        gone = set(oldest)
        self._floor = {pair: v for pair, v in self._floor.items() if not any(key[:2] in gone for key in pair)}
        self.incomplete = {gid for gid in self.incomplete if gid in self._members}
        self._released += [self._closes.pop(gid) for gid in sorted(self._closes) if gid not in self._members]


def _key(store: TrackletStore, slot: int) -> Key:
    return int(store.camid[slot]), int(store.track_id[slot]), float(store.first_s[slot])


def _cut(past: _Past, until_s: float) -> _Past:
    """A tracklet whose rest was split off: where it went out is not known."""
    unknown = {name: np.full_like(past.row[name], np.nan) for name in ("exit_xyxy", "velocity_px", "ground_xy")}
    last_s = math.nextafter(until_s, -math.inf)
    return _Past(past.first_s, last_s, (past.zones[0], -1), past.vector, past.row | unknown)


def _table(keys: list[Key], pasts: list[_Past], ids: list[int]) -> Parts:
    shapes = dict.fromkeys(_COPIED, (2,)) | {"entry_xyxy": (4,), "exit_xyxy": (4,), "ground_sigma_m": ()}
    columns = {
        name: np.array([past.row[name] for past in pasts], np.float64).reshape(len(pasts), *shapes[name])
        for name in _COPIED
    }
    zones = np.array([past.zones for past in pasts], np.int64).reshape(-1, 2)
    dim = len(pasts[0].vector) if pasts else 0
    return Parts(
        camid=np.array([key[0] for key in keys], np.int64),
        track_id=np.array([key[1] for key in keys], np.int64),
        from_s=np.array([key[2] for key in keys], np.float64),
        first_s=np.array([past.first_s for past in pasts], np.float64),
        last_s=np.array([past.last_s for past in pasts], np.float64),
        global_id=np.array(ids, np.int64),
        entry_zone=zones[:, 0],
        exit_zone=zones[:, 1],
        vector=np.array([past.vector for past in pasts], np.float32).reshape(len(pasts), dim),
        **columns,
    )
