"""Whether different people are alike in two ways: as all are who dress as they like, and as wearers of one uniform are.

One normal distribution over both kinds makes an ordinary likeness of two wearers look like proof that they are one
person. So it is watched whether similarities of people who are certainly different have two humps, and where they
clearly do, both are told.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pipeline.types import Float64

logger = logging.getLogger(__name__)

_NUM_BINS = 128  # of [-1, 1]
_BATCH = 16  # updates that are counted at once
_FIRST_LOOK = 50  # updates before the first look for humps
_MOST_BETWEEN = 256  # updates between two looks
MAX_WEIGHT = 1000.0  # older samples fade from here on
_NUM_ROUNDS = 60
_LEAST_STD = 0.01
_LEAST_SHARE = (
    0.25  # of the smaller hump: while few people have been seen, two of them who are alike make one of up to 0.2
)
_LEAST_APART = 3.0  # Ashman's D (Ashman, Bird & Zepf 1994, eq. 2); above 2 two normals can be told apart
_VALLEY = 0.35  # what lies between is at most so high as this share of the lower of the two
_CENTRES: Float64 = np.linspace(-1, 1, _NUM_BINS, endpoint=False, dtype=np.float64) + 1 / _NUM_BINS


class TwoHumps(NamedTuple):
    """Two normals, the one of less similar people first; `share` adds up to one."""

    share: tuple[float, float]
    mean: tuple[float, float]
    std: tuple[float, float]


class HumpSeeker:
    """Counts similarities of different people, of which older ones fade, and looks for two humps now and then."""

    def __init__(self, what: str) -> None:
        """what: whose similarities, for the log."""
        self._what = what
        self._counts: Float64 = np.zeros(_NUM_BINS)
        self._waiting: list[Float64] = []  # at most _BATCH
        self._num_updates, self._next_look = 0, _FIRST_LOOK
        self.found: TwoHumps | None = None

    def add(self, samples: Float64) -> None:
        """Take in the similarities (N,) of one sighting to others, which together weigh one."""
        if not len(samples):
            return
        self._waiting.append(samples)
        if len(self._waiting) < _BATCH:
            return
        sizes = [len(one) for one in self._waiting]
        place = ((np.concatenate(self._waiting) + 1) * (_NUM_BINS / 2)).astype(np.int64).clip(0, _NUM_BINS - 1)
        self._counts = self._counts + np.bincount(place, np.repeat(1 / np.array(sizes), sizes), _NUM_BINS)
        self._counts /= max(1.0, float(self._counts.sum()) / MAX_WEIGHT)
        self._num_updates += len(sizes)
        self._waiting = []
        if self._num_updates >= self._next_look:
            self._next_look = self._num_updates + min(self._num_updates, _MOST_BETWEEN)
            self._look()

    def _look(self) -> None:
        before, self.found = self.found, two_humps(self._counts)
        if self.found is not None and before is None:
            logger.info(
                "%s: different people are alike in two ways, with similarities about %.2f and %.2f; %.0f %% of the "
                "pairs are of the second kind, as wearers of one uniform are",
                *(self._what, *self.found.mean, 100 * self.found.share[1]),
            )


def two_humps(counts: Float64) -> TwoHumps | None:
    """The two normals that make up counts (B,) of similarities in equal bins of [-1, 1], by expectation maximization;
    None where they are not clearly two."""
    weight = counts / counts.sum()
    share, mean, std = _halves(weight)
    for _ in range(_NUM_ROUNDS):
        parts = _densities(_CENTRES, share, mean, std)
        parts = parts / np.maximum(parts.sum(axis=0), 1e-12) * weight
        share = np.asarray(parts.sum(axis=1), np.float64)
        if share.min() < _LEAST_SHARE / 2:
            return None
        mean = np.asarray(parts @ _CENTRES / share, np.float64)
        spread = (parts * (_CENTRES - mean[:, None]) ** 2).sum(axis=1) / share
        std = np.asarray(np.sqrt(np.maximum(spread, _LEAST_STD**2)), np.float64)
    apart = (mean[1] - mean[0]) / math.sqrt(float((std**2).mean()))
    between = _densities(np.linspace(mean[0], mean[1], 50), share, mean, std).sum(axis=0)
    if share.min() < _LEAST_SHARE or apart < _LEAST_APART or between.min() > _VALLEY * min(between[0], between[-1]):
        return None
    return humps_of(share.tolist(), mean.tolist(), std.tolist())


def humps_of(share: Sequence[float], mean: Sequence[float], std: Sequence[float]) -> TwoHumps:
    """Raises ValueError for numbers that are none."""
    (one, other), (low, high), (narrow, wide) = (tuple(map(float, numbers)) for numbers in (share, mean, std))
    found = TwoHumps((one, other), (low, high), (narrow, wide))
    if not all(math.isfinite(number) for pair in found for number in pair) or min(found.std) <= 0 or low > high:
        raise ValueError(f"{found} is no distribution")
    return found


def _halves(weight: Float64) -> tuple[Float64, Float64, Float64]:
    """Shares, means and deviations (2,) of the bins below and above the cut with the most variance between (Otsu)."""
    below, moment = np.cumsum(weight), np.cumsum(weight * _CENTRES)
    mean = float(moment[-1])
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = (mean * below - moment) ** 2 / (below * (1 - below))
    inside = (below > 1e-3) & (below < 1 - 1e-3)
    cut = int(np.argmax(np.where(inside, variance, -1.0)))
    share = np.clip(np.array([below[cut], 1 - below[cut]]), 1e-3, 1.0)
    std = math.sqrt(max(float(weight @ (_CENTRES - mean) ** 2), _LEAST_STD**2))
    return share, np.array([moment[cut], mean - moment[cut]]) / share, np.full(2, std / 2)


def _densities(at: Float64, share: Float64, mean: Float64, std: Float64) -> Float64:
    """(2, N) of two normals at points (N,), but for a constant factor."""
    off = (at - mean[:, None]) / std[:, None]
    return np.asarray((share / std)[:, None] * np.exp(-0.5 * off * off), np.float64)
