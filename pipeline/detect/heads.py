"""Outputs of detection networks: which kind one is, and its boxes. Pure; no network is run here.

`recognise` knows these outputs, by shape, by the values of one run on a grey picture, and by the metadata that
Ultralytics exports carry. B batch, C classes, cells = sum of H/s * W/s over the strides s = 8, 16, 32 (and 64).

| kind       | shape             | made by                                 | letterbox   |
| ---------- | ----------------- | --------------------------------------- | ----------- |
| grid       | B x cells x 5+C   | YOLOX                                   | yolox       |
| objectness | B x cells x 5+C   | YOLOX --decode_in_inference, YOLOv6 (*) | yolox       |
| objectness | B x 3*cells x 5+C | YOLOv5, YOLOv7                          | ultralytics |
| columns    | B x 4+C x cells   | YOLOv8, 9, 11, 12                       | ultralytics |
| end_to_end | B x K x 6         | YOLOv10, YOLO26, any with nms=True      | ultralytics |

grid: offset to the cell, log size (both in strides), objectness, classes. objectness: centre and size in input pixels,
objectness, classes. columns: centre and size in input pixels, classes. end_to_end: corners in input pixels, score,
class. The score is objectness times class where there is an objectness. Segmentation and pose exports work too: what
follows the classes is not looked at.

(*) can not be told apart by its output; for YOLOv6 say `detect.letterbox: ultralytics`.

Equations: Ge et al., "YOLOX: Exceeding YOLO Series in 2021", section 2 (anchor-free grid).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from pipeline.geometry.boxes import iou
from pipeline.types import Float32, Int64

MAX_CANDIDATES = 1000  # best-scored boxes that go into the non-maximum suppression
STRIDE_SETS = ((8, 16, 32), (8, 16, 32, 64))

HeadKind = Literal["grid", "objectness", "columns", "end_to_end"]


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Boxes before suppression, best score first; `xyxy` (N, 4) in input pixels, `class_id` (N,)."""

    xyxy: Float32
    score: Float32
    class_id: Int64


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """A recognised output: the place among the outputs, its kind, and what decoding needs."""

    output_idx: int
    kind: HeadKind
    num_classes: int  # 0: not known (end_to_end without metadata)
    letterbox: Literal["yolox", "ultralytics"]
    cell_xy: Float32  # (A, 2) column and row of each cell in its grid; (0, 2) where not needed
    stride_px: Float32  # (A,)


def num_cells(input_hw: tuple[int, int], strides: Sequence[int]) -> int:
    return sum((input_hw[0] // s) * (input_hw[1] // s) for s in strides)


def make_grid(input_hw: tuple[int, int], strides: Sequence[int]) -> tuple[Float32, Float32]:
    """Column and row (A, 2) and stride (A,) of all cells: stride by stride, row by row."""
    cells, widths = [], []
    for stride in strides:
        rows, columns = np.mgrid[: input_hw[0] // stride, : input_hw[1] // stride]
        cells.append(np.stack([columns.ravel(), rows.ravel()], axis=1))
        widths.append(np.full(rows.size, stride))
    return np.concatenate(cells).astype(np.float32), np.concatenate(widths).astype(np.float32)


def recognise(
    outputs: Sequence[Float32],
    input_hw: tuple[int, int],
    num_names: int | None = None,
    task: str | None = None,
) -> Head | None:
    """The head among the outputs of one run on a grey picture, or None. `num_names` and `task` come from metadata."""
    if task not in (None, "detect", "segment", "pose"):
        return None
    has_extra = task in ("segment", "pose") and num_names is not None
    for idx, output in enumerate(outputs):
        if output.ndim == 3:
            head = _recognise_one(output, idx, input_hw, num_names, has_extra)
            if head is not None:
                return head
    return None


def _recognise_one(
    output: Float32, idx: int, input_hw: tuple[int, int], num_names: int | None, has_extra: bool
) -> Head | None:
    no_grid = np.zeros((0, 2), np.float32), np.zeros(0, np.float32)
    rows, columns = output.shape[1:]

    def fits(width: int, before_classes: int) -> bool:
        if num_names is None:
            return width > before_classes
        return width >= before_classes + num_names if has_extra else width == before_classes + num_names

    for strides in STRIDE_SETS:
        cells = num_cells(input_hw, strides)
        if rows == cells and fits(columns, 5):
            grid = make_grid(input_hw, strides)
            kind: HeadKind = "objectness" if _is_decoded(output[0], *grid) else "grid"
            if not _are_scores(output[..., 4:]):
                return None
            return Head(idx, kind, num_names or columns - 5, "yolox", *grid)
        if rows == 3 * cells and fits(columns, 5) and _are_scores(output[..., 4:]):
            return Head(idx, "objectness", num_names or columns - 5, "ultralytics", *no_grid)
        if columns == cells and fits(rows, 4):
            num_classes = num_names or rows - 4
            if not _are_scores(output[:, 4 : 4 + num_classes]):
                return None
            return Head(idx, "columns", num_classes, "ultralytics", *no_grid)
    if (columns == 6 or (has_extra and columns > 6)) and _are_scores(output[..., 4]) and _are_whole(output[..., 5]):
        return Head(idx, "end_to_end", num_names or 0, "ultralytics", *no_grid)
    return None


def _are_scores(values: Float32) -> bool:
    return bool(values.size and values.min() >= -1e-3 and values.max() <= 1.001)


def _are_whole(values: Float32) -> bool:
    return bool(np.all(values >= 0) and np.all(values == np.rint(values)))


def _is_decoded(rows: Float32, cell_xy: Float32, stride_px: Float32) -> bool:
    """Whether the first two columns are pixels near each cell's place, rather than small offsets from it."""
    raw_px = np.abs(rows[:, :2]) * stride_px[:, None]
    decoded_px = np.abs(rows[:, :2] - (cell_xy + 0.5) * stride_px[:, None])
    return bool(np.median(decoded_px) < np.median(raw_px))


def decode(head: Head, output: Float32, wanted: Int64, min_score: float) -> Candidates:
    """Boxes of one picture whose score is at least `min_score`, best first.

    `output` is the head's output without the batch axis, `wanted` the class numbers to keep. A box counts for the
    best of the wanted classes, also where a class that is not wanted has a higher score.
    """
    if head.kind == "end_to_end":
        keep = np.flatnonzero((output[:, 4] >= min_score) & np.isin(output[:, 5], wanted))
        xyxy, score, class_id = output[keep, :4], output[keep, 4], output[keep, 5].astype(np.int64)
    else:
        boxes, score, class_id = _score(head, output, wanted, min_score)
        xyxy = _corners(boxes)
    order = np.argsort(-score, kind="stable")[:MAX_CANDIDATES]
    return Candidates(
        np.asarray(xyxy[order], np.float32), np.asarray(score[order], np.float32), np.asarray(class_id[order], np.int64)
    )


def _score(head: Head, output: Float32, wanted: Int64, min_score: float) -> tuple[Float32, Float32, Int64]:
    """Centre-and-size boxes (N, 4), score (N,) and class (N,) of the rows that pass; the rest is never decoded."""
    if head.kind == "columns":
        per_class = output[4 + wanted]  # (W, A)
        best = per_class.max(axis=0)
        keep = np.flatnonzero(best >= min_score)
        boxes = output[:4, keep].T
        class_id = wanted[per_class[:, keep].argmax(axis=0)]
        return boxes, best[keep], class_id
    likely = np.flatnonzero(output[:, 4] >= min_score)  # a class score is at most 1
    per_class = output[likely[:, None], 5 + wanted] * output[likely, 4:5]  # (L, W)
    best = per_class.max(axis=1)
    passed = best >= min_score
    keep = likely[passed]
    boxes = output[keep, :4]
    if head.kind == "grid":
        stride = head.stride_px[keep, None]
        boxes = np.concatenate(
            [(boxes[:, :2] + head.cell_xy[keep]) * stride, np.exp(np.minimum(boxes[:, 2:], 20.0)) * stride], axis=1
        )
    return boxes, best[passed], wanted[per_class[passed].argmax(axis=1)]


def _corners(boxes: Float32) -> Float32:
    """Centre and size (N, 4) -> corners (N, 4)."""
    half = boxes[:, 2:] / 2
    return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)


def suppress(candidates: Candidates, nms_iou: float) -> Int64:
    """Rows to keep, best first: greedy non-maximum suppression within each class; ties go to the earlier row."""
    if not len(candidates.score):
        return np.zeros(0, np.int64)
    tlwh = candidates.xyxy.astype(np.float64)
    tlwh[:, 2:] -= tlwh[:, :2]
    keep = cv2.dnn.NMSBoxesBatched(
        tlwh,  # type: ignore[arg-type]
        candidates.score,  # type: ignore[arg-type]
        candidates.class_id.astype(np.int32),  # type: ignore[arg-type]
        score_threshold=0.0,
        nms_threshold=nms_iou,
    )
    return np.sort(np.asarray(keep, np.int64).ravel())


def vote(candidates: Candidates, kept: Int64, nms_iou: float) -> Float32:
    """(K, 4) the kept boxes, each drawn to where its rivals see it: the mean of all candidates of its class that
    overlap it by at least `nms_iou`, weighted by score (Gidaris and Komodakis, ICCV 2015, section 5)."""
    boxes = candidates.xyxy.astype(np.float64)
    agree = iou(boxes[kept], boxes) >= nms_iou
    agree &= candidates.class_id[kept, None] == candidates.class_id
    agree[np.arange(len(kept)), kept] = True  # also a box without area, which overlaps nothing
    weight = agree * candidates.score
    return np.asarray(weight @ boxes / np.maximum(weight.sum(axis=1, keepdims=True), 1e-12), np.float32)
