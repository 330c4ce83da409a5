"""Triangles of simple shapes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.types import Float32, Float64, Int64

Rgb = tuple[float, float, float]
_CORNERS = np.array([(-1, -1), (1, -1), (1, 1), (-1, -1), (1, 1), (-1, 1)], np.float64)


def superellipsoid(squareness: float, bands: int, segments: int = 20) -> tuple[Float64, Int64]:
    """(K, 3) points of a unit shape between a sphere (1) and a box (towards 0), and (F, 3) triangles."""

    def bent(values: Float64) -> Float64:
        return np.asarray(np.sign(values) * np.abs(values) ** squareness)

    around = np.linspace(0, 2 * np.pi, segments + 1)
    up = np.linspace(-np.pi / 2, np.pi / 2, bands + 1)
    radius = bent(np.cos(up))[:, None]
    height = np.repeat(bent(np.sin(up))[:, None], segments + 1, axis=1)
    points = np.stack([radius * bent(np.cos(around)), radius * bent(np.sin(around)), height], axis=-1).reshape(-1, 3)
    lower = (np.arange(bands)[:, None] * (segments + 1) + np.arange(segments)).ravel()
    upper = lower + segments + 1
    faces = np.concatenate([np.stack([lower, lower + 1, upper + 1], 1), np.stack([lower, upper + 1, upper], 1)])
    return points, faces


def quad(centre: npt.ArrayLike, right: npt.ArrayLike, up: npt.ArrayLike, tint: Rgb) -> Float32:
    """(6, 9) rows position, normal, tint: a parallelogram with half sides `right` and `up`."""
    right, up = np.asarray(right, np.float64), np.asarray(up, np.float64)
    normal = np.cross(right, up)
    normal = normal / np.linalg.norm(normal)
    points = np.asarray(centre, np.float64) + _CORNERS[:, :1] * right + _CORNERS[:, 1:] * up
    return _rows(points, np.tile(normal, (6, 1)), tint)


def box(centre: npt.ArrayLike, size: npt.ArrayLike, tint: Rgb, turn: float = 0.0) -> Float32:
    """(36, 9) a box turned by `turn` radians about the vertical."""
    middle, half = np.asarray(centre, np.float64), np.asarray(size, np.float64) / 2
    axes = np.array([[np.cos(turn), np.sin(turn), 0.0], [-np.sin(turn), np.cos(turn), 0.0], [0.0, 0.0, 1.0]])
    sides = []
    for axis in range(3):
        for sign in (-1.0, 1.0):
            right, up = axes[(axis + 1) % 3] * half[(axis + 1) % 3], axes[(axis + 2) % 3] * half[(axis + 2) % 3]
            sides.append(quad(middle + sign * axes[axis] * half[axis], right * sign, up, tint))
    return np.concatenate(sides)


def cylinder(
    foot: npt.ArrayLike, radius: float, height: float, tint: Rgb, *, top_radius: float | None = None, segments: int = 12
) -> Float32:
    """(K, 9) an upright cylinder or cone with a lid."""
    foot = np.asarray(foot, np.float64)
    top = radius if top_radius is None else top_radius
    angle = np.linspace(0, 2 * np.pi, segments + 1)
    ring = np.stack([np.cos(angle), np.sin(angle), np.zeros(segments + 1)], axis=1)
    low, high = foot + ring * radius, foot + ring * top + np.array([0.0, 0.0, height])
    slope = ring + np.array([0.0, 0.0, (radius - top) / height])
    slope = slope / np.linalg.norm(slope, axis=1, keepdims=True)
    lid = foot + np.array([0.0, 0.0, height])
    points = np.concatenate(
        [
            np.stack([low[:-1], low[1:], high[1:], low[:-1], high[1:], high[:-1]], axis=1).reshape(-1, 3),
            np.stack([np.tile(lid, (segments, 1)), high[:-1], high[1:]], axis=1).reshape(-1, 3),
        ]
    )
    normals = np.concatenate(
        [
            np.stack([slope[:-1], slope[1:], slope[1:], slope[:-1], slope[1:], slope[:-1]], axis=1).reshape(-1, 3),
            np.tile([0.0, 0.0, 1.0], (3 * segments, 1)),
        ]
    )
    return _rows(points, normals, tint)


def blob(centre: npt.ArrayLike, radii: npt.ArrayLike, tint: Rgb, rng: np.random.Generator) -> Float32:
    """(K, 9) an uneven ball, as the crown of a tree is."""
    points, faces = superellipsoid(1.0, 10, 14)
    normals = points / np.linalg.norm(points, axis=1, keepdims=True)
    waves = rng.normal(0, 3.2, (5, 3))
    points = points * (1.0 + 0.09 * np.sin(points @ waves.T + rng.uniform(0, 6, 5)).sum(axis=1, keepdims=True))
    points = points * np.asarray(radii, np.float64) + np.asarray(centre, np.float64)
    return _rows(points[faces].reshape(-1, 3), normals[faces].reshape(-1, 3), tint)


def prism(outline_xz: npt.ArrayLike, centre: npt.ArrayLike, width: float, tint: Rgb, turn: float) -> Float32:
    """(K, 9) a convex outline in a vertical plane, drawn out sideways by `width` and turned about the vertical."""
    outline, half = np.asarray(outline_xz, np.float64), width / 2
    count = len(outline)
    rows = []
    for k in range(count):
        (x0, z0), (x1, z1) = outline[k], outline[(k + 1) % count]
        middle = np.array([(x0 + x1) / 2, 0.0, (z0 + z1) / 2])
        rows.append(quad(middle, ((x0 - x1) / 2, 0.0, (z0 - z1) / 2), (0.0, half, 0.0), tint))
    for side in (-half, half):
        for k in range(1, count - 1):
            triangle = np.array([[outline[c][0], side, outline[c][1]] for c in (0, k, k + 1)])
            rows.append(_rows(triangle, np.tile([0.0, np.sign(side), 0.0], (3, 1)), tint))
    mesh = np.concatenate(rows)
    turned = np.array([[np.cos(turn), np.sin(turn), 0.0], [-np.sin(turn), np.cos(turn), 0.0], [0.0, 0.0, 1.0]])
    mesh[:, :3] = mesh[:, :3] @ turned + np.asarray(centre, np.float64)
    mesh[:, 3:6] = mesh[:, 3:6] @ turned
    return mesh


def _rows(points: Float64, normals: Float64, tint: Rgb) -> Float32:
    return np.concatenate([points, normals, np.tile(tint, (len(points), 1))], axis=1).astype(np.float32)
