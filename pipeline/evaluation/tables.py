"""Tracks of many cameras as one table of aligned rows: what the scorer compares, ground truth and result alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.types import Float64, Int64, RowIndex


@dataclass(frozen=True, slots=True, eq=False)
class TrackTable:
    """R boxes, one row each, in no promised order. Arrays are checked when the value is made and read-only after.

    `identity` says who it is over all cameras, `track_id` which path through its camera the box belongs to (only the
    pair of camera and `track_id` is unique). Ground truth, and any format without tracklets, has both the same.
    """

    cameras: tuple[str, ...]
    camid: Int64  # (R,) place in `cameras`
    frame: Int64  # (R,) 0-based in the camera's source
    track_id: Int64  # (R,)
    identity: Int64  # (R,)
    xyxy: Float64  # (R, 4) pixels of the camera's (cropped) image

    def __post_init__(self) -> None:
        num_rows = len(self.camid)
        for name, dtype, tail in (
            ("camid", np.int64, ()),
            ("frame", np.int64, ()),
            ("track_id", np.int64, ()),
            ("identity", np.int64, ()),
            ("xyxy", np.float64, (4,)),
        ):
            array = np.asarray(getattr(self, name), dtype)
            if array.shape != (num_rows, *tail):
                raise ValueError(f"TrackTable.{name}: want shape {(num_rows, *tail)}, got {array.shape}")
            view = array.view()
            view.flags.writeable = False
            object.__setattr__(self, name, view)
        if len(set(self.cameras)) != len(self.cameras):
            raise ValueError(f"TrackTable.cameras: a name stands twice in {', '.join(self.cameras)}")
        if num_rows and not 0 <= self.camid.min() <= self.camid.max() < len(self.cameras):
            raise ValueError(f"TrackTable.camid: must lie in 0..{len(self.cameras) - 1}")

    @classmethod
    def empty(cls, cameras: Sequence[str] = ()) -> TrackTable:
        none = np.zeros(0, np.int64)
        return cls(tuple(cameras), none, none, none, none, np.zeros((0, 4)))

    def __len__(self) -> int:
        return len(self.camid)

    def __getitem__(self, rows: RowIndex) -> TrackTable:
        return TrackTable(
            self.cameras, self.camid[rows], self.frame[rows], self.track_id[rows], self.identity[rows], self.xyxy[rows]
        )

    def of_camera(self, camera: str) -> TrackTable:
        """The rows of one camera, as a table of that camera alone; empty where the camera is unknown."""
        if camera not in self.cameras:
            return TrackTable.empty((camera,))
        rows = self.camid == self.cameras.index(camera)
        num_rows = int(np.count_nonzero(rows))
        return TrackTable(
            (camera,),
            np.zeros(num_rows, np.int64),
            self.frame[rows],
            self.track_id[rows],
            self.identity[rows],
            self.xyxy[rows],
        )

    def with_identity(self, identity: Int64) -> TrackTable:
        """The same boxes under other identities, (R,) aligned."""
        return TrackTable(self.cameras, self.camid, self.frame, self.track_id, identity, self.xyxy)

    def renamed(self, camera: str) -> TrackTable:
        """A table of one camera under another name. Raises ValueError where there are several cameras."""
        if len(self.cameras) != 1:
            raise ValueError(f"only a table of one camera can be renamed, this one has {', '.join(self.cameras)}")
        return TrackTable((camera,), self.camid, self.frame, self.track_id, self.identity, self.xyxy)


def concatenate(tables: Sequence[TrackTable]) -> TrackTable:
    """All rows in the given order; cameras of the same name become one, identities keep their numbers."""
    cameras = tuple(dict.fromkeys(name for table in tables for name in table.cameras))
    if not tables:
        return TrackTable.empty()
    camid = [np.array([cameras.index(name) for name in t.cameras], np.int64)[t.camid] for t in tables]
    return TrackTable(
        cameras,
        np.concatenate(camid),
        np.concatenate([t.frame for t in tables]),
        np.concatenate([t.track_id for t in tables]),
        np.concatenate([t.identity for t in tables]),
        np.concatenate([t.xyxy for t in tables]),
    )


def numbered(*columns: Int64) -> Int64:
    """(R,) number of each row's combination of values: 0, 1, ... in the order of the combinations."""
    number = np.unique(columns[0], return_inverse=True)[1]
    for column in columns[1:]:
        values, place = np.unique(column, return_inverse=True)
        number = np.unique(number * max(1, len(values)) + place, return_inverse=True)[1]
    return number


def crop_table(table: TrackTable, crop: tuple[float, float, float, float], *, clip: bool = False) -> TrackTable:
    """The boxes whose centre lies in `crop` (x, y, width, height in pixels), in pixels from the crop's origin.

    The crop is half open: a centre on its left or upper edge is inside, on its right or lower edge outside, so that
    crops side by side share no box. `clip` cuts the boxes at the crop's border; by default they may reach beyond it.
    """
    left, top, width, height = crop
    x1, y1, x2, y2 = table.xyxy.T
    centre_x, centre_y = (x1 + x2) / 2, (y1 + y2) / 2
    inside = (centre_x >= left) & (centre_x < left + width) & (centre_y >= top) & (centre_y < top + height)
    kept = table[inside]
    xyxy = kept.xyxy - np.array([left, top, left, top], np.float64)
    if clip:
        xyxy = np.clip(xyxy, 0.0, np.array([width, height, width, height], np.float64))
    return TrackTable(kept.cameras, kept.camid, kept.frame, kept.track_id, kept.identity, xyxy)
