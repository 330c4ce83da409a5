"""Made-up people for the tests of trackers."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

import numpy as np
import pytest

from pipeline.track.tracker import Tracker
from pipeline.types import Detections, Float64, Tracks

FRAME_S = 0.1
DAY_S = 24 * 3600.0

needs_numba = pytest.mark.skipif(importlib.util.find_spec("numba") is None, reason="numba is not installed")
COMPILED = pytest.param(True, id="numba", marks=needs_numba)
PLAIN = pytest.param(False, id="numpy")


def standing(feet_xy: Float64, score: Float64) -> Detections:
    """Boxes of 40 x 100 px standing at the given points (N, 2), with scores (N,)."""
    x, y = feet_xy.T
    return Detections(np.stack((x - 20, y - 100, x + 20, y), axis=1).astype(np.float32), score.astype(np.float32))


def people(*feet_xy: tuple[float, float], score: float = 0.9) -> Detections:
    """Boxes of 40 x 100 px standing at the given points, all of one score."""
    return standing(np.array(feet_xy, np.float64).reshape(-1, 2), np.full(len(feet_xy), score))


def scored(*feet_and_score: tuple[float, float, float]) -> Detections:
    """Boxes of 40 x 100 px standing at (x, y), with their scores."""
    rows = np.array(feet_and_score, np.float64).reshape(-1, 3)
    return standing(rows[:, :2], rows[:, 2])


def scene(seed: int, num_frames: int, max_people: int = 8) -> list[Detections]:
    """Walkers with misses, weak boxes, false alarms and shuffled rows."""
    rng = np.random.default_rng(seed)
    num = int(rng.integers(0, max_people + 1))
    start, velocity = rng.uniform(0, 400, (num, 2)), rng.normal(0, 60, (num, 2))
    frames = []
    for i in range(num_frames):
        feet = np.concatenate((start + velocity * i * FRAME_S, rng.uniform(0, 400, (int(rng.integers(0, 3)), 2))))
        feet = feet[rng.random(len(feet)) < 0.85]
        feet = feet[rng.permutation(len(feet))]
        frames.append(standing(feet, rng.uniform(0.05, 1.0, len(feet))))
    return frames


def crowd(num: int) -> Detections:
    """`num` people in rows of 25, none near another."""
    place = np.arange(num)
    return standing(np.stack((60.0 * (place % 25), 120.0 * (place // 25)), axis=1), np.full(num, 0.9))


def day(num_updates: int, span_s: float = DAY_S, max_people: int = 4) -> Iterator[tuple[float, Detections]]:
    """Frames at 25 a second, in bursts of one second all over `span_s`; in every burst other people walk through."""
    rng = np.random.default_rng(0)
    age_s = np.arange(25) / 25
    for start_s in np.linspace(0, span_s - 1, num_updates // 25).tolist():
        num = int(rng.integers(0, max_people + 1))
        feet = rng.uniform(0, 1500, (num, 2)) + rng.normal(0, 60, (num, 2)) * age_s[:, None, None]
        feet += rng.normal(0, 2, feet.shape)
        score = rng.uniform(0.3, 1.0, (25, num))
        for i in range(25):
            yield start_s + float(age_s[i]), standing(feet[i], score[i])


def run(tracker: Tracker, frames: list[Detections], step_s: float = FRAME_S, start: int = 0) -> list[Tracks]:
    return [tracker.update(frame, i * step_s) for i, frame in enumerate(frames, start)]


def ids(shown: list[Tracks]) -> list[list[int]]:
    return [tracks.track_id.tolist() for tracks in shown]
