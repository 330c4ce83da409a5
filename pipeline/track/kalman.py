"""A constant-velocity Kalman filter for many boxes at once, in continuous time. Pure functions.

The state of a box is its centre x, centre y, width and height, each with a velocity. Noise is independent between the
four coordinates, hence the 8x8 filter falls apart into four 2x2 ones, exactly, and every step is a closed form on
whole arrays:

    mean: (N, 2, 4) float64, [position | velocity] of (cx, cy, w, h) in px and px/s
    cov:  (N, 3, 4) float64, [var(position) | cov(position, velocity) | var(velocity)] of the same

All noise is in units of the box's height, so that people near and far are treated alike. The process noise is white
acceleration in continuous time (Bar-Shalom, Li, Kirubarajan, Estimation with Applications to Tracking and Navigation,
section 6.2.2), so that predicting over 0.2 s once or over 0.1 s twice is the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.types import Float64


@dataclass(frozen=True, slots=True)
class MotionNoise:
    """Standard deviations in box heights: `position` of (cx, cy), `size` of (w, h)."""

    measured_position: float = 0.1  # heights
    measured_size: float = 0.05
    drift_position: float = 0.3  # heights per second gained in one second
    drift_size: float = 0.1
    start_velocity: float = 1.2  # heights per second
    start_growth: float = 0.1


def initiate(xyxy: Float64, noise: MotionNoise) -> tuple[Float64, Float64]:
    """Filters at rest on measured boxes (N, 4) -> mean (N, 2, 4), cov (N, 3, 4)."""
    position = xyxy_to_cxcywh(xyxy)
    mean = np.zeros((len(xyxy), 2, 4))
    mean[:, 0] = position
    cov = np.zeros((len(xyxy), 3, 4))
    cov[:, 0] = _scaled(position, noise.measured_position, noise.measured_size)
    cov[:, 2] = _scaled(position, noise.start_velocity, noise.start_growth)
    return mean, cov


def predict(mean: Float64, cov: Float64, dt_s: Float64, noise: MotionNoise) -> tuple[Float64, Float64]:
    """Move N filters forward by `dt_s` (N,) seconds each."""
    dt = dt_s[:, None]
    drift = _scaled(mean[:, 0], noise.drift_position, noise.drift_size)
    moved = mean.copy()
    moved[:, 0] += dt * mean[:, 1]
    grown = np.empty_like(cov)
    grown[:, 0] = cov[:, 0] + dt * (2 * cov[:, 1] + dt * cov[:, 2]) + drift * (dt * dt * dt / 3)
    grown[:, 1] = cov[:, 1] + dt * cov[:, 2] + drift * (dt * dt / 2)
    grown[:, 2] = cov[:, 2] + drift * dt
    return moved, grown


def correct(mean: Float64, cov: Float64, xyxy: Float64, noise: MotionNoise) -> tuple[Float64, Float64]:
    """Fold one measured box (N, 4) into each of N filters."""
    error = _scaled(mean[:, 0], noise.measured_position, noise.measured_size)
    gain = cov[:, :2] / (cov[:, :1] + error[:, None])  # (N, 2, 4): of position and of velocity
    corrected = mean + gain * (xyxy_to_cxcywh(xyxy) - mean[:, 0])[:, None]
    shrunk = np.empty_like(cov)
    shrunk[:, :2] = cov[:, :2] * (1 - gain[:, :1])
    shrunk[:, 2] = cov[:, 2] - gain[:, 1] * cov[:, 1]
    return corrected, shrunk


def boxes_of(mean: Float64) -> Float64:
    """(N, 4) xyxy of the filters' positions; a size that shrank below one pixel counts as one pixel."""
    half = np.maximum(mean[:, 0, 2:], 1.0) / 2
    return np.concatenate((mean[:, 0, :2] - half, mean[:, 0, :2] + half), axis=1)


def xyxy_to_cxcywh(xyxy: Float64) -> Float64:
    """(N, 4) centre x, centre y, width, height."""
    return np.concatenate(((xyxy[:, :2] + xyxy[:, 2:]) / 2, xyxy[:, 2:] - xyxy[:, :2]), axis=1)


def _scaled(position: Float64, centre: float, size: float) -> Float64:
    """(N, 4) variances of (cx, cy, w, h) for deviations given in heights."""
    height = np.maximum(position[:, 3:], 1.0)
    variance: Float64 = (height * np.array((centre, centre, size, size))) ** 2
    return variance
