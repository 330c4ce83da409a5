"""Rotations at the joints -> where every bone takes the vertices that hang on it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.types import Float32, Float64, Int64, UInt8

PELVIS, CHEST, NECK, HEAD = 0, 9, 19, 20
LEGS = {"left": (1, 2, 3), "right": (4, 5, 6)}  # thigh, shank, foot
ARMS = {"left": (12, 13, 14), "right": (16, 17, 18)}  # upper arm, forearm, hand
X, Y, Z = np.eye(3)


def rotation(axis: Float64, angle: float) -> Float64:
    """(3, 3) right-handed turn by `angle` radians about a unit axis (Rodrigues)."""
    x, y, z = axis
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1.0 - np.cos(angle)) * cross @ cross)


def bone_matrices(parents: Int64, joints: Float64, rotations: Float64) -> Float64:
    """(21, 4, 4) takes resting points to posed ones; each bone turns by its rotation about its joint, then its
    parent's way. rotations: (21, 3, 3) in the axes of the resting body."""
    matrices = np.tile(np.eye(4), (len(parents), 1, 1))
    for bone, parent in enumerate(parents):
        turn = matrices[bone]
        turn[:3, :3] = rotations[bone]
        turn[:3, 3] = joints[bone] - rotations[bone] @ joints[bone]
        if parent >= 0:
            matrices[bone] = matrices[parent] @ turn
    return matrices


def placed(matrices: Float64, xy: npt.ArrayLike, heading: float, lift: float) -> Float64:
    """The bones of a body that stands at `xy` and looks along `heading` (radians from the x axis)."""
    place = np.eye(4)
    place[:3, :3] = rotation(Z, heading + np.pi / 2)
    place[:2, 3], place[2, 3] = np.asarray(xy, np.float64), lift
    return np.asarray(place @ matrices)


def skinned(points: Float32, bones: UInt8, weights: Float32, matrices: Float64) -> Float64:
    """(N, 3) posed points by linear blend skinning."""
    blend = np.einsum("nk,nkij->nij", weights.astype(np.float64), matrices[bones])
    return np.asarray(np.einsum("nij,nj->ni", blend[:, :3, :3], points) + blend[:, :3, 3])
