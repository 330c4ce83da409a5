"""From the truth to what a detector would have said: jitter, misses, boxes cut short, false boxes."""

from __future__ import annotations

import numpy as np

from pipeline.types import Float64
from tests.tiny_site.draw import View

_JITTER = 0.022  # standard deviation of a box edge, in box sizes
_MISS = 0.025  # a person in plain view is missed this often
_HARDLY_SEEN = 0.3  # below this visibility people are rarely found
_SMALL_PX = 24.0
_FALSE_BOX = 0.03  # per frame
_SUPPRESS_IOU = 0.7  # of two boxes that overlap more, the detector keeps the better one


def detect_imperfectly(view: View, rng: np.random.Generator) -> Float64:
    """(N, 5) rows left, top, width, height, score in descending order of score, rounded as a file keeps them.

    A hidden person is missed more often, scores less, and its box tends to end where the sight of it ends.
    """
    height_px, width_px = view.image.shape[:2]
    found = []
    for full, seen, visibility in zip(view.full_xyxy, view.visible_xyxy, view.visibility, strict=True):
        draw = rng.random(2)
        edge_noise, score_noise = rng.standard_normal(4), rng.standard_normal()
        size = np.array([full[2] - full[0], full[3] - full[1]] * 2)
        clear = float(np.clip((visibility - _HARDLY_SEEN) / 0.5, 0.0, 1.0))
        miss = _MISS + (0.9 if visibility < _HARDLY_SEEN else 0.35 * (1.0 - clear))
        if size[1] < _SMALL_PX or draw[0] < miss:
            continue
        guess = 0.35 + 0.65 * clear * (0.8 + 0.2 * draw[1])  # how much of the hidden part it guesses
        box = seen + guess * (full - seen) + edge_noise * _JITTER * size * (1.5 - 0.5 * clear)
        score = np.clip(0.55 + 0.34 * clear + 0.06 * score_noise, 0.2, 0.98)
        found.append([*box, score])
    if rng.random() < _FALSE_BOX:
        tall = float(rng.uniform(40, 150))
        left, top = float(rng.uniform(0, width_px - tall / 2)), float(rng.uniform(60, height_px - tall))
        found.append([left, top, left + 0.42 * tall, top + tall, float(rng.uniform(0.25, 0.6))])
    boxes = np.array(found).reshape(-1, 5)
    boxes[:, :4] = np.clip(boxes[:, :4], 0, [width_px, height_px, width_px, height_px])
    boxes = boxes[np.argsort(-boxes[:, 4], kind="stable")]
    boxes = boxes[_not_suppressed(boxes)]
    boxes[:, 2:4] -= boxes[:, :2]
    boxes = np.column_stack([np.round(boxes[:, :4], 1), np.round(boxes[:, 4], 3)])
    return np.asarray(boxes[(boxes[:, 2] >= 4) & (boxes[:, 3] >= 8)])


def _not_suppressed(boxes: Float64) -> list[int]:
    kept: list[int] = []
    for i, box in enumerate(boxes):
        others = boxes[kept]
        cut = np.maximum(np.minimum(box[2:4], others[:, 2:4]) - np.maximum(box[:2], others[:, :2]), 0).prod(axis=1)
        areas = (others[:, 2:4] - others[:, :2]).prod(axis=1) + (box[2:4] - box[:2]).prod() - cut
        if not (cut > _SUPPRESS_IOU * areas).any():
            kept.append(i)
    return kept
