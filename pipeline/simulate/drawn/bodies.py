"""One person's body: a point between two sampled adults of the same sex, as vertices and joints at rest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.simulate.drawn.assets import NUM_BONES, BodyBasis
from pipeline.types import Float32, Float64, Int64

_AGE_NEIGHBOURS = 40  # the second parent is one of so many of the nearest age


@dataclass(frozen=True, eq=False)
class Body:
    """A body at rest, soles at z = 0, looking along -y. Metres."""

    vertices: Float32  # (V, 3)
    joints: Float64  # (21, 3)
    height_m: float
    female: bool
    age: float  # 0.57 young .. 0.95 old


def random_body(basis: BodyBasis, rng: np.random.Generator) -> Body:
    """A body nobody else has: two adults of one sex and similar age, blended."""
    first = int(rng.integers(len(basis.age)))
    same_sex = np.flatnonzero((basis.female > 0.5) == (basis.female[first] > 0.5))
    by_age = same_sex[np.argsort(np.abs(basis.age[same_sex] - basis.age[first]), kind="stable")]
    second = int(by_age[rng.integers(min(_AGE_NEIGHBOURS, len(by_age)))])
    share = np.float32(rng.uniform(0.0, 0.5))
    coefficients = (1 - share) * basis.coefficients[first] + share * basis.coefficients[second]
    return shaped(basis, coefficients, female=bool(basis.female[first] > 0.5), age=float(basis.age[first]))


def shaped(basis: BodyBasis, coefficients: Float32, *, female: bool, age: float) -> Body:
    """The body of some coefficients (K,)."""
    points = (basis.mean + coefficients @ basis.basis).reshape(-1, 3)
    vertices, joints = points[:-NUM_BONES].copy(), points[-NUM_BONES:].astype(np.float64)
    skin = np.unique(basis.faces["skin"])
    sole = float(vertices[skin, 2].min())
    vertices[:, 2] -= sole
    joints[:, 2] -= sole
    return Body(vertices, joints, float(vertices[skin, 2].max()), female, age)


def vertex_normals(vertices: Float32, faces: Int64) -> Float32:
    """(V, 3) unit normals, faces weighted by their area; zero where a vertex has no face."""
    corners = vertices[faces].astype(np.float64)
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.stack(
        [np.bincount(faces.ravel(), np.repeat(across[:, axis], 3), len(vertices)) for axis in range(3)], axis=1
    )
    return np.asarray(normals / (np.linalg.norm(normals, axis=1, keepdims=True) + 1e-12), np.float32)
