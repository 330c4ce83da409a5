"""Where a lost person was to be by the time a tracklet begins: in the picture, or on the floor. Pure.

The same for tracklets that are still at hand (`store.TrackletStore`) and for those of the past (`archive.Parts`).
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from pipeline.fusion.affinity import heading_log_odds, motion_log_odds, walk_log_odds
from pipeline.fusion.config import FusionConfig
from pipeline.geometry.boxes import foot_point
from pipeline.types import Float64, Int64

HEADING_S = 0.4  # a tracklet seen for so long has a direction
_LONGEST_GLIDE_S = 1.0  # a lost person is taken to walk on for so long, then to stand
_WALK_SPEED_SIGMA = 0.8  # m/s per axis, of a person whose way was not seen


class Paths(Protocol):
    """Ends of tracklets, a row each; px and metres."""

    @property
    def entry_xyxy(self) -> Float64: ...

    @property
    def exit_xyxy(self) -> Float64: ...

    @property
    def velocity_px(self) -> Float64: ...

    @property
    def entry_ground_xy(self) -> Float64: ...

    @property
    def ground_xy(self) -> Float64: ...

    @property
    def ground_sigma_m(self) -> Float64: ...

    @property
    def ground_velocity(self) -> Float64: ...


def moved_log_odds(
    paths: Paths, later: Int64, earlier: Int64, gap_s: Float64, config: FusionConfig, *, start_px: Float64
) -> Float64:
    """(N,) log-odds that `later` (N,) goes on in the same picture where `earlier` (N,) was lost `gap_s` before.

    start_px: (N, 2) px/s with which the later one sets out, NaN where not known yet.
    """
    box, lost = paths.entry_xyxy[later], paths.exit_xyxy[earlier]
    height = np.maximum(lost[:, 3] - lost[:, 1], 1.0)
    glide = paths.velocity_px[earlier] * np.minimum(gap_s, _LONGEST_GLIDE_S)[:, None]
    apart = foot_point(box) - foot_point(lost) - glide
    offset = np.hypot(apart[:, 0], apart[:, 1]) / height
    sigma = config.motion_sigma + config.motion_sigma_per_s * gap_s
    place = motion_log_odds(offset, sigma, np.log(np.maximum(box[:, 3] - box[:, 1], 1.0) / height))
    turn = start_px - paths.velocity_px[earlier]
    heading = heading_log_odds(np.hypot(turn[:, 0], turn[:, 1]) / height)
    return np.asarray(place + np.where(np.isfinite(heading), heading, 0.0), np.float64)


def walked_log_odds(paths: Paths, later: Int64, earlier: Int64, gap_s: Float64, config: FusionConfig) -> Float64:
    """(N,) the same on the floor, from one camera to another; 0 where a place is not known."""
    glide = paths.ground_velocity[earlier] * np.minimum(gap_s, _LONGEST_GLIDE_S)[:, None]
    apart = paths.entry_ground_xy[later] - paths.ground_xy[earlier] - glide
    variance = paths.ground_sigma_m[earlier] ** 2 + 2 * config.floor_sigma_m**2 + (_WALK_SPEED_SIGMA * gap_s) ** 2
    return walk_log_odds(np.hypot(apart[:, 0], apart[:, 1]), np.sqrt(variance), config.floor_area_m2)
