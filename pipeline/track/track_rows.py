"""The tracklets of one camera as a table, for what is done once all of them are known."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pipeline.types import BoolMask, Float32, Float64, Int64, RowIndex

_COLUMNS: tuple[tuple[str, type[np.generic], tuple[int, ...]], ...] = (
    ("frame_idx", np.int64, ()),
    ("time_s", np.float64, ()),
    ("track_id", np.int64, ()),
    ("xyxy", np.float64, (4,)),
    ("score", np.float32, ()),
    ("interpolated", np.bool_, ()),
)


@dataclass(frozen=True, slots=True, eq=False)
class TrackRows:
    """R boxes, in order of track, then time, whatever the order they are given in; own, read-only arrays.

    Raises ValueError where arrays are not aligned, a value is not finite or a track has two boxes at one time.
    """

    frame_idx: Int64  # (R,)
    time_s: Float64  # (R,)
    track_id: Int64  # (R,)
    xyxy: Float64  # (R, 4) px
    score: Float32  # (R,)
    interpolated: BoolMask  # (R,) no detection stands behind the box

    def __post_init__(self) -> None:
        num_rows = len(self.track_id)
        arrays: dict[str, Any] = {}
        for name, dtype, tail in _COLUMNS:
            array = arrays[name] = np.asarray(getattr(self, name), dtype)
            if array.shape != (num_rows, *tail):
                raise ValueError(f"TrackRows.{name}: want shape {(num_rows, *tail)}, got {array.shape}")
            if not np.isfinite(array).all():
                raise ValueError(f"TrackRows.{name}: not finite in row {int(np.argwhere(~np.isfinite(array))[0, 0])}")
        order = np.lexsort((arrays["time_s"], arrays["track_id"]))
        for name, array in arrays.items():
            ordered = array[order]
            ordered.flags.writeable = False
            object.__setattr__(self, name, ordered)
        twice = (np.diff(self.track_id) == 0) & (np.diff(self.time_s) <= 0)
        if twice.any():
            row = int(twice.argmax())
            raise ValueError(f"TrackRows: track {self.track_id[row]} has two boxes at {self.time_s[row]} s")

    @classmethod
    def empty(cls) -> TrackRows:
        none = np.zeros(0, np.int64)
        return cls(none, np.zeros(0), none, np.zeros((0, 4)), np.zeros(0, np.float32), np.zeros(0, np.bool_))

    def __len__(self) -> int:
        return len(self.track_id)

    def __getitem__(self, rows: RowIndex) -> TrackRows:
        return TrackRows(*(getattr(self, name)[rows] for name, _, _ in _COLUMNS))

    def with_ids(self, track_id: Int64) -> TrackRows:
        """The same boxes under other ids, (R,) aligned."""
        return replace(self, track_id=track_id)

    def with_boxes(self, xyxy: Float64) -> TrackRows:
        """The same rows with other boxes, (R, 4) aligned."""
        return replace(self, xyxy=xyxy)

    def starts(self) -> Int64:
        """(K,) the first row of each track."""
        return np.flatnonzero(np.diff(self.track_id, prepend=self.track_id[:1] - 1)).astype(np.int64)
