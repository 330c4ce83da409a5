"""Pure maths on boxes: (N, 4) arrays, `xyxy` = left, top, right, bottom in pixels, y downwards."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from pipeline.types import BoolMask

Floats: TypeAlias = npt.NDArray[np.floating[Any]]

_GRID = 8  # cells per side of the grid on which several occluders of one box are joined


def area(xyxy: Floats) -> Floats:
    """(N,) areas in square pixels; 0 for an inverted box."""
    return np.maximum(xyxy[:, 2] - xyxy[:, 0], 0) * np.maximum(xyxy[:, 3] - xyxy[:, 1], 0)


def iou(a_xyxy: Floats, b_xyxy: Floats) -> Floats:
    """(A, B) intersection over union of every box of `a` with every box of `b`; 0 where both are empty."""
    shared = _intersection(a_xyxy, b_xyxy)
    union = area(a_xyxy)[:, None] + area(b_xyxy)[None, :] - shared
    return shared / np.maximum(union, np.finfo(shared.dtype).tiny)


def xyxy_to_tlwh(xyxy: Floats) -> Floats:
    """(N, 4) left, top, width, height."""
    tlwh = xyxy.copy()
    tlwh[:, 2:] -= xyxy[:, :2]
    return tlwh


def tlwh_to_xyxy(tlwh: Floats) -> Floats:
    """(N, 4) left, top, right, bottom."""
    xyxy = tlwh.copy()
    xyxy[:, 2:] += tlwh[:, :2]
    return xyxy


def clip_to(xyxy: Floats, width_px: float, height_px: float) -> Floats:
    """(N, 4) the part of each box inside a picture of that size; a box outside collapses onto the border."""
    clipped = np.empty_like(xyxy)
    np.clip(xyxy[:, 0::2], 0, width_px, out=clipped[:, 0::2])
    np.clip(xyxy[:, 1::2], 0, height_px, out=clipped[:, 1::2])
    return clipped


def foot_point(xyxy: Floats) -> Floats:
    """(N, 2) the middle of each box's lower edge, where a standing person touches the floor."""
    return np.stack(((xyxy[:, 0] + xyxy[:, 2]) / 2, xyxy[:, 3]), axis=1)


def covered_share(xyxy: Floats) -> Floats:
    """(N,) share in [0, 1] of each box that lies behind others which stand nearer the camera.

    Nearer is the box whose foot is lower in the picture, at equal feet the one of lower index. Exact for one
    occluder; several are joined on a grid of 8 x 8 cells, so that what they hide twice counts once.
    """
    num_boxes = len(xyxy)
    covered = np.zeros(num_boxes, xyxy.dtype)
    if num_boxes < 2:
        return covered
    foot = xyxy[:, 3]
    nearer = foot[None, :] > foot[:, None]  # [i, j]: j stands before i
    nearer |= np.tri(num_boxes, k=-1, dtype=np.bool_) & (foot[None, :] == foot[:, None])
    low = np.maximum(xyxy[:, None, :2], xyxy[None, :, :2])
    high = np.minimum(xyxy[:, None, 2:], xyxy[None, :, 2:])
    hidden, occluder = np.nonzero(nearer & (high > low).all(axis=2))
    if len(hidden) == 0:
        return covered
    behind = xyxy[hidden]
    size = behind[:, 2:] - behind[:, :2]
    start = (low[hidden, occluder] - behind[:, :2]) / size * _GRID  # (P, 2) in cells
    end = (high[hidden, occluder] - behind[:, :2]) / size * _GRID
    cell = np.arange(_GRID, dtype=xyxy.dtype)[None, :, None]
    part = np.clip(end[:, None], cell, cell + 1) - np.clip(start[:, None], cell, cell + 1)  # (P, GRID, 2)
    free = 1 - part[:, None, :, 0] * part[:, :, None, 1]  # (P, GRID rows, GRID columns)
    first = np.flatnonzero(np.diff(hidden, prepend=-1))
    covered[hidden[first]] = 1 - np.multiply.reduceat(free, first, axis=0).mean(axis=(1, 2))
    return covered


def in_polygon(points_xy: Floats, polygon: Floats) -> BoolMask:
    """(N,) whether each point lies inside the polygon (P, 2), by the even-odd rule.

    The polygon closes by itself and may wind either way. Of points on its border, those on left and upper edges
    count as inside, so that polygons which share an edge share no point.
    """
    start = polygon
    end = np.roll(polygon, -1, axis=0)
    x, y = points_xy[:, :1], points_xy[:, 1:]
    spans = (start[None, :, 1] <= y) != (end[None, :, 1] <= y)  # (N, P) the edge crosses the point's row
    rise = np.where(end[:, 1] == start[:, 1], 1, end[:, 1] - start[:, 1])
    crossing_x = start[:, 0] + (y - start[:, 1]) * ((end[:, 0] - start[:, 0]) / rise)
    crossings: npt.NDArray[np.int64] = (spans & (crossing_x <= x)).sum(axis=1)
    inside: BoolMask = crossings % 2 == 1
    return inside


def _intersection(a_xyxy: Floats, b_xyxy: Floats) -> Floats:
    """(A, B) shared areas."""
    width = np.minimum(a_xyxy[:, None, 2], b_xyxy[None, :, 2]) - np.maximum(a_xyxy[:, None, 0], b_xyxy[None, :, 0])
    height = np.minimum(a_xyxy[:, None, 3], b_xyxy[None, :, 3]) - np.maximum(a_xyxy[:, None, 1], b_xyxy[None, :, 1])
    shared: Floats = np.maximum(width, 0) * np.maximum(height, 0)
    return shared
