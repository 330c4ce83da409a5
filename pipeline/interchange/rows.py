"""Tracks of many cameras with all that any of the formats can say of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.types import AnyArray, Float64, Int64, RowIndex

NO_ID = 0

_COLUMNS: Mapping[str, tuple[type[np.generic], tuple[int, ...]]] = {
    "camid": (np.int64, ()),
    "frame": (np.int64, ()),
    "time_s": (np.float64, ()),
    "global_id": (np.int64, ()),
    "track_id": (np.int64, ()),
    "xyxy": (np.float64, (4,)),
    "score": (np.float64, ()),
    "ground_xy": (np.float64, (2,)),
    "line": (np.int64, ()),
}


@dataclass(frozen=True, slots=True, eq=False)
class TrackRows:
    """R sightings, one row each, in the order of the file. Read-only; NaN where the format does not say.

    In formats with one id per row (MOTChallenge, AI City) `global_id` and `track_id` are both that id.
    """

    cameras: tuple[str, ...]
    camid: Int64  # (R,) place in `cameras`
    frame: Int64  # (R,) from 0 in the camera's source
    time_s: Float64  # (R,) on the clock of all cameras
    global_id: Int64  # (R,) 0 where the tracklet has no identity
    track_id: Int64  # (R,)
    xyxy: Float64  # (R, 4) pixels
    score: Float64  # (R,)
    ground_xy: Float64  # (R, 2) metres
    line: Int64  # (R,) 1-based line in its file

    def __post_init__(self) -> None:
        num_rows = len(self.camid)
        for name, (dtype, tail) in _COLUMNS.items():
            array = np.asarray(getattr(self, name), dtype)
            if array.shape != (num_rows, *tail):
                raise ValueError(f"TrackRows.{name}: want shape {(num_rows, *tail)}, got {array.shape}")
            view = array.view()
            view.flags.writeable = False
            object.__setattr__(self, name, view)
        if num_rows and not 0 <= self.camid.min() <= self.camid.max() < len(self.cameras):
            raise ValueError(f"TrackRows.camid: must lie in 0..{len(self.cameras) - 1}")

    @classmethod
    def of(cls, cameras: Sequence[str], **columns: AnyArray) -> TrackRows:
        """Rows of the columns that are known; at least `camid`, `frame` and `track_id`."""
        num_rows = len(columns["camid"])
        columns.setdefault("global_id", columns["track_id"])
        for name, (dtype, tail) in _COLUMNS.items():
            blank = np.nan if dtype is np.float64 else 0
            columns.setdefault(name, np.full((num_rows, *tail), blank, dtype))
        return cls(tuple(cameras), **columns)

    @classmethod
    def empty(cls, cameras: Sequence[str] = ()) -> TrackRows:
        none = np.zeros(0, np.int64)
        return cls.of(cameras, camid=none, frame=none, track_id=none)

    def __len__(self) -> int:
        return len(self.camid)

    def __getitem__(self, rows: RowIndex) -> TrackRows:
        return TrackRows(self.cameras, **{name: getattr(self, name)[rows] for name in _COLUMNS})

    def with_columns(self, **columns: AnyArray) -> TrackRows:
        """The same rows with some columns replaced."""
        return TrackRows(self.cameras, **({name: getattr(self, name) for name in _COLUMNS} | columns))

    def where(self, row: int) -> str:
        """One row in words, for messages."""
        time = f" ({self.time_s[row]:.3f} s)" if np.isfinite(self.time_s[row]) else ""
        return f"line {self.line[row]}: camera {self.cameras[self.camid[row]]}, frame {self.frame[row]}{time}"


def joined(tables: Sequence[TrackRows]) -> TrackRows:
    """All rows in the given order; cameras of the same name become one."""
    cameras = tuple(dict.fromkeys(name for table in tables for name in table.cameras))
    if not tables:
        return TrackRows.empty()
    number = {name: camid for camid, name in enumerate(cameras)}
    camid = [np.array([number[name] for name in t.cameras], np.int64)[t.camid] for t in tables]
    columns = {name: np.concatenate([getattr(t, name) for t in tables]) for name in _COLUMNS if name != "camid"}
    return TrackRows(cameras, camid=np.concatenate(camid), **columns)


def timed(rows: TrackRows, fps: Mapping[str, float], zero_s: Mapping[str, float] | None = None) -> TrackRows:
    """Rows without a time get `frame / fps` of their camera, plus `zero_s`, the time of its frame 0; cameras that
    `fps` does not know stay without."""
    blank = np.isnan(rows.time_s)
    if not blank.any():
        return rows
    rate = np.array([fps.get(name, np.nan) for name in rows.cameras], np.float64)
    zero = np.array([(zero_s or {}).get(name, 0.0) for name in rows.cameras], np.float64)
    made = rows.frame / rate[rows.camid] + zero[rows.camid] if len(rate) else rows.time_s
    return rows.with_columns(time_s=np.where(blank, made, rows.time_s))
