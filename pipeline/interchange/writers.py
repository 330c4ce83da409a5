"""How each format is written. What a format can not hold, or the rows do not say, is refused or told, never made up."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from pipeline.evaluation.text import TableError
from pipeline.interchange.aicity import PERSON
from pipeline.interchange.rows import NO_ID, TrackRows
from pipeline.sinks.files import AtomicFile
from pipeline.sinks.final import COLUMNS, TABLE_FILE, seconds_text
from pipeline.sinks.mot import file_name
from pipeline.sinks.tables import quoted
from pipeline.types import BoolMask, Float64, Int64

log = logging.getLogger(__name__)

PERSON_SIZE_M = (0.6, 0.6, 1.7)  # width, length, height of a person's box where only the place on the floor is known
_BLOCK_ROWS = 16_384
_STANDING_M_S = 0.2  # a person slower than this has no direction


def write_crosscam(rows: TrackRows, path: Path) -> list[Path]:
    """`path`/global_tracks.csv, in order of time, camera and track. Raises TableError where rows have no time."""
    _need(np.isfinite(rows.time_s), rows, "no time; give the frames per second: --fps")
    _need_boxes(rows)
    order = np.lexsort((rows.track_id, rows.camid, rows.time_s))
    names = [quoted(name) for name in rows.cameras]
    tlwh = np.concatenate([rows.xyxy[:, :2], rows.xyxy[:, 2:] - rows.xyxy[:, :2]], axis=1)

    def line(row: int) -> str:
        gid = rows.global_id[row]
        box = ",".join(f"{value:z.2f}" for value in tlwh[row].tolist())
        ground = ",".join("" if value != value else f"{value:z.3f}" for value in rows.ground_xy[row].tolist())
        score = "" if np.isnan(rows.score[row]) else f"{rows.score[row]:.4f}"
        head = f"{seconds_text(float(rows.time_s[row]))},{names[rows.camid[row]]},{rows.frame[row]}"
        return f"{head},{'' if gid == NO_ID else gid},{rows.track_id[row]},{box},{score},,{ground}\n"

    with AtomicFile(path / TABLE_FILE) as file:
        file.write(",".join(COLUMNS) + "\n")
        _write(file, order, line)
    return [path / TABLE_FILE]


def write_mot(rows: TrackRows, path: Path) -> list[Path]:
    """`path`/<camera>.txt, frames from 1, in order of frame and id. Rows without identity are left out."""
    _need_boxes(rows)
    rows = _with_identity(rows)
    tlwh = np.concatenate([rows.xyxy[:, :2], rows.xyxy[:, 2:] - rows.xyxy[:, :2]], axis=1)
    place = np.where(_known_places(rows)[:, None], rows.ground_xy, -1.0)

    def line(row: int) -> str:
        box = ",".join(f"{value:z.2f}" for value in tlwh[row].tolist())
        score = "1" if np.isnan(rows.score[row]) else f"{rows.score[row]:.4f}"
        ground = ",".join("-1" if value == -1 else f"{value:z.3f}" for value in place[row].tolist())
        return f"{rows.frame[row] + 1},{rows.global_id[row]},{box},{score},{ground},-1\n"

    paths = [path / f"{file_name(name)}.txt" for name in rows.cameras]
    with ExitStack() as stack:
        for camid, target in enumerate(paths):
            file = stack.enter_context(AtomicFile(target))
            own = np.flatnonzero(rows.camid == camid)
            _write(file, own[np.lexsort((rows.global_id[own], rows.frame[own]))], line)
    return paths


def write_aicity(rows: TrackRows, path: Path) -> list[Path]:
    """One text file of AI City 2023 and 2024; boxes in whole pixels. Rows without identity are left out.

    Cameras whose names are not all numbers are numbered from 1 in their order, and that is told.
    """
    _need_boxes(rows)
    rows = _with_identity(rows)
    numbers = _camera_numbers(rows)
    known = _known_places(rows)
    if not known.all():
        log.warning("%d of %d rows have no place on the floor; they get -1 -1", (~known).sum(), len(rows))
    box = np.rint(np.concatenate([rows.xyxy[:, :2], rows.xyxy[:, 2:] - rows.xyxy[:, :2]], axis=1)).astype(np.int64)

    def line(row: int) -> str:
        ground = "{:z.3f} {:z.3f}".format(*rows.ground_xy[row].tolist()) if known[row] else "-1 -1"
        left, top, width, height = box[row].tolist()
        head = f"{numbers[rows.camid[row]]} {rows.global_id[row]} {rows.frame[row]}"
        return f"{head} {left} {top} {width} {height} {ground}\n"

    order = np.lexsort((rows.global_id, rows.frame, np.array(numbers, np.int64)[rows.camid]))
    with AtomicFile(path) as file:
        _write(file, order, line)
    return [path]


def write_aicity2025(rows: TrackRows, path: Path) -> list[Path]:
    """One text file of AI City 2025, all cameras as one scene 0: a person's place is the mean over the cameras that
    see it in a frame; size and the angle of walking stand for the box, whose true ones no camera here measures.

    Frames must count alike in all cameras. Raises TableError where no row has a place on the floor.
    """
    rows = _with_identity(rows)
    known = _known_places(rows)
    if not known.any():
        raise TableError(
            "AI City 2025 wants places on the floor, and these tracks have none: calibrate the cameras "
            "(docs/configuration.md), or write --to aicity or --to mot"
        )
    if not known.all():
        log.warning("%d of %d rows have no place on the floor and are left out", (~known).sum(), len(rows))
    rows = rows[known]
    gid, frame, xy = _mean_places(rows)
    yaw = _walking_angle(gid, frame, xy, rows)
    width, length, height = PERSON_SIZE_M

    def line(at: int) -> str:
        x, y = xy[at].tolist()
        size = f"{height / 2:.2f} {width:.2f} {length:.2f} {height:.2f}"
        return f"0 {PERSON} {gid[at]} {frame[at]} {x:z.3f} {y:z.3f} {size} {yaw[at]:z.3f}\n"

    with AtomicFile(path) as file:
        _write(file, np.lexsort((gid, frame)), line)
    return [path]


WRITERS: Mapping[str, Callable[[TrackRows, Path], list[Path]]] = {
    "crosscam": write_crosscam,
    "mot": write_mot,
    "aicity": write_aicity,
    "aicity2025": write_aicity2025,
}


def _mean_places(rows: TrackRows) -> tuple[Int64, Int64, Float64]:
    """-> (global_id, frame, xy) of each person and frame, ascending in both."""
    order = np.lexsort((rows.frame, rows.global_id))
    gid, frame = rows.global_id[order], rows.frame[order]
    first = np.flatnonzero(np.diff(gid, prepend=-1) | np.diff(frame, prepend=-1))
    count = np.diff(np.append(first, len(gid)))
    return gid[first], frame[first], np.add.reduceat(rows.ground_xy[order], first, axis=0) / count[:, None]


def _walking_angle(gid: Int64, frame: Int64, xy: Float64, rows: TrackRows) -> Float64:
    """Direction of each step in radians; standing keeps 0. Rows ascend in person and frame."""
    per_frame = np.diff(np.unique(rows.time_s[np.isfinite(rows.time_s)]))
    step_s = float(np.median(per_frame)) if len(per_frame) else 1 / 30
    move = np.zeros_like(xy)
    same = gid[1:] == gid[:-1]
    move[1:][same] = (xy[1:] - xy[:-1])[same]
    seconds = np.maximum(np.diff(frame, prepend=frame[:1] - 1), 1) * step_s
    return np.where(np.linalg.norm(move, axis=1) > _STANDING_M_S * seconds, np.arctan2(move[:, 1], move[:, 0]), 0.0)


def _camera_numbers(rows: TrackRows) -> list[int]:
    if all(name.isdecimal() for name in rows.cameras) and len({int(name) for name in rows.cameras}) == len(
        rows.cameras
    ):
        return [int(name) for name in rows.cameras]
    log.warning("cameras are numbered: %s", ", ".join(f"{i} is {name}" for i, name in enumerate(rows.cameras, 1)))
    return list(range(1, len(rows.cameras) + 1))


def _with_identity(rows: TrackRows) -> TrackRows:
    known = rows.global_id != NO_ID
    if known.all():
        return rows
    log.warning("%d of %d rows have no identity and are left out", (~known).sum(), len(rows))
    return rows[known]


def _known_places(rows: TrackRows) -> BoolMask:
    return np.asarray(np.isfinite(rows.ground_xy).all(axis=1), np.bool_)


def _need_boxes(rows: TrackRows) -> None:
    _need(
        np.asarray(np.isfinite(rows.xyxy).all(axis=1), np.bool_), rows, "no box in a picture, which this format wants"
    )


def _need(held: BoolMask, rows: TrackRows, complaint: str) -> None:
    if not held.all():
        raise TableError(f"{rows.where(int(np.argmin(held)))}: {complaint}")


def _write(file: AtomicFile, order: Int64, line: Callable[[int], str]) -> None:
    for start in range(0, len(order), _BLOCK_ROWS):
        file.write("".join(line(row) for row in order[start : start + _BLOCK_ROWS].tolist()))
