"""Homographies worth a try: of two or three pairs of tracklets, each taken for one person.

By the direct linear transform (Hartley and Zisserman, Multiple View Geometry, section 4.1), drawn a little towards
what the heights of people say of each camera alone.
"""

from __future__ import annotations

import numpy as np

from pipeline.fusion.self_calibration_feet import Meetings
from pipeline.types import BoolMask, Float64, Int64

SIGMAS = (0.08, 0.12, 0.18, 0.26, 0.36)  # of a foot against its match, in heights of the person, per axis
UNIT_LOOKS = 6.0  # as how many independent looks the rows of a unit count at most
_SETS = 8_000  # hypotheses of each kind
_PULL = 3e-4  # how strongly hypotheses are drawn to what the heights say, against the data
_STRETCH = 20.0  # no floor is foreshortened by more than that, in heights


def minimal_sets(meet: Meetings, rng: np.random.Generator) -> Int64:
    """(S, 3) units to make hypotheses of, ascending; pairs are filled up by repeating their first unit."""
    num = meet.num_units
    clash = _clashes(meet)
    one, two = np.triu_indices(num, 1)
    looks = np.minimum(meet.count, UNIT_LOOKS)
    fits = ~clash[one, two] & (looks[one] + looks[two] >= 4)
    pairs = np.column_stack((one, two, one))[fits]
    if len(pairs) > _SETS:
        pairs = pairs[np.sort(rng.choice(len(pairs), _SETS, replace=False))]
    triples = np.sort(rng.integers(0, num, (6 * _SETS, 3)), axis=1)
    triples = np.unique(triples[(np.diff(triples, axis=1) > 0).all(axis=1)], axis=0)
    i, j, k = triples.T
    triples = triples[~(clash[i, j] | clash[j, k] | clash[i, k])]
    if len(triples) > _SETS:
        triples = triples[np.sort(rng.choice(len(triples), _SETS, replace=False))]
    return np.concatenate((pairs, triples)).astype(np.int64)


def solve(meet: Meetings, sets: Int64) -> tuple[Float64, Float64]:
    """Homographies of least algebraic error (S, 3, 3), drawn a little towards those of `_alike` so that people who all
    walk along one line leave nothing open; and what their own units say of them (S,), as log-likelihood."""
    weight = np.minimum(1.0, UNIT_LOOKS / meet.count)
    units = normals(meet, weight[meet.unit] / meet.b_height**2)
    third = (sets[:, 2] != sets[:, 0])[:, None, None]
    total = units[sets[:, 0]] + units[sets[:, 1]] + third * units[sets[:, 2]]
    near, centre = _alike(meet, sets, weight[meet.unit])
    near = (near / project(near, centre[:, None])[1][:, :, None]).reshape(-1, 9)
    pull = _PULL * np.trace(total, axis1=1, axis2=2)
    good = np.isfinite(near).all(axis=1)
    near[~good] = 0.0
    matrices = np.linalg.solve(total + pull[:, None, None] * np.eye(9), (pull[:, None] * near)[:, :, None])[:, :, 0]
    looks = (weight * meet.count)[sets]
    looks = looks[:, 0] + looks[:, 1] + third[:, 0, 0] * looks[:, 2]
    error = np.einsum("si,sij,sj->s", matrices, total, matrices)
    matrices = matrices.reshape(-1, 3, 3)
    error /= project(matrices, centre[:, None])[1][:, 0] ** 2
    own = looks * np.log(meet.room / (2 * np.pi * SIGMAS[-1] ** 2)) - error / (2 * SIGMAS[-1] ** 2)
    return matrices, np.where(good, own, -np.inf)


def possible(meet: Meetings, matrices: Float64, sets: Int64) -> BoolMask:
    """(S,) whether each can be a floor where its own people walked: not mirrored, nobody beyond the horizon, neither
    stretched nor squeezed beyond measure. Signs and scales of `matrices` are set in place."""
    ends = np.stack((meet.start[:-1], meet.start[1:] - 1), axis=1)
    rows = ends[sets].reshape(len(sets), -1)
    gone, depth = project(matrices, meet.a_xy[rows])
    sign = np.sign(depth[:, 0])
    matrices *= sign[:, None, None]
    det = np.linalg.det(matrices)
    good = (np.sign(depth) == sign[:, None]).all(axis=1) & (det > 1e-12)
    matrices[good] /= np.cbrt(det[good])[:, None, None]
    depth = np.abs(depth) / np.cbrt(np.maximum(det, 1e-12))[:, None]
    local = matrices[:, None, :2, :2] - gone[..., None] * matrices[:, None, 2:, :2]
    with np.errstate(divide="ignore", invalid="ignore"):
        local = local / depth[..., None, None] * (meet.a_height / meet.b_height)[rows][..., None, None]
        square = (local**2).sum(axis=(-1, -2))
        det = np.linalg.det(local)
        spread = np.sqrt(np.maximum(square**2 - 4 * det**2, 0.0))
        longest, shortest = np.sqrt((square + spread) / 2), np.sqrt(np.maximum(square - spread, 0.0) / 2)
    return np.asarray(good & ((longest < _STRETCH) & (shortest > 1 / _STRETCH) & (det > 0)).all(axis=1), np.bool_)


def normals(meet: Meetings, weight: Float64) -> Float64:
    """(U, 9, 9) normal equations of the direct linear transform, per unit, rows weighted by (M,)."""
    one = np.column_stack((meet.a_xy, np.ones(len(meet.unit))))
    none = np.zeros_like(one)
    u = np.concatenate((one, none, -meet.b_xy[:, :1] * one), axis=1)
    v = np.concatenate((none, one, -meet.b_xy[:, 1:] * one), axis=1)
    rows = (u[:, :, None] * u[:, None] + v[:, :, None] * v[:, None]) * weight[:, None, None]
    return np.asarray(np.add.reduceat(rows, meet.start[:-1], axis=0), np.float64)


def project(matrices: Float64, xy: Float64) -> tuple[Float64, Float64]:
    """(N, 2) points, or (..., N, 2), through homographies (..., 3, 3) -> points and their third coordinate."""
    flat = xy @ np.swapaxes(matrices[..., :2], -1, -2) + matrices[..., None, :, 2]
    depth = flat[..., 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        return flat[..., :2] / depth[..., None], depth


def _alike(meet: Meetings, sets: Int64, weight: Float64) -> tuple[Float64, Float64]:
    """-> (S, 3, 3) homographies that turn, move and scale the floors which heights alone give; (S, 2) middle of a.

    They are rough, but their four numbers are well determined even by people who all walk along one line.
    """
    one, two = (project(m, xy)[0] for m, xy in ((meet.a_ground, meet.a_xy), (meet.b_ground, meet.b_xy)))
    p, q = one @ (1.0, 1.0j), two @ (1.0, 1.0j)
    moments = np.stack((np.ones(len(p)), p, q, np.abs(p) ** 2, p.conj() * q, meet.a_xy @ (1.0, 1.0j))) * weight
    sums = np.add.reduceat(moments, meet.start[:-1], axis=1)
    third = sets[:, 2] != sets[:, 0]
    n, p, q, pp, pq, middle = sums[:, sets[:, 0]] + sums[:, sets[:, 1]] + third * sums[:, sets[:, 2]]
    with np.errstate(divide="ignore", invalid="ignore"):
        turn = (pq - p.conj() * q / n) / (pp - np.abs(p) ** 2 / n)
        move = (q - turn * p) / n
    alike = np.zeros((len(sets), 3, 3))
    alike[:, 0, 0] = alike[:, 1, 1] = turn.real
    alike[:, 1, 0], alike[:, 0, 1] = turn.imag, -turn.imag
    alike[:, 0, 2], alike[:, 1, 2], alike[:, 2, 2] = move.real, move.imag, 1.0
    whole = np.linalg.inv(meet.b_ground) @ alike @ meet.a_ground
    return np.asarray(whole, np.float64), np.column_stack((middle.real, middle.imag)) / n.real[:, None]


def _clashes(meet: Meetings) -> BoolMask:
    """(U, U) units that can not both be right: one tracklet as two people at once."""
    together = meet.block[:, None] == meet.block[None]
    same = (meet.a_id[:, None] == meet.a_id[None]) | (meet.b_id[:, None] == meet.b_id[None])
    return np.asarray(together & same, np.bool_)
