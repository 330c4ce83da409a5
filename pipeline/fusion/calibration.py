"""What a similarity means on this site, learned without labels while the footage comes in."""

from __future__ import annotations

import math

import numpy as np

from pipeline.fusion.config import FusionConfig
from pipeline.fusion.humps import MAX_WEIGHT, HumpSeeker, TwoHumps
from pipeline.fusion.kernels import kernels
from pipeline.types import Float32, Float64

_LEAST_SAME = 0.1
_SHIFT_STD = 0.3  # of the share that a change of camera costs, before links have taught better
_LEAST_SPAN = 0.02  # where all look alike a change of camera can not be measured
_NUM_STEPS = 401  # of a table of similarities
_FAR = 3.5  # standard deviations; beyond them a sample is pulled in, as a pair that was judged wrongly


class RunningNormal:
    """Mean and standard deviation of a stream of numbers, with a prior, robust against a few far ones."""

    def __init__(self, mean: float, std: float, weight: float) -> None:
        self.mean = mean
        self._var = std * std
        self._weight = max(weight, 1.0)

    @property
    def std(self) -> float:
        return math.sqrt(self._var)

    def set(self, mean: float, std: float) -> None:
        """As it was found elsewhere. Raises ValueError for numbers that are none."""
        if not (math.isfinite(mean) and math.isfinite(std) and std > 0):
            raise ValueError(f"mean {mean} and standard deviation {std} are no distribution")
        self.mean, self._var = mean, std * std

    def update(self, samples: Float64, weight: float) -> None:
        """Take in samples (N,) that together weigh `weight`; newer ones count more, so that the prior fades soon."""
        if not len(samples):
            return
        reach = _FAR * self.std
        share = min(2 * weight / (self._weight + weight), 1.0)
        loops = kernels("compiled_counts")
        if loops is not None:
            self.mean, spread = loops.moments(np.ascontiguousarray(samples, np.float64), self.mean, reach, share)
        else:
            near = np.clip(samples, self.mean - reach, self.mean + reach)
            self.mean += share * (float(near.mean()) - self.mean)
            spread = float(((near - self.mean) ** 2).mean())
        self._var += share * (spread - self._var)
        self._weight = min(self._weight + weight, MAX_WEIGHT)


class SimilarityCalibration:
    """Distributions of the cosine of different people and of one person, within a camera and across cameras.

    Certain negatives: people seen at the same moment in one camera, or in two whose views do not overlap. Certain
    positives: clips of one tracklet. Nobody tells us certain positives across cameras: their mean is taken to lie
    `camera_shift` of the way from 'one person' to 'different people', which is where four pairs of real cameras
    (PETS 2009 and PKU-Reid with OSNet) put it, between 0.1 and 0.5. Where many wear one of a few uniforms, different
    people are not one normal distribution but two (`humps`).
    """

    def __init__(self, config: FusionConfig) -> None:
        self._config = config
        weight = config.calibration_weight
        self.different_within = RunningNormal(config.different_mean, config.different_std, weight)
        self.different_across = RunningNormal(config.different_mean, config.different_std, weight)
        self.same = RunningNormal(config.same_mean, config.same_std, weight)
        self.humps_within = HumpSeeker("in one camera")
        self.humps_across = HumpSeeker("across cameras")
        self.shift = RunningNormal(config.camera_shift, _SHIFT_STD, config.shift_weight)

    def differ(self, within: Float64, across: Float64) -> None:
        """One sighting has these cosines (N,), (M,) to people who are certainly others, in its camera and elsewhere."""
        self.different_within.update(within, 1.0)
        self.different_across.update(across, 1.0)
        self.humps_within.add(within)
        self.humps_across.add(across)

    def log_odds(self, similarity: Float32 | Float64, across: bool) -> Float64:
        """log p(similarity | same) / p(similarity | different), of the shape of `similarity`, bounded."""
        different = self.different_across if across else self.different_within
        mean, std = self.same.mean, max(self.same.std, 0.5 * different.std)
        most = max(mean, different.mean)
        if across:
            span = max(0.0, mean - different.mean)
            mean -= max(self.shift.mean, 0.0) * span
            std = max(std, self.shift.std * span)
        share = self._config.outlier_share
        humps = (self.humps_across if across else self.humps_within).found
        if humps is not None:
            return humps_log_odds(similarity, (mean, std), humps, most, share)
        return normal_log_odds(similarity, (mean, std), (different.mean, different.std), most, share)

    def coherent(self, length: Float64) -> Float64:
        """(E,) what an exemplar's cosines lose since its clips differ by more than those of one person do.

        length: of the mean of its clips. If clips of one person have the cosine c, that is at least sqrt(c).
        """
        return np.minimum(length / math.sqrt(max(self.same.mean, _LEAST_SAME)), 1.0)

    def linked(self, similarity: float, probability: float) -> None:
        """Two sightings by different cameras with this cosine were taken for one person, with this probability."""
        span = self.same.mean - self.different_across.mean
        if span > _LEAST_SPAN and math.isfinite(similarity):
            self.shift.update(np.array([(self.same.mean - similarity) / span]), probability)


def normal_log_odds(
    value: Float32 | Float64,
    same: tuple[float, float],
    different: tuple[float, float],
    most: float,
    outlier_share: float,
) -> Float64:
    """log p(value | same) / p(value | different) for two normals (mean, std), each mixed with a share of outliers.

    More similar than usual is no reason to doubt: for `same`, a value above its mean counts as that mean, while it goes
    on to speak against `different` up to `most`. Values below the mean of `different` count as that mean. The outliers
    are uniform over [-1, 1] and bound the result at both ends.
    """
    return _log_odds(value, same, ((1.0, *different),), most, outlier_share)


def humps_log_odds(
    value: Float32 | Float64, same: tuple[float, float], different: TwoHumps, most: float, outlier_share: float
) -> Float64:
    """The same where different people are a mixture of two normals. Who is less alike is never more surely the same, so
    that the valley between the two speaks for it no more than the second one does."""
    grid = np.linspace(-1, 1, _NUM_STEPS)
    odds = _log_odds(grid, same, tuple(zip(*different, strict=True)), max(most, different.mean[1]), outlier_share)
    odds = np.minimum.accumulate(odds[::-1])[::-1]
    return np.asarray(np.interp(np.asarray(value, np.float64), grid, odds), np.float64)


def _log_odds(
    value: Float32 | Float64,
    same: tuple[float, float],
    different: tuple[tuple[float, float, float], ...],
    most: float,
    outlier_share: float,
) -> Float64:
    """different: share, mean and deviation of normals, in the order of their means."""
    least, usual = min(different[0][1], same[0]), max(different[-1][1], same[0])
    above = np.maximum(np.asarray(value, np.float64), least)

    def bell(mean: float, std: float, highest: float) -> Float64:
        off = (np.minimum(above, highest) - mean) / std
        return np.asarray(np.exp(-0.5 * (off * off)) / (std * math.sqrt(2 * math.pi)), np.float64)

    def mixed(density: Float64 | float) -> Float64:
        return np.asarray((1 - outlier_share) * density + outlier_share * 0.5, np.float64)

    apart = sum(part * bell(mean, std, max(most, usual)) for part, mean, std in different)
    return np.asarray(np.log(mixed(bell(*same, usual)) / mixed(apart)), np.float64)
