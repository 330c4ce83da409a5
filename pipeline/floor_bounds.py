"""Which part of the floor the cameras of a run see well."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.cameras import Camera
from pipeline.ingest.status import CameraStatus


def floor_bounds(
    cameras: Sequence[Camera], status: Sequence[CameraStatus], max_sigma_m: float = 0.1
) -> tuple[float, float, float, float] | None:
    """The rectangle of floor, x_min, y_min, x_max, y_max in metres, that the calibrated cameras see well.

    A point counts where an error of 5 pixels moves it by less than `max_sigma_m`. None without calibration.
    """
    seen = []
    for camera, state in zip(cameras, status, strict=True):
        if camera.ground is None or not state.width:
            continue
        x, y = np.meshgrid(np.linspace(0, state.width - 1, 25), np.linspace(0, state.height - 1, 25))
        pixels = np.stack([x.ravel(), y.ravel()], axis=1)
        ground, sigma_m = camera.ground.to_ground(pixels), camera.ground.ground_sigma_m(pixels, 5.0)
        seen.append(ground[np.isfinite(ground).all(axis=1) & (sigma_m < max_sigma_m)])
    points = np.concatenate(seen) if seen else np.zeros((0, 2))
    if not len(points):
        return None
    (x_min, y_min), (x_max, y_max) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return x_min, y_min, x_max, y_max
