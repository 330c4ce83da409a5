"""One gated linear assignment, shared by the tracker and by fusion.

What is minimised: every matched pair costs its entry, and every pair left apart costs `max_cost`. So a match within
the gate is always taken where both sides would otherwise stay alone, but a good match is never given up merely to
raise the number of matches: with `max_cost` 1, one pair at 0.1 beats two pairs at 0.9.

Only the rivalry is solved by Jonker-Volgenant (`lap`): most frames are settled by the early exits of `_assign_gated`.
"""

from __future__ import annotations

from typing import Any

import lap
import numpy as np
import numpy.typing as npt
from scipy.sparse import block_array, csr_array
from scipy.sparse.csgraph import connected_components

from pipeline.types import Float64, Int64

_SMALL = 1024  # entries up to which the solver is quicker than taking the problem apart
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
    """As `assign`, for a cost whose forbidden entries are inf.

    Rows and columns that may be paired, directly or through others, form a group, and each group is a problem of its
    own. Where every row of a group can have its cheapest column, no assignment is cheaper than the sum of the row
    minima; likewise for columns. What remains goes to the solver.
    """
    best_col, best_row = cost.argmin(axis=1), cost.argmin(axis=0)
    rows = (cost[np.arange(len(cost)), best_col] < np.inf).nonzero()[0]
    cols = (cost[best_row, np.arange(cost.shape[1])] < np.inf).nonzero()[0]
    wanted_cols, wanted_rows = best_col[rows], best_row[cols]
    rivals_of_col = np.bincount(wanted_cols, minlength=cost.shape[1])
    if len(rows) == 0 or rivals_of_col.max() == 1:
        return rows, wanted_cols
    rivals_of_row = np.bincount(wanted_rows, minlength=len(cost))
    if rivals_of_row.max() == 1:
        return _in_order(wanted_rows, cols)
    if cost.size <= _SMALL:
        return _solve_part(cost, rows, cols, max_cost)
    edges = csr_array(cost < np.inf)
    _, group = connected_components(block_array([[None, edges], [edges.T, None]]), directed=False)
    row_group, col_group = group[: len(cost)], group[len(cost) :]
    rows_quarrel, cols_quarrel = np.zeros(len(group), np.bool_), np.zeros(len(group), np.bool_)
    rows_quarrel[col_group[rivals_of_col > 1]] = True
    cols_quarrel[row_group[rivals_of_row > 1]] = True
    by_row = ~rows_quarrel[row_group[rows]]
    by_col = rows_quarrel[col_group[cols]] & ~cols_quarrel[col_group[cols]]
    hard = rows_quarrel & cols_quarrel
    hard_rows, hard_cols = _solve_part(cost, rows[hard[row_group[rows]]], cols[hard[col_group[cols]]], max_cost)
    return _in_order(
        np.concatenate((rows[by_row], wanted_rows[by_col], hard_rows)),
        np.concatenate((wanted_cols[by_row], cols[by_col], hard_cols)),
    )


def _in_order(rows: Int64, cols: Int64) -> tuple[Int64, Int64]:
    order = rows.argsort()
    return rows[order], cols[order]


def _solve_part(cost: Float64, rows: Int64, cols: Int64, max_cost: float) -> tuple[Int64, Int64]:
    """Solve among the given rows and columns."""
    if len(rows) == 0:
        return _NO_PAIRS, _NO_PAIRS
    solved_rows, solved_cols = _solve(cost[rows[:, None], cols], max_cost)
    return rows[solved_rows], cols[solved_cols]


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
