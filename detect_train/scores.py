"""Average precision, best F1 and recall by height of detections against true boxes. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.geometry.boxes import iou
from pipeline.types import Detections, Frame

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A picture with its true boxes (N, 4); those with `ignore` (N,) are neither right nor wrong to find."""

    frame: Frame
    xyxy: npt.NDArray[np.floating[Any]]
    ignore: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class DetectorScore:
    """`ap` is the area below the precision-recall curve; `best_score` the threshold with the best F1."""

    ap: float
    best_f1: float
    best_score: float
    height_px: Floats  # (P,) of every true box that counts
    found_at: Floats  # (P,) score of the box that found it, -1 where none did

    def recall_between(self, low_px: float, high_px: float) -> tuple[float, int]:
        """Recall at `best_score` of people at least `low_px` and less than `high_px` high, and how many they are."""
        part = (self.height_px >= low_px) & (self.height_px < high_px)
        return (float((self.found_at[part] >= self.best_score).mean()) if part.any() else 0.0), int(part.sum())


def score_detector(scenes: Sequence[Scene], found: Sequence[Detections], least_iou: float = 0.5) -> DetectorScore:
    """Of detections of these pictures, in the same order."""
    scores, hits, height_px, found_at = match(scenes, found, least_iou)
    ap, f1, threshold = _curve(scores, hits, len(height_px))
    return DetectorScore(ap, f1, threshold, height_px, found_at)


def fit_scores(scenes: Sequence[Scene], found: Sequence[Detections], least_iou: float = 0.5) -> tuple[float, float]:
    """Slope and offset by which sigmoid(slope * logit + offset) is the share of boxes of that score that are right.

    Logistic regression (Platt, 1999) by Newton's method. Raises ValueError where all boxes are right or all wrong.
    """
    scores, hits, _, _ = match(scenes, found, least_iou)
    if not hits.any() or hits.all():
        raise ValueError("scores can not be fitted: want boxes that are right and boxes that are wrong")
    clipped = scores.clip(1e-6, 1 - 1e-6)
    rows = np.stack([np.log(clipped / (1 - clipped)), np.ones(len(scores))], axis=1)
    weights = np.array([1.0, 0.0])
    for _ in range(50):
        chance = 1 / (1 + np.exp(-(rows @ weights).clip(-30, 30)))
        slope = rows.T @ (hits - chance) - 1e-3 * weights
        curve = (rows * (chance * (1 - chance))[:, None]).T @ rows + 1e-3 * np.eye(2)
        weights = weights + np.linalg.solve(curve, slope)
    return float(weights[0]), float(weights[1])


def match(
    scenes: Sequence[Scene], found: Sequence[Detections], least_iou: float
) -> tuple[Floats, npt.NDArray[np.bool_], Floats, Floats]:
    """Greedy by score in each picture, each true box once; a box on an ignored person alone counts for nothing.

    -> score and rightness of every box that counts, height and finding score (-1: none) of every true box that counts.
    """
    scores: list[float] = []
    hits: list[bool] = []
    heights: list[Floats] = []
    found_at: list[Floats] = []
    for scene, boxes in zip(scenes, found, strict=True):
        true = np.asarray(scene.xyxy, np.float64).reshape(-1, 4)
        at = np.full(len(true), -1.0)
        overlap = iou(boxes.xyxy.astype(np.float64), true)
        for row in np.argsort(-boxes.score, kind="stable"):
            free = np.where((at < 0) & ~scene.ignore, overlap[row], 0.0)
            best = int(free.argmax()) if len(true) else -1
            if best >= 0 and free[best] >= least_iou:
                at[best] = boxes.score[row]
            elif (overlap[row][scene.ignore] >= least_iou).any():
                continue
            scores.append(float(boxes.score[row]))
            hits.append(best >= 0 and bool(free[best] >= least_iou))
        heights.append((true[:, 3] - true[:, 1])[~scene.ignore])
        found_at.append(at[~scene.ignore])
    height_px, at_score = np.concatenate([np.zeros(0), *heights]), np.concatenate([np.zeros(0), *found_at])
    return np.array(scores, np.float64), np.array(hits, bool), height_px, at_score


def _curve(scores: Floats, hits: npt.NDArray[np.bool_], num_true: int) -> tuple[float, float, float]:
    """Average precision, best F1 and its score. All 0 where nothing is found or there is nothing to find."""
    if not len(scores) or not num_true:
        return 0.0, 0.0, 0.0
    order = np.argsort(-scores, kind="stable")
    right = np.cumsum(hits[order])
    precision, recall = right / np.arange(1, len(order) + 1), right / num_true
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    best = int(f1.argmax())
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    ap = float(np.sum(np.diff(recall, prepend=0.0) * envelope))
    return ap, float(f1[best]), float(scores[order][best])
