"""HOTA: Luiten et al., "HOTA: A Higher Order Metric for Evaluating Multi-Object Tracking", IJCV 2021.

As in TrackEval: in each frame one assignment by IoU times how well the two whole tracks fit, then the pairs that
reach the threshold alpha count as matched, for alpha = 0.05, 0.10 ... 0.95; every figure is the mean over alpha.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.evaluation.overlaps import EPS, Overlaps, alone, frame_runs, heaviest_pairs
from pipeline.types import Float64, Int64

ALPHAS = np.arange(0.05, 0.99, 0.05)
ALPHAS.flags.writeable = False


@dataclass(frozen=True, slots=True)
class Hota:
    """Means over alpha, all in [0, 1]."""

    hota: float
    det_a: float
    det_re: float
    det_pr: float
    ass_a: float
    ass_re: float
    ass_pr: float
    loc_a: float


def hota(pairs: Overlaps) -> Hota:
    """Score one sequence."""
    persons, person = np.unique(pairs.truth_id, return_inverse=True)
    predicted, label = np.unique(pairs.pred_id, return_inverse=True)
    cell = person[pairs.truth_row] * max(1, len(predicted)) + label[pairs.pred_row]
    cells, cell = np.unique(cell, return_inverse=True)  # from here on (person, label) pairs that ever overlap
    num_true = np.bincount(person, minlength=len(persons))[cells // max(1, len(predicted))]
    num_pred = np.bincount(label, minlength=len(predicted))[cells % max(1, len(predicted))]
    match = _matches(pairs, cell, num_true, num_pred)
    match_iou, match_cell = pairs.iou[match], cell[match]
    means = np.zeros(8)
    for alpha in ALPHAS:
        held = match_iou >= alpha - EPS
        num_matched = int(np.count_nonzero(held))
        together = np.bincount(match_cell[held], minlength=len(cells)).astype(np.float64)
        det_a = num_matched / max(1, len(person) + len(label) - num_matched)
        ass_a = _share(together, num_true + num_pred - together, num_matched)
        loc_a = max(1e-10, float(match_iou[held].sum())) / max(1e-10, num_matched)
        means += (
            np.sqrt(det_a * ass_a),
            det_a,
            num_matched / max(1, len(person)),
            num_matched / max(1, len(label)),
            ass_a,
            _share(together, num_true, num_matched),
            _share(together, num_pred, num_matched),
            loc_a,
        )
    return Hota(*(means / len(ALPHAS)).tolist())


def _matches(pairs: Overlaps, cell: Int64, num_true: Int64, num_pred: Int64) -> Int64:
    """Which pairs are matched, each box at most once."""
    num_truth, num_boxes = len(pairs.truth_id), len(pairs.pred_id)
    per_truth = np.bincount(pairs.truth_row, pairs.iou, minlength=num_truth)[pairs.truth_row]
    per_pred = np.bincount(pairs.pred_row, pairs.iou, minlength=num_boxes)[pairs.pred_row]
    rival = per_truth + per_pred - pairs.iou
    part = np.divide(pairs.iou, rival, out=np.zeros(len(rival)), where=rival > EPS)
    fit = np.bincount(cell, part, minlength=len(num_true))
    fit = fit / (num_true + num_pred - fit)  # how well two whole tracks fit each other
    weight = fit[cell] * pairs.iou
    single = alone(pairs.truth_row, pairs.pred_row)
    crowded = np.flatnonzero(~single)
    truth_row, pred_row, weight = pairs.truth_row[crowded], pairs.pred_row[crowded], weight[crowded]
    chosen = [
        start + heaviest_pairs(truth_row[start:stop], pred_row[start:stop], weight[start:stop])
        for start, stop in frame_runs(pairs.truth_slot[truth_row])
    ]
    taken = np.concatenate([np.zeros(0, np.int64), *chosen])
    return np.concatenate([np.flatnonzero(single), crowded[taken]])


def _share(together: Float64, of: Float64 | Int64, num_matched: int) -> float:
    """Mean over the matched boxes of the share `together / of` of their pair of tracks."""
    return float((together * (together / np.maximum(1, of))).sum()) / max(1, num_matched)
