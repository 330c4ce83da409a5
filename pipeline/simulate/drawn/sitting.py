"""People who sit: hips and knees bent, feet on the floor, hands in the lap, on a table or at the face."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.simulate.drawn.bodies import Body
from pipeline.simulate.drawn.people import Person, Posed, fitting_room
from pipeline.simulate.drawn.places import Place
from pipeline.simulate.drawn.skeleton import ARMS, CHEST, HEAD, LEGS, NECK, X, Y, Z, bone_matrices, placed, rotation
from pipeline.types import Float64

_HIP_ABOVE_SEAT_M = 0.09
_FORWARD_M = 0.04  # of the chair's middle: where the hips are behind it
_TAKEN_SHARE = 0.5


def sitting_cast(place: Place, people: Sequence[Person], rng: np.random.Generator) -> list[tuple[int, Posed]]:
    """(person, pose) of people on about half of the place's seats, as far as there are people."""
    taken = [seat for seat in place.seats if rng.random() < _TAKEN_SHARE]
    order = rng.permutation(len(taken))[: len(people)]
    return [(number, sit(people[number], taken[int(row)], rng)) for number, row in enumerate(order)]


def sit(person: Person, seat: Float64, rng: np.random.Generator) -> Posed:
    """The person on a seat: x, y, heading, height in metres."""
    x, y, heading, high_m = (float(v) for v in seat)
    turns = _turns(person.body, high_m + _HIP_ABOVE_SEAT_M, rng)
    bones = bone_matrices(fitting_room().basis.parents, person.body.joints, turns)
    hip = float(person.body.joints[LEGS["left"][0], 2])
    where = np.array([x, y]) - _FORWARD_M * np.array([np.cos(heading), np.sin(heading)])
    turned = heading + float(rng.normal(0, 0.1))
    return Posed(person, where, placed(bones, where, turned, high_m + _HIP_ABOVE_SEAT_M - hip))


def _turns(body: Body, hip_m: float, rng: np.random.Generator) -> Float64:
    """(21, 3, 3) rotations for bone_matrices; see gait for the signs."""
    turns = np.tile(np.eye(3), (len(body.joints), 1, 1))
    slump = float(rng.uniform(-0.12, 0.3))
    turns[CHEST] = rotation(X, slump) @ rotation(Z, float(rng.normal(0, 0.08)))
    turns[NECK] = rotation(X, float(rng.uniform(-0.1, 0.15)))
    turns[HEAD] = rotation(Z, float(rng.normal(0, 0.35))) @ rotation(X, float(rng.uniform(-0.2, 0.35)))
    for side, outward in (("left", 1.0), ("right", -1.0)):
        _pose_leg(turns, body, side, outward, hip_m, rng)
    reach = float(rng.uniform(0.1, 1.0))  # how far the hands are forward: in the lap .. on the table
    for side, outward in (("left", 1.0), ("right", -1.0)):
        _pose_arm(turns, body, side, outward, reach + float(rng.normal(0, 0.1)), rng)
    return turns


def _pose_leg(turns: Float64, body: Body, side: str, outward: float, hip_m: float, rng: np.random.Generator) -> None:
    """The thigh as level as it takes for the foot to reach the floor."""
    thigh, shank, foot = LEGS[side]
    hip, knee, ankle = body.joints[thigh], body.joints[shank], body.joints[foot]
    tilt = float(rng.uniform(-0.45, 0.3))  # of the shank: foot forward of the knee or under the seat
    knee_m = float(np.linalg.norm(knee - ankle)) * np.cos(tilt) + float(ankle[2])
    drop = np.clip((hip_m - knee_m) / float(np.linalg.norm(hip - knee)), -0.25, 0.45)
    forward = float(np.arccos(drop))
    closer = rotation(Y, outward * float(np.arctan2((ankle - hip)[0] * outward, -(ankle - hip)[2])))
    apart = rotation(Z, outward * float(rng.uniform(0.02, 0.3)))
    turns[thigh] = apart @ rotation(X, -forward) @ closer
    turns[shank] = rotation(X, forward + tilt)
    turns[foot] = closer.T @ rotation(X, -tilt)


def _pose_arm(turns: Float64, body: Body, side: str, outward: float, reach: float, rng: np.random.Generator) -> None:
    upper, fore, _ = ARMS[side]
    arm = body.joints[ARMS[side][2]] - body.joints[upper]
    lowered = rotation(Y, outward * (float(np.arctan2(arm[0] * outward, -arm[2])) - float(rng.uniform(0.05, 0.25))))
    bend = 1.6 if rng.random() < 0.08 else float(rng.uniform(0.5, 1.0)) * (1.0 - 0.4 * reach) + 0.1
    turns[upper] = rotation(X, -0.9 * reach) @ lowered
    turns[fore] = rotation(lowered.T @ X, -bend) @ rotation(Z, -outward * float(rng.uniform(0.0, 0.5)))
