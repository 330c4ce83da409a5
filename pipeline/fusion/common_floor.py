"""Cameras on common floors, made of the homographies between pairs of them.

From the camera that knows most, or from one that is calibrated, along the best pairs (a spanning tree), every camera
gets an `image_to_ground` of about metres.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from pipeline.fusion.self_calibration import PairFit
from pipeline.fusion.self_calibration_feet import FeetBuffer, thinned
from pipeline.fusion.self_calibration_metric import View, ground_of_first
from pipeline.geometry.camera import GroundCamera
from pipeline.types import Float64

_RAYLEIGH_MEDIAN = 1.1774  # of a distance in the plane, per deviation of one axis

Pair = tuple[int, int]


@dataclass(slots=True)
class CommonFloors:
    """What is known of every camera that stands on a floor with another one, by camid."""

    cameras: dict[int, GroundCamera] = field(default_factory=dict)
    sigma_m: dict[int, float] = field(default_factory=dict)  # by how much more it errs than a calibrated one
    area_m2: dict[int, float] = field(default_factory=dict)  # on which people have walked
    together: dict[int, int] = field(default_factory=dict)  # the first camera of its floor


def common_floors(
    fits: Mapping[Pair, PairFit],
    given: Sequence[GroundCamera | None],
    buffers: Mapping[int, FeetBuffer],
    floor_sigma_m: float,
) -> CommonFloors:
    """fits: of the pairs that are good; given: calibrated cameras, by camid, which stay what they are.

    floor_sigma_m: deviation per axis that is expected of every calibrated camera.
    """
    floors = CommonFloors()
    left = sorted({camid for pair in fits for camid in pair})
    known = {camid: sum(fit.num_confirmed for pair, fit in fits.items() if camid in pair) for camid in left}
    while left:
        first = min(left, key=lambda camid: (given[camid] is None, -known[camid], camid))
        chain = _chain(first, fits)
        _stand(first, chain, given, buffers, floors=floors)
        left = [camid for camid in left if camid not in chain]
    for pair, fit in fits.items():  # what it errs beyond what is said of every calibrated camera
        per_axis = held_out_m(fit, floors.cameras[pair[1]]) / _RAYLEIGH_MEDIAN
        extra = float(np.sqrt(max(0.0, (per_axis**2 - 2 * floor_sigma_m**2) / 2)))
        for camid in pair:
            if given[camid] is None:
                floors.sigma_m[camid] = max(floors.sigma_m.get(camid, 0.0), extra)
    return floors


def held_out_m(fit: PairFit, camera: GroundCamera) -> float:
    """Median distance, on the floor of the pair's second camera, of feet from where a floor made without them has
    them; infinite where there are none."""
    apart = np.linalg.norm(camera.to_ground(fit.b_predicted_xy) - camera.to_ground(fit.b_xy), axis=1)
    apart = apart[np.isfinite(apart)]
    return float(np.median(apart)) if len(apart) else float("inf")


def _chain(first: int, fits: Mapping[Pair, PairFit]) -> dict[int, Float64]:
    """camid -> homography px -> px of `first`, for all that hang together with it."""
    chain: dict[int, Float64] = {first: np.eye(3)}
    while True:
        edges = [pair for pair in fits if (pair[0] in chain) != (pair[1] in chain)]
        if not edges:
            return chain
        a, b = max(edges, key=lambda pair: (fits[pair].num_confirmed, [-camid for camid in pair]))
        fit = fits[a, b]
        if a in chain:
            back = np.asarray(np.linalg.inv(fit.a_to_b), np.float64)
            chain[b] = np.asarray(chain[a] @ _oriented(back, fit.b_xy), np.float64)
        else:
            chain[a] = np.asarray(chain[b] @ fit.a_to_b, np.float64)


def _stand(
    first: int,
    chain: Mapping[int, Float64],
    given: Sequence[GroundCamera | None],
    buffers: Mapping[int, FeetBuffer],
    *,
    floors: CommonFloors,
) -> None:
    """The cameras of a chain stand on one floor: that of `first` if it is calibrated, else one by people's heights."""
    anchor = given[first]
    feet = {camid: thinned(buffers[camid].feet()) for camid in chain}
    views = [View(feet[camid], to_first) for camid, to_first in chain.items()]
    ground = anchor.image_to_ground if anchor is not None else ground_of_first(views)
    for camid, to_first in chain.items():
        camera = given[camid] or GroundCamera.from_homography(_normalised(ground @ to_first))
        floors.cameras[camid] = camera
        floors.together[camid] = first
        trodden = camera.to_ground(feet[camid].xy)
        trodden = trodden[np.isfinite(trodden).all(axis=1)]
        floors.area_m2[camid] = float(len(np.unique(np.floor(trodden), axis=0)))


def _oriented(matrix: Float64, xy: Float64) -> Float64:
    """The same homography with its third coordinate positive at most of the points."""
    depth = np.column_stack((xy, np.ones(len(xy)))) @ matrix[2]
    return matrix if np.median(depth) > 0 else -matrix


def _normalised(matrix: Float64) -> Float64:
    return np.asarray(matrix / np.linalg.norm(matrix[2]), np.float64)
