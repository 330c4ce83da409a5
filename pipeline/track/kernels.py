"""The tracker's arithmetic, compiled where numba is at hand and as plain numpy where it is not."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from pipeline.assignment import assign
from pipeline.track import costs, kalman
from pipeline.track.costs import Fit
from pipeline.track.kalman import MotionNoise
from pipeline.types import Float64, Int64

logger = logging.getLogger(__name__)

Filters = tuple[Float64, Float64]  # mean (N, 2, 4), cov (N, 3, 4)


@dataclass(frozen=True, slots=True)
class Kernels:
    """The four functions that a frame's time goes into; see kalman.py, costs.py and assignment.py for what they do."""

    name: str
    predict: Callable[[Float64, Float64, Float64, MotionNoise], Filters]
    correct: Callable[[Float64, Float64, Float64, MotionNoise], Filters]
    pair_cost: Callable[[Float64, Float64, Float64, Float64, Fit], Float64]
    match: Callable[[Float64, Float64, Int64, Int64, float], tuple[Int64, Int64]]
    """(cost (T, N), weight (N,), rows (R,), cols (C,), max_cost) -> matched tracks (M,), their detections (M,)."""


def load_kernels(compiled: bool) -> Kernels:
    """The compiled kernels, or the numpy ones where they are not wanted or numba does not work here."""
    return (_compiled_kernels() if compiled else None) or NUMPY


def _match(cost: Float64, weight: Float64, rows: Int64, cols: Int64, max_cost: float) -> tuple[Int64, Int64]:
    matched_rows, matched_cols = assign(costs.weigh(cost[rows[:, None], cols], weight[cols]), max_cost)
    return rows[matched_rows], cols[matched_cols]


NUMPY = Kernels("numpy", kalman.predict, kalman.correct, costs.pair_cost, _match)


@cache
def _compiled_kernels() -> Kernels | None:
    """Import numba, and compile on a machine's first run; None, with a word in the log, where that fails."""
    try:
        from pipeline.track import compiled
    except (ImportError, RuntimeError) as error:  # numba raises RuntimeError where no folder takes its cache
        logger.info("the tracker runs without numba, a few times slower: %s", error)
        return None

    def predict(mean: Float64, cov: Float64, dt_s: Float64, noise: MotionNoise) -> Filters:
        filters: Filters = compiled.predict(mean, cov, dt_s, noise.drift_position, noise.drift_size)
        return filters

    def correct(mean: Float64, cov: Float64, xyxy: Float64, noise: MotionNoise) -> Filters:
        filters: Filters = compiled.correct(mean, cov, xyxy, noise.measured_position, noise.measured_size)
        return filters

    def pair_cost(mean: Float64, cov: Float64, last_xy: Float64, xyxy: Float64, fit: Fit) -> Float64:
        return np.asarray(compiled.pair_cost(mean, cov, last_xy, xyxy, fit.buffer, fit.direction, fit.slowness))

    def match(cost: Float64, weight: Float64, rows: Int64, cols: Int64, max_cost: float) -> tuple[Int64, Int64]:
        col_of_row, open_row, open_col, part = compiled.easy_match(cost, weight, rows, cols, max_cost)
        if open_row.any():
            hard_rows, hard_cols = open_row.nonzero()[0], open_col.nonzero()[0]
            matched_rows, matched_cols = assign(part[hard_rows[:, None], hard_cols], max_cost)
            col_of_row[hard_rows[matched_rows]] = hard_cols[matched_cols]
        matched = (col_of_row >= 0).nonzero()[0]
        return rows[matched], cols[col_of_row[matched]]

    kernels = Kernels("numba", predict, correct, pair_cost, match)
    _warm_up(kernels)
    return kernels


def _warm_up(kernels: Kernels) -> None:
    """Call every kernel once, so that none is compiled or loaded in the middle of a live stream."""
    noise, xyxy = MotionNoise(), np.array(((0.0, 0.0, 10.0, 20.0),))
    mean, cov = kernels.predict(*kalman.initiate(xyxy, noise), np.ones(1), noise)
    cost = kernels.pair_cost(mean, cov, xyxy[:, :2].copy(), xyxy, Fit())
    kernels.match(cost, np.ones(1), np.zeros(1, np.int64), np.zeros(1, np.int64), 1.0)
    kernels.correct(mean, cov, xyxy, noise)
