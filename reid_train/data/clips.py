"""Which frames of a tracklet make a clip: pure functions from a length to 0-based indices, (clips, T) int64.

Training rules draw with a `numpy.random.Generator` and give one clip; test rules give the same clips every time.
Where the published systems differ, the rule is named for the system or for what it does; T is 8 in all of them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pipeline.types import Int64

TrainSampler = Callable[[int, int, np.random.Generator], Int64]
TestSampler = Callable[[int, int], Int64]
STRIDES = (8, 4, 2, 1)
MAX_DENSE_CLIPS = 200


def rrs(num_frames: int, clip_length: int, rng: np.random.Generator, rule: str = "floor") -> Int64:
    """Restricted random sampling (Li et al., CVPR 2018): one uniform frame from each of T equal blocks.

    "floor" (STAFormer): blocks of floor(n / T), the last takes the remainder. "ceil" (STE-NVAN): blocks of
    ceil(n / T). Either way a tracklet that is too short is first padded with its last frame.
    """
    _check(num_frames, clip_length)
    starts = np.arange(clip_length, dtype=np.int64)
    if rule == "floor":
        padded = max(num_frames, clip_length)
        starts *= padded // clip_length
        stops = np.append(starts[1:], padded)
    elif rule == "ceil":
        block = -(-num_frames // clip_length)
        starts *= block
        stops = starts + block
    else:
        raise ValueError(f"unknown rule {rule!r} for restricted random sampling: floor or ceil")
    return np.minimum(rng.integers(starts, stops), num_frames - 1)[None]


def psta_interval(num_frames: int, clip_length: int, rng: np.random.Generator) -> Int64:
    """PSTA's random interval: a random window of T blocks of s frames, one uniform frame in each block.

    s is the largest of 8, 4, 2, 1 with n >= s * T; fewer than T frames are drawn with replacement and sorted.
    """
    _check(num_frames, clip_length)
    stride = next((s for s in STRIDES if num_frames >= s * clip_length), 0)
    if stride == 0:
        return np.sort(rng.integers(0, num_frames, clip_length))[None]
    window = stride * clip_length
    begin = int(rng.integers(0, max(0, num_frames - window - 1) + 1))
    return (begin + stride * np.arange(clip_length) + rng.integers(0, stride, clip_length))[None]


def group(num_frames: int, clip_length: int, rng: np.random.Generator) -> Int64:
    """T different images of a group of stills, in order; with replacement where there are fewer than T."""
    _check(num_frames, clip_length)
    return np.sort(rng.choice(num_frames, clip_length, replace=num_frames < clip_length))[None].astype(np.int64)


def evenly(num_frames: int, clip_length: int) -> Int64:
    """The middle frames of T equal parts of the tracklet; short tracklets repeat frames evenly."""
    _check(num_frames, clip_length)
    return ((2 * np.arange(clip_length, dtype=np.int64) + 1) * num_frames // (2 * clip_length))[None]


def first_of_blocks(num_frames: int, clip_length: int, rule: str = "floor") -> Int64:
    """The first frame of each of T blocks: of floor(n / T) frames (STAFormer's sampled test) or ceil (STE-NVAN's)."""
    _check(num_frames, clip_length)
    if rule not in ("floor", "ceil"):
        raise ValueError(f"unknown rule {rule!r} for blocks: floor or ceil")
    block = max(num_frames // clip_length, 1) if rule == "floor" else -(-num_frames // clip_length)
    return np.minimum(np.arange(clip_length, dtype=np.int64) * block, num_frames - 1)[None]


def begin_interval(num_frames: int, clip_length: int) -> Int64:
    """PSTA's MARS test: from the first frame on, with the largest stride of 8, 4, 2, 1 that fits; short ones cycle."""
    _check(num_frames, clip_length)
    stride = next((s for s in STRIDES if num_frames >= (clip_length - 1) * s + 1), 0)
    steps = np.arange(clip_length, dtype=np.int64)
    return (steps * stride if stride else steps % num_frames)[None]


def dense(num_frames: int, clip_length: int, max_clips: int = MAX_DENSE_CLIPS) -> Int64:
    """PSTA's Duke test: floor(n / T) strided clips, k, k+I, k+2I, ...; the tail n mod T is left out, short ones cycle.

    Of more than `max_clips` clips the middle run is kept (PSTA keeps a random run: not repeatable).
    """
    _check(num_frames, clip_length)
    if num_frames <= clip_length:
        return (np.arange(clip_length, dtype=np.int64) % num_frames)[None]
    num_clips = num_frames // clip_length
    kept = min(num_clips, max_clips)
    first = (num_clips - kept) // 2 + np.arange(kept, dtype=np.int64)
    return first[:, None] + num_clips * np.arange(clip_length, dtype=np.int64)


def all_frames(num_frames: int, clip_length: int) -> Int64:
    """STAFormer's final test: every frame in one of ceil(n / T) strided clips.

    The last frames are repeated until n is a multiple of T, the list is sorted, and clip j takes every M-th of it.
    """
    _check(num_frames, clip_length)
    frames = np.arange(num_frames, dtype=np.int64)
    while lack := -len(frames) % clip_length:
        frames = np.append(frames, frames[-lack:])
    return np.ascontiguousarray(np.sort(frames).reshape(clip_length, -1).T)


def whole(num_frames: int, clip_length: int = 0) -> Int64:
    """The tracklet as one clip of its own length, (1, n): for networks with a mask. Of more than T > 0 frames,
    T evenly spaced ones."""
    _check(num_frames, max(clip_length, 1))
    if 0 < clip_length < num_frames:
        return evenly(num_frames, clip_length)
    return np.arange(num_frames, dtype=np.int64)[None]


def each(num_frames: int, clip_length: int = 1) -> Int64:
    """Every frame as a clip of its own, repeated T times, (n, T): still images as video."""
    _check(num_frames, clip_length)
    return np.repeat(np.arange(num_frames, dtype=np.int64)[:, None], clip_length, axis=1)


def _fixed(rule: TestSampler) -> TrainSampler:
    return lambda num_frames, clip_length, rng: rule(num_frames, clip_length)


def _first_floor(num_frames: int, clip_length: int) -> Int64:
    return first_of_blocks(num_frames, clip_length, "floor")


def _first_ceil(num_frames: int, clip_length: int) -> Int64:
    return first_of_blocks(num_frames, clip_length, "ceil")


def _rrs_ceil(num_frames: int, clip_length: int, rng: np.random.Generator) -> Int64:
    return rrs(num_frames, clip_length, rng, "ceil")


TRAIN_RULES: dict[str, TrainSampler] = {
    "rrs_floor": rrs,
    "rrs_ceil": _rrs_ceil,
    "psta_interval": psta_interval,
    "group": group,
    "evenly": _fixed(evenly),
    "first_floor": _fixed(_first_floor),
    "first_ceil": _fixed(_first_ceil),
}
TEST_RULES: dict[str, TestSampler] = {
    "evenly": evenly,
    "first_floor": _first_floor,
    "first_ceil": _first_ceil,
    "begin_interval": begin_interval,
    "dense": dense,
    "all_frames": all_frames,
    "whole": whole,
    "each": each,
}


def _check(num_frames: int, clip_length: int) -> None:
    if num_frames < 1 or clip_length < 1:
        raise ValueError(f"a clip of {clip_length} frames from a tracklet of {num_frames}: both must be at least 1")
