"""Where people stand, in metres: by calibrated cameras, and by those whose floor was learned."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from pipeline.fusion.learned_floor import LearnedFloor
from pipeline.geometry.boxes import foot_point
from pipeline.geometry.camera import GroundCamera
from pipeline.types import BoolMask, EmbeddedFrame, Float64

_BORDER = 0.01  # share of the picture that counts as its lower border
_CUT_FEET = 4.0  # by this factor feet at that border are less certain


class Ground:
    """The cameras of a site with what is known of their floors; `learned_floor` is read, not taught."""

    def __init__(
        self,
        foot_sigma: float,
        cameras: Sequence[GroundCamera | None],
        overlaps: frozenset[tuple[int, int]],
        learned_floor: LearnedFloor,
    ) -> None:
        """foot_sigma: deviation of a box's lower edge, in heights. overlaps: pairs of camids, either way round."""
        self._foot_sigma = foot_sigma
        self._learned = learned_floor
        self._cameras = tuple(cameras)
        self._calibrated = _both_calibrated(cameras, overlaps)
        self._lowest_px = np.zeros(len(cameras))  # the lowest box edge that each camera has shown

    def follow(self, cameras: Sequence[GroundCamera | None], overlaps: frozenset[tuple[int, int]]) -> None:
        """The cameras are these from now on: those so far, with their camids, and more."""
        self._cameras = tuple(cameras)
        self._calibrated = _both_calibrated(cameras, overlaps)
        self._lowest_px = np.pad(self._lowest_px, (0, len(cameras) - len(self._lowest_px)))

    def comparable(self) -> tuple[BoolMask, Float64]:
        """-> (C, C) pairs of cameras that look at one place, on one floor; (C, C) how large that is known to be, m²."""
        return self._calibrated | self._learned.allowed(), self._learned.area_m2()

    def uncalibrated(self) -> list[int]:
        """Camids."""
        return [camid for camid, given in enumerate(self._cameras) if given is None]

    def places(self, item: EmbeddedFrame) -> tuple[Float64, Float64]:
        """Where the tracks of an item stand: (N, 2) metres and the standard deviation (N,); NaN if unknown.

        The error of a box is mostly that of its lower edge: the deviation is how far the point moves on the floor
        when that edge is raised by it, so that people far away are trusted less.
        """
        camera = self._cameras[item.camid] or self._learned.camera(item.camid)
        count = len(item.tracks)
        if camera is None or not count:
            return _unknown(count)
        boxes = item.tracks.xyxy.astype(np.float64)
        feet = foot_point(boxes)
        error_px = np.maximum(self._foot_sigma * (boxes[:, 3] - boxes[:, 1]), 1.0)
        # Feet below the lower border of the picture are cut off. Its height is not known here: a box that reaches as
        # low as any box ever did may be cut.
        self._lowest_px[item.camid] = max(self._lowest_px[item.camid], feet[:, 1].max())
        error_px[feet[:, 1] >= (1 - _BORDER) * self._lowest_px[item.camid]] *= _CUT_FEET
        raised = feet - np.stack((np.zeros(count), error_px), axis=1)
        ground_xy, raised_xy = np.split(camera.to_ground(np.concatenate((feet, raised))), 2)
        sigma_m = np.linalg.norm(raised_xy - ground_xy, axis=1)
        return ground_xy, np.hypot(sigma_m, self._learned.sigma_m(item.camid))

    def told(self, camid: int, ground_xy: Float64) -> Float64:
        """What is written: places of calibrated cameras only, learned floors differ from run to run."""
        return ground_xy if self._cameras[camid] is not None else _unknown(len(ground_xy))[0]


@lru_cache(maxsize=64)
def _unknown(count: int) -> tuple[Float64, Float64]:
    """Places nobody knows: (N, 2) and (N,) NaN, to be read only."""
    nowhere, unsure = np.full((count, 2), np.nan), np.full(count, np.nan)
    nowhere.flags.writeable = unsure.flags.writeable = False
    return nowhere, unsure


def _both_calibrated(cameras: Sequence[GroundCamera | None], overlaps: frozenset[tuple[int, int]]) -> BoolMask:
    """(C, C) pairs that look at one place, of which both are calibrated."""
    table = np.zeros((len(cameras), len(cameras)), np.bool_)
    for a, b in overlaps:
        table[a, b] = cameras[a] is not None and cameras[b] is not None
    return table
