"""One gated linear assignment, shared by the tracker and by fusion.

What is minimised: every matched pair costs its entry, and every pair left apart costs `max_cost`. So a match within
the gate is always taken where both sides would otherwise stay alone, but a good match is never given up merely to
raise the number of matches: with `max_cost` 1, one pair at 0.1 beats two pairs at 0.9.

Only the rivalry is solved by Jonker-Volgenant (`lap`): most frames are settled by the two early exits of `assign`.
"""

from __future__ import annotations

from typing import Any

import lap
import numpy as np
import numpy.typing as npt

from pipeline.types import Float64, Int64

_NO_PAIRS: Int64 = np.zeros(0, np.int64)
_NO_PAIRS.flags.writeable = False


def assign(cost: npt.NDArray[np.floating[Any]], max_cost: float) -> tuple[Int64, Int64]:
    """Minimum-cost one-to-one assignment of rows to columns, using no entry above `max_cost`, infinite or NaN.

    cost: (R, C) float, any width. max_cost: the dearest entry that may be used, itself included.
    -> (rows (M,), cols (M,)) int64, ascending in rows. Minimises sum(cost of pairs) - M * max_cost, hence no row and
    column that may be paired are both left out. Among equal solutions the choice is deterministic, and the lower
    index wins wherever a row or a column stands alone. Raises ValueError for a cost that is not a matrix or a
    `max_cost` that is not finite.
    """
    if cost.ndim != 2:
        raise ValueError(f"assign: cost must be a (rows, columns) matrix, got shape {cost.shape}")
    if not np.isfinite(max_cost):
        raise ValueError(f"assign: max_cost must be finite, got {max_cost}")
    num_rows, num_cols = cost.shape
    if num_rows == 0 or num_cols == 0:
        return _NO_PAIRS, _NO_PAIRS
    wide = cost.astype(np.float64)
    wide[~((wide <= max_cost) & (wide > -np.inf))] = np.inf
    if num_rows == 1 or num_cols == 1:
        cheapest = int(wide.argmin())
        if wide.flat[cheapest] == np.inf:
            return _NO_PAIRS, _NO_PAIRS
        return np.array([cheapest // num_cols], np.int64), np.array([cheapest % num_cols], np.int64)
    return _assign_gated(wide, float(max_cost))


def _assign_gated(cost: Float64, max_cost: float) -> tuple[Int64, Int64]:
    """As `assign`, for a cost whose forbidden entries are inf."""
    best_col = cost.argmin(axis=1)
    rows = (cost[np.arange(len(cost)), best_col] < np.inf).nonzero()[0]
    cols = best_col[rows]
    # Every row can have its cheapest column: no assignment is cheaper than the sum of the row minima.
    claims = np.bincount(cols, minlength=cost.shape[1])
    if len(rows) == 0 or claims.max() == 1:
        return rows, cols
    # A row whose cheapest column may be used by no other row takes it in some optimum: settle those beforehand.
    suitors = (cost < np.inf).sum(axis=0)
    alone = suitors[cols] == 1
    rivals = rows[~alone]
    wanted = np.flatnonzero((cost[rivals] < np.inf).any(axis=0))
    rival_rows, rival_cols = _solve(cost[np.ix_(rivals, wanted)], max_cost)
    all_rows = np.concatenate((rows[alone], rivals[rival_rows]))
    all_cols = np.concatenate((cols[alone], wanted[rival_cols]))
    order = all_rows.argsort()
    return all_rows[order], all_cols[order]


def _solve(cost: Float64, max_cost: float) -> tuple[Int64, Int64]:
    """The rectangular problem in which a forbidden pair costs a hair more than the dearest allowed one.

    Being matched to a forbidden column then stands for being left out. This needs a square of max(R, C) where a
    cost limit inside the solver needs one of R + C, which is an order of magnitude slower.
    """
    allowed = cost < np.inf
    lowest = float(cost.min())
    hair = 1e-9 * max(max_cost - lowest, abs(max_cost), 1e-9)
    size = max(cost.shape)
    square = np.zeros((size, size))
    square[: cost.shape[0], : cost.shape[1]] = np.where(allowed, cost - lowest, max_cost - lowest + hair)
    _, col_of_row, _ = lap.lapjv(square)
    cols = np.asarray(col_of_row[: cost.shape[0]], np.int64)
    rows = np.flatnonzero(cols < cost.shape[1])
    rows = rows[allowed[rows, cols[rows]]]
    return rows, cols[rows]
