"""Fitting the noise model of appearance to the vectors that a real network gives to known people in known cameras.

Mean cosines fix the sizes of the model's parts: different people in different cameras share the mean only, those in
one camera the camera too, one person in two cameras the identity, one person's crops in one tracklet all but the crop.
What is left - the spectra, and how unequal people and crops are - is searched for at random, then around the best, such
that simulated sets of as many people, cameras and crops have the spreads of the real cosines and the real retrieval
scores. Crops count one by one; a tracklet is the mean of its crops.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.simulate.appearance import AppearanceModel
from pipeline.simulate.noise import AppearanceNoise
from pipeline.types import BoolMask, Float32, Float64, Int64

KINDS = ("one person, one camera", "one person, two cameras", "two people, one camera", "two people, two cameras")
_COSINE_ERROR, _RETRIEVAL_ERROR = 0.01, 0.04  # errors that weigh the same
_SEARCHED = {
    "identity_decay": (0.2, 1.2),
    "view_decay": (0.2, 1.4),
    "crop_decay": (0.2, 1.2),
    "identity_spread": (0.0, 0.8),
    "crop_spread": (0.0, 0.5),
}
_AT_RANDOM = 0.4  # share of the trials before the search turns to what was best


@dataclass(frozen=True, eq=False)
class Figures:
    """Cosines between crops by `KINDS`, and how well a person is found again from one camera to another."""

    mean: Float64  # (4,)
    std: Float64  # (4,)
    crop: tuple[float, float]  # Rank-1 and mAP (rectangular), every crop by itself
    tracklet: tuple[float, float]  # likewise, means of a person's crops in a camera

    def vector(self) -> Float64:
        """(12,) all of them in errors that weigh the same."""
        cosines = np.concatenate([self.mean, self.std]) / _COSINE_ERROR
        return np.concatenate([cosines, np.array([*self.crop, *self.tracklet]) / _RETRIEVAL_ERROR])


def figures(vectors: Float32, pids: Int64, camids: Int64) -> Figures:
    """vectors (N, D) of crops; pids, camids (N,). The people of the lowest camid are looked for in all others."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosine = unit @ unit.T
    above = np.triu(np.ones(cosine.shape, np.bool_), 1)
    person, camera = pids[:, None] == pids[None], camids[:, None] == camids[None]
    kinds: tuple[BoolMask, ...] = (person & camera, person & ~camera, ~person & camera, ~person & ~camera)
    values = [cosine[above & kind].astype(np.float64) for kind in kinds]
    asks = camids == camids.min()
    tracklet, first = np.unique(np.stack([camids, pids]), axis=1, return_inverse=True)
    sums = np.zeros((tracklet.shape[1], vectors.shape[1]))
    np.add.at(sums, first.ravel(), unit)
    sums /= np.linalg.norm(sums, axis=1, keepdims=True)
    mine = tracklet[0] == camids.min()
    return Figures(
        np.array([value.mean() for value in values]),
        np.array([value.std() for value in values]),
        _found_again(cosine[np.ix_(asks, ~asks)], pids[asks], pids[~asks]),
        _found_again(sums[mine] @ sums[~mine].T, tracklet[1][mine], tracklet[1][~mine]),
    )


def _found_again(cosine: Float64, query: Int64, gallery: Int64) -> tuple[float, float]:
    """Rank-1 and mAP of the queries that the gallery holds."""
    right = gallery[np.argsort(-cosine, axis=1, kind="stable")] == query[:, None]
    right = right[right.any(axis=1)]
    precision = np.cumsum(right, axis=1) / np.arange(1, right.shape[1] + 1)
    average = (precision * right).sum(axis=1) / right.sum(axis=1)
    return float(right[:, 0].mean()), float(average.mean())


def simulated_figures(noise: AppearanceNoise, *, num_people: int, num_cams: int, num_crops: int, seed: int) -> Figures:
    """The figures of a simulated set: everybody seen once by every camera."""
    count = num_people * num_cams * num_crops
    pid, rest = np.divmod(np.arange(count), num_cams * num_crops)
    camid = rest // num_crops
    view = pid * num_cams + camid
    vectors, _ = AppearanceModel(noise, seed).vectors(
        pid, camid, view, view, np.arange(count), np.ones(count, np.int64)
    )
    return figures(vectors, pid, camid)


def sizes_from(mean: Float64) -> dict[str, float]:
    """The parts' shares of the squared norm from the mean cosines of `KINDS`."""
    one_one, one_two, two_one, two_two = np.maximum(mean, 0.0).tolist()
    parts = {
        "mean_var": two_two,
        "identity_var": one_two - two_two,
        "camera_var": two_one - two_two,
        "view_var": one_one - one_two - (two_one - two_two),
        "crop_var": 1 - one_one,
    }
    return {name: max(1e-4, value) for name, value in parts.items()}


def fit_appearance(
    vectors: Float32, pids: Int64, camids: Int64, *, dim: int = 256, trials: int = 300, seeds: int = 6, seed: int = 0
) -> tuple[AppearanceNoise, Float64]:
    """The noise whose simulated figures are nearest to the real ones, and the least loss after each trial (trials,).

    vectors (N, D) of crops, each person with about the same number in each camera. dim: length of simulated vectors.
    Every trial is judged by `seeds` simulated sets, always the same ones; the last word among the best trials is with
    four times as many fresh sets, lest the noise be fitted to the sets of the search.
    """
    real = figures(vectors, pids, camids)
    num_people, num_cams = len(np.unique(pids)), len(np.unique(camids))
    num_crops = max(1, round(len(pids) / (num_people * num_cams)))

    def average(noise: AppearanceNoise, first: int = 0, count: int = seeds) -> Float64:
        sets = [
            simulated_figures(noise, num_people=num_people, num_cams=num_cams, num_crops=num_crops, seed=s).vector()
            for s in range(first, first + count)
        ]
        return np.asarray(np.mean(sets, axis=0), np.float64)

    def loss(got: Float64) -> float:
        return float(((got - real.vector()) ** 2).sum())

    rng = np.random.default_rng(seed)
    tried: list[tuple[float, AppearanceNoise]] = []
    losses = []
    for trial in range(trials):
        if trial < _AT_RANDOM * trials:
            shape = {name: float(rng.uniform(low, high)) for name, (low, high) in _SEARCHED.items()}
            noise = AppearanceNoise(dim=dim, **sizes_from(real.mean), **shape)
        else:
            near = tried[int(rng.integers(min(6, len(tried))))][1]
            shape = {name: float(max(0.0, getattr(near, name) + rng.normal(0, 0.07))) for name in _SEARCHED}
            noise = near.model_copy(update=shape)
        found = average(noise)
        nearer = _tuned(noise, found[:4] * _COSINE_ERROR, real.mean)
        for candidate, got in ((noise, found), (nearer, average(nearer))):
            tried.append((loss(got), candidate))
        tried.sort(key=lambda one: one[0])
        del tried[12:]
        losses.append(tried[0][0])
    finalists = [noise for _, noise in tried]
    averages = [average(noise, seeds, 4 * seeds) for noise in finalists]
    tuned = [_tuned(noise, got[:4] * _COSINE_ERROR, real.mean) for noise, got in zip(finalists, averages, strict=True)]
    averages += [average(noise, seeds, 4 * seeds) for noise in tuned]
    return (finalists + tuned)[int(np.argmin([loss(got) for got in averages]))], np.array(losses)


def _tuned(noise: AppearanceNoise, got: Float64, wanted: Float64) -> AppearanceNoise:
    """The noise with its sizes changed such that its mean cosines `got` come nearer to those `wanted`."""
    now, then = sizes_from(got), sizes_from(wanted)
    sizes = {name: getattr(noise, name) * float(np.clip(then[name] / now[name], 0.7, 1.4)) for name in now}
    total = sum(sizes.values())
    return noise.model_copy(update={name: size / total for name, size in sizes.items()})
