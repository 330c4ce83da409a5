"""What can not be: one person twice at once. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Presence(NamedTuple):
    """A tracklet in view: closed interval of time; `last_s` is inf while the tracklet may still go on."""

    camid: int
    first_s: float
    last_s: float


def cannot_be_one(
    one: Iterable[Presence],
    other: Iterable[Presence],
    overlaps: frozenset[tuple[int, int]],
    simultaneous_s: float,
    handover_s: float = 0.0,
) -> bool:
    """Whether two people must be different since one would be twice in a camera at once, or in two cameras that do
    not overlap.

    Within a camera a single common moment is too much, but for a handover: the tracker lets a person go, hangs on to
    a chair or a shadow for a moment, and takes the person up again under a new id. Then one tracklet goes on for less
    than `handover_s` after the other has begun, and ends first; that rest is nobody's.

    Between cameras a clock error of less than `simultaneous_s` is forgiven: if moving one tracklet by that much would
    have it end before the other one begins, they may be one person. `overlaps` holds ordered pairs of cameras that
    look at one place; either order will do.
    """
    others = tuple(other)
    for a in one:
        for b in others:
            apart_s = max(a.first_s - b.last_s, b.first_s - a.last_s)
            if apart_s > 0:
                continue
            if a.camid == b.camid:
                if -apart_s >= handover_s or not _hands_over(a, b):
                    return True
            elif (
                -apart_s >= simultaneous_s
                and (a.camid, b.camid) not in overlaps
                and (b.camid, a.camid) not in overlaps
                and (-apart_s >= handover_s or not _hands_over(a, b))
            ):
                return True
    return False


def _hands_over(one: Presence, other: Presence) -> bool:
    """Whether one begins and ends before the other does: the later one may go on where the earlier one slipped."""
    return (one.first_s < other.first_s and one.last_s < other.last_s) or (
        other.first_s < one.first_s and other.last_s < one.last_s
    )
