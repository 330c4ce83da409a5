"""Things that are no people, painted into a picture: poles, boards, cones, blobs and leaves of any colour and grain,
and what is made of several such parts: signs on posts, stones in a row, chairs.

They hide parts of people as things in the way do, and stand about as upright shapes that must not be taken for one.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.types import BoolMask, Float32, UInt8

MOST_THINGS = 4
MADE_OF_PARTS = 0.4  # of all things


def draw_clutter(image: UInt8, rng: np.random.Generator) -> tuple[UInt8, BoolMask]:
    """-> the picture (H, W, 3) with one to four things, and where they are (H, W)."""
    height, width = image.shape[:2]
    image = image.copy()
    covered = np.zeros((height, width), bool)
    for _ in range(int(rng.integers(1, MOST_THINGS + 1))):
        for shape in _thing(height, width, rng):
            if not shape.any():
                continue
            rows, columns = np.flatnonzero(shape.any(axis=1)), np.flatnonzero(shape.any(axis=0))
            top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
            stuff = _stuff(int(bottom - top), int(right - left), rng)
            part = shape[top:bottom, left:right]
            image[top:bottom, left:right][part] = stuff[part]
            covered |= shape
    return image, covered


def _thing(height: int, width: int, rng: np.random.Generator) -> list[BoolMask]:
    """The parts of one thing, each (H, W) and of its own stuff, from back to front."""
    tall = float(np.exp(rng.uniform(np.log(12), np.log(0.7 * height))))
    x, y = rng.uniform(0, width), rng.uniform(0, height)
    if rng.random() >= MADE_OF_PARTS:
        wide = tall * float(np.exp(rng.uniform(np.log(0.06), np.log(1.2))))
        return [_shape((height, width), (x, y), (wide, tall), rng)]
    kinds = (_sign, _stones, _chair)
    return kinds[int(rng.integers(len(kinds)))]((height, width), (x, y), tall, rng)


def _sign(size_hw: tuple[int, int], at: tuple[float, float], tall: float, rng: np.random.Generator) -> list[BoolMask]:
    """A board on a post, with or without something at its foot."""
    (x, y), wide = at, tall * rng.uniform(0.15, 0.6)
    post = _filled(size_hw, _box(x, y, max(2.0, tall * rng.uniform(0.02, 0.08)), tall))
    corners = int(rng.choice([3, 4, 4, 16]))
    turn = rng.uniform(0, 2 * np.pi) if corners == 3 else np.pi / corners
    angle = turn + np.arange(corners) * 2 * np.pi / corners
    board_tall, middle = tall * rng.uniform(0.2, 0.5), y - tall * rng.uniform(0.1, 0.45)
    board = np.stack([x + wide * np.cos(angle) / 2, middle + board_tall * np.sin(angle) / 2], 1)
    parts = [post, _filled(size_hw, board)]
    if rng.random() < 0.4:
        foot_tall = tall * rng.uniform(0.15, 0.4)
        foot = _stone(x + rng.normal(0, wide / 2), y + (tall - foot_tall) / 2, wide, foot_tall, rng)
        parts.append(_filled(size_hw, foot))
    return parts


def _stones(size_hw: tuple[int, int], at: tuple[float, float], tall: float, rng: np.random.Generator) -> list[BoolMask]:
    """One to four irregular lumps beside each other, the later ones in front."""
    (x, y), wide = at, tall * rng.uniform(0.3, 0.9)
    parts = []
    for _ in range(int(rng.integers(1, 5))):
        size = rng.uniform(0.5, 1.0)
        parts.append(_filled(size_hw, _stone(x, y + tall * (1 - size) / 2, wide * size, tall * size, rng)))
        x, y = x + rng.uniform(-1, 1) * wide, y + rng.uniform(0, 0.3) * tall
    return parts


def _chair(size_hw: tuple[int, int], at: tuple[float, float], tall: float, rng: np.random.Generator) -> list[BoolMask]:
    """A leg or four, a seat, a back, and sometimes a bag or coat on it."""
    (x, y), wide = at, tall * rng.uniform(0.35, 0.7)
    legs = np.zeros(size_hw, np.uint8)
    for foot in rng.uniform(-0.5, 0.5, int(rng.integers(1, 6))):
        ends = np.array([[x, y + 0.1 * tall], [x + foot * wide, y + 0.5 * tall]]).round().astype(int)
        cv2.line(legs, tuple(map(int, ends[0])), tuple(map(int, ends[1])), 1, max(1, round(0.03 * tall)))
    seat = np.zeros(size_hw, np.uint8)
    axes = max(1, int(wide / 2)), max(1, int(tall * rng.uniform(0.04, 0.12)))
    cv2.ellipse(seat, (int(x), int(y + 0.1 * tall)), axes, 0, 0, 360, 1, -1)
    lean, narrow = rng.normal(0, 0.1) * wide, rng.uniform(0.5, 1.0)
    back = _stone(x + lean, y - 0.25 * tall, wide * narrow, tall * rng.uniform(0.3, 0.5), rng)
    parts = [legs.astype(bool), _filled(size_hw, back), seat.astype(bool)]
    if rng.random() < 0.4:
        bag = _stone(x + lean, y - 0.1 * tall, wide * rng.uniform(0.4, 0.9), tall * rng.uniform(0.2, 0.5), rng)
        parts.append(_filled(size_hw, bag))
    return parts


def _stone(x: float, y: float, wide: float, tall: float, rng: np.random.Generator) -> Float32:
    """(12, 2) the outline of a lump about (x, y)."""
    angle = np.arange(12) * np.pi / 6
    far = rng.uniform(0.7, 1.0, 12) / 2
    return np.stack([x + wide * far * np.cos(angle), y + tall * far * np.sin(angle)], 1).astype(np.float32)


def _box(x: float, y: float, wide: float, tall: float) -> Float32:
    """(4, 2) the outline of an upright box about (x, y)."""
    across, up = np.array([-0.5, 0.5, 0.5, -0.5]), np.array([-0.5, -0.5, 0.5, 0.5])
    return np.stack([x + wide * across, y + tall * up], 1).astype(np.float32)


def _filled(size_hw: tuple[int, int], outline: npt.NDArray[np.floating[Any]]) -> BoolMask:
    mask = np.zeros(size_hw, np.uint8)
    cv2.fillPoly(mask, [outline.round().astype(np.int32)], 1)
    return mask.astype(bool)


def _shape(
    size_hw: tuple[int, int], at: tuple[float, float], size: tuple[float, float], rng: np.random.Generator
) -> BoolMask:
    """Where one shape lies, (H, W): mostly upright, like the people it is to be told from."""
    mask = np.zeros(size_hw, np.uint8)
    (x, y), (wide, tall) = at, size
    kind = int(rng.integers(5))
    if kind == 0:  # board, box, pole
        cv2.rectangle(mask, (int(x - wide / 2), int(y - tall / 2)), (int(x + wide / 2), int(y + tall / 2)), 1, -1)
    elif kind == 1:
        axes = (max(1, int(wide / 2)), max(1, int(tall / 2)))
        cv2.ellipse(mask, (int(x), int(y)), axes, float(rng.normal(0, 15)), 0, 360, 1, -1)
    elif kind == 2:  # cone, bottle, statue: a profile turned about its axis
        levels = np.linspace(-0.5, 0.5, 9)
        half = wide / 2 * rng.uniform(0.2, 1.0, 9)
        outline = np.concatenate(
            [np.stack([x + half, y + levels * tall], 1), np.stack([x - half, y + levels * tall], 1)[::-1]]
        )
        cv2.fillPoly(mask, [outline.round().astype(np.int32)], 1)
    elif kind == 3:  # tripod, rails, branches
        for _ in range(int(rng.integers(2, 6))):
            ends = np.stack([x + rng.normal(0, wide / 2, 2), y + np.array([-0.5, 0.5]) * tall], 1).round().astype(int)
            cv2.line(mask, tuple(map(int, ends[0])), tuple(map(int, ends[1])), 1, int(rng.integers(1, 4)))
    else:  # leaves
        for dot in rng.normal((x, y), (wide / 2, tall / 4), (int(rng.integers(8, 40)), 2)):
            cv2.circle(mask, tuple(map(int, dot)), max(1, int(tall * rng.uniform(0.02, 0.08))), 1, -1)
    return mask.astype(bool)


def _stuff(height: int, width: int, rng: np.random.Generator) -> UInt8:
    """(h, w, 3) of one colour, of two in stripes, or of noise, with shade from side to side."""
    colours = rng.uniform(0, 255, (2, 3))
    if rng.random() < 0.7:
        colours = colours.mean(axis=1, keepdims=True) + (colours - colours.mean(axis=1, keepdims=True)) * 0.3
    kind = int(rng.integers(3))
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    if kind == 0:
        mix = np.zeros((height, width))
    elif kind == 1:
        period, angle = rng.uniform(3, 30), rng.choice([0.0, np.pi / 2, rng.uniform(0, np.pi)])
        mix = ((x * np.cos(angle) + y * np.sin(angle)) % period < period / 2).astype(float)
    else:
        mix = fractal(height, width, rng).astype(np.float64)
    shade = 1 + rng.uniform(-0.5, 0.5) * (x / max(width, 1) - 0.5)
    values = (colours[0] + mix[..., None] * (colours[1] - colours[0])) * shade[..., None]
    return np.asarray(values + rng.normal(0, 6, (height, width, 1))).clip(0, 255).astype(np.uint8)


def fractal(height: int, width: int, rng: np.random.Generator) -> Float32:
    """(h, w) noise of all sizes, 0..1."""
    total = np.zeros((height, width), np.float32)
    for octave in range(5):
        side = 2 ** (octave + 1) + 1
        coarse = rng.random((side, side), np.float32)
        total += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR) * np.float32(0.6**octave)
    low, high = total.min(), total.max()
    return np.asarray((total - low) / max(high - low, 1e-6), np.float32)
