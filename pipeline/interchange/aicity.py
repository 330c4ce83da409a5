"""The AI City Challenge's text files of people in many cameras; numbers between spaces (commas are taken too).

* **2023 and 2024**: `camera_id obj_id frame_id xmin ymin width height xworld yworld`, boxes in pixels, the last two
  the point on the floor in metres; frames from 0, ids from 1. -1 -1 stands for a floor that is not known.
* **2025**: `scene_id class_id object_id frame_id x y z width length height yaw`, boxes in the world: centre and size
  in metres, angle in radians; one row per person and frame for all cameras of a scene together. A scene is read as
  one camera, named `scene-<id>`; classes other than 0 (person) are left out.

Source: the data and evaluation pages of aicitychallenge.org of those years.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from pipeline.evaluation.text import TableError
from pipeline.interchange.rows import TrackRows
from pipeline.types import Float64, Int64

log = logging.getLogger(__name__)

COLUMNS_2023 = ("camera_id", "obj_id", "frame_id", "xmin", "ymin", "width", "height", "xworld", "yworld")
COLUMNS_2025 = (
    *("scene_id", "class_id", "object_id", "frame_id"),
    *("x", "y", "z", "width", "length", "height", "yaw"),
)
PERSON = 0
_UNKNOWN = -1.0
_BLOCK_LINES = 16_384


def read_2023(path: Path) -> Iterator[TrackRows]:
    """Blocks of rows, cameras named by their numbers. Raises TableError."""
    for numbers, line in _blocks(path, COLUMNS_2023):
        camera, obj, frame = (_whole(path, numbers, line, COLUMNS_2023, c) for c in ("camera_id", "obj_id", "frame_id"))
        names, camid = np.unique(camera, return_inverse=True)
        size = numbers[:, 5:7]
        if (size < 0).any():
            bad = int(np.argmax((size < 0).any(axis=1)))
            raise TableError(f"{path}:{line[bad]}: the box has a negative width or height; are the columns in order?")
        ground = np.where((numbers[:, 7:9] == _UNKNOWN).all(axis=1)[:, None], np.nan, numbers[:, 7:9])
        yield TrackRows.of(
            [str(name) for name in names],
            camid=camid,
            frame=frame,
            track_id=obj,
            xyxy=np.concatenate([numbers[:, 3:5], numbers[:, 3:5] + size], axis=1),
            ground_xy=ground,
            line=line,
        )


def read_2025(path: Path) -> Iterator[TrackRows]:
    """Blocks of rows of people; they have a place on the floor and no boxes. Raises TableError."""
    num_others = 0
    for numbers, line in _blocks(path, COLUMNS_2025):
        people = numbers[:, COLUMNS_2025.index("class_id")] == PERSON
        num_others += int((~people).sum())
        numbers, line = numbers[people], line[people]
        scene, obj, frame = (
            _whole(path, numbers, line, COLUMNS_2025, c) for c in ("scene_id", "object_id", "frame_id")
        )
        names, camid = np.unique(scene, return_inverse=True)
        yield TrackRows.of(
            [f"scene-{name}" for name in names],
            camid=camid,
            frame=frame,
            track_id=obj,
            ground_xy=numbers[:, 4:6],
            line=line,
        )
    if num_others:
        log.warning("%s: %d rows of other classes than people (class_id 0) are left out", path, num_others)


def _blocks(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[Float64, Int64]]:
    """Numbers (R, C) of up to `_BLOCK_LINES` lines at a time, with their 1-based lines (R,); no blank ones."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            first = 1
            while texts := list(islice(file, _BLOCK_LINES)):
                split = [text.replace(",", " ").split() for text in texts]
                line = np.array([first + i for i, cells in enumerate(split) if cells], np.int64)
                cells = [row for row in split if row]
                first += len(texts)
                if cells:
                    yield _numbers(path, cells, line, columns), line
    except FileNotFoundError:
        raise TableError(f"{path}: no such file") from None
    except (IsADirectoryError, PermissionError) as error:
        raise TableError(f"{path}: can not be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise TableError(f"{path}: is no text ({error})") from None


def _numbers(path: Path, cells: list[list[str]], line: Int64, columns: tuple[str, ...]) -> Float64:
    for row, at in zip(cells, line.tolist(), strict=True):
        if len(row) != len(columns):
            raise TableError(f"{path}:{at}: {len(row)} columns, want {len(columns)}: {' '.join(columns)}")
    try:
        numbers = np.array(cells, np.float64)
    except ValueError as error:
        at = next((at for row, at in zip(cells, line.tolist(), strict=True) if not _are_numbers(row)), line[0])
        raise TableError(f"{path}:{at}: want numbers only ({error})") from None
    strange = ~np.isfinite(numbers).all(axis=1)
    if strange.any():
        raise TableError(f"{path}:{line[int(np.argmax(strange))]}: want finite numbers")
    return numbers


def _whole(path: Path, numbers: Float64, line: Int64, columns: tuple[str, ...], name: str) -> Int64:
    values = numbers[:, columns.index(name)]
    strange = (values != np.floor(values)) | (values < 0)
    if strange.any():
        bad = int(np.argmax(strange))
        raise TableError(f"{path}:{line[bad]}: {name} is {values[bad]:g}, want a whole number >= 0")
    return values.astype(np.int64)


def _are_numbers(row: list[str]) -> bool:
    try:
        [float(cell) for cell in row]
    except ValueError:
        return False
    return True
