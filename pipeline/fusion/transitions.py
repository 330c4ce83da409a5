"""How long people take from one camera to another, and what that says about two sightings.

Wang et al.: Spatial-Temporal Person Re-identification, AAAI 2019 (arXiv 1812.03282). For each ordered pair of cameras a
histogram of travel times is estimated from identified sightings, smoothed by a Parzen window (Gaussian), and joined
with appearance in one score:

    S = 1 / (1 + l0 exp(-g0 s)) * 1 / (1 + l1 exp(-g1 p)),   s: cosine, p: probability of the travel time's bin

Times are seconds in the pipeline. The paper's convention is frames: bins of 100, 5,000 of them (3,000 for DukeMTMC), a
window of 50 bins; it is had by giving frames as times and these as arguments. p is a share per bin: with other bins or
another window its scale changes, and l1 and g1 want tuning anew.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import correlate1d

from pipeline.types import Float64, Int64

FORMAT_VERSION = 1
_EPSILON = 1e-7  # in every denominator, as published; it decides on which side of a bin's edge a mean falls
_REACH_SIGMAS = 3  # where the smoothing window is cut off


class TransitionsFileError(ValueError):
    """A file of transitions that can not be used, with the remedy."""


@dataclass(frozen=True, slots=True, eq=False)
class TravelHistogram:
    """Counted travel times per ordered pair of cameras, a row per observed pair, ascending in (to, from)."""

    num_cams: int
    bin_width: float  # in the unit of the times: seconds, or frames
    to_camid: Int64  # (P,) the later camera
    from_camid: Int64  # (P,)
    count: Float64  # (P, B) travel times of [b, b + 1) * bin_width

    def __post_init__(self) -> None:
        if self.count.shape[0] != len(self.to_camid) or len(self.to_camid) != len(self.from_camid):
            raise ValueError(f"{len(self.to_camid)} pairs of cameras, but counts {self.count.shape}")
        if not (np.isfinite(self.count).all() and (self.count >= 0).all()):
            raise ValueError("counts of travel times must be numbers of at least 0")

    @property
    def num_bins(self) -> int:
        return int(self.count.shape[1])


@dataclass(frozen=True, slots=True, eq=False)
class Transitions:
    """Smoothed travel times: `probability[row[to, from], bin]`, where row 0 and the last bin are zero, "not known"."""

    histogram: TravelHistogram
    sigma_bins: float
    probability: Float64  # (P + 1, B + 1)
    row: Int64  # (C, C)

    def density(self, to_camid: int, from_camid: int) -> Float64:
        """(B,) probability of each bin of travel time for one ordered pair; zeros where none was observed."""
        return self.probability[self.row[to_camid, from_camid], :-1]


def labelled_transits(pids: npt.ArrayLike, camids: npt.ArrayLike, times: npt.ArrayLike) -> tuple[Int64, Int64, Float64]:
    """Travel times of identified sightings (N,), as the paper counts them -> (to_camid, from_camid, travel) (M,).

    A person is in a camera at the mean time of the sightings there, that is, visits it once; each pair of cameras
    gives one transit, to the camera with the later mean (equal means: to the one with the higher number). [section 3]
    """
    pid, camid, time = np.asarray(pids, np.int64), np.asarray(camids, np.int64), np.asarray(times, np.float64)
    if not pid.shape == camid.shape == time.shape or pid.ndim != 1:
        raise ValueError(f"pids {pid.shape}, camids {camid.shape} and times {time.shape} are not aligned")
    person_of = np.unique(pid, return_inverse=True)[1]
    num_cams = int(camid.max(initial=-1)) + 1
    visit, visit_of = np.unique(person_of * num_cams + camid, return_inverse=True)
    mean = np.bincount(visit_of, time) / (np.bincount(visit_of) + _EPSILON) if len(pid) else np.zeros(0)
    owner, where = visit // max(num_cams, 1), visit % max(num_cams, 1)
    first, second = _pairs_within(owner)  # visits are sorted by person and camera, so where[first] < where[second]
    forth = mean[first] <= mean[second]
    to_camid, from_camid = np.where(forth, where[second], where[first]), np.where(forth, where[first], where[second])
    return to_camid, from_camid, np.abs(mean[first] - mean[second])


def count_transits(
    to_camid: Int64,
    from_camid: Int64,
    travel: Float64,
    *,
    num_cams: int,
    bin_width: float,
    num_bins: int,
    weight: Float64 | None = None,
) -> TravelHistogram:
    """Histogram of travel times (M,), each counting `weight` (M,), else 1. Those beyond the last bin are left out."""
    if bin_width <= 0 or num_bins < 1:
        raise ValueError(f"want a positive bin_width and num_bins, got {bin_width} and {num_bins}")
    if (
        len(to_camid)
        and not 0 <= min(to_camid.min(), from_camid.min()) <= max(to_camid.max(), from_camid.max()) < num_cams
    ):
        raise ValueError(f"camids must be 0 to {num_cams - 1} for num_cams={num_cams}")
    bins = _bins(travel, bin_width, num_bins)
    inside = (bins < num_bins) & (travel >= 0)
    pairs, row = np.unique((to_camid * num_cams + from_camid)[inside], return_inverse=True)
    weights = np.ones(len(travel)) if weight is None else weight
    cell = row * num_bins + bins[inside]
    count = np.bincount(cell, weights[inside], minlength=len(pairs) * num_bins).astype(np.float64)
    shape = (len(pairs), num_bins)
    return TravelHistogram(num_cams, bin_width, pairs // num_cams, pairs % num_cams, count.reshape(shape))


def smooth_histogram(histogram: TravelHistogram, *, sigma_bins: float) -> Transitions:
    """Shares per bin, smoothed by a Gaussian of `sigma_bins` (0: none) that is cut off at three sigmas. [section 3]

    What the window moves below zero or beyond the last bin is lost; each pair of cameras then sums to one again.
    """
    share = histogram.count / (histogram.count.sum(axis=1, keepdims=True) + _EPSILON)
    if sigma_bins > 0 and len(share):
        reach = int(_REACH_SIGMAS * sigma_bins)
        at = np.arange(-reach, reach + 1)
        window = np.exp(-0.5 * (at / sigma_bins) ** 2) / (sigma_bins * np.sqrt(2 * np.pi))
        share = correlate1d(share, window, axis=1, mode="constant")
    if sigma_bins > 0:
        share = share / (share.sum(axis=1, keepdims=True) + _EPSILON)
    row = np.zeros((histogram.num_cams, histogram.num_cams), np.int64)
    row[histogram.to_camid, histogram.from_camid] = np.arange(1, len(share) + 1)
    return Transitions(histogram, sigma_bins, np.pad(share, ((1, 0), (0, 1))), row)


def estimate(
    pids: npt.ArrayLike,
    camids: npt.ArrayLike,
    times: npt.ArrayLike,
    *,
    num_cams: int,
    bin_width: float = 4.0,
    num_bins: int = 5000,
    sigma_bins: float = 50.0,
) -> Transitions:
    """The transitions of identified sightings (N,): who, in which camera (0-based), when.

    The defaults are the paper's for times in seconds of video at 25 frames per second.
    """
    to_camid, from_camid, travel = labelled_transits(pids, camids, times)
    histogram = count_transits(to_camid, from_camid, travel, num_cams=num_cams, bin_width=bin_width, num_bins=num_bins)
    return smooth_histogram(histogram, sigma_bins=sigma_bins)


def score(
    transitions: Transitions,
    camid_a: npt.ArrayLike,
    time_a: npt.ArrayLike,
    camid_b: npt.ArrayLike,
    time_b: npt.ArrayLike,
) -> Float64:
    """Probability of the time between sightings a and b for their cameras, per bin; the four are broadcast together.

    score(transitions, q_camid[:, None], q_time[:, None], g_camid, g_time) is a matrix (Q, G). Zero for one camera, for
    a pair of cameras never observed in that order, beyond the last bin and for times that are not known (NaN). [4]
    """
    a, b = np.asarray(camid_a, np.int64), np.asarray(camid_b, np.int64)
    num_cams, width = transitions.histogram.num_cams, transitions.probability.shape[1]
    for camids in (a, b):
        if camids.size and not 0 <= camids.min() <= camids.max() < num_cams:
            raise ValueError(f"camids must be 0 to {num_cams - 1}, got {camids.min()} to {camids.max()}")
    elapsed = np.asarray(time_a, np.float64) - np.asarray(time_b, np.float64)
    ends = np.where(elapsed > 0, a * num_cams + b, b * num_cams + a)  # equal times: as if b were the later one
    cell = (transitions.row.ravel() * width).take(ends)
    cell += _bins(np.abs(elapsed), transitions.histogram.bin_width, transitions.histogram.num_bins)
    return np.asarray(transitions.probability.ravel().take(cell), np.float64)


def joint_score(
    similarity: npt.ArrayLike,
    probability: npt.ArrayLike,
    *,
    appearance_lambda: float = 1.0,
    appearance_gamma: float = 5.0,
    time_lambda: float = 2.0,
    time_gamma: float = 5.0,
) -> npt.NDArray[np.floating[Any]]:
    """Logistic-smoothed product of a cosine and a travel time's probability, larger is better. [section 4]"""
    appearance = 1 / (1 + appearance_lambda * np.exp(-appearance_gamma * np.asarray(similarity)))
    time = 1 / (1 + time_lambda * np.exp(-time_gamma * np.asarray(probability)))
    return np.asarray(appearance * time)


def save_transitions(transitions: Transitions, path: Path, cameras: Sequence[str]) -> None:
    """Write the counts as JSON under the cameras' names; the file appears whole or not at all."""
    histogram = transitions.histogram
    if len(cameras) != histogram.num_cams:
        raise ValueError(f"{len(cameras)} names for {histogram.num_cams} cameras")
    pairs = []
    for to_camid, from_camid, count in zip(histogram.to_camid, histogram.from_camid, histogram.count, strict=True):
        bins = np.flatnonzero(count)
        ends = {"from": cameras[from_camid], "to": cameras[to_camid]}
        pairs.append({**ends, "bins": bins.tolist(), "counts": count[bins].tolist()})
    document = {
        "version": FORMAT_VERSION,
        "cameras": list(cameras),
        "bin_width": histogram.bin_width,
        "num_bins": histogram.num_bins,
        "sigma_bins": transitions.sigma_bins,
        "pairs": pairs,
    }
    write_json(document, path)


def write_json(document: Mapping[str, Any], path: Path) -> None:
    """The file appears whole or not at all."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(json.dumps(document) + "\n", encoding="utf-8")
    os.replace(partial, path)


def load_transitions(path: Path, cameras: Sequence[str]) -> Transitions:
    """Read what `save_transitions` wrote; camids are places in `cameras`, which may stand in another order.

    Raises TransitionsFileError naming the file and what is wrong with it.
    """
    try:
        document = read_document(path, cameras)
        histogram = _histogram_of(document, cameras)
        return smooth_histogram(histogram, sigma_bins=float(document["sigma_bins"]))
    except TransitionsFileError:
        raise
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise TransitionsFileError(f"{path} is not a file of transitions ({error!r}); estimate it anew") from error


def read_document(path: Path, cameras: Sequence[str] | None = None) -> dict[str, Any]:
    """The content of a file of transitions between some of `cameras`, if given. Raises TransitionsFileError."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(document, dict) or not isinstance(document["pairs"], list):
            raise TypeError("no list of pairs")
        if document["version"] != FORMAT_VERSION:
            raise TransitionsFileError(f"{path}: version {document['version']}, this program reads {FORMAT_VERSION}")
        named = {pair[end] for pair in document["pairs"] for end in ("from", "to")}
    except FileNotFoundError:
        raise TransitionsFileError(f"{path}: no such file of transitions; check the path") from None
    except TransitionsFileError:
        raise
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise TransitionsFileError(f"{path} is not a file of transitions ({error!r}); estimate it anew") from error
    unknown = [] if cameras is None else sorted(map(str, named - set(cameras)))
    if cameras is not None and unknown:
        raise TransitionsFileError(
            f"{path}: there is no camera {unknown[0]!r}, only {', '.join(cameras)}; rename it in the file, or "
            "estimate that anew"
        )
    return document


def _histogram_of(document: Any, cameras: Sequence[str]) -> TravelHistogram:
    ends = [(cameras.index(pair["to"]), cameras.index(pair["from"])) for pair in document["pairs"]]
    if len(set(ends)) < len(ends):
        raise ValueError("a pair of cameras stands twice")
    order = sorted(range(len(ends)), key=ends.__getitem__)
    count = np.zeros((len(ends), int(document["num_bins"])))
    for row, at in enumerate(order):
        bins = np.array(document["pairs"][at]["bins"], np.int64)
        if bins.min(initial=0) < 0:
            raise ValueError("a bin is negative")
        count[row, bins] = document["pairs"][at]["counts"]
    to_camid, from_camid = np.array([ends[at] for at in order], np.int64).reshape(-1, 2).T
    return TravelHistogram(len(cameras), float(document["bin_width"]), to_camid, from_camid, count)


def _pairs_within(owner: Int64) -> tuple[Int64, Int64]:
    """Places (i, j), i < j, of equal values in an ascending array."""
    starts = np.flatnonzero(np.diff(owner, prepend=-1))
    sizes = np.diff(np.append(starts, len(owner)))
    first, second = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for size in np.unique(sizes):
        i, j = np.triu_indices(size, 1)
        begins = starts[sizes == size]
        first.append((begins[:, None] + i).ravel())
        second.append((begins[:, None] + j).ravel())
    return np.concatenate(first), np.concatenate(second)


def _bins(travel: Float64, bin_width: float, num_bins: int) -> Int64:
    """Bin of each travel time >= 0; `num_bins` for those beyond the last one and for NaN."""
    return np.asarray(np.fmin(travel / bin_width, num_bins), np.int64)
