"""Evidence that two tracklets show one person, as log-odds. Pure functions, vectorised, inputs untouched.

Each returns log p(observation | same person) - log p(observation | different people); 0 says nothing.
"""

from __future__ import annotations

import math

import numpy as np

from pipeline.types import Float64

_LOOK_BOUND = 5.0  # one look at the floor proves no more than that, one way or the other
_MOTION_BOUND = 4.0
_PICTURE_HEIGHTS2 = 20.0  # area of a picture in squared heights of a person
_HEADING_BOUND = 3.0
_SAME_HEADING = 0.5  # standard deviations per axis of a change of velocity, in heights of a person per second
_ANY_HEADING = 1.0
_HEIGHT_SIGMA = 0.25  # of log(height / height) across an occlusion
_HEIGHT_SPREAD = 0.6  # the same for any two people of one picture


def floor_log_odds(distance_m: Float64, sigma_m: Float64, area_m2: float | Float64) -> Float64:
    """Two feet seen at one moment, `distance_m` apart with the standard deviation `sigma_m` per axis.

    Same: a round normal; different: anywhere on `area_m2`. NaN distances say nothing. The larger the uncertainty
    (far from the camera), the less both agreement and disagreement count.
    """
    variance = np.maximum(sigma_m, 1e-6) ** 2
    closeness = np.log(np.maximum(area_m2 / (2 * math.pi * variance), 1.0))
    odds = np.clip(closeness - 0.5 * distance_m**2 / variance, -_LOOK_BOUND, _LOOK_BOUND)
    return np.asarray(np.where(np.isfinite(odds), odds, 0.0), np.float64)


def motion_log_odds(offset: Float64, sigma: Float64, log_height_ratio: Float64) -> Float64:
    """A tracklet that begins `offset` heights beside where another one of the same picture was to be by then.

    sigma: standard deviation of `offset` per axis, in heights; log_height_ratio: how the box heights differ.
    """
    variance = np.maximum(sigma, 1e-6) ** 2
    place = np.log(np.maximum(_PICTURE_HEIGHTS2 / (2 * math.pi * variance), 1.0)) - 0.5 * offset**2 / variance
    size = 0.5 * log_height_ratio**2 * (1 / _HEIGHT_SPREAD**2 - 1 / _HEIGHT_SIGMA**2)
    size = size + math.log(_HEIGHT_SPREAD / _HEIGHT_SIGMA)
    odds = np.clip(place + size, -_MOTION_BOUND, _MOTION_BOUND)
    return np.asarray(np.where(np.isfinite(odds), odds, 0.0), np.float64)


def heading_log_odds(change: Float64) -> Float64:
    """How a lost person and one who begins to be seen differ in velocity, `change` in heights per second (length).

    Two round normals: one person keeps the pace and the direction, two people walk as they like.
    """
    precision = 1 / _SAME_HEADING**2 - 1 / _ANY_HEADING**2
    odds = 2 * math.log(_ANY_HEADING / _SAME_HEADING) - 0.5 * change**2 * precision
    return np.asarray(np.clip(odds, -_HEADING_BOUND, _HEADING_BOUND), np.float64)


def walk_log_odds(distance_m: Float64, sigma_m: Float64, area_m2: float) -> Float64:
    """As `motion_log_odds` on the floor, between two calibrated cameras: `distance_m` from where it was to be."""
    return np.clip(floor_log_odds(distance_m, sigma_m, area_m2), -_MOTION_BOUND, _MOTION_BOUND)


def return_log_odds(gap_s: Float64, just_left: float, half_s: float, decay: float) -> Float64:
    """Prior log-odds that a newcomer is a person last seen `gap_s` ago (0: in view now)."""
    return np.asarray(just_left - decay * np.log1p(np.maximum(gap_s, 0.0) / half_s), np.float64)


def posterior(log_odds: Float64) -> tuple[Float64, float]:
    """Probabilities of mutually exclusive answers (C,), each with log-odds against 'none of them' -> (C,), none."""
    if not len(log_odds):
        return np.zeros(0), 1.0
    top = max(0.0, float(log_odds.max()))
    weight = np.exp(log_odds - top)
    none = math.exp(-top)
    total = float(weight.sum()) + none
    return weight / total, none / total
