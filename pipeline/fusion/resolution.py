"""Offline resolution: once everything is known, who was who after all.

The parts of tracklets that the archive kept are partitioned anew by `clustering`, beginning with what the online mode
decided, with the evidence of the online mode as it has been learned by the end. What changes is said by events of the
usual kinds, so that the tables remain a pure function of tracklets and events.

Long runs are resolved in windows of time that overlap by half: a window holds up to 2 `_STEP` parts, and for each
identity that goes on from before a head, which stands for all its earlier parts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from scipy import sparse

from pipeline.fusion.archive import Parts
from pipeline.fusion.calibration import SimilarityCalibration
from pipeline.fusion.clustering import LocalSearch
from pipeline.fusion.config import FusionConfig
from pipeline.fusion.reranking import counts, described
from pipeline.fusion.tracklet_graph import TrackletGraph, build_graph, neighbours
from pipeline.fusion.travel import TravelModel
from pipeline.types import Int64

_STEP = 512  # parts by which a window moves on
_NEAR = 16  # parts looked at for each part
_LEAST_GAIN = math.log(2.0)  # what was decided is changed where that is at least twice as probable


class Resolver:
    """Resolves what an archive kept."""

    def __init__(
        self,
        config: FusionConfig,
        overlaps: frozenset[tuple[int, int]],
        *,
        calibration: SimilarityCalibration,
        travel: TravelModel,
        mixed: SimilarityCalibration,
        step: int = _STEP,
    ) -> None:
        self._config = config
        self._overlaps = overlaps
        self._calibration = calibration
        self._travel = travel
        self._mixed = mixed
        self._step = step
        self.traces: list[list[float]] = []  # score of each window, at the start and after each change

    def follow(self, overlaps: frozenset[tuple[int, int]]) -> None:
        """There are more cameras, of which these pairs look at one place."""
        self._overlaps = overlaps

    def neighbourhoods(self, parts: Parts) -> Any:
        """Sparse (N, N): what `graph` and `partition` want to know of all parts; None without re-ranking."""
        config, vector = self._config, parts.vector
        return described(vector, parts.camid, config.reranking_neighbours) if counts(config, vector) else None

    def graph(self, parts: Parts, pairs: dict[tuple[int, int], float], neighbourhoods: Any = None) -> TrackletGraph:
        """What is known of parts (N,) in order of time. neighbourhoods: their rows."""
        return build_graph(
            parts,
            pairs,
            self._overlaps,
            self._config,
            calibration=self._calibration,
            travel=self._travel,
            mixed=self._mixed,
            neighbourhoods=neighbourhoods,
        )

    def partition(self, parts: Parts, pairs: dict[tuple[int, int], float], neighbourhoods: Any = None) -> Int64:
        """(N,) cluster of each part, seeded by its global_id."""
        if neighbourhoods is None:
            neighbourhoods = self.neighbourhoods(parts)
        label = parts.global_id.copy()
        self.traces = []
        start = 0
        while True:
            self._window(parts, pairs, neighbourhoods, label, start=start)
            if start + 2 * self._step >= len(parts):
                return label
            start += self._step

    def _window(
        self, parts: Parts, pairs: dict[tuple[int, int], float], neighbourhoods: Any, label: Int64, *, start: int
    ) -> None:
        """Improve `label` for the parts from `start` on, one window."""
        stop = min(start + 2 * self._step, len(parts))
        heads, held = _heads(parts, label, start, self._step)
        rows = np.concatenate((np.full(len(heads), -1), np.arange(start, stop)))
        table = _joined(heads, parts[np.arange(start, stop)])
        seed = np.concatenate((heads.global_id, label[start:stop]))
        order = np.argsort(table.first_s, kind="stable")
        place = np.full(len(parts), -1)
        place[rows[order][rows[order] >= 0]] = np.flatnonzero(rows[order] >= 0)
        inside = {
            (min(place[a], place[b]), max(place[a], place[b])): v
            for (a, b), v in pairs.items()
            if start <= a < stop and start <= b < stop
        }
        if neighbourhoods is not None:
            neighbourhoods = _with_heads(neighbourhoods, held, start, stop)[order]
        graph = self.graph(table[order], inside, neighbourhoods)
        is_head = rows[order] < 0
        graph.forbidden[np.ix_(is_head, is_head)] = True  # what was told apart before stays apart
        np.fill_diagonal(graph.forbidden, False)
        search = LocalSearch(graph, seed[order], neighbours(graph, _NEAR), _LEAST_GAIN)
        search.run()
        self.traces.append(search.trace)
        self._relabel(label, rows[order], seed[order], search.label)

    @staticmethod
    def _relabel(label: Int64, rows: Int64, seed: Int64, found: Int64) -> None:
        """Clusters with a head go on under its name; the others get names that nothing else has."""
        fresh = int(max(label.max(initial=0), seed.max(initial=0))) + 1
        for cluster in np.unique(found).tolist():
            inside = found == cluster
            head = seed[inside & (rows < 0)]
            name = int(head[0]) if len(head) else fresh
            fresh += not len(head)
            label[rows[inside & (rows >= 0)]] = name


def _heads(parts: Parts, label: Int64, start: int, most: int) -> tuple[Parts, list[list[int]]]:
    """For each cluster that begins before the part `start` one row that stands for its parts before: it looks like all
    of them, came in with the first and went out with the last. At most so many, those seen last. -> also its parts."""
    latest: dict[int, list[int]] = {}
    for row in range(start):
        latest.setdefault(int(label[row]), []).append(row)
    chosen = sorted(latest.items(), key=lambda item: -max(parts.last_s[item[1]]))[:most]
    chosen.sort()
    ends = np.array([max(rows, key=lambda r: parts.last_s[r]) for _, rows in chosen], np.int64)
    heads = parts[ends]
    vector = heads.vector.copy()
    for place, (_, rows) in enumerate(chosen):
        total = parts.vector[rows].sum(axis=0)
        vector[place] = total / max(float(np.linalg.norm(total)), 1e-12)
    names = np.array([name for name, _ in chosen], np.int64)
    return replace(heads, vector=vector, global_id=names), [rows for _, rows in chosen]


def _with_heads(neighbourhoods: Any, held: list[list[int]], start: int, stop: int) -> Any:
    """The rows of heads, each the mean of those of its parts, and of the parts from `start` to `stop`."""
    place = [(head, row, 1 / len(rows)) for head, rows in enumerate(held) for row in rows]
    head, row, share = np.array(place).reshape(-1, 3).T
    mean = sparse.csr_array(
        (share.astype(np.float32), (head.astype(np.int64), row.astype(np.int64))),
        shape=(len(held), neighbourhoods.shape[0]),
    )
    return sparse.vstack((mean @ neighbourhoods, neighbourhoods[start:stop]), format="csr")


def _joined(one: Parts, other: Parts) -> Parts:
    return replace(
        one,
        **{name: np.concatenate((getattr(one, name), getattr(other, name))) for name in one.__dataclass_fields__},
    )


def name_clusters(parts: Parts, label: Int64, new_number: Callable[[], int]) -> dict[int, int]:
    """Number of each cluster: that of the identity it holds most of, in seconds, if no other cluster holds more of it.

    Others get new numbers, in order of time.
    """
    seconds: dict[tuple[int, int], float] = {}
    worth = parts.last_s - parts.first_s + 1e-3
    for cluster, gid, share in zip(label.tolist(), parts.global_id.tolist(), worth.tolist(), strict=True):
        seconds[cluster, gid] = seconds.get((cluster, gid), 0.0) + share
    number: dict[int, int] = {}
    used: set[int] = set()
    for cluster, gid in sorted(seconds, key=lambda pair: (-seconds[pair], pair[1], pair[0])):
        if cluster not in number and gid not in used:
            number[cluster] = gid
            used.add(gid)
    for cluster in dict.fromkeys(label.tolist()):
        if cluster not in number:
            number[cluster] = new_number()
    return number
