"""Which cameras make up a site: those between which people walk. From counted walks, pure.

Cameras that look at one place stay together. Groups are joined in the order of how much people walk between them (for
each pair of their cameras), as long as they are not too large; then single cameras change over while fewer people have
to cross a border. Ties go to the lower camid.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.types import BoolMask, Float64, Int64

_LEAST = 2.0  # walks that make a way ...
_LEAST_SHARE = 0.02  # ... if they are this share of all that come in or go out there
_ROUNDS = 20


@dataclass(frozen=True, slots=True)
class Group:
    """A site by camids, ascending."""

    cameras: tuple[int, ...]
    guests: tuple[int, ...]


def known_ways(walks: Float64) -> BoolMask:
    """(C, C) between which cameras people walk, either way. walks (C, C): how many went from a to b."""
    out = walks.sum(axis=1, keepdims=True)
    into = walks.sum(axis=0, keepdims=True)
    often = (walks >= _LEAST) & (walks >= _LEAST_SHARE * np.minimum(np.maximum(out, 1.0), np.maximum(into, 1.0)))
    ways = np.asarray(often | often.T, np.bool_)
    np.fill_diagonal(ways, False)
    return ways


def propose_sites(walks: Float64, together: Iterable[tuple[int, int]] = (), max_cameras: int = 0) -> list[Group]:
    """Part cameras (C) into sites. walks (C, C): how many people walked from a to b. together: pairs kept in one site.

    max_cameras: of a site, its guests not counted; 0: all cameras that people get to from one another are one site.
    Cameras that are kept together may be more.
    """
    ways = known_ways(walks)
    between = np.where(ways, walks + walks.T, 0.0)
    unit = _components(len(walks), together)
    label = unit.copy()
    if not max_cameras:
        one, other = np.nonzero(ways)
        pairs = [*together, *zip(one.tolist(), other.tolist(), strict=True)]
        label = _components(len(walks), pairs)
    else:
        label = _change_over(_join(label, between, max_cameras), unit, between, max_cameras)
    groups = []
    for site in dict.fromkeys(label.tolist()):  # in the order of their first camera
        own = label == site
        guests = ways[own].any(axis=0) & ~own
        groups.append(Group(tuple(np.flatnonzero(own).tolist()), tuple(np.flatnonzero(guests).tolist())))
    return groups


def crossing_share(walks: Float64, groups: Sequence[Group]) -> float:
    """Share of all walks that lead from one site into another."""
    site_of = np.zeros(len(walks), np.int64)
    for site, group in enumerate(groups):
        site_of[list(group.cameras)] = site
    apart = site_of[:, None] != site_of
    return float(walks[apart].sum() / max(walks.sum(), 1e-9))


def _components(num: int, pairs: Iterable[tuple[int, int]]) -> Int64:
    """(C,) the lowest camid that each camera hangs together with."""
    label = np.arange(num)
    for a, b in pairs:
        low, high = sorted((int(label[a]), int(label[b])))
        label[label == high] = low
    return label


def _join(label: Int64, between: Float64, max_cameras: int) -> Int64:
    while True:
        sites, place, size = np.unique(label, return_inverse=True, return_counts=True)
        member = np.equal.outer(np.arange(len(sites)), place).astype(np.float64)
        link = member @ between @ member.T / np.outer(size, size)
        link[size[:, None] + size > max_cameras] = 0.0
        np.fill_diagonal(link, 0.0)
        if not link.any():
            return label
        a, b = np.unravel_index(int(link.argmax()), link.shape)
        label = np.where(label == max(sites[a], sites[b]), min(sites[a], sites[b]), label)


def _change_over(label: Int64, unit: Int64, between: Float64, max_cameras: int) -> Int64:
    """Cameras, with those that they are kept together with, go where most of their walks lead, where there is room."""
    label = label.copy()
    for _ in range(_ROUNDS):
        changed = False
        for one in np.unique(unit).tolist():
            mine = unit == one
            here = int(label[mine][0])
            toward = between[mine].sum(axis=0) * ~mine
            pull = {site: float(toward[label == site].sum()) for site in np.unique(label).tolist()}
            room = [s for s in pull if s == here or (label == s).sum() + mine.sum() <= max_cameras]
            best = max(room, key=lambda site: (pull[site], site == here, -site))
            if pull[best] > pull[here]:
                label[mine], changed = best, True
        if not changed:
            break
    return label
