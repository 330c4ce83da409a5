"""What stands about in offices and laboratories. Every function returns parts: (surface, triangles).

Things are made around the origin, their front towards +x, and then put somewhere by `put`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.simulate.drawn.meshes import Rgb, blob, box, cylinder, quad, superellipsoid
from pipeline.simulate.drawn.scenery import Parts, tint
from pipeline.types import Float32

_BLACK: Rgb = (0.045, 0.045, 0.05)
_COVERS: tuple[Rgb, ...] = (
    _BLACK, _BLACK, _BLACK, (0.1, 0.1, 0.11), (0.22, 0.22, 0.23), (0.09, 0.12, 0.24), (0.3, 0.08, 0.08),
    (0.1, 0.2, 0.14), (0.45, 0.44, 0.42), (0.6, 0.28, 0.08),
)  # fmt: skip
_CHROME: Rgb = (0.5, 0.5, 0.52)
_SCREEN: Rgb = (0.03, 0.035, 0.045)


def put(parts: Parts, x: float, y: float, turn: float, lift: float = 0.0) -> Parts:
    """The same things at another point, turned about the vertical."""
    turned = np.array([[np.cos(turn), np.sin(turn), 0.0], [-np.sin(turn), np.cos(turn), 0.0], [0.0, 0.0, 1.0]])
    placed: Parts = []
    for surface, rows in parts:
        rows = rows.copy()
        rows[:, :3] = rows[:, :3] @ turned + np.array([x, y, lift])
        rows[:, 3:6] = rows[:, 3:6] @ turned
        placed.append((surface, rows.astype(np.float32)))
    return placed


def cushion(
    centre: npt.ArrayLike, size: npt.ArrayLike, colour: Rgb, *, tilt: float = 0.0, squareness: float = 0.4
) -> Float32:
    """(K, 9) a box with round edges, its top leaning back by `tilt` radians."""
    points, faces = superellipsoid(squareness, 6, 12)
    half = np.asarray(size, np.float64) / 2
    normals = points / half
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    lean = np.array([[np.cos(tilt), 0.0, np.sin(tilt)], [0.0, 1.0, 0.0], [-np.sin(tilt), 0.0, np.cos(tilt)]])
    points, normals = points * half @ lean + np.asarray(centre, np.float64), normals @ lean
    corners = [points[faces].reshape(-1, 3), normals[faces].reshape(-1, 3), np.tile(colour, (3 * len(faces), 1))]
    return np.concatenate(corners, axis=1).astype(np.float32)


def office_chair(rng: np.random.Generator, seat_m: float) -> Parts:
    """A foot of five wheeled arms, a column, a seat, a back, mostly arm rests; at times a coat or bag hangs on it."""
    cover = _COVERS[int(rng.integers(len(_COVERS)))]
    metal = _BLACK if rng.random() < 0.6 else _CHROME
    reach, first = float(rng.uniform(0.26, 0.32)), float(rng.uniform(0, 2 * np.pi))
    parts: Parts = [("PLAIN", cylinder((0, 0, 0.07), 0.03, seat_m - 0.1, metal, segments=8))]
    for arm in first + np.arange(5) * 2 * np.pi / 5:
        along = np.array([np.cos(arm), np.sin(arm), 0.0])
        parts.append(("PLAIN", box(along * reach / 2 + (0, 0, 0.1), (reach, 0.05, 0.04), metal, float(arm))))
        parts.append(("PLAIN", box(along * reach + (0, 0, 0.035), (0.06, 0.04, 0.07), _BLACK, float(arm))))
    wide, deep = float(rng.uniform(0.44, 0.54)), float(rng.uniform(0.42, 0.5))
    parts.append(("PLAIN", cushion((0, 0, seat_m - 0.035), (deep, wide, float(rng.uniform(0.07, 0.12))), cover)))
    high, lean = float(rng.uniform(0.34, 0.72)), float(rng.uniform(0.0, 0.22))
    gap = float(rng.uniform(0.08, 0.2)) if high < 0.55 else 0.04
    middle, behind = seat_m + gap + high / 2, -deep / 2 - lean * (gap + high / 2)
    back_wide = wide * float(rng.uniform(0.75, 1.0))
    shape = float(rng.uniform(0.35, 0.95))
    parts.append(("PLAIN", cushion((behind, 0, middle), (0.08, back_wide, high), cover, tilt=-lean, squareness=shape)))
    parts.append(("PLAIN", box((-deep / 2, 0, seat_m + gap / 2), (0.03, 0.07, gap + 0.25), metal)))
    if rng.random() < 0.65:
        for side in (-1, 1):
            parts.append(("PLAIN", box((0.0, side * (wide / 2 + 0.03), seat_m + 0.1), (0.04, 0.03, 0.24), metal)))
            pad = (0.03, side * (wide / 2 + 0.03), seat_m + 0.22)
            parts.append(("PLAIN", cushion(pad, (0.26, 0.06, 0.03), _BLACK)))
    return parts + _hung(rng, behind, middle + high / 2, back_wide)


def _hung(rng: np.random.Generator, behind: float, top_m: float, wide: float) -> Parts:
    """Sometimes a coat over the back, or a backpack behind it."""
    kind = rng.random()
    if kind < 0.12:
        cloth = tint(rng, 0.03, 0.5, 0.1)
        long = float(rng.uniform(0.45, 0.7))
        return [
            ("PLAIN", cushion((behind, 0, top_m - long / 2 + 0.03), (0.16, wide + 0.06, long), cloth, squareness=0.6))
        ]
    if kind < 0.22:
        cloth = tint(rng, 0.03, 0.35, 0.1)
        bag = cushion((behind - 0.13, 0, top_m - 0.22), (0.22, 0.32, 0.46), cloth, squareness=0.5)
        return [("PLAIN", bag)]
    return []


def plain_chair(rng: np.random.Generator, seat_m: float) -> Parts:
    """Four legs, a seat and a back; a stool has no back."""
    cover, metal = _COVERS[int(rng.integers(len(_COVERS)))], _BLACK if rng.random() < 0.5 else _CHROME
    half = 0.2
    parts: Parts = [("PLAIN", cushion((0, 0, seat_m - 0.03), (0.44, 0.44, 0.07), cover))]
    for x in (-half, half):
        for y in (-half, half):
            parts.append(("PLAIN", box((x, y, (seat_m - 0.04) / 2), (0.03, 0.03, seat_m - 0.04), metal)))
    if rng.random() < 0.8:
        high = float(rng.uniform(0.25, 0.4))
        parts.append(("PLAIN", cushion((-half - 0.03, 0, seat_m + 0.14 + high / 2), (0.05, 0.42, high), cover)))
        for y in (-half, half):
            parts.append(("PLAIN", box((-half - 0.02, y * 0.9, seat_m + 0.15), (0.03, 0.03, 0.36), metal)))
    return parts


def chair(rng: np.random.Generator, seat_m: float) -> Parts:
    return office_chair(rng, seat_m) if rng.random() < 0.75 else plain_chair(rng, seat_m)


def desk(rng: np.random.Generator, long: float) -> Parts:
    """A table with what lies on it, its working side towards +x, `long` metres along y."""
    top, deep = float(rng.uniform(0.71, 0.77)), 0.75
    wood = tint(rng, 0.3, 0.8) if rng.random() < 0.6 else (0.5, 0.38, 0.26)
    parts: Parts = [("PLAIN", box((0, 0, top - 0.02), (deep, long, 0.04), wood))]
    metal = tint(rng, 0.05, 0.6, 0.02)
    if rng.random() < 0.5:
        parts += [("PLAIN", box((0, s * (long / 2 - 0.03), top / 2), (deep - 0.1, 0.04, top), metal)) for s in (-1, 1)]
    else:
        for s in (-1, 1):
            for x in (-deep / 2 + 0.05, deep / 2 - 0.05):
                parts.append(("PLAIN", box((x, s * (long / 2 - 0.05), top / 2), (0.05, 0.05, top), metal)))
    if rng.random() < 0.5:
        side = float(rng.choice([-1, 1]))
        parts.append(("PLAIN", box((-0.05, side * (long / 2 - 0.27), 0.3), (0.55, 0.4, 0.58), tint(rng, 0.2, 0.8))))
    if rng.random() < 0.4:
        parts.append(("PLAIN", box((-0.1, 0.15 * long, 0.22), (0.45, 0.2, 0.43), _BLACK)))
    for y in np.arange(-long / 2 + 0.4, long / 2 - 0.3, rng.uniform(0.55, 1.1)):
        if rng.random() < 0.75:
            parts += put(monitor(rng), -0.18, float(y), float(rng.normal(0, 0.25)), top)
    return parts + _things(rng, deep, long, top)


def monitor(rng: np.random.Generator) -> Parts:
    """A screen on a foot; dark, or with a picture on it. Also a laptop."""
    wide = float(rng.uniform(0.4, 0.62))
    high, middle = 0.6 * wide, float(rng.uniform(0.26, 0.4))
    parts: Parts = [
        ("PLAIN", box((0, 0, 0.01), (0.18, 0.24, 0.02), _BLACK)),
        ("PLAIN", box((-0.02, 0, middle / 2), (0.03, 0.06, middle), _BLACK)),
        ("PLAIN", box((0, 0, middle), (0.04, wide, high), _BLACK)),
    ]
    shows = rng.random()
    surface, colour = ("POSTER", tint(rng, 0.2, 0.8, 0.2)) if shows < 0.3 else ("PLAIN", _SCREEN)
    if shows > 0.75:
        surface, colour = "PANEL", tint(rng, 0.3, 0.85, 0.12)
    parts.append((surface, quad((0.022, 0, middle), (0, wide / 2 - 0.02, 0), (0, 0, high / 2 - 0.02), colour)))
    return parts


def _things(rng: np.random.Generator, deep: float, long: float, top: float) -> Parts:
    """Books, bottles, boxes and machines on a table."""
    parts: Parts = []
    for _ in range(int(rng.integers(1, 7))):
        x, y = float(rng.uniform(-deep / 2 + 0.1, deep / 2 - 0.1)), float(rng.uniform(-long / 2 + 0.1, long / 2 - 0.1))
        kind = int(rng.integers(4))
        if kind == 0:
            size = float(rng.uniform(0.03, 0.07))
            tall, neck, colour = float(rng.uniform(0.08, 0.32)), float(rng.uniform(0.3, 1.1)), tint(rng, 0.05, 0.9, 0.2)
            bottle = cylinder((x, y, top), size, tall, colour, top_radius=size * neck, segments=8)
            parts.append(("PLAIN", bottle))
            continue
        size_m = rng.uniform((0.1, 0.12, 0.015), (0.3, 0.45, 0.05 if kind == 1 else 0.4))
        colour = tint(rng, 0.03, 0.9, 0.12)
        parts.append(("PLAIN", box((x, y, top + size_m[2] / 2), size_m, colour, float(rng.normal(0, 0.4)))))
    return parts


def cupboard(rng: np.random.Generator) -> Parts:
    """A tall or low cupboard or shelf."""
    high, long = float(rng.choice([0.75, 1.3, 1.9, 2.1])), float(rng.uniform(0.5, 1.4))
    colour = tint(rng, 0.15, 0.85)
    surface = "GOODS" if rng.random() < 0.25 else "PLAIN"
    parts: Parts = [(surface, box((0, 0, high / 2), (0.42, long, high), colour))]
    if surface == "PLAIN":
        dark: Rgb = (colour[0] * 0.4, colour[1] * 0.4, colour[2] * 0.4)
        parts.append(("PLAIN", quad((0.213, 0, high / 2), (0, 0.008, 0), (0, 0, high / 2 - 0.04), dark)))
        parts.append(("PLAIN", box((0.22, 0.06, high / 2), (0.02, 0.02, 0.14), _CHROME)))
    return parts


def trolley(rng: np.random.Generator) -> Parts:
    """A rolling table with boards or drawers, and a machine on it."""
    high, long, deep = float(rng.uniform(0.6, 1.0)), float(rng.uniform(0.4, 0.8)), float(rng.uniform(0.4, 0.55))
    colour = tint(rng, 0.15, 0.9)
    parts: Parts = []
    if rng.random() < 0.5:
        parts.append(("PLAIN", box((0, 0, high / 2 + 0.05), (deep, long, high - 0.1), colour)))
    else:
        boards = int(rng.integers(2, 4))
        parts += [("PLAIN", box((0, 0, z), (deep, long, 0.03), colour)) for z in np.linspace(0.15, high, boards)]
        for x in (-1, 1):
            for y in (-1, 1):
                at = (x * (deep / 2 - 0.02), y * (long / 2 - 0.02), high / 2 + 0.04)
                parts.append(("PLAIN", box(at, (0.03, 0.03, high - 0.08), _CHROME)))
    return parts + put(apparatus(rng, float(rng.uniform(0.2, 0.8))), 0.0, 0.0, 0.0, high)


def apparatus(rng: np.random.Generator, high: float) -> Parts:
    """Boxes, drums and balls one on top of the other, each thinner or wider than the one below."""
    parts: Parts = []
    z = 0.0
    while z < high:
        tall = float(rng.uniform(0.06, 0.45))
        wide, deep = (float(v) for v in rng.uniform(0.06, 0.42, 2))
        colour = tint(rng, 0.03, 0.9, 0.1)
        kind = int(rng.integers(4))
        if kind == 0:
            parts.append(("PLAIN", cylinder((0, 0, z), wide / 2, tall, colour, top_radius=deep / 2, segments=10)))
        elif kind == 1:
            parts.append(("PLAIN", cushion((0, 0, z + tall / 2), (deep, wide, tall), colour, squareness=0.8)))
        else:
            parts.append(("PLAIN", box((0, 0, z + tall / 2), (deep, wide, tall), colour, float(rng.uniform(0, 1)))))
        z += tall
    return parts


def coat_stand(rng: np.random.Generator) -> Parts:
    """A pole with arms at the height of a head; coats and bags hang from it."""
    high, metal = float(rng.uniform(1.55, 1.85)), tint(rng, 0.04, 0.5)
    parts: Parts = [("PLAIN", cylinder((0, 0, 0), 0.025, high, metal, segments=8))]
    parts.append(("PLAIN", cylinder((0, 0, 0), 0.22, 0.04, metal, segments=10)))
    for angle in rng.uniform(0, 2 * np.pi, int(rng.integers(0, 4))):
        long, out = float(rng.uniform(0.6, 1.1)), 0.11
        at = (out * np.cos(angle), out * np.sin(angle), high - 0.08 - long / 2)
        cloth = tint(rng, 0.03, 0.6, 0.12)
        parts.append(("PLAIN", cushion(at, (0.2, float(rng.uniform(0.24, 0.42)), long), cloth, squareness=0.7)))
    return parts


def standing_thing(rng: np.random.Generator) -> Parts:
    """One of the upright things of a laboratory that are about as high as people."""
    kind = int(rng.integers(6))
    if kind == 0:
        return coat_stand(rng)
    if kind == 1:
        return apparatus(rng, float(rng.uniform(0.7, 1.7)))
    if kind == 2:  # a tripod or lamp
        metal, high = tint(rng, 0.04, 0.6), float(rng.uniform(1.0, 1.8))
        parts: Parts = [("PLAIN", cylinder((0, 0, 0.3), 0.02, high - 0.3, metal, segments=6))]
        for angle in np.arange(3) * 2 * np.pi / 3 + float(rng.uniform(0, 2)):
            foot = np.array([0.3 * np.cos(angle), 0.3 * np.sin(angle), 0.0])
            across = 0.012 * np.array([-np.sin(angle), np.cos(angle), 0.0])
            parts.append(("PLAIN", quad((0.5 * foot) + (0, 0, 0.3), across, -0.5 * foot + (0, 0, 0.3), metal)))
        return [*parts, ("PLAIN", cushion((0, 0, high), rng.uniform(0.1, 0.35, 3), tint(rng), squareness=0.7))]
    if kind == 3:  # a fan
        metal, high = tint(rng, 0.1, 0.8), float(rng.uniform(0.9, 1.4))
        return [
            ("PLAIN", cylinder((0, 0, 0), 0.2, 0.05, metal, segments=10)),
            ("PLAIN", cylinder((0, 0, 0), 0.025, high, metal, segments=6)),
            ("PLAIN", cushion((0.05, 0, high), (0.16, 0.46, 0.46), tint(rng, 0.1, 0.7), squareness=1.0)),
        ]
    if kind == 4:  # a bottle on a dispenser
        return [
            ("PLAIN", box((0, 0, 0.5), (0.32, 0.32, 1.0), tint(rng, 0.4, 0.9))),
            ("PLAIN", cylinder((0, 0, 1.0), 0.13, 0.38, (0.35, 0.45, 0.6))),
        ]
    green = (0.16, float(rng.uniform(0.24, 0.4)), 0.12)
    high = float(rng.uniform(0.8, 1.5))
    return [
        ("PLAIN", cylinder((0, 0, 0), 0.16, 0.32, tint(rng, 0.2, 0.7), top_radius=0.2)),
        ("LEAVES", blob((0, 0, high), (0.3, 0.3, high - 0.35), green, rng)),
    ]


def low_thing(rng: np.random.Generator) -> Parts:
    """A bin, a box, a bag or a tub on the floor."""
    kind, colour = int(rng.integers(3)), tint(rng, 0.04, 0.8, 0.12)
    if kind == 0:
        return [("PLAIN", cylinder((0, 0, 0), 0.14, float(rng.uniform(0.3, 0.5)), colour, top_radius=0.19))]
    size = rng.uniform((0.2, 0.25, 0.15), (0.5, 0.6, 0.5))
    middle = (0, 0, size[2] / 2)
    return [("PLAIN", box(middle, size, colour) if kind == 1 else cushion(middle, size, colour))]
