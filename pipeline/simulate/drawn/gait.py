"""How a person walks and stands.

Angles over the gait cycle (0 = heel strike) follow the sagittal curves of normal walking (Winter, Biomechanics and
Motor Control of Human Movement; Perry, Gait Analysis): the thigh and the foot against the vertical, and the knee. The
ankle is what remains, so that the foot lies flat on the floor through mid-stance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.interpolate import CubicSpline

from pipeline.simulate.drawn.bodies import Body
from pipeline.simulate.drawn.skeleton import ARMS, CHEST, HEAD, LEGS, NECK, PELVIS, X, Y, Z, rotation
from pipeline.types import Float64

Hands = Literal["free", "phone", "call", "pockets", "folded"]

_LEGS_APART = float(np.radians(1.5))
_NORMAL_STEP_M_PER_LEG = 1.62  # length of a stride (two steps) in leg lengths at normal speed


def _cycle(times: list[float], degrees: list[float]) -> CubicSpline:
    return CubicSpline([*times, 1.0 + times[0]], np.radians([*degrees, degrees[0]]), bc_type="periodic")


# Forward of the vertical; bent; toes up.
_THIGH = _cycle([0.0, 0.12, 0.30, 0.50, 0.62, 0.75, 0.88], [23, 20, 2, -17, -9, 12, 25])
_KNEE = _cycle([0.0, 0.14, 0.38, 0.50, 0.60, 0.72, 0.86, 0.95], [3, 15, 4, 8, 34, 60, 26, 3])
_FOOT = _cycle([0.0, 0.09, 0.25, 0.38, 0.50, 0.62, 0.74, 0.87], [17, 0, 0, -3, -22, -58, -38, 6])


@dataclass(frozen=True)
class Manner:
    """What is a person's own about the way they move. Angles in degrees."""

    step: float  # length of a step, 1 = average
    arm_swing: float  # 1 = average
    elbow: float
    lean: float
    spread: float  # of the arms
    toe_out: float
    phase: float  # where in the cycle the person starts
    hands: Hands
    bag_arm: bool = False  # the right hand carries something


def random_manner(rng: np.random.Generator, *, bag_arm: bool = False) -> Manner:
    return Manner(
        step=float(rng.uniform(0.82, 1.12)),
        arm_swing=float(rng.uniform(0.4, 1.25)),
        elbow=float(rng.uniform(6, 28)),
        lean=float(rng.uniform(-1, 5)),
        spread=float(rng.uniform(4, 11)),
        toe_out=float(rng.uniform(2, 11)),
        phase=float(rng.random()),
        hands=(("free", "phone", "call", "pockets", "folded")[rng.choice(5, p=[0.74, 0.1, 0.03, 0.1, 0.03])]),
        bag_arm=bag_arm,
    )


def stride_m(body: Body, manner: Manner) -> float:
    """Metres a person advances in one cycle of the gait."""
    return float(_NORMAL_STEP_M_PER_LEG * body.joints[LEGS["left"][0], 2] * manner.step)


def joint_rotations(body: Body, manner: Manner, cycle: float, stir: float) -> Float64:
    """(21, 3, 3) for bone_matrices.

    cycle: how often the gait has gone round (a float). stir: 0 standing .. 1 walking at ease.
    """
    turns = np.tile(np.eye(3), (len(body.joints), 1, 1))
    phase = (cycle + manner.phase) % 1.0
    size = stir * (0.55 + 0.45 * manner.step)
    for side, offset in (("left", 0.0), ("right", 0.5)):
        _pose_leg(turns, body, side, (phase + offset) % 1.0, size, np.radians(manner.toe_out))
    wave, lean = np.cos(2 * np.pi * phase), np.radians(manner.lean)
    sway = np.radians(2.5) * np.sin(2 * np.pi * phase) * stir
    idle = (1.0 - stir) * np.radians(4.0) * np.sin(2 * np.pi * manner.phase)  # weight on one leg when standing
    turns[PELVIS] = rotation(Z, np.radians(4) * size * wave) @ rotation(Y, sway + 0.4 * idle)
    turns[CHEST] = rotation(Z, -np.radians(7) * size * wave) @ rotation(Y, -sway - 0.6 * idle) @ rotation(X, lean)
    turns[HEAD] = rotation(Z, np.radians(3) * size * wave + 5 * idle) @ rotation(X, -0.8 * lean + _gaze(manner))
    turns[NECK] = rotation(X, 0.5 * _gaze(manner))
    _pose_arms(turns, body, manner, phase, stir)
    return turns


def _gaze(manner: Manner) -> float:
    return float(np.radians(16.0)) if manner.hands == "phone" else 0.0


def _pose_leg(turns: Float64, body: Body, side: str, phase: float, size: float, toe_out: float) -> None:
    """Positive turns about x bring a limb back; the thigh swings forward with negative ones."""
    thigh, shank, foot = LEGS[side]
    outward = 1.0 if side == "left" else -1.0
    reach = body.joints[foot] - body.joints[thigh]
    closer = rotation(Y, outward * (np.arctan2(reach[0] * outward, -reach[2]) - _LEGS_APART))
    forward, bend, toes = (float(curve(phase)) * size for curve in (_THIGH, _KNEE, _FOOT))
    bend += np.radians(2.0)
    turns[thigh] = rotation(Z, outward * toe_out) @ rotation(X, -forward) @ closer
    turns[shank] = rotation(X, bend)
    turns[foot] = closer.T @ rotation(X, -(toes - forward + bend))


def _pose_arms(turns: Float64, body: Body, manner: Manner, phase: float, stir: float) -> None:
    for side, outward, offset in (("left", 1.0, 0.5), ("right", -1.0, 0.0)):
        upper, fore, _ = ARMS[side]
        shoulder, elbow, wrist = body.joints[list(ARMS[side])]
        reach, humerus, ulna = wrist - shoulder, elbow - shoulder, wrist - elbow
        raised = np.arctan2(reach[0] * outward, -reach[2])
        rest_bend = np.arccos(humerus @ ulna / np.linalg.norm(humerus) / np.linalg.norm(ulna))
        behind = np.arctan2(-reach[1], np.hypot(reach[0], reach[2]))
        swing = np.cos(2 * np.pi * (phase + offset))
        forward = np.radians(20.0 * stir * manner.arm_swing * swing - 2.0)
        bend = np.radians(manner.elbow + 12.0 * stir * max(0.0, swing))
        spread = np.radians(manner.spread)
        carries = manner.bag_arm and side == "right"
        if carries:
            forward, bend = 0.35 * forward, np.radians(5.0)
        else:
            forward, bend, spread = _held(manner.hands, side, forward, bend, spread)
        lowered = rotation(Y, outward * (raised - spread))
        turns[upper] = rotation(X, behind - forward) @ lowered
        turns[fore] = rotation(lowered.T @ X, 0.8 * rest_bend - bend) @ rotation(Z, -outward * _inward(manner, carries))


def _held(hands: Hands, side: str, forward: float, bend: float, spread: float) -> tuple[float, float, float]:
    """The arm's angles when the hand is busy."""
    degrees = np.radians
    if hands == "phone" and side == "right":
        return float(degrees(22)), float(degrees(88)), float(degrees(3))
    if hands == "call" and side == "right":
        return float(degrees(35)), float(degrees(132)), float(degrees(16))
    if hands == "pockets":
        return float(0.2 * forward - degrees(14)), float(degrees(38)), float(degrees(14))
    if hands == "folded":
        return float(degrees(14)), float(degrees(92)), float(degrees(6))
    return forward, bend, spread


def _inward(manner: Manner, carries: bool) -> float:
    """How far the forearm turns towards the middle of the body."""
    if carries:
        return 0.0
    return float(np.radians({"folded": 55.0, "pockets": 22.0, "phone": 25.0}.get(manner.hands, 0.0)))
