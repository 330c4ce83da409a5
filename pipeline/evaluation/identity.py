"""IDF1: Ristani et al., "Performance Measures and a Data Set for Multi-Target, Multi-Camera Tracking", ECCV-W 2016."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import min_weight_full_bipartite_matching

from pipeline.evaluation.overlaps import Overlaps
from pipeline.types import Int64


@dataclass(frozen=True, slots=True)
class Identity:
    """Boxes under the one mapping of true to predicted identities that explains the most of them."""

    num_right: int  # IDTP
    num_missed: int  # IDFN
    num_false: int  # IDFP

    @property
    def idf1(self) -> float:
        return 2 * self.num_right / max(1, 2 * self.num_right + self.num_missed + self.num_false)

    @property
    def idp(self) -> float:
        return self.num_right / max(1, self.num_right + self.num_false)

    @property
    def idr(self) -> float:
        return self.num_right / max(1, self.num_right + self.num_missed)


def identity(pairs: Overlaps, iou: float = 0.5) -> Identity:
    """Score one sequence; boxes match from an overlap of `iou` on.

    A true box counts once for an identity, even where a tracker wrote that identity twice into the frame.
    """
    close = pairs.iou >= iou
    truth_row, pred_id = pairs.truth_row[close], pairs.pred_id[pairs.pred_row[close]]
    predicted, column = np.unique(pred_id, return_inverse=True)
    once = np.unique(truth_row * max(1, len(predicted)) + column)
    truth_row, column = np.divmod(once, max(1, len(predicted)))
    persons, row = np.unique(pairs.truth_id[truth_row], return_inverse=True)
    num_right = _most_explained(row, column, len(persons), len(predicted))
    return Identity(num_right, len(pairs.truth_id) - num_right, len(pairs.pred_id) - num_right)


def _most_explained(row: Int64, column: Int64, num_rows: int, num_columns: int) -> int:
    """Greatest number of entries that lie on a one-to-one mapping of rows to columns.

    Each row may also go to an empty column of its own, so that every row can be mapped. The solver takes the least
    sum of positive costs: an entry of the (rows, columns) table of counts costs how much it falls short of one more
    than the greatest.
    """
    if not num_rows:
        return 0
    cell, count = np.unique(row * num_columns + column, return_counts=True)
    dear = int(count.max()) + 1
    own = np.arange(num_rows)
    cost = np.concatenate([dear - count, np.full(num_rows, dear)]).astype(np.float64)
    where = (np.concatenate([cell // num_columns, own]), np.concatenate([cell % num_columns, num_columns + own]))
    table = csr_matrix((cost, where), shape=(num_rows, num_columns + num_rows))
    rows, columns = min_weight_full_bipartite_matching(table)
    return dear * num_rows - round(float(np.asarray(table[rows, columns]).sum()))
