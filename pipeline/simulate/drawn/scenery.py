"""The things that places are furnished with. Every function returns parts: (surface, triangles)."""

from __future__ import annotations

import numpy as np

from pipeline.simulate.drawn.meshes import Rgb, blob, box, cylinder, prism, quad
from pipeline.types import Float32

Parts = list[tuple[str, Float32]]

_FLOOR_TINTS: dict[str, tuple[Rgb, ...]] = {
    "ASPHALT": ((0.36, 0.36, 0.37), (0.46, 0.46, 0.46), (0.3, 0.3, 0.32)),
    "SLABS": ((0.56, 0.54, 0.5), (0.48, 0.48, 0.49), (0.6, 0.52, 0.47)),
    "COBBLES": ((0.5, 0.48, 0.45), (0.42, 0.42, 0.44), (0.56, 0.46, 0.4)),
    "TILES": ((0.66, 0.65, 0.62), (0.52, 0.53, 0.55), (0.7, 0.64, 0.55)),
    "CONCRETE": ((0.52, 0.52, 0.5), (0.6, 0.59, 0.56), (0.45, 0.46, 0.48)),
    "GRASS": ((0.34, 0.42, 0.22), (0.42, 0.44, 0.26)),
    "CARPET": ((0.36, 0.34, 0.38), (0.46, 0.32, 0.3), (0.3, 0.37, 0.45)),
    "WOOD": ((0.56, 0.43, 0.3), (0.66, 0.54, 0.4), (0.44, 0.34, 0.26)),
}
_CAR_TINTS: tuple[Rgb, ...] = (
    (0.8, 0.8, 0.8), (0.12, 0.12, 0.13), (0.5, 0.51, 0.53), (0.55, 0.1, 0.1), (0.14, 0.2, 0.4), (0.3, 0.33, 0.3),
)  # fmt: skip
_GLASS: Rgb = (0.11, 0.13, 0.16)
_METAL: Rgb = (0.32, 0.33, 0.35)


def tint(rng: np.random.Generator, low: float = 0.15, high: float = 0.85, spread: float = 0.06) -> Rgb:
    """A greyish colour of random brightness."""
    red, green, blue = (float(v) for v in np.clip(rng.uniform(low, high) + rng.normal(0, spread, 3), 0.03, 0.95))
    return red, green, blue


def ground(
    rng: np.random.Generator, kinds: tuple[str, ...], half_width: float, *, half_height: float | None = None
) -> Parts:
    surface = kinds[int(rng.integers(len(kinds)))]
    base = _FLOOR_TINTS[surface][int(rng.integers(len(_FLOOR_TINTS[surface])))]
    shade = float(rng.uniform(0.75, 1.15))
    up = half_width if half_height is None else half_height
    colour = (base[0] * shade, base[1] * shade, base[2] * shade)
    return [(surface, quad((0, 0, 0), (half_width, 0, 0), (0, up, 0), colour))]


def house(rng: np.random.Generator, side: int, *, along: float, away: float) -> Parts:
    high, wide = float(rng.uniform(5, 15)), float(rng.uniform(5.5, 8))
    x, y = ((away + 2.5, along), (along, away + 2.5), (-away - 2.5, along), (along, -away - 2.5))[side]
    surface = ("FACADE", "FACADE", "BRICK", "SHOPFRONT")[int(rng.integers(4))]
    warm = (1.08, 1.0, 0.9) if surface != "BRICK" else (1.2, 0.72, 0.6)
    grey = tint(rng, 0.35, 0.8)
    colour = (min(grey[0] * warm[0], 0.95), grey[1] * warm[1], grey[2] * warm[2])
    size = (5.0, wide, high) if side % 2 == 0 else (wide, 5.0, high)
    return [(surface, box((x, y, high / 2), size, colour))]


def tree(rng: np.random.Generator, x: float, y: float) -> Parts:
    """A trunk and a crown of several uneven balls."""
    trunk, crown_z, size = float(rng.uniform(1.9, 3.2)), 0.0, float(rng.uniform(0.9, 1.6))
    green = (float(rng.uniform(0.14, 0.36)), float(rng.uniform(0.28, 0.42)), float(rng.uniform(0.08, 0.18)))
    parts: Parts = [("PLAIN", cylinder((x, y, 0), float(rng.uniform(0.08, 0.18)), trunk + size, (0.3, 0.24, 0.18)))]
    crown_z = trunk + 0.7 * size
    for _ in range(int(rng.integers(3, 7))):
        centre = np.array([x, y, crown_z]) + rng.normal(0, 0.45 * size, 3)
        parts.append(("LEAVES", blob(centre, rng.uniform(0.55, 0.95, 3) * size, green, rng)))
    return parts


def pole(rng: np.random.Generator, x: float, y: float) -> Parts:
    high = float(rng.uniform(3.5, 6))
    arm = float(rng.uniform(-0.9, 0.9))
    return [
        ("PLAIN", cylinder((x, y, 0), 0.055, high, _METAL)),
        ("PLAIN", box((x + arm / 2, y, high), (abs(arm) + 0.1, 0.09, 0.09), _METAL)),
    ]


def bench(rng: np.random.Generator, x: float, y: float) -> Parts:
    turn = float(rng.choice([0.0, np.pi / 2])) if abs(y) < 2 else 0.0
    wood = tint(rng, 0.3, 0.5)
    along, across = np.array([np.cos(turn), np.sin(turn), 0]), np.array([-np.sin(turn), np.cos(turn), 0])
    at = np.array([x, y, 0.0])
    return [
        ("PLAIN", box(at + np.array([0, 0, 0.45]), (1.7, 0.45, 0.07), wood, turn)),
        ("PLAIN", box(at + 0.22 * across + np.array([0, 0, 0.75]), (1.7, 0.06, 0.3), wood, turn)),
        *(
            ("PLAIN", box(at + s * 0.7 * along + np.array([0, 0, 0.21]), (0.08, 0.4, 0.42), _METAL, turn))
            for s in (-1, 1)
        ),
    ]


def car(rng: np.random.Generator, x: float, y: float) -> Parts:
    """A body with bonnet and boot, a cabin of glass with a roof, four wheels."""
    turn, colour = float(rng.uniform(0, np.pi)), _CAR_TINTS[int(rng.integers(len(_CAR_TINTS)))]
    long = float(rng.uniform(1.85, 2.2))
    body = [(-long, 0.25), (long, 0.25), (long, 0.68), (0.55 * long, 0.86), (-0.92 * long, 0.9), (-long, 0.72)]
    cabin = [(-0.8 * long, 0.86), (0.52 * long, 0.86), (0.2 * long, 1.4), (-0.58 * long, 1.42)]
    roof = [(-0.56 * long, 1.41), (0.18 * long, 1.39), (0.16 * long, 1.45), (-0.54 * long, 1.47)]
    at = (x, y, 0.0)
    parts: Parts = [
        ("PLAIN", prism(body, at, 1.72, colour, turn)),
        ("PLAIN", prism(cabin, at, 1.5, _GLASS, turn)),
        ("PLAIN", prism(roof, at, 1.44, colour, turn)),
    ]
    ring = np.linspace(0, 2 * np.pi, 13)[:-1]
    for ahead in (-0.62, 0.62):
        wheel = np.stack([ahead * long + 0.31 * np.cos(ring), 0.31 + 0.31 * np.sin(ring)], axis=1)
        parts.append(("PLAIN", prism(wheel, at, 1.78, (0.06, 0.06, 0.065), turn)))
    return parts


def bollard(rng: np.random.Generator, x: float, y: float) -> Parts:
    return [("PLAIN", cylinder((x, y, 0), float(rng.uniform(0.08, 0.18)), float(rng.uniform(0.8, 1.1)), tint(rng)))]


def planter(rng: np.random.Generator, x: float, y: float) -> Parts:
    green = (float(rng.uniform(0.16, 0.3)), float(rng.uniform(0.3, 0.42)), 0.14)
    high = float(rng.uniform(0.4, 0.8))
    return [
        ("CONCRETE", box((x, y, high / 2), (0.8, 0.8, high), tint(rng, 0.3, 0.6))),
        ("LEAVES", blob((x, y, high + 0.2), rng.uniform(0.3, 0.55, 3), green, rng)),
    ]


def sign(rng: np.random.Generator, x: float, y: float) -> Parts:
    turn = float(rng.uniform(0, np.pi))
    high = float(rng.uniform(1.0, 1.9))
    face = box((x, y, high - 0.35), (0.7, 0.05, 0.9), tint(rng, 0.2, 0.8, 0.2), turn)
    return [("POSTER", face), ("PLAIN", cylinder((x, y, 0), 0.04, high - 0.7, _METAL))]


def machine(rng: np.random.Generator, x: float, y: float) -> Parts:
    body = box((x, y, 0.95), (0.85, 0.7, 1.9), tint(rng, 0.2, 0.7, 0.15))
    return [("PLAIN", body), ("GOODS", quad((x, y - 0.36, 1.15), (0.33, 0, 0), (0, 0, 0.55), (0.2, 0.2, 0.22)))]


def bin_or_plant(rng: np.random.Generator, x: float, y: float) -> Parts:
    if rng.random() < 0.5:
        return [("PLAIN", cylinder((x, y, 0), 0.2, float(rng.uniform(0.6, 0.9)), tint(rng, 0.15, 0.6)))]
    green = (0.2, float(rng.uniform(0.3, 0.42)), 0.14)
    return [
        ("PLAIN", cylinder((x, y, 0), 0.17, 0.35, tint(rng, 0.3, 0.7), top_radius=0.22)),
        ("LEAVES", blob((x, y, 0.85), (0.3, 0.3, 0.5), green, rng)),
    ]


def room(rng: np.random.Generator, half: float, wide: float, high: float) -> Parts:
    """Four walls and a ceiling with panels of light."""
    paint = tint(rng, 0.55, 0.88, 0.03)
    surface = "BRICK" if rng.random() < 0.12 else "PLASTER"
    parts: Parts = [
        (surface, quad((0, wide, high / 2), (half, 0, 0), (0, 0, high / 2), paint)),
        (surface, quad((0, -wide, high / 2), (-half, 0, 0), (0, 0, high / 2), paint)),
        (surface, quad((half, 0, high / 2), (0, -wide, 0), (0, 0, high / 2), tint(rng, 0.4, 0.85, 0.08))),
        (surface, quad((-half, 0, high / 2), (0, wide, 0), (0, 0, high / 2), tint(rng, 0.4, 0.85, 0.08))),
        ("CONCRETE", quad((0, 0, high), (half, 0, 0), (0, -wide, 0), (0.72, 0.72, 0.7))),
    ]
    for x in np.arange(-half + 1.5, half, 2.6):
        parts.append(("PANEL", quad((float(x), 0, high - 0.01), (0.55, 0, 0), (0, -0.28, 0), (0.97, 0.97, 0.95))))
    return parts


def door(rng: np.random.Generator, x: float, y: float, inward: int) -> Parts:
    frame, leaf = tint(rng, 0.2, 0.5), tint(rng, 0.25, 0.75, 0.08)
    return [
        ("PLAIN", quad((x, y + 0.01 * inward, 1.08), (-0.58 * inward, 0, 0), (0, 0, 1.08), frame)),
        ("PLAIN", quad((x, y + 0.02 * inward, 1.04), (-0.48 * inward, 0, 0), (0, 0, 1.02), leaf)),
    ]


def notice(rng: np.random.Generator, x: float, y: float, inward: int) -> Parts:
    half_w, half_h = float(rng.uniform(0.25, 0.9)), float(rng.uniform(0.3, 0.6))
    colour = tint(rng, 0.3, 0.9, 0.25)
    return [("POSTER", quad((x, y + 0.015 * inward, 1.55), (-half_w * inward, 0, 0), (0, 0, half_h), colour))]


def shelf(rng: np.random.Generator, x: float, y: float, length: float, high: float) -> Parts:
    """A free-standing shelf along y with goods on both faces."""
    rack = tint(rng, 0.2, 0.75)
    return [
        ("GOODS", box((x, y, high / 2), (0.7, length, high), rack)),
        ("WOOD", box((x, y, high + 0.02), (0.74, length + 0.04, 0.05), rack)),
    ]


def wall_shelves(rng: np.random.Generator, half: float, wide: float) -> Parts:
    high, rack = float(rng.uniform(1.6, 2.3)), tint(rng, 0.2, 0.7)
    side = 1 if rng.random() < 0.5 else -1
    parts: Parts = [("GOODS", box((0.5, side * (wide - 0.2), high / 2), (2 * half - 4, 0.4, high), rack))]
    if rng.random() < 0.7:
        parts.append(("WOOD", box((0, -side * (wide - 0.9), 0.5), (3.0, 0.7, 1.0), tint(rng, 0.3, 0.6))))
    return parts


def long_wall(rng: np.random.Generator, y: float, half: float) -> Parts:
    """A wall along x at `y`, with posters; it looks towards the middle."""
    inward, high = (-1 if y > 0 else 1), float(rng.uniform(3.2, 6))
    surface = ("BRICK", "PLASTER", "FACADE", "SHOPFRONT")[int(rng.integers(4))]
    colour = tint(rng, 0.35, 0.8)
    parts: Parts = [(surface, quad((0, y, high / 2 - 0.5), (-half * inward, 0, 0), (0, 0, high / 2 + 0.5), colour))]
    for x in np.arange(-half, half, rng.uniform(3.5, 7)):
        size = (float(rng.uniform(0.6, 1.6)), float(rng.uniform(0.5, 1.0)))
        at = (float(x), y + 0.02 * inward, 1.7)
        parts.append(("POSTER", quad(at, (-size[0] * inward, 0, 0), (0, 0, size[1]), tint(rng, 0.25, 0.85, 0.25))))
    return parts
