"""Things that are no people, painted into a picture: poles, boards, cones, blobs and leaves of any colour and grain.

They hide parts of people as things in the way do, and stand about as upright shapes that must not be taken for one.
"""

from __future__ import annotations

import cv2
import numpy as np

from pipeline.types import BoolMask, Float32, UInt8

MOST_SHAPES = 4


def draw_clutter(image: UInt8, rng: np.random.Generator) -> tuple[UInt8, BoolMask]:
    """-> the picture (H, W, 3) with one to four shapes, and where they are (H, W)."""
    height, width = image.shape[:2]
    image = image.copy()
    covered = np.zeros((height, width), bool)
    for _ in range(int(rng.integers(1, MOST_SHAPES + 1))):
        shape = _shape(height, width, rng)
        if not shape.any():
            continue
        rows, columns = np.flatnonzero(shape.any(axis=1)), np.flatnonzero(shape.any(axis=0))
        top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
        stuff = _stuff(int(bottom - top), int(right - left), rng)
        part = shape[top:bottom, left:right]
        image[top:bottom, left:right][part] = stuff[part]
        covered |= shape
    return image, covered


def _shape(height: int, width: int, rng: np.random.Generator) -> BoolMask:
    """Where one shape lies, (H, W): mostly upright, like the people it is to be told from."""
    mask = np.zeros((height, width), np.uint8)
    tall = float(np.exp(rng.uniform(np.log(12), np.log(0.7 * height))))
    wide = tall * float(np.exp(rng.uniform(np.log(0.06), np.log(1.2))))
    x, y = rng.uniform(0, width), rng.uniform(0, height)
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
    if rng.random() < 0.5:
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
