"""Text files of points, one person per line, and the boxes to cut out around them.

`<root>/<video>/<frame>.txt` holds a frame: `x y` in pixels, separated by blanks, tabs or a comma, the middle of a
head or of a body; an optional third column is the person's number. An empty file means that nobody is there.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from pipeline.types import Float64, Int64

NO_PID = -1
HEAD_SHARE = 0.07  # of a standing person's height: how far the middle of the head lies under its top
PERSON_ASPECT = 0.41  # width over height of a pedestrian's box (Dollar et al., TPAMI 2012)

Anchor: TypeAlias = Literal["head", "body"]
HeightAt: TypeAlias = Callable[[Float64], Float64]

_SEPARATOR = re.compile(r"\s*,\s*|\s+")
_FRAME_NUMBER = re.compile(r"(\d+)$")


class PointsError(ValueError):
    """A file of points can not be used; the message names file, line and remedy."""


@dataclass(frozen=True, slots=True, eq=False)
class FramePoints:
    """The people of one frame, in the order of the file."""

    xy: Float64  # (N, 2) pixels
    pid: Int64  # (N,) -1 where the file does not say


def read_points(path: Path, width_px: float, height_px: float) -> FramePoints:
    """One frame. Raises PointsError (file and line) for what is no number, not finite or outside the picture."""
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise PointsError(f"{path}: can not be read as UTF-8 text: {error}") from error
    rows: list[tuple[float, float]] = []
    pids: list[int] = []
    num_fields = 0
    for number, line in enumerate(lines, start=1):
        fields = _SEPARATOR.split(line.strip())
        if fields == [""]:
            continue
        where = f"{path}:{number}"
        if len(fields) not in (2, 3):
            raise PointsError(f"{where}: want `x y` or `x y person`, got {len(fields)} columns")
        if num_fields and len(fields) != num_fields:
            raise PointsError(f"{where}: {len(fields)} columns, the lines before have {num_fields}")
        num_fields = len(fields)
        rows.append(_place(fields, where, width_px, height_px))
        pids.append(_person(fields[2], where) if num_fields == 3 else NO_PID)
    return FramePoints(np.array(rows, np.float64).reshape(-1, 2), np.array(pids, np.int64))


def read_video_points(folder: Path, width_px: float, height_px: float) -> dict[int, FramePoints]:
    """All `<frame>.txt` of a video, by the number at the end of their names, ascending. Raises PointsError."""
    files: dict[int, Path] = {}
    for path in sorted(folder.glob("*.txt")):
        match = _FRAME_NUMBER.search(path.stem)
        if match is None:
            raise PointsError(f"{path}: the name must end with the number of the frame, as in 000017.txt")
        number = int(match[1])
        if number in files:
            raise PointsError(f"{path}: frame {number} stands in {files[number].name} as well; remove one of them")
        files[number] = path
    if not files:
        raise PointsError(f"{folder}: no <frame>.txt in this folder; want one file per frame with `x y` lines")
    return {number: read_points(files[number], width_px, height_px) for number in sorted(files)}


@dataclass(frozen=True, slots=True)
class HeightLine:
    """Height in pixels of a standing person as a straight line over the picture's rows: true over a flat floor."""

    intercept_px: float
    slope: float

    @classmethod
    def fit(cls, xyxy: Float64, anchor: Anchor = "body") -> HeightLine:
        """From the boxes (N, 4) of people that are seen whole. Raises ValueError for fewer than two rows of feet."""
        height = xyxy[:, 3] - xyxy[:, 1]
        y = xyxy[:, 1] + _anchor_share(anchor) * height
        if len(y) < 2 or np.ptp(y) == 0:
            raise ValueError(f"HeightLine: {len(y)} boxes on one row of the picture tell no slope; give more")
        slope, intercept = np.polyfit(y, height, 1)
        return cls(float(intercept), float(slope))

    def __call__(self, y_px: Float64) -> Float64:
        """(N,) rows of the picture -> (N,) heights, at least one pixel."""
        return np.maximum(self.intercept_px + self.slope * y_px, 1.0)


def point_boxes(
    points_xy: Float64, boxes_xyxy: Float64, height_px: float | HeightAt, *, anchor: Anchor = "body"
) -> Float64:
    """(N, 2) points -> (N, 4) boxes xyxy to cut out.

    A point takes the box (of (D, 4) detections) that contains it and whose centre is nearest; a box serves one point,
    the nearest first. The others get a box of `height_px`, a fixed size or a function of the row (`HeightLine`).
    """
    points = np.asarray(points_xy, np.float64).reshape(-1, 2)
    boxes = np.asarray(boxes_xyxy, np.float64).reshape(-1, 4)
    height = np.asarray(height_px(points[:, 1]) if callable(height_px) else np.full(len(points), height_px))
    half_width = 0.5 * PERSON_ASPECT * height
    top = points[:, 1] - _anchor_share(anchor) * height
    chosen = np.stack((points[:, 0] - half_width, top, points[:, 0] + half_width, top + height), axis=1)
    low, high = boxes[None, :, :2], boxes[None, :, 2:]
    inside = ((points[:, None] >= low) & (points[:, None] <= high)).all(axis=2)  # (N, D)
    distance = np.linalg.norm(points[:, None] - (low + high) / 2, axis=2)
    distance[~inside] = np.inf
    for _ in range(min(distance.shape)):
        row, col = np.unravel_index(distance.argmin(), distance.shape)
        if distance[row, col] == np.inf:
            break
        chosen[row] = boxes[col]
        distance[row] = distance[:, col] = np.inf
    return chosen


def _anchor_share(anchor: Anchor) -> float:
    """Where in a person's box the point lies, as a share of its height."""
    return {"head": HEAD_SHARE, "body": 0.5}[anchor]


def _place(fields: list[str], where: str, width_px: float, height_px: float) -> tuple[float, float]:
    try:
        x, y = float(fields[0]), float(fields[1])
    except ValueError as error:
        raise PointsError(f"{where}: x and y must be numbers, got {fields[0]!r} {fields[1]!r}") from error
    if not (0 <= x <= width_px and 0 <= y <= height_px):  # NaN fails too
        raise PointsError(f"{where}: ({x:g}, {y:g}) is not inside the picture of {width_px:g} x {height_px:g} pixels")
    return x, y


def _person(field: str, where: str) -> int:
    if not field.isascii() or not field.isdigit():
        raise PointsError(f"{where}: the third column numbers people, want an integer from 0, got {field!r}")
    return int(field)
