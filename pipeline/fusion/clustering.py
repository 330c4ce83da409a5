"""Correlation clustering of the tracklet graph by local search that never makes things worse.

The score of a cluster is the evidence that its tracklets are one person: the appearance of all its pairs, divided by
their number (so much do n tracklets say of n - 1 links), the chain of time, way and motion from each to the one seen
next, and the agreement on the floor of those seen at once. A partition scores the sum of its clusters; a tracklet alone
scores 0. Correlation clustering: Bansal, Blum, Chawla, Machine Learning 56 (2004).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.fusion.tracklet_graph import TrackletGraph
from pipeline.types import BoolMask, Float64, Int64

GAIN = 1e-9  # smaller gains count as none, so that the search ends, whatever is asked for
_MOST_CONFIGURATIONS = 512  # of two clusters compared at once


def score_clusters(graph: TrackletGraph, rows: Int64, member: BoolMask) -> Float64:
    """(K,) score of each cluster, given as those of the parts `rows` (n,), ascending, that are in it, (K, n).

    -inf where two that can not be one person are together.
    """
    if not len(rows):
        return np.zeros(len(member))
    at = np.ix_(rows, rows)
    chosen = member.astype(np.float64)
    looks = ((chosen @ graph.look[at]) * chosen).sum(axis=1) / np.maximum(chosen @ graph.has_look[rows], 1.0)
    apart = ((chosen @ graph.forbidden[at]) * chosen).sum(axis=1) > 0
    met = graph.met[at]
    floor = np.zeros(len(member))
    if met.any():
        agreed = (chosen @ graph.floor[at]) / np.maximum(chosen @ met, 1.0)
        floor = (agreed * chosen).sum(axis=1)
    # The one seen before: of the earlier ones that was in view last.
    by_end = np.argsort(graph.last_s[rows], kind="stable")
    rank = np.empty(len(rows), np.int64)
    rank[by_end] = np.arange(len(rows))
    latest = np.maximum.accumulate(np.where(member, rank, -1), axis=1)
    before = np.concatenate((np.full((len(member), 1), -1), latest[:, :-1]), axis=1)
    links = member & (before >= 0)
    steps = graph.chain[rows[by_end[before]], rows[None]]
    chain = np.where(links, steps, 0.0).sum(axis=1)
    return np.asarray(np.where(apart, -np.inf, looks + floor + chain), np.float64)


def total_score(graph: TrackletGraph, label: Int64) -> float:
    """Score of a partition, label (N,)."""
    return float(sum(_score(graph, np.flatnonzero(label == one)) for one in np.unique(label).tolist()))


def feasible(graph: TrackletGraph, label: Int64) -> Int64:
    """The partition with clusters that can not be broken into ones that can: each part joins the first it may."""
    out = np.full(len(label), -1, np.int64)
    num = 0
    for one in np.unique(label).tolist():
        own: list[list[int]] = []
        for row in np.flatnonzero(label == one).tolist():
            for cluster in own:
                if np.isfinite(_score(graph, np.array([*cluster, row]))):
                    cluster.append(row)
                    break
            else:
                own.append([row])
        for cluster in own:
            out[cluster] = num
            num += 1
    return out


class LocalSearch:
    """A partition that gets better: parts move, and two clusters exchange what comes after a moment (which is how they
    merge and split too), as long as the score rises."""

    def __init__(self, graph: TrackletGraph, label: Int64, near: Sequence[Int64], least_gain: float = GAIN) -> None:
        """label: (N,) where to start; near: for each part those it may belong to; least_gain: of a change."""
        self._least = max(least_gain, GAIN)
        self._graph = graph
        self._near = near
        self.label: Int64 = feasible(graph, label)
        self._members: dict[int, Int64] = {
            one: np.flatnonzero(self.label == one) for one in np.unique(self.label).tolist()
        }
        self._score = {one: _score(graph, rows) for one, rows in self._members.items()}
        self._next = len(self._members)
        self.trace: list[float] = [sum(self._score.values())]  # score at the start and after each change

    def run(self) -> None:
        """Until nothing gets better. Deterministic: clusters take turns in order, the first of equal gains is made."""
        tried: dict[tuple[int, int], int] = {}  # version of a pair when it was found wanting
        self._version = dict.fromkeys(self._members, 0)
        waiting = sorted(self._members)
        while waiting:
            touched: set[int] = set()
            for one in waiting:
                while one in self._members:
                    best = self._best(one, tried)
                    if best is None:
                        break
                    touched |= set(self._apply(one, *best))
            waiting = sorted(touched & set(self._members))

    def _best(self, one: int, tried: dict[tuple[int, int], int]) -> tuple[int, Int64, Int64] | None:
        """The best change of a cluster and one near it -> the other (-1: a new one), rows of each afterwards."""
        rows = self._members[one]
        others = sorted({int(o) for row in rows for o in self.label[self._near[row]]} - {one})
        best: tuple[int, Int64, Int64] | None = None
        most = self._least
        for other in [*others, -1]:
            pair = (min(one, other), max(one, other))
            version = self._version[one] + self._version.get(other, 0)
            if tried.get(pair) == version:
                continue
            gain, first, second = self._exchange(one, other)
            if gain <= self._least:
                tried[pair] = version
            elif gain > most:
                most, best = gain, (other, first, second)
        return best

    def _exchange(self, one: int, other: int) -> tuple[float, Int64, Int64]:
        """The best that two clusters can do with each other -> gain, rows of each afterwards."""
        theirs = self._members[other] if other >= 0 else np.zeros(0, np.int64)
        rows = np.sort(np.concatenate((self._members[one], theirs)))
        if len(rows) < 2:
            return 0.0, rows, theirs
        mine = np.isin(rows, self._members[one])
        options = _options(mine)
        score = score_clusters(self._graph, rows, options) + score_clusters(self._graph, rows, ~options)
        best = int(score.argmax())
        gain = float(score[best]) - self._score[one] - self._score.get(other, 0.0)
        return gain, rows[options[best]], rows[~options[best]]

    def _apply(self, one: int, other: int, first: Int64, second: Int64) -> list[int]:
        """-> the clusters that have changed."""
        if other < 0:
            other, self._next = self._next, self._next + 1
        for name, rows in ((one, first), (other, second)):
            self._version[name] = self._version.get(name, 0) + 1
            if len(rows):
                self._members[name], self._score[name] = rows, _score(self._graph, rows)
                self.label[rows] = name
            else:
                self._members.pop(name, None)
                self._score.pop(name, None)
        self.trace.append(sum(self._score.values()))
        return [one, other]


def _options(mine: BoolMask) -> BoolMask:
    """(K, n) ways to divide the rows of two clusters, given whose they are now: tails exchanged at each moment, and
    each row moved to the other cluster."""
    count = len(mine)
    before = np.arange(count)[None] < np.arange(count)[:, None]
    tails = np.where(before, mine, ~mine)
    if count <= _MOST_CONFIGURATIONS:
        return np.concatenate((tails, mine[None] ^ np.eye(count, dtype=np.bool_)))
    return np.asarray(tails, np.bool_)


def _score(graph: TrackletGraph, rows: Int64) -> float:
    return float(score_clusters(graph, rows, np.ones((1, len(rows)), np.bool_))[0])
