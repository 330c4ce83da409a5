"""Tracks of any size in order of time: each camera's rows on the disk, sorted, and read back a piece at a time.

Trackers write their files camera by camera, or person by person. Here every row goes into a plain array file of its
camera first; each is then sorted by frame, and the frames of all cameras are merged by time. Memory holds the frame
numbers of one camera while it is sorted, and later the span of each tracklet and a piece of each camera's rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from pipeline.evaluation.text import TableError
from pipeline.interchange.rows import TrackRows
from pipeline.types import AnyArray, Float32, Float64, Int64

_ROW = np.dtype(
    [("frame", "i8"), ("time_s", "f8"), ("track_id", "i8"), ("xyxy", "f4", (4,)), ("score", "f4"), ("line", "i8")]
)
_PIECE_ROWS = 4096
_SCORE = 1.0  # of rows whose format has none


@dataclass(frozen=True, slots=True, eq=False)
class SpoolFrame:
    """The rows of one camera's frame, by track id."""

    frame: int
    time_s: float
    track_id: Int64  # (N,)
    xyxy: Float32  # (N, 4)
    score: Float32  # (N,)


@dataclass(frozen=True, slots=True, eq=False)
class CameraSpool:
    """One camera's rows on the disk, sorted by frame and track; times rise with the frames."""

    camera: str
    path: Path
    num_rows: int
    num_frames: int
    step_s: float  # median seconds between frames; 0 where there is only one
    track_id: Int64  # (K,) the tracklets, ascending
    first_frame: Int64  # (K,)
    last_frame: Int64  # (K,)

    def frames(self) -> Iterator[SpoolFrame]:
        """The frames in order; a piece of the file is in memory at a time."""
        held = np.zeros(0, _ROW)
        for start in range(0, self.num_rows, _PIECE_ROWS):
            stop = min(start + _PIECE_ROWS, self.num_rows)
            piece = np.fromfile(self.path, _ROW, stop - start, offset=start * _ROW.itemsize)
            held = np.concatenate([held, piece]) if len(held) else piece
            begins = np.flatnonzero(np.diff(held["frame"], prepend=-1))
            whole = len(begins) if stop == self.num_rows else len(begins) - 1
            ends = np.append(begins[1:], len(held))
            for begin, end in zip(begins[:whole].tolist(), ends[:whole].tolist(), strict=True):
                yield _frame(held[begin:end])
            held = held[begins[whole] :] if whole < len(begins) else held[:0]


def spool(
    blocks: Iterable[TrackRows],
    folder: Path,
    *,
    cameras: Sequence[str] | None,
    fps: Callable[[str], float | None],
    zero_s: Mapping[str, float],
) -> list[CameraSpool]:
    """Write the rows to `folder`, one file per camera that has rows, in the order of `cameras`, else of their names.

    `fps` gives the frames per second of cameras whose rows have no time (None: not known), `zero_s` the time of
    frame 0. Raises TableError for a camera that is not one of `cameras`, for rows without time, for a track id below 1
    and for a tracklet that stands twice in a frame.
    """
    files: dict[str, BinaryIO] = {}
    try:
        for block in blocks:
            for camid in np.unique(block.camid).tolist():
                name = block.cameras[camid]
                if cameras is not None and name not in cameras:
                    raise TableError(f"tracks of camera {name!r}, but the cameras are {', '.join(cameras)}")
                if name not in files:
                    files[name] = (folder / f"{len(files)}.rows").open("wb")
                files[name].write(_packed(block[block.camid == camid], name, fps(name), zero_s.get(name, 0.0)))
    finally:
        for file in files.values():
            file.close()
    order = sorted(files, key=_natural) if cameras is None else [name for name in cameras if name in files]
    return [_sorted(name, Path(files[name].name)) for name in order]


def _natural(name: str) -> tuple[int, int, str]:
    """Numbers by value, before names."""
    return (0, int(name), "") if name.isdecimal() else (1, 0, name)


def _packed(rows: TrackRows, camera: str, fps: float | None, zero_s: float) -> bytes:
    packed = np.zeros(len(rows), _ROW)
    time_s = rows.time_s
    if np.isnan(time_s).any():
        if fps is None:
            raise TableError(
                f"camera {camera}: its tracks have no times; give its frames per second: fps in cams.yaml, or --fps"
            )
        time_s = np.where(np.isnan(time_s), rows.frame / fps + zero_s, time_s)
    low = rows.track_id < 1
    if low.any():
        raise TableError(f"{rows.where(int(np.argmax(low)))}: the track id is 0; say --first-id 0 if ids count from 0")
    if not np.isfinite(rows.xyxy).all():
        raise TableError(f"camera {camera}: its tracks have no boxes; association works on boxes in pictures")
    for name in ("frame", "track_id", "xyxy", "line"):
        packed[name] = getattr(rows, name)
    packed["time_s"] = time_s
    packed["score"] = np.nan_to_num(rows.score, nan=_SCORE)
    return packed.tobytes()


def _sorted(camera: str, path: Path) -> CameraSpool:
    rows = np.memmap(path, _ROW, "r+")
    frame, track_id = np.asarray(rows["frame"]), np.asarray(rows["track_id"])
    order = np.lexsort((track_id, frame))
    if (np.diff(order) < 0).any():
        target = path.with_suffix(".sorted")
        with target.open("wb") as file:
            for start in range(0, len(order), _PIECE_ROWS):
                file.write(rows[order[start : start + _PIECE_ROWS]].tobytes())
        frame, track_id = frame[order], track_id[order]
        del rows
        path.unlink()
        path = target
        rows = np.memmap(path, _ROW, "r")
    twice = np.flatnonzero((np.diff(frame) == 0) & (np.diff(track_id) == 0))
    if len(twice):
        first, second = sorted(rows["line"][twice[0] : twice[0] + 2].tolist())
        raise TableError(
            f"camera {camera}: track {track_id[twice[0]]} stands twice in frame {frame[twice[0]]}, in lines {first} "
            f"and {second}; every row of a frame wants a track of its own"
        )
    begins = np.flatnonzero(np.diff(frame, prepend=-1))
    times = np.asarray(rows["time_s"])[begins]
    if (np.diff(times) <= 0).any():
        late = int(np.argmax(np.diff(times) <= 0))
        raise TableError(f"camera {camera}: frame {frame[begins[late + 1]]} is not later than the frame before it")
    ids, inverse = np.unique(track_id, return_inverse=True)
    last = np.zeros(len(ids), np.int64)
    np.maximum.at(last, inverse, frame)
    first_frame = np.full(len(ids), np.iinfo(np.int64).max)
    np.minimum.at(first_frame, inverse, frame)
    step_s = _step_s(frame[begins], times)
    return CameraSpool(camera, path, len(frame), len(begins), step_s, ids, first_frame, last)


def _step_s(frame: Int64, time_s: Float64) -> float:
    """Seconds per frame, frames without rows counted."""
    return float(np.median(np.diff(time_s) / np.diff(frame))) if len(frame) > 1 else 0.0


def _frame(rows: AnyArray) -> SpoolFrame:
    return SpoolFrame(
        int(rows["frame"][0]),
        float(rows["time_s"][0]),
        rows["track_id"].astype(np.int64),
        rows["xyxy"].astype(np.float32),
        rows["score"].astype(np.float32),
    )
