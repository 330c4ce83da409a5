"""From the online identities to the final ones, by events."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from pipeline.fusion.archive import Parts, Tracklet, TrackletArchive
from pipeline.fusion.clustering import score_clusters
from pipeline.fusion.constraints import Presence, cannot_be_one
from pipeline.fusion.resolution import Resolver, name_clusters
from pipeline.types import Event, Int64

Worn = dict[Tracklet, list[tuple[float, int]]]


def revise(
    archive: TrackletArchive,
    resolver: Resolver,
    new_number: Callable[[], int],
    now_s: float,
    *,
    overlaps: frozenset[tuple[int, int]],
    simultaneous_s: float,
) -> list[Event]:
    """Resolve what the archive kept -> the events that say what has changed, and those that close identities."""
    parts, pairs = archive.parts()
    neighbourhoods = resolver.neighbourhoods(parts)
    label = resolver.partition(parts, pairs, neighbourhoods)
    number = name_clusters(parts, label, new_number)
    final = np.array([number[cluster] for cluster in label.tolist()], np.int64)
    rests = _rests(parts, final, overlaps, simultaneous_s)
    weigh = _Weigher(resolver, parts, pairs, final, neighbourhoods=neighbourhoods)
    whole = set(parts.global_id.tolist()) - archive.incomplete
    events, worn = _merges(parts, final, archive.worn(), whole, weigh, now_s)
    events += _moves(parts, final, worn, [(row, from_s, new_number()) for row, from_s in rests], weigh, now_s)
    gone = {event.other_id for event in events if event.kind == "merge"}
    return events + [event for event in archive.closes() if event.global_id not in gone]


class _Weigher:
    """How much better a change is than none: recomputed from the graph of the tracklets concerned alone."""

    def __init__(
        self,
        resolver: Resolver,
        parts: Parts,
        pairs: dict[tuple[int, int], float],
        final: Int64,
        *,
        neighbourhoods: Any,
    ) -> None:
        self._resolver = resolver
        self._parts = parts
        self._pairs = pairs
        self._final = final
        self._neighbourhoods = neighbourhoods

    def weigh(self, moved: Int64, old_id: int, new_id: int) -> tuple[float, float, float]:
        """-> confidence, cosine and margin (log-odds) of `moved` (rows) being `new_id` rather than what they were."""
        into = np.setdiff1d(np.flatnonzero(self._final == new_id), moved)
        stay = np.setdiff1d(np.flatnonzero(self._final == old_id), moved)
        rows = np.sort(np.concatenate((moved, into, stay)))
        at = {row: place for place, row in enumerate(rows.tolist())}
        pairs = {(at[a], at[b]): v for (a, b), v in self._pairs.items() if a in at and b in at}
        near = self._neighbourhoods[rows] if self._neighbourhoods is not None else None
        graph = self._resolver.graph(self._parts[rows], pairs, near)
        mine, theirs, others = (np.isin(rows, some) for some in (moved, into, stay))
        member = np.stack((mine | theirs, others, theirs, others | mine, mine))
        joined, left, without, stayed, alone = score_clusters(graph, np.arange(len(rows)), member).tolist()
        # Against staying where that is possible, else against being somebody else.
        kept = stayed if math.isfinite(stayed) else left + alone
        margin = float(np.clip(joined + left - without - kept, -50.0, 50.0))
        vectors = [self._parts.vector[some].sum(axis=0) for some in (moved, into)]
        length = float(np.linalg.norm(vectors[0]) * np.linalg.norm(vectors[1]))
        cosine = float(vectors[0] @ vectors[1]) / length if length > 0 else math.nan
        return 1 / (1 + math.exp(-margin)), cosine, margin


def _merges(
    parts: Parts, final: Int64, worn: Worn, whole: set[int], weigh: _Weigher, now_s: float
) -> tuple[list[Event], Worn]:
    """Identities all of whose tracklets go into one other are merged into it -> events, who tracklets are then.

    whole: identities that have no tracklets elsewhere.
    """
    goes: dict[int, set[int]] = {}
    for old, new in zip(parts.global_id.tolist(), final.tolist(), strict=True):
        goes.setdefault(old, set()).add(new)
    events, became = [], {}
    for old in sorted(whole):
        new = min(goes[old])
        if goes[old] == {new} != {old} and new in goes:
            confidence, cosine, margin = weigh.weigh(np.flatnonzero(parts.global_id == old), old, new)
            became[old] = new
            events.append(
                Event("merge", now_s, new, other_id=old, confidence=confidence, similarity=cosine, margin=margin)
            )
    return events, {t: [(from_s, became.get(gid, gid)) for from_s, gid in spans] for t, spans in worn.items()}


def _moves(
    parts: Parts,
    final: Int64,
    worn: Worn,
    rests: list[tuple[int, float, int]],
    weigh: _Weigher,
    now_s: float,
) -> list[Event]:
    """`create` and `link` for tracklets that become somebody else, `split` for parts of them.

    rests: (row of a part, from when on it is nobody, new number).
    """
    wanted: dict[Tracklet, dict[float, tuple[int, int]]] = {}  # from_s -> identity, row (-1: a rest)
    for row, gid in enumerate(final.tolist()):
        tracklet = int(parts.camid[row]), int(parts.track_id[row])
        wanted.setdefault(tracklet, {})[float(parts.from_s[row])] = gid, row
    for row, from_s, gid in rests:
        wanted[int(parts.camid[row]), int(parts.track_id[row])][from_s] = gid, -1
    known = set(parts.global_id.tolist())
    events = []
    for tracklet in sorted(wanted):
        before = dict(worn[tracklet])
        after = {from_s: (gid, -1) for from_s, gid in before.items()} | wanted[tracklet]
        anew = after[-math.inf][0] != before[-math.inf]  # which speaks for the whole tracklet: all is said again
        for from_s, (gid, row) in sorted(after.items()):
            if not anew and before.get(from_s) == gid:
                continue
            old = before.get(from_s, after[max(t for t in after if t < from_s)][0] if from_s > -math.inf else 0)
            first = from_s == -math.inf
            kind = ("link" if gid in known else "create") if first else "split"
            confidence, cosine, margin = 0.5, math.nan, math.nan
            if row >= 0 and old != gid:
                confidence, cosine, margin = weigh.weigh(np.array([row]), old, gid)
            events.append(
                Event(
                    kind,  # type: ignore[arg-type]
                    now_s if first else from_s,
                    gid,
                    camid=tracklet[0],
                    track_id=tracklet[1],
                    other_id=old if old != gid else 0,
                    confidence=confidence,
                    similarity=cosine,
                    margin=margin,
                )
            )
            known.add(gid)
    return events


def _rests(
    parts: Parts, final: Int64, overlaps: frozenset[tuple[int, int]], simultaneous_s: float
) -> list[tuple[int, float]]:
    """Parts that hung on to something while the next one of their person had begun -> row, since when."""
    rests: dict[int, float] = {}
    presences = [
        Presence(*row) for row in zip(parts.camid.tolist(), parts.first_s.tolist(), parts.last_s.tolist(), strict=True)
    ]
    order = np.lexsort((np.arange(len(parts)), final))
    for group in np.split(order, np.flatnonzero(np.diff(final[order])) + 1):
        rows = group.tolist()
        for place, later in enumerate(rows):
            for earlier in rows[:place]:
                if presences[earlier].last_s >= presences[later].first_s and cannot_be_one(
                    (presences[earlier],), (presences[later],), overlaps, simultaneous_s
                ):
                    from_s = presences[later].first_s
                    rests[earlier] = min(rests.get(earlier, math.inf), from_s)
    return sorted(rests.items())
