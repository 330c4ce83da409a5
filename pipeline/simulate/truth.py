"""Ground truth: whom every camera sees in every frame, and where."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from pipeline.simulate.faults import is_sent, scale_at
from pipeline.simulate.floor import boxes_of
from pipeline.simulate.graph import Site, SiteCamera
from pipeline.simulate.walkers import Visits
from pipeline.types import Float32, Float64, Int64, RowIndex

_HEIGHT_M, _HEIGHT_STD_M = 1.70, 0.09
_STRIDE_M = 0.75
_NEAREST_M = 0.8
_LEAST_SHARE = 0.4  # of a box that lies inside the picture
_LEAST_HEIGHT_PX = 10.0


@dataclass(frozen=True, eq=False)
class TruthTracks:
    """R true boxes, visit by visit: by (camid, enter_s of the visit, pid), then time. Arrays are aligned.

    `time_s` is the true time, whatever the camera's clock says. Boxes are clipped to the picture.
    """

    camid: Int64  # (R,)
    frame_idx: Int64  # (R,)
    time_s: Float64  # (R,) frame_idx / fps
    pid: Int64  # (R,) >= 1
    visit: Int64  # (R,) the person's visits counted from 0
    visit_row: Int64  # (R,) row of Visits
    xyxy: Float32  # (R, 4)
    ground_xy: Float32  # (R, 2) metres in the world

    def __post_init__(self) -> None:
        for field in fields(self):
            getattr(self, field.name).flags.writeable = False

    def __len__(self) -> int:
        return len(self.camid)

    def __getitem__(self, rows: RowIndex) -> TruthTracks:
        return TruthTracks(*(getattr(self, field.name)[rows] for field in fields(self)))

    def person_seconds(self, site: Site) -> float:
        """Seconds in view, summed over people and cameras."""
        per_camera = np.bincount(self.camid, minlength=len(site.cameras))
        return float(sum(count / camera.fps for count, camera in zip(per_camera, site.cameras, strict=True)))


def num_frames(camera: SiteCamera, seconds: float) -> int:
    """Frames that a camera takes in [0, seconds)."""
    return int(np.ceil(seconds * camera.fps - 1e-6))


def see(site: Site, visits: Visits, seconds: float, rng: np.random.Generator) -> TruthTracks:
    """What the cameras see of `visits`, with the faults that keep pictures from coming or change their size."""
    num_people = int(visits.pid.max(initial=0))
    height_m = _HEIGHT_M + _HEIGHT_STD_M * rng.standard_normal(num_people + 1)
    parts = []
    for place in range(len(site.place_names)):
        here = np.flatnonzero(visits.place == place)
        here = here[np.lexsort((visits.pid[here], visits.enter_s[here]))]
        parts += [(camid, _seen(site, camid, visits, here, seconds, height_m)) for camid in site.cameras_of(place)]
    tables = [table for _, table in sorted(parts, key=lambda part: part[0])]
    return TruthTracks(*(np.concatenate([getattr(t, f.name) for t in tables]) for f in fields(TruthTracks)))


def _seen(site: Site, camid: int, visits: Visits, here: Int64, seconds: float, height_m: Float64) -> TruthTracks:
    """The truth of one camera, from the visits `here` in their order."""
    camera = site.cameras[camid]
    last = num_frames(camera, seconds) - 1
    begin = np.maximum(np.ceil(visits.enter_s[here] * camera.fps), 0).astype(np.int64)
    end = np.minimum(np.floor(visits.leave_s[here] * camera.fps), last).astype(np.int64)
    count = np.maximum(end - begin + 1, 0)
    row = np.repeat(here, count)
    frame_idx = np.arange(len(row)) - np.repeat(np.cumsum(count) - count - begin, count)
    time_s = frame_idx / camera.fps
    ground_xy, walked_m = visits.at(row, time_s)
    pid = visits.pid[row]
    full, depth = boxes_of(camera, ground_xy, height_m[pid], np.sin(walked_m * (2 * np.pi / _STRIDE_M / 2)))
    edge = np.array([camera.width_px, camera.height_px] * 2, np.float64)
    xyxy = np.clip(full, 0.0, edge)
    with np.errstate(invalid="ignore", divide="ignore"):
        inside = (xyxy[:, 2:] - xyxy[:, :2]).prod(axis=1) / (full[:, 2:] - full[:, :2]).prod(axis=1)
    seen = (depth > _NEAREST_M) & (inside >= _LEAST_SHARE) & (xyxy[:, 3] - xyxy[:, 1] >= _LEAST_HEIGHT_PX)
    seen &= is_sent(site.faults, camera.id, time_s)
    scale = scale_at(site.faults, camera.id, (camera.width_px, camera.height_px), time_s[seen])
    return TruthTracks(
        np.full(int(seen.sum()), camid),
        frame_idx[seen],
        time_s[seen],
        pid[seen],
        visits.number[row[seen]],
        row[seen],
        (xyxy[seen] * np.tile(scale, 2)).astype(np.float32),
        ground_xy[seen].astype(np.float32),
    )
