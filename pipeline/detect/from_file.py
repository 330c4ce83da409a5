"""Detector that reads ready detections from files instead of looking at the pictures.

Three kinds of file are told apart by their first line:

* no header: MOTChallenge `det.txt`, columns `frame, id, left, top, width, height, confidence, ...`, frames from 1;
* a header with `left, top, width, height`: our own CSV, frames from 0;
* a header with `x1, y1, x2, y2`: corners, frames from 0.

With a header the columns may stand in any order; `frame` and `score` are needed, others are passed over, and a column
`camera` lets one file serve several cameras. Boxes are in pixels of the camera's (cropped) picture.
"""

from __future__ import annotations

import csv
import difflib
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.detect.config import DetectConfig
from pipeline.geometry.boxes import clip_to, tlwh_to_xyxy
from pipeline.models import BUNDLED
from pipeline.types import Detections, Float32, Float64, Frame, Int64

log = logging.getLogger(__name__)

MOT_COLUMNS = ("frame", "id", "left", "top", "width", "height", "score")
TLWH, CORNERS = ("left", "top", "width", "height"), ("x1", "y1", "x2", "y2")
NO_SCORE = -1.0  # MOTChallenge for "not stated"
MIN_SIDE_PX = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class DetectionTable:
    """All detections of one camera, rows ascending by frame, at equal frames as in the file."""

    frame_idx: Int64  # (N,) 0-based
    xyxy: Float32  # (N, 4)
    score: Float32  # (N,)

    def of_frame(self, frame_idx: int) -> tuple[Float32, Float32]:
        """Boxes (M, 4) and scores (M,) of one frame."""
        first, last = np.searchsorted(self.frame_idx, [frame_idx, frame_idx + 1])
        return self.xyxy[first:last], self.score[first:last]


class FileDetector:
    """Gives each frame the detections that its camera's file holds for it."""

    def __init__(self, tables: Sequence[DetectionTable], min_score: float) -> None:
        """`tables` by camid."""
        self._tables = tuple(tables)
        self._min_score = min_score

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """One `Detections` per frame, in order; none where the file has no row for the frame."""
        found = []
        for frame in frames:
            xyxy, score = self._tables[frame.camid].of_frame(frame.frame_idx)
            height_px, width_px = frame.image.shape[:2]
            xyxy = clip_to(xyxy, width_px, height_px)
            keep = (score >= self._min_score) & np.all(xyxy[:, 2:] - xyxy[:, :2] >= MIN_SIDE_PX, axis=1)
            found.append(Detections(xyxy[keep], score[keep]))
        return found


def open_files(config: DetectConfig, camera_names: Sequence[str], base_dir: Path) -> FileDetector:
    """Load the file of every camera. Raises ValueError naming the key, camera, file and line."""
    for name in config.files:
        if name not in camera_names:
            near = difflib.get_close_matches(name, camera_names, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(camera_names)}"
            raise ValueError(f"detect.files: there is no camera {name!r}; {hint}")
    is_shared = "{camera}" not in config.model
    tables = []
    for name in camera_names:
        if name in config.files:
            key, relative = f"detect.files.{name}", config.files[name]
        elif config.model not in ("", BUNDLED):
            key, relative = "detect.model", config.model.replace("{camera}", name)
        else:
            raise ValueError(f"detect.files: no file for camera {name!r}; add it, or name a pattern in detect.model")
        path = base_dir / Path(relative).expanduser()
        if not path.is_file():
            raise ValueError(f"{key}: no such file for camera {name!r}: {path}")
        rows = read_detections(path, name)
        if rows is None:
            raise ValueError(f"{path}: the column `camera` never says {name!r}; check the camera's id")
        if is_shared and key == "detect.model" and len(camera_names) > 1 and not _has_camera_column(path):
            raise ValueError(
                f"detect.model: {path} has no column `camera`, but there are {len(camera_names)} cameras; "
                "name one file per camera with {camera} in the path, or in detect.files"
            )
        tables.append(rows)
    return FileDetector(tables, config.min_score)


def read_detections(path: Path, camera: str) -> DetectionTable | None:
    """The camera's detections in a file of any of the three kinds; None where the file only names other cameras.

    Scores above 1 or below 0 are clipped, -1 (MOTChallenge for "not stated") becomes 1.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = list(csv.reader(_commas(file)))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: no text file of detections ({error})") from error
    numbered = [(number, row) for number, row in enumerate(lines, start=1) if row and row[0][:1] != "#"]
    if not numbered:
        return DetectionTable(np.zeros(0, np.int64), np.zeros((0, 4), np.float32), np.zeros(0, np.float32))
    has_header = not _is_number(numbered[0][1][0])
    columns = tuple(c.strip().lower() for c in numbered.pop(0)[1]) if has_header else MOT_COLUMNS
    corners = _check_columns(path, columns)
    if "camera" in columns:
        place = columns.index("camera")
        mine = [(number, row) for number, row in numbered if len(row) > place and row[place].strip() == camera]
        if numbered and not mine:
            return None
        numbered = mine
    values = _to_numbers(path, numbered, columns, corners)
    return _table(path, values, is_corners=corners == CORNERS, first_frame=0 if has_header else 1)


def _commas(file: Iterable[str]) -> list[str]:
    """Lines of a file whose columns are parted by commas, semicolons, tabs or spaces -> parted by commas."""
    lines = [line.strip() for line in file]
    first = next((line for line in lines if line), "")
    if "," in first:
        return lines
    if ";" in first:
        return [line.replace(";", ",") for line in lines]
    return [",".join(line.split()) for line in lines]


def _check_columns(path: Path, columns: tuple[str, ...]) -> tuple[str, ...]:
    """The four box columns in use. Raises ValueError naming those that are missing."""
    boxes = CORNERS if all(c in columns for c in CORNERS) else TLWH
    missing = [c for c in ("frame", *boxes, "score") if c not in columns]
    if missing:
        raise ValueError(
            f"{path}:1: column {', '.join(missing)} is missing; want frame, score and either left, top, width, height "
            "or x1, y1, x2, y2 (a file without a header is read as MOTChallenge det.txt)"
        )
    return boxes


def _to_numbers(
    path: Path, numbered: list[tuple[int, list[str]]], columns: tuple[str, ...], boxes: tuple[str, ...]
) -> Float64:
    """(N, 6) frame, four box columns, score. Raises ValueError naming file:line."""
    places = [columns.index(c) for c in ("frame", *boxes, "score")]
    try:
        values = np.array([[row[p] for p in places] for _, row in numbered], np.float64).reshape(-1, 6)
    except (ValueError, IndexError):
        values = np.full((len(numbered), 6), np.nan)
    if np.isfinite(values).all():
        size = values[:, 3:5] - values[:, 1:3] if boxes == CORNERS else values[:, 3:5]
        inverted = np.flatnonzero((size < 0).any(axis=1))
        if len(inverted):
            number = numbered[int(inverted[0])][0]
            raise ValueError(f"{path}:{number}: the box has a negative width or height; are the columns in order?")
        return values
    for number, row in numbered:  # find the line at fault
        if len(row) <= max(places):
            raise ValueError(f"{path}:{number}: {len(row)} columns, want at least {max(places) + 1}")
        for place in places:
            if not _is_number(row[place]):
                raise ValueError(f"{path}:{number}: {columns[place]} is {row[place]!r}, no finite number")
    raise AssertionError("a row that numpy refuses has no column that is no number")


def _table(path: Path, values: Float64, *, is_corners: bool, first_frame: int) -> DetectionTable:
    frame_idx = values[:, 0].astype(np.int64) - first_frame
    if len(values) and frame_idx.min() < 0:
        raise ValueError(
            f"{path}: frame {int(values[:, 0].min())}; frames count from {first_frame} in this kind of file"
        )
    order = np.argsort(frame_idx, kind="stable")
    boxes, score = values[order, 1:5].astype(np.float32), values[order, 5]
    score = np.where(score == NO_SCORE, 1.0, score)
    outside = int(np.count_nonzero((score < 0) | (score > 1)))
    if outside:
        log.warning("%s: %d of %d scores lie outside 0..1 and are clipped", path, outside, len(score))
    xyxy = boxes if is_corners else tlwh_to_xyxy(boxes)
    return DetectionTable(frame_idx[order], np.ascontiguousarray(xyxy), np.clip(score, 0, 1).astype(np.float32))


def _has_camera_column(path: Path) -> bool:
    with path.open(encoding="utf-8-sig") as file:
        return "camera" in [c.strip().lower() for c in file.readline().replace(";", ",").split(",")]


def _is_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False
