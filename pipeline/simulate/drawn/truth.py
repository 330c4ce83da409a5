"""The exact truth about a drawing, read off its ids: who is seen, where, and how much of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.simulate.drawn.optics import DrawnCamera
from pipeline.simulate.drawn.people import Posed
from pipeline.simulate.drawn.renderer import Drawing, Renderer
from pipeline.types import BoolMask, Float64, Int64

_MARGIN_M = 0.12  # clothes and hair reach this far beyond the points that outline a body
_NEAREST_M = 0.3  # somebody who stands partly behind the lens is in no picture
_LARGEST_SAMPLES = 4096


@dataclass(frozen=True, eq=False)
class Truth:
    """One row per person of whom something is seen, in the order of the cast. Boxes are xyxy in pixels."""

    row: Int64  # (N,) of the cast
    box_xyxy: Float64  # (N, 4) the whole person as far as the picture goes, seen or hidden
    full_xyxy: Float64  # (N, 4) the whole person, also beyond the picture's edge (by half a picture at most)
    visible_xyxy: Float64  # (N, 4) what is seen
    visibility: Float64  # (N,) share of the person's samples in the picture that nothing hides
    in_picture: Float64  # (N,) share of the person that lies inside the picture
    ground_xy: Float64  # (N, 2) metres


def visible_cast(camera: DrawnCamera, cast: Sequence[Posed]) -> list[tuple[int, tuple[int, int, int, int]]]:
    """Rows of the cast that may be in the picture, each with the window of the flat picture that holds it, in whole
    pixels (left, top, right, bottom), wide enough for clothes and hair."""
    found = []
    left, top, right, bottom = camera.flat_window
    across, down = (right - left) / 2, (bottom - top) / 2
    limit = np.array([left - across, top - down, right + across, bottom + down])
    for row, posed in enumerate(cast):
        pixels, depth = camera.flat_pixels(posed.outline_points())
        if depth.min() < _NEAREST_M:
            continue
        margin = _MARGIN_M * camera.intrinsic[0, 0] / depth.min() + 2
        low, high = np.floor(pixels.min(axis=0) - margin), np.ceil(pixels.max(axis=0) + margin)
        if (high < (left, top)).any() or (low > (right, bottom)).any():
            continue
        low, high = np.maximum(low, limit[:2]), np.minimum(high, limit[2:])
        found.append((row, (int(low[0]), int(low[1]), int(high[0]), int(high[1]))))
    return found


def read_truth(renderer: Renderer, camera: DrawnCamera, cast: Sequence[Posed], drawing: Drawing) -> Truth:
    """The truth of `drawing`, made by renderer.draw(camera) for a stage with `cast`."""
    samples = renderer.samples
    seen_rows = set(np.unique(drawing.ids).tolist()) - {0}
    rows: list[tuple[int, Float64, Float64, Float64, float, float]] = []
    for row, window in visible_cast(camera, cast):
        if row + 1 not in seen_rows:
            continue
        width, height = (window[2] - window[0]) * samples, (window[3] - window[1]) * samples
        if max(width, height) > _LARGEST_SAMPLES:
            continue
        flat = renderer.silhouette(row, camera.projection(tuple(float(v) for v in window)), width, height)  # type: ignore[arg-type]
        bent = _bent(renderer, camera, flat, window)
        visible = drawing.ids == row + 1
        num_bent, num_visible = int(np.count_nonzero(bent)), int(np.count_nonzero(visible))
        if num_visible == 0 or num_bent == 0:
            continue
        full = _outline_box(camera, flat, window, samples)
        inside = _share_inside(camera, flat, window, samples)
        rows.append((row, extent(bent | visible) / samples, full, extent(visible) / samples,
                     min(1.0, num_visible / num_bent), inside))  # fmt: skip
    boxes = [np.array([found[column] for found in rows], np.float64).reshape(-1, 4) for column in (1, 2, 3)]
    visibility, in_picture = (np.array([found[column] for found in rows], np.float64) for column in (4, 5))
    row_of_cast = np.array([found[0] for found in rows], np.int64)
    ground = np.array([cast[row].xy for row in row_of_cast], np.float64).reshape(-1, 2)
    return Truth(row_of_cast, boxes[0], boxes[1], boxes[2], visibility, in_picture, ground)


def extent(mask: BoolMask) -> Float64:
    """(4,) left, top, right, bottom edges of the set samples."""
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return np.array([cols[0], rows[0], cols[-1] + 1, rows[-1] + 1], np.float64)


def _bent(renderer: Renderer, camera: DrawnCamera, flat: BoolMask, window: tuple[int, int, int, int]) -> BoolMask:
    """The silhouette on the samples of the picture: bent by the very maps that bend the drawing."""
    samples = renderer.samples
    left, top, _, _ = camera.flat_window
    at = renderer.bend(camera).nearest
    col = at[..., 0] - (window[0] - int(left)) * samples
    row = at[..., 1] - (window[1] - int(top)) * samples
    inside = (col >= 0) & (row >= 0) & (col < flat.shape[1]) & (row < flat.shape[0])
    bent = np.zeros(inside.shape, bool)
    bent[inside] = flat[row[inside], col[inside]]
    return bent


def _outline_box(camera: DrawnCamera, flat: BoolMask, window: tuple[int, int, int, int], samples: int) -> Float64:
    """The box of a silhouette bent by the lens, beyond the picture too: from the ends of its rows and columns."""
    rows, cols = np.flatnonzero(flat.any(axis=1)), np.flatnonzero(flat.any(axis=0))
    first_col, last_col = flat[rows].argmax(axis=1), flat.shape[1] - flat[rows, ::-1].argmax(axis=1)
    first_row, last_row = flat[:, cols].argmax(axis=0), flat.shape[0] - flat[::-1, cols].argmax(axis=0)
    edges = np.concatenate(
        [
            np.stack([first_col, rows + 0.5], 1),
            np.stack([last_col, rows + 0.5], 1),
            np.stack([cols + 0.5, first_row], 1),
            np.stack([cols + 0.5, last_row], 1),
        ]
    )
    points = camera.distorted(edges / samples + (window[0], window[1]) - 0.5) + 0.5
    return np.concatenate([points.min(axis=0), points.max(axis=0)])


def _share_inside(camera: DrawnCamera, flat: BoolMask, window: tuple[int, int, int, int], samples: int) -> float:
    rows, cols = np.nonzero(flat)
    step = max(1, len(rows) // 2000)
    points = np.stack([cols[::step] + 0.5, rows[::step] + 0.5], axis=1) / samples + (window[0], window[1]) - 0.5
    x, y = (camera.distorted(points) + 0.5).T
    return float(np.mean((x >= 0) & (y >= 0) & (x <= camera.width_px) & (y <= camera.height_px)))
