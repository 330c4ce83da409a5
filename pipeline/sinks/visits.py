"""Visits of people to cameras, and what follows from them: who walked where, and how many were there.

A **visit** is a stay of an identity in a camera: its tracklets there, joined where no more than `visit_gap_s` lies
between them. Times are those of the first and the last frame in which the person was seen.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

WHOLE_SITE = ""


class Stay(NamedTuple):
    """A tracklet, or a visit: `global_id` is in `camera` from `first_s` to `last_s`."""

    global_id: int
    camera: str
    first_s: float
    last_s: float


class Transition(NamedTuple):
    """`global_id` walked from one camera to another; `travel_s` = arrived_s - left_s."""

    global_id: int
    from_camera: str
    to_camera: str
    left_s: float
    arrived_s: float


class Count(NamedTuple):
    """How many people in one window of time; `camera` is "" for all cameras together."""

    start_s: float
    camera: str
    present: int
    entered: int
    distinct: int


def visits_of(tracklets: Iterable[Stay], visit_gap_s: float) -> list[Stay]:
    """The visits, by identity, then camera, then time."""
    visits: list[Stay] = []
    for stay in sorted(tracklets):
        last = visits[-1] if visits else None
        if last and last[:2] == stay[:2] and stay.first_s - last.last_s <= visit_gap_s:
            visits[-1] = last._replace(last_s=max(last.last_s, stay.last_s))
        else:
            visits.append(stay)
    return visits


def transitions_of(visits: Iterable[Stay]) -> list[Transition]:
    """Each visit with the one before it, in order of arrival.

    The visit before is, of those of the same person that began earlier and ended earlier, the one that ended last.
    So with overlapping views a transition happens where the new camera is entered and the old one left while the
    person is still in the new one; it then takes negative time, the time that both cameras saw the person. A camera
    that sees somebody before, during and after a visit to another one is not left, and nobody came from it. A visit
    that follows one to the same camera is a return, with `from_camera` equal to `to_camera`.
    """
    found = []
    for _, group in groupby(sorted(visits), key=lambda visit: visit.global_id):
        ended = sorted(group, key=lambda visit: (visit.last_s, visit.first_s, visit.camera))
        ends = [visit.last_s for visit in ended]
        for visit in ended:
            at = bisect_left(ends, visit.last_s)
            while at > 0 and ended[at - 1].first_s >= visit.first_s:
                at -= 1
            if at > 0:
                before = ended[at - 1]
                found.append(Transition(visit.global_id, before.camera, visit.camera, before.last_s, visit.first_s))
    return sorted(found, key=lambda t: (t.arrived_s, t.global_id, t.from_camera, t.to_camera))


def counts_of(visits: Sequence[Stay], window_s: float) -> Iterator[Count]:
    """Windows of `window_s`, the first of them at time 0 of the clock, in order, with all their cameras and at last
    the whole site (`WHOLE_SITE`). A camera without anybody in a window has no row there.

    present   identities in a visit during the window, or a part of it
    entered   in a camera: visits that began in the window; on the site: identities never seen before
    distinct  identities seen up to the end of the window
    """
    waiting = sorted(visits, key=lambda visit: (visit.first_s, visit.camera, visit.global_id))
    inside: list[tuple[float, str, int]] = []  # a heap by the end of the visit
    seen: dict[str, set[int]] = {}
    at, window = 0, 0
    while at < len(waiting) or inside:
        if not inside:
            window = math.floor(waiting[at].first_s / window_s)
        start_s, end_s = window * window_s, (window + 1) * window_s
        entered: dict[str, int] = {}
        while at < len(waiting) and waiting[at].first_s < end_s:
            visit = waiting[at]
            at += 1
            heapq.heappush(inside, (visit.last_s, visit.camera, visit.global_id))
            entered[visit.camera] = entered.get(visit.camera, 0) + 1
            known = seen.setdefault(WHOLE_SITE, set())
            entered[WHOLE_SITE] = entered.get(WHOLE_SITE, 0) + (visit.global_id not in known)
            known.add(visit.global_id)
            seen.setdefault(visit.camera, set()).add(visit.global_id)
        present: dict[str, set[int]] = {}
        for _, camera, global_id in inside:
            present.setdefault(camera, set()).add(global_id)
        everybody = {global_id for people in present.values() for global_id in people}
        for camera, people in [*sorted(present.items()), (WHOLE_SITE, everybody)]:
            yield Count(start_s, camera, len(people), entered.get(camera, 0), len(seen[camera]))
        while inside and inside[0][0] < end_s:
            heapq.heappop(inside)
        window += 1
