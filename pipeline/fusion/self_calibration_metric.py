"""From homographies between views to metres on the floor, by the heights of people alone.

A standing person's height in the picture grows in proportion to the distance of the feet from the horizon (Criminisi,
Reid and Zisserman, Single View Metrology, 2000); all cameras of a floor have their say on where the horizon of the
first one is. With square pixels and a likely focal length the horizon gives the tilt of the camera and the floor up to
its scale (Hartley and Zisserman, section 8.2), and people of average height give that.

The focal length is a guess that the other views correct, hence 'metres' are right to some ten per cent. That does no
harm: what is compared are distances of half a metre, and errors of boxes are carried over by the same map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.fusion.self_calibration_feet import Feet, thinned
from pipeline.types import Float64, Int64

PERSON_M = 1.7
_HEIGHT_SPREAD = 0.15  # of people's heights around their mean, relative; who sits is an outlier
_FOCALS = np.geomspace(0.5, 2.5, 17)  # focal lengths to try, in widths of the picture
_LIKELY_FOCAL, _FOCAL_SPREAD = 1.0, 0.4  # its prior: most likely, deviation of the logarithm
_SKEW = 0.15  # how far from square the pixels of a learned camera may seem
_FLAT = 1e-5  # how strongly a view from straight above is assumed, against all people's heights
_ROUNDS = 25
_BELOW = 0.9  # share of the feet of every view that must lie below its horizon
_HORIZONS = (2.0, 1.0, 4.0, 0.5, 8.0)  # heights of a person above the highest foot, to begin with where none is found


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One camera of a floor: its people, and the homography px -> px of the first camera."""

    feet: Feet
    to_first: Float64  # (3, 3), its third coordinate positive where people walk


def ground_of_first(views: Sequence[View]) -> Float64:
    """(3, 3) pixels of the first view -> about metres. `views[0].to_first` is the unit matrix."""
    horizon = _horizon(views)
    focal = _focal(views, horizon)
    ground = _upright(horizon, focal, views[0].feet.size_px / 2)
    return np.asarray(np.diag([1.0, 1.0, 1 / _camera_height(views[0], ground, horizon, focal)]) @ ground, np.float64)


def ground_of_one(feet: Feet) -> Float64:
    """(3, 3) pixels -> very roughly metres, from one view alone."""
    return ground_of_first([View(thinned(feet), np.eye(3))])


def _horizon(views: Sequence[View]) -> Float64:
    """(3,) line of the first picture: times a foot (x, y, 1) it is the height in px of a person who stands there."""
    size = float(views[0].feet.size_px.max())
    scale = np.diag([1 / size, 1 / size, 1.0])
    points, heights, owner = [], [], []
    for place, view in enumerate(views):
        flat = np.column_stack((view.feet.xy, np.ones(len(view.feet)))) @ (scale @ view.to_first).T
        good = flat[:, 2] > 0
        # A height is seen along the line of the other camera: the same linear form, up to one factor per camera.
        points.append(flat[good] / np.abs(np.linalg.det(view.to_first)) ** (1 / 3))
        heights.append(view.feet.height_px[good])
        owner.append(np.full(int(good.sum()), place))
    point, height, camera = np.concatenate(points), np.concatenate(heights), np.concatenate(owner)
    share = 1 / np.bincount(camera, minlength=len(views))[camera]
    factor = np.ones(len(views))
    for place in range(1, len(views)):
        mine = camera == place
        factor[place] = np.median(height[mine] / point[mine, 2]) / np.median(height[camera == 0]) if mine.any() else 1.0
    everybody = np.ones(len(point))
    line, _ = _fitted_line(point, height, camera, share, factor.copy(), weight=everybody)
    if _feet_below(scale @ line, views):
        return np.asarray(scale @ line, np.float64)
    # Many who sit, or whose feet are hidden, may outvote those who stand: the best line that those can be on.
    usual, top = float(np.median(height[camera == 0])), float(point[camera == 0, 1].min())
    # Where nobody stands any horizon over the feet does: it is for comparing places, not for measuring.
    best, most = line, -np.inf
    for heights_above in _HORIZONS:
        begin = np.array([0.0, 1.0, heights_above * usual / size - top])
        begin *= usual / np.median(point[camera == 0] @ begin)
        weight = _fits(factor[camera] * (point @ begin) / height)
        found, fit = _fitted_line(point, height, camera, share, factor.copy(), weight=weight)
        for each, worth in ((begin, 0.0), (found, fit)):
            if worth > most and _feet_below(scale @ each, views):
                best, most = each, worth
    return np.asarray(scale @ best, np.float64)


def _fitted_line(
    point: Float64, height: Float64, camera: Int64, share: Float64, factor: Float64, *, weight: Float64
) -> tuple[Float64, float]:
    """-> (3,) the line that best makes heights (N,) of points (N, 3), up to a factor per camera; how well it does.

    weight: (N,) to begin with.
    """
    line = np.zeros(3)
    for _ in range(_ROUNDS):
        rows = point * (factor[camera] / height)[:, None]
        normal = (rows * (share * weight)[:, None]).T @ rows
        normal += _FLAT * np.trace(normal) * np.diag([1.0, 1.0, 0.0])
        line = np.linalg.solve(normal, (rows * (share * weight)[:, None]).sum(axis=0))
        tall = point @ line
        for place in range(1, len(factor)):
            mine = (camera == place) & (tall > 0)
            if mine.any():
                factor[place] = np.median(height[mine] / tall[mine])
        weight = _fits(factor[camera] * tall / height)
    return line, float((share * weight).sum())


def _fits(ratio: Float64) -> Float64:
    """(N,) how far heights count that are so many times what they should be."""
    return np.asarray(1 / (1 + ((ratio - 1) / _HEIGHT_SPREAD) ** 2) ** 2, np.float64)


def _feet_below(horizon: Float64, views: Sequence[View]) -> bool:
    """Whether nearly all feet of every view are seen below its horizon, in a picture that is upright."""
    for view in views:
        own = view.to_first.T @ horizon
        foot = np.column_stack((view.feet.xy, np.ones(len(view.feet))))
        if len(foot) and ((foot @ own > 0) & (own[1] > 0)).mean() < _BELOW:
            return False
    return True


def _focal(views: Sequence[View], horizon: Float64) -> float:
    """Focal length of the first view in px: likely in itself, and such that the other views have square pixels."""
    best, cost = 0.0, np.inf
    for relative in _FOCALS.tolist():
        focal = relative * float(views[0].feet.size_px.max())
        ground = _upright(horizon, focal, views[0].feet.size_px / 2)
        total = _unlikely(relative)
        for view in views[1:]:
            total += _unsquare(np.asarray(np.linalg.inv(ground @ view.to_first), np.float64), view.feet.size_px)
        if total < cost:
            best, cost = focal, total
    return best


def _unlikely(relative: float) -> float:
    return float((np.log(relative / _LIKELY_FOCAL) / _FOCAL_SPREAD) ** 2)


def _unsquare(ground_to_image: Float64, size_px: Float64) -> float:
    """How badly a homography of the floor fits a camera of square pixels, at the best focal length."""
    centred = ground_to_image.copy()
    centred[:2] -= np.outer(size_px / 2, ground_to_image[2])
    one, two = centred[:, 0], centred[:, 1]
    costs = []
    for relative in _FOCALS.tolist():
        bend = np.array([1.0, 1.0, (relative * float(size_px.max())) ** 2])
        length, across = (bend * (one**2 + two**2)).sum(), (bend * one * two).sum()
        skew = ((2 * across) ** 2 + (bend * (one**2 - two**2)).sum() ** 2) / length**2
        costs.append(skew / _SKEW**2 + _unlikely(relative))
    return float(min(costs))


def _upright(horizon: Float64, focal: float, centre_px: Float64) -> Float64:
    """(3, 3) pixels -> floor, in heights of the camera over it."""
    calibration = np.array([[focal, 0.0, centre_px[0]], [0.0, focal, centre_px[1]], [0.0, 0.0, 1.0]])
    down = calibration.T @ horizon
    down /= np.linalg.norm(down)
    side = np.array([1.0, 0.0, 0.0]) - down[0] * down
    if np.linalg.norm(side) < 1e-6:
        side = np.array([0.0, 1.0, 0.0]) - down[1] * down
    side /= np.linalg.norm(side)
    return np.asarray(np.stack((side, np.cross(down, side), down)) @ np.linalg.inv(calibration), np.float64)


def _camera_height(view: View, ground: Float64, horizon: Float64, focal: float) -> float:
    """In metres, such that people are `PERSON_M` tall: where the ray through a head passes over the feet."""
    foot = np.column_stack((view.feet.xy, np.ones(len(view.feet))))
    head = foot - np.column_stack((np.zeros(len(foot)), view.feet.height_px, np.zeros(len(foot))))
    feet_at, head_ray = foot @ ground.T, head @ ground.T
    feet_at = feet_at / feet_at[:, 2:]
    # The head is feet - (0, 0, tall), seen along head_ray: least squares for `tall` and the length of the ray.
    flat = (head_ray[:, :2] ** 2).sum(axis=1)
    reach = (feet_at[:, :2] * head_ray[:, :2]).sum(axis=1) / np.maximum(flat, 1e-12)
    tall = 1.0 - reach * head_ray[:, 2]
    seen = np.isfinite(tall) & (tall > 0) & (foot @ horizon > 0)
    standing = seen & (np.abs(view.feet.height_px / np.where(seen, foot @ horizon, 1.0) - 1) < 2 * _HEIGHT_SPREAD)
    seen = standing if standing.any() else seen
    return PERSON_M / float(np.median(tall[seen])) if seen.any() else PERSON_M
