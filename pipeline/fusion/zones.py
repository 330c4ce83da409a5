"""Where in a picture people come in and go out: at one of its four borders, or inside it (a door, behind a pillar)."""

from __future__ import annotations

import numpy as np

from pipeline.types import Float32, Float64, Int64

ZONES = ("inside", "left", "right", "top", "bottom")
NUM_ZONES = len(ZONES)
_NEAR = 0.4  # in widths (left, right) or heights (top, bottom) of the box: so near a border counts as there


class Zones:
    """The borders of every camera's picture, taken from the boxes it has shown: its size is not known here.

    A zone is numbered over all cameras: `camid * NUM_ZONES + place in ZONES`.
    """

    def __init__(self, num_cameras: int) -> None:
        self._near: Float64 = np.full((num_cameras, 2), np.inf)  # least left and top edge seen, px
        self._far: Float64 = np.full((num_cameras, 2), -np.inf)  # greatest right and bottom edge

    def follow(self, num_cameras: int) -> None:
        """There are more cameras."""
        more = Zones(num_cameras - len(self._near))
        self._near, self._far = np.concatenate((self._near, more._near)), np.concatenate((self._far, more._far))

    def see(self, camid: int | Int64, xyxy: Float32) -> None:
        """A camera, or each of the cameras (N,), shows boxes (N, 4) px."""
        if len(xyxy):
            camids = np.broadcast_to(camid, len(xyxy))
            np.minimum.at(self._near, camids, xyxy[:, :2].astype(np.float64))
            np.maximum.at(self._far, camids, xyxy[:, 2:].astype(np.float64))

    def borders(self, camid: int) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of all boxes of a camera; infinite before the first one."""
        return (*self._near[camid].tolist(), *self._far[camid].tolist())

    def widen(self, camid: int, borders: tuple[float, float, float, float]) -> None:
        """As if boxes that reach as far as those of earlier footage had been seen."""
        self._near[camid] = np.minimum(self._near[camid], borders[:2])
        self._far[camid] = np.maximum(self._far[camid], borders[2:])

    def zone(self, camid: Int64, xyxy: Float64) -> Int64:
        """(N,) zone of each box (N, 4) px of the camera (N,): the border it is nearest to, if near at all."""
        size = np.maximum(xyxy[:, 2:] - xyxy[:, :2], 1.0)
        to_near, to_far = (xyxy[:, :2] - self._near[camid]) / size, (self._far[camid] - xyxy[:, 2:]) / size
        distance = np.stack((to_near[:, 0], to_far[:, 0], to_near[:, 1], to_far[:, 1]), axis=1)
        distance[~np.isfinite(distance)] = np.inf  # of a camera that has shown nothing yet
        side = distance.argmin(axis=1)
        at_border = distance[np.arange(len(xyxy)), side] <= _NEAR
        return np.asarray(camid * NUM_ZONES + np.where(at_border, side + 1, 0), np.int64)
