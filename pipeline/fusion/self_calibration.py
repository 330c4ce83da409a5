"""The homography of the floor between two views, from people seen at once and nothing else.

Nobody says who is who. Two or three pairs of tracklets, each taken for one person, give a homography by the direct
linear transform (Hartley and Zisserman, Multiple View Geometry, section 4.1); it is scored by how well everybody else
can be matched one-to-one, as log-likelihood against people who stand anywhere (RANSAC in the manner of MLESAC), and the
best ones are refined by matching and fitting in turn.

How good is it? Two views of one floor never differ by a mirror: a camera looks at the floor from above. So the best
fit to the *mirrored* second view, and to mirrored views of other moments, shows what chance can do with these people;
and every pair of tracklets is tested against the floor that all the others make without it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial import KDTree

from pipeline.fusion.self_calibration_feet import Feet, Meetings, at_once, meetings, thinned
from pipeline.fusion.self_calibration_hypotheses import (
    SIGMAS,
    UNIT_LOOKS,
    minimal_sets,
    normals,
    possible,
    project,
    solve,
)
from pipeline.fusion.self_calibration_metric import ground_of_one
from pipeline.types import Float64, Int64

_STRAY = 0.1  # share of feet that say nothing: hidden, or of somebody else
_BATCH = 400
_FINALISTS = 24
_ROUNDS = 8
_LEAST_CHANCE = 10.0  # nats that any people give
_JUDGED = 6
_EXPLAINED_BY = 2.5  # times the median distance of held-out feet
_LATE = (0.25, 0.5, 0.75)  # share of the time seen by which the mirrored view is late


@dataclass(frozen=True, slots=True, eq=False)
class PairFit:
    """A homography of the floor between two cameras, and how good it is."""

    a_to_b: Float64  # (3, 3) px -> px, its third coordinate positive where people walk
    score: float  # log-likelihood of all matches against people anywhere, fitted and held out together, nats
    chance: float  # the same of the best fit to mirrored views
    num_people: int  # matched pairs of tracklets, in blocks of 20 s
    num_confirmed: int  # of these, such that the floor made without them fits them better than chance
    residual: float  # median distance of their feet from that floor, in heights
    a_xy: Float64  # (K, 2) px, matched feet in a
    b_xy: Float64  # (K, 2) px, in b
    b_predicted_xy: Float64  # (K, 2) px, the feet of a in b by the floor made without them; NaN where there is none
    b_height_px: Float64  # (K,)
    a_id: Int64  # (P,) every pair of tracklets that were seen at once, matched or not: of a,
    b_id: Int64  # (P,) of b,
    log_odds: Float64  # (P,) and what all their common way says for one person, in nats, each place counted once

    @property
    def gain(self) -> float:
        """How often as good as chance."""
        return self.score / max(self.chance, _LEAST_CHANCE)


def learn_pair(a: Feet, b: Feet, rng: np.random.Generator) -> PairFit | None:
    """The best homography a -> b with its quality, whatever that is; None where nothing can be said at all."""
    if not len(a) or not len(b):
        return None
    grounds = ground_of_one(a), ground_of_one(b)
    meet = meetings(a, b, *grounds)
    best = search(meet, rng) if meet is not None else None
    if best is None:
        return None
    by_chance = 0.0
    for share in _LATE:
        meet = meetings(a, b.late(share, a), *grounds)
        mirrored = search(meet.mirrored(), rng) if meet is not None else None
        if mirrored is not None:
            by_chance = max(by_chance, mirrored.score)
    return replace(best, chance=by_chance)


def refit(a: Feet, b: Feet, known: PairFit) -> PairFit | None:
    """A known homography, refined to new feet; chance is taken as it was. None where nobody is seen at once."""
    meet = meetings(a, b, np.eye(3), np.eye(3))
    if meet is None:
        return None
    matrix = _refined(meet, meet.from_pixels(known.a_to_b))[0]
    return replace(assess(meet, matrix), chance=known.chance)


def explained(fit: PairFit, a: Feet, b: Feet) -> tuple[float, int]:
    """-> of those in a who stand where people were matched before: the share whom b shows there too; their number.

    Who stands still counts once.
    """
    a = thinned(a)
    if not len(a) or not len(b) or not len(fit.b_xy):
        return 0.0, 0
    there, depth = project(fit.a_to_b, a.xy)
    there[depth <= 0] = np.inf
    off, nearest = KDTree(fit.b_xy).query(np.where(np.isfinite(there), there, 1e9))
    known = off < fit.b_height_px[nearest]
    rows_a, rows_b = at_once(a.moment, b.moment)
    apart = np.full(len(a), np.inf)
    np.minimum.at(apart, rows_a, np.linalg.norm(there[rows_a] - b.xy[rows_b], axis=1) / b.height_px[rows_b])
    count = int(known.sum())
    return float((apart[known] < _EXPLAINED_BY * max(fit.residual, SIGMAS[0])).sum() / max(count, 1)), count


def search(meet: Meetings, rng: np.random.Generator) -> PairFit | None:
    """The best fit, `chance` left open; None where no two pairs of tracklets make a possible floor."""
    sets = minimal_sets(meet, rng)
    matrices, own = solve(meet, sets)
    matrices = matrices[possible(meet, matrices, sets) & (own > 0)]
    if not len(matrices):
        return None
    bound = np.concatenate(
        [_bound(meet, unit_gains(meet, matrices[i : i + _BATCH])) for i in range(0, len(matrices), _BATCH)]
    )
    results = [_refined(meet, matrices[place]) for place in np.argsort(-bound, kind="stable")[:_FINALISTS].tolist()]
    results.sort(key=lambda result: -result[1])
    return max((assess(meet, matrix) for matrix, _ in results[:_JUDGED]), key=lambda fit: fit.score)


def unit_gains(meet: Meetings, matrices: Float64, sigma: float = SIGMAS[-1]) -> Float64:
    """(B, U): what every unit says for each homography (B, 3, 3), as log-likelihood against people anywhere.

    sigma: deviation of a foot from its match per axis, in heights.
    """
    gone, depth = project(matrices, meet.a_xy)
    back, height = project(_inverse(matrices), meet.b_xy)
    off = ((gone - meet.b_xy) ** 2).sum(axis=-1) / meet.b_height**2
    off = (off + ((back - meet.a_xy) ** 2).sum(axis=-1) / meet.a_height**2) / 2
    off = np.where((depth > 0) & (height > 0), off, np.inf)
    fit = (1 - _STRAY) * np.exp(-off / (2 * sigma**2)) / (2 * np.pi * sigma**2)
    odds = np.log(_STRAY + fit * meet.room)
    weight = np.minimum(1.0, UNIT_LOOKS / meet.count)
    return np.asarray(np.add.reduceat(odds, meet.start[:-1], axis=-1) * weight, np.float64)


def assess(meet: Meetings, matrix: Float64) -> PairFit:
    """How good a homography is, by leaving out every matched unit in turn."""
    chosen, score, sigma = _matched(meet, matrix)
    held_out = []
    predicted = np.full(meet.b_xy.shape, np.nan)
    normal = _weighted_normals(meet, matrix, chosen)
    for place, unit in enumerate(chosen):
        without = _smallest(normal.sum(axis=0) - normal[place], meet, chosen[:place] + chosen[place + 1 :])
        if without is None:
            held_out.append(UNIT_LOOKS * np.log(_STRAY))
            continue
        rows = slice(meet.start[unit], meet.start[unit + 1])
        held_out.append(float(unit_gains(meet, without[None], sigma)[0, unit]))
        predicted[rows] = project(without, meet.a_xy[rows])[0]
    pairs, of_pair = np.unique(np.column_stack((meet.a_id, meet.b_id)), axis=0, return_inverse=True)
    rows_of = _rows(meet, chosen)
    apart = np.linalg.norm(predicted[rows_of] - meet.b_xy[rows_of], axis=1) / meet.b_height[rows_of]
    apart = apart[np.isfinite(apart)]
    return PairFit(
        a_to_b=meet.in_pixels(matrix),
        score=score + float(sum(held_out)),
        chance=float("nan"),
        num_people=len(chosen),
        num_confirmed=int(sum(gain > 0 for gain in held_out)),
        residual=float(np.median(apart)) if len(apart) else float("inf"),
        a_xy=meet.a_xy[rows_of] * meet.a_scale_px + meet.a_centre,
        b_xy=meet.b_xy[rows_of] * meet.b_scale_px + meet.b_centre,
        b_predicted_xy=predicted[rows_of] * meet.b_scale_px + meet.b_centre,
        b_height_px=meet.b_height[rows_of] * meet.b_scale_px,
        a_id=pairs[:, 0],
        b_id=pairs[:, 1],
        log_odds=np.bincount(of_pair.ravel(), unit_gains(meet, matrix[None], sigma)[0]).astype(np.float64),
    )


def _inverse(matrices: Float64) -> Float64:
    return np.asarray(np.linalg.inv(matrices), np.float64)


def _bound(meet: Meetings, gains: Float64) -> Float64:
    """(B,) what a one-to-one matching of each row of (B, U) gains at most."""
    best = np.full(len(gains), np.inf)
    for ids in (meet.a_id, meet.b_id):
        order = np.lexsort((ids, meet.block))
        new = np.diff(meet.block[order], prepend=-1).astype(np.bool_) | np.diff(ids[order], prepend=-1).astype(np.bool_)
        top = np.maximum.reduceat(gains[:, order], np.flatnonzero(new), axis=1)
        best = np.minimum(best, np.maximum(top, 0.0).sum(axis=1))
    return best


def _matched(meet: Meetings, matrix: Float64) -> tuple[list[int], float, float]:
    """The units that a homography matches, their score, and the accuracy (one of `SIGMAS`) that explains them best."""
    tries = [(*_match(meet, unit_gains(meet, matrix[None], sigma)[0]), sigma) for sigma in SIGMAS]
    return max(tries, key=lambda found: found[1])


def _match(meet: Meetings, gains: Float64) -> tuple[list[int], float]:
    """The best units, one-to-one in every block, greedily by what they gain (U,) -> units, ascending; their sum."""
    taken: set[tuple[int, int, int]] = set()
    chosen = []
    for unit in np.argsort(-gains, kind="stable").tolist():
        if gains[unit] <= 0:
            break
        keys = {(0, int(meet.block[unit]), int(meet.a_id[unit])), (1, int(meet.block[unit]), int(meet.b_id[unit]))}
        if not keys & taken:
            taken |= keys
            chosen.append(unit)
    return sorted(chosen), float(gains[chosen].sum())


def _refined(meet: Meetings, matrix: Float64) -> tuple[Float64, float]:
    """Match and fit in turn while the score grows -> the homography and its score."""
    chosen, score, _ = _matched(meet, matrix)
    for _ in range(_ROUNDS):
        fresh = _smallest(_weighted_normals(meet, matrix, chosen).sum(axis=0), meet, chosen)
        if fresh is None:
            break
        fresh_chosen, fresh_score, _ = _matched(meet, fresh)
        if fresh_score <= score:
            break
        matrix, chosen, score = fresh, fresh_chosen, fresh_score
    return matrix, score


def _weighted_normals(meet: Meetings, matrix: Float64, chosen: list[int]) -> Float64:
    """(len(chosen), 9, 9) normal equations with the weights of a robust fit in pixels (Geman-McClure)."""
    gone, depth = project(matrix, meet.a_xy)
    off = ((gone - meet.b_xy) ** 2).sum(axis=1) / meet.b_height**2
    weight = np.minimum(1.0, UNIT_LOOKS / meet.count)[meet.unit] / (1 + off / SIGMAS[-1] ** 2) ** 2
    weight = np.where(depth > 0, weight / np.maximum(depth, 1e-6) ** 2 / meet.b_height**2, 0.0)
    return normals(meet, weight)[chosen]


def _smallest(normal: Float64, meet: Meetings, chosen: list[int]) -> Float64 | None:
    """The homography of the normal equations, None where it is none: mirrored, flat, or people beyond its horizon."""
    if len(chosen) < 2:
        return None
    matrix = np.linalg.eigh(normal)[1][:, 0].reshape(3, 3)
    depth = project(matrix, meet.a_xy[_rows(meet, chosen)])[1]
    matrix = matrix * (1.0 if np.median(depth) > 0 else -1.0)
    det = float(np.linalg.det(matrix))
    return np.asarray(matrix / np.cbrt(det), np.float64) if det > 1e-12 else None


def _rows(meet: Meetings, chosen: list[int]) -> Int64:
    return np.flatnonzero(np.isin(meet.unit, chosen))
