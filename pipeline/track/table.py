"""The tracks of a camera as one table of aligned arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np

from pipeline.track.kalman import MotionNoise, initiate
from pipeline.types import AnyArray, Float32, Float64, Int64


@dataclass(slots=True)
class Table:
    """All tracks of a camera, one row each, the oldest first."""

    track_id: Int64  # (T,) 0 until the track is confirmed
    hits: Int64  # (T,) detections so far
    seen_s: Float64  # (T,) time of the last one
    mean: Float64  # (T, 2, 4) the filter at that time, see kalman.py
    cov: Float64  # (T, 3, 4)
    last_xy: Float64  # (T, 2) px, centre of the last detection
    vector: Float32  # (T, D) looks, of unit norm or zeros; D is 0 where no vectors are given
    ground: Float64  # (T, 3) m, m, m: where it stood last and how surely; NaN where unknown

    @classmethod
    def of(cls, xyxy: Float64, time_s: float, noise: MotionNoise, vector: Float32, ground: Float64) -> Table:
        """New tracks on boxes (N, 4) detected at `time_s`; vector (N, D), ground (N, 3)."""
        num = len(xyxy)
        mean, cov = initiate(xyxy, noise)
        ids, hits = np.zeros(num, np.int64), np.ones(num, np.int64)
        return cls(ids, hits, np.full(num, time_s), mean, cov, mean[:, 0, :2].copy(), vector, ground)

    @classmethod
    def empty(cls) -> Table:
        none = np.zeros((0, 4))
        return cls.of(none, 0.0, MotionNoise(), np.zeros((0, 0), np.float32), np.zeros((0, 3)))

    def __len__(self) -> int:
        return len(self.track_id)

    def copy_of(self, rows: AnyArray) -> Table:
        return Table(*(getattr(self, name)[rows] for name in COLUMNS))

    def joined(self, other: Table) -> Table:
        return Table(*(np.concatenate((getattr(self, name), getattr(other, name))) for name in COLUMNS))

    def note_seen(self, rows: Int64, xyxy: Float64, time_s: float) -> None:
        """Enter that the tracks in `rows` (M,) were detected with boxes (M, 4)."""
        self.last_xy[rows] = (xyxy[:, :2] + xyxy[:, 2:]) / 2
        self.seen_s[rows] = time_s
        self.hits[rows] += 1

    def to_arrays(self) -> dict[str, AnyArray]:
        return {name: getattr(self, name).copy() for name in COLUMNS}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, AnyArray]) -> Table:
        """Raises ValueError where a column is missing, does not fit the others or holds what no track can be."""
        want = cls.empty()
        num = int(np.size(arrays.get("track_id", ())))
        columns = []
        for name in COLUMNS:
            model = getattr(want, name)
            column = arrays.get(name)
            tail = column.shape[1:] if column is not None and name == "vector" and column.ndim == 2 else model.shape[1:]
            if column is None or column.shape != (num, *tail) or column.dtype != model.dtype:
                found = "nothing" if column is None else f"{column.dtype} {column.shape}"
                raise ValueError(f"tracker state: {name} must be {model.dtype} {(num, *tail)}, got {found}")
            if name != "ground" and not np.isfinite(column).all():
                raise ValueError(f"tracker state: {name} is not finite")
            columns.append(column.copy())
        table = cls(*columns)
        ids = table.track_id[table.track_id != 0]
        if ids.min(initial=1) < 1 or len(np.unique(ids)) < len(ids):
            raise ValueError(f"tracker state: track_id must hold ids from 1 on, each once, got {ids.tolist()}")
        return table


COLUMNS = tuple(field.name for field in fields(Table))
