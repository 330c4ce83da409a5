"""Places where people go about: a square, a corridor, a shop, a platform, an office; no two are alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from pipeline.simulate.drawn import furniture, scenery
from pipeline.simulate.drawn.meshes import box, cylinder, quad
from pipeline.types import Float32, Float64

PlaceKind = Literal["square", "corridor", "shop", "platform", "office"]
Area = tuple[float, float, float, float]  # left, bottom, right, top in metres
Mounts = tuple[tuple[float, float, float], ...]

_CLEAR_OF_CAMERA_M = 3.0


@dataclass(frozen=True, eq=False)
class Place:
    """Triangles by kind of surface, and what people and cameras may do here. Metres, floor at z = 0."""

    kind: PlaceKind
    indoor: bool
    bounds: Area  # where people walk
    obstacles: Float64  # (K, 3) x, y, radius: people walk around these
    gates: Float64  # (G, 2) where people come in and go out
    stops: Float64  # (S, 3) x, y, heading: where some people stand for a while
    mounts: Mounts  # x, y, height where cameras may hang
    surfaces: Mapping[str, Float32]  # surface -> (N, 9) rows position, normal, tint
    shading: frozenset[str]  # surfaces that throw shadows
    seats: Float64 = field(default_factory=lambda: np.zeros((0, 4)))  # (C, 4) x, y, heading, height: chairs


class Builder:
    """Gathers triangles and obstacles while a place is built."""

    def __init__(self, rng: np.random.Generator, keep_clear: Mounts) -> None:
        self.rng = rng
        self.rows: dict[str, list[Float32]] = {}
        self.obstacles: list[tuple[float, float, float]] = []
        self.seats: list[tuple[float, float, float, float]] = []
        self._keep_clear = keep_clear

    def add(self, parts: scenery.Parts) -> None:
        for surface, rows in parts:
            self.rows.setdefault(surface, []).append(rows)

    def add_solid(self, x: float, y: float, radius: float, parts: Callable[[], scenery.Parts]) -> bool:
        """Something people walk around; left out where it would stand in front of a camera or in another thing."""
        clear = all(np.hypot(x - mx, y - my) > _CLEAR_OF_CAMERA_M + radius for mx, my, _ in self._keep_clear)
        free = all(np.hypot(x - ox, y - oy) > radius + r + 0.8 for ox, oy, r in self.obstacles)
        if not (clear and free):
            return False
        self.obstacles.append((x, y, radius))
        self.add(parts())
        return True

    def add_chair(self, x: float, y: float, heading: float, least_gap_m: float = 0.15) -> None:
        """A chair at a point, unless it would stand in another thing; cameras may look right at it."""
        if any(np.hypot(x - ox, y - oy) < 0.32 + r + least_gap_m for ox, oy, r in self.obstacles):
            return
        high_m = float(self.rng.uniform(0.42, 0.54))
        self.add(furniture.put(furniture.chair(self.rng, high_m), x, y, heading))
        self.seats.append((x, y, heading, high_m))
        self.obstacles.append((x, y, 0.32))

    def place(self, kind: PlaceKind, *, indoor: bool, bounds: Area, gates: Float64, stops: Float64, mounts: Mounts,
              shading: frozenset[str]) -> Place:  # fmt: skip
        surfaces = {surface: np.concatenate(rows) for surface, rows in self.rows.items()}
        obstacles = np.array(self.obstacles, np.float64).reshape(-1, 3)
        seats = np.array(self.seats, np.float64).reshape(-1, 4)
        return Place(kind, indoor, bounds, obstacles, gates, stops, mounts, surfaces, shading, seats)


def build_square(rng: np.random.Generator) -> Place:
    """An open space with houses around, trees, benches, parked cars and bollards."""
    half = float(rng.uniform(7.0, 10.0))
    mounts = tuple(
        (float((half + 0.3) * np.cos(a)), float((half + 0.3) * np.sin(a)), float(rng.uniform(2.8, 6.5)))
        for a in rng.uniform(0, 2 * np.pi) + np.arange(5) * 2 * np.pi / 5
    )
    make = Builder(rng, mounts)
    make.add(scenery.ground(rng, ("ASPHALT", "SLABS", "COBBLES", "CONCRETE", "GRASS"), 60.0))
    for side in range(4):
        for k in range(-3, 4):
            if rng.random() < 0.78:
                make.add(scenery.house(rng, side, along=k * 7.0, away=half + float(rng.uniform(5, 9))))
    for _ in range(26):
        angle, radius = rng.uniform(0, 2 * np.pi), rng.uniform(half + 1.5, half + 5)
        x, y = float(radius * np.cos(angle)), float(radius * np.sin(angle))
        thing = (scenery.tree, scenery.pole, scenery.bench, scenery.car)[int(rng.choice(4, p=[0.34, 0.2, 0.18, 0.28]))]
        make.add_solid(x, y, 1.2, lambda thing=thing, x=x, y=y: thing(rng, x, y))  # type: ignore[misc]
    for _ in range(int(rng.integers(1, 6))):
        x, y = (float(v) for v in rng.uniform(-0.6 * half, 0.6 * half, 2))
        thing = (scenery.bollard, scenery.planter, scenery.sign)[int(rng.integers(3))]
        make.add_solid(x, y, 0.45, lambda thing=thing, x=x, y=y: thing(rng, x, y))  # type: ignore[misc]
    angles = rng.uniform(0, 2 * np.pi, 8)
    gates = (half - 0.3) * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    stops = np.column_stack([rng.uniform(-half / 2, half / 2, (6, 2)), rng.uniform(-np.pi, np.pi, 6)])
    return make.place("square", indoor=False, bounds=(-half, -half, half, half), gates=gates, stops=stops,
                      mounts=mounts, shading=frozenset(make.rows))  # fmt: skip


def build_corridor(rng: np.random.Generator) -> Place:
    """A long hallway with doors, notices and a few things along its walls."""
    half, wide, high = float(rng.uniform(8, 13)), float(rng.uniform(1.3, 2.4)), float(rng.uniform(2.7, 3.4))
    end, side = half - 0.3, 0.6 * wide
    spots = ((-end, side), (end, -side), (-end, -side), (end, 0.3), (0.0, wide - 0.12))
    mounts = tuple((x, y, high - 0.2) for x, y in spots)
    make = Builder(rng, mounts)
    make.add(scenery.ground(rng, ("TILES", "CARPET", "CONCRETE", "WOOD"), half + 1))
    make.add(scenery.room(rng, half, wide, high))
    for x in np.arange(-half + 2, half - 1, rng.uniform(2.4, 4.0)):
        side = 1 if rng.random() < 0.5 else -1
        thing = (scenery.door, scenery.notice)[int(rng.integers(2))]
        make.add(thing(rng, float(x), side * wide, -side))
    for _ in range(int(rng.integers(0, 4))):
        x, y = float(rng.uniform(-half + 3, half - 3)), float(rng.choice([-1, 1])) * (wide - 0.3)
        make.add_solid(x, y, 0.3, lambda x=x, y=y: scenery.bin_or_plant(rng, x, y))  # type: ignore[misc]
    gates = np.array([(-half + 0.4, -0.3), (-half + 0.4, 0.4), (half - 0.4, 0.3), (half - 0.4, -0.4)])
    stops = np.column_stack(
        [rng.uniform(-half / 2, half / 2, 4), rng.choice([-1, 1], 4) * (wide - 0.5), rng.uniform(-np.pi, np.pi, 4)]
    )
    return make.place("corridor", indoor=True, bounds=(-half, -wide, half, wide), gates=gates, stops=stops,
                      mounts=mounts, shading=frozenset({"PLAIN", "LEAVES"}))  # fmt: skip


def build_shop(rng: np.random.Generator) -> Place:
    """Shelves with goods, a counter, people who stop to look."""
    half, wide, high = float(rng.uniform(6, 8.5)), float(rng.uniform(4.5, 6)), float(rng.uniform(2.9, 3.8))
    signs = ((-1, -1), (1, 1), (1, -1), (-1, 1))
    mounts = tuple((float(x * (half - 0.3)), float(y * (wide - 0.3)), high - 0.25) for x, y in signs)
    make = Builder(rng, mounts)
    make.add(scenery.ground(rng, ("TILES", "CARPET", "CONCRETE", "WOOD"), half + 1))
    make.add(scenery.room(rng, half, wide, high))
    make.add(scenery.wall_shelves(rng, half, wide))
    low = float(rng.uniform(0.95, 1.5))
    aisles = np.arange(-half + 3.2, half - 2.2, rng.uniform(2.6, 3.4))
    for x in aisles:
        length = float(rng.uniform(1.6, wide))
        y = float(rng.uniform(-0.8, 0.8))
        make.add(scenery.shelf(rng, float(x), y, length, low))
        make.obstacles += [(float(x), float(v), 0.45) for v in np.arange(y - length / 2, y + length / 2 + 0.1, 0.5)]
    gates = np.array([(-half + 0.5, 0.0), (-half + 0.5, 1.0), (half - 0.5, -0.8), (half - 0.5, 0.4)])
    beside = [(float(x) + side * 0.95, float(rng.uniform(-1, 1)), np.pi if side > 0 else 0.0)
              for x in aisles for side in (-1, 1)]  # fmt: skip
    return make.place("shop", indoor=True, bounds=(-half, -wide, half, wide), gates=gates, stops=np.array(beside),
                      mounts=mounts, shading=frozenset({"GOODS", "PLAIN", "WOOD"}))  # fmt: skip


def build_platform(rng: np.random.Generator) -> Place:
    """A station: a long platform with pillars, benches, a track on one side and a wall on the other."""
    half, wide, roofed = float(rng.uniform(12, 17)), float(rng.uniform(2.4, 3.4)), bool(rng.random() < 0.6)
    spots = ((-half, 0.5), (half, 0.9), (-half / 3, wide - 0.9), (half / 3, wide - 1.1), (-half, -wide + 0.9))
    mounts = tuple((float(x * 0.97), float(y - 0.15), float(rng.uniform(2.9, 4.2))) for x, y in spots)
    make = Builder(rng, mounts)
    make.add(scenery.ground(rng, ("ASPHALT", "SLABS", "CONCRETE", "TILES"), 60.0, half_height=wide + 0.2))
    make.add([("CONCRETE", quad((0, -wide - 2.6, -0.9), (60, 0, 0), (0, 2.4, 0), (0.3, 0.27, 0.25)))])
    make.add([("PLAIN", quad((0, -wide + 0.25, 0.006), (60, 0, 0), (0, 0.08, 0), (0.85, 0.8, 0.55)))])
    for rail in (-0.72, 0.72):
        make.add([("PLAIN", box((0, -wide - 2.1 + rail, -0.75), (120, 0.08, 0.14), (0.42, 0.36, 0.33)))])
    make.add(scenery.long_wall(rng, wide + 0.2, 60.0))
    make.add(scenery.long_wall(rng, -wide - 5.4, 60.0))
    for x in np.arange(-half, half + 1, rng.uniform(4.5, 7)):
        if roofed:
            size = float(rng.uniform(0.16, 0.3))
            tint = scenery.tint(rng, 0.3, 0.7)
            make.add_solid(
                float(x),
                0.4,
                size,
                lambda x=x, s=size, t=tint: [("PLAIN", cylinder((x, 0.4, 0), s, 4.4, t))],  # type: ignore[misc]
            )
        at = float(x) + 1.6
        thing = (scenery.bench, scenery.bin_or_plant, scenery.machine)[int(rng.integers(3))]
        make.add_solid(at, wide - 0.5, 0.5, lambda thing=thing, at=at: thing(rng, at, wide - 0.5))  # type: ignore[misc]
    if roofed:
        make.add([("CONCRETE", box((0, 0.6, 4.5), (2 * half + 6, 2 * wide, 0.2), scenery.tint(rng, 0.4, 0.7)))])
    gates = np.array([(-half + 0.5, 0.8), (-half + 0.5, -0.6), (half - 0.5, 0.9), (half - 0.5, -0.5)])
    along, across = rng.uniform(-half + 3, half - 3, 10), rng.uniform(-wide + 0.8, wide - 1.2, 10)
    stops = np.column_stack([along, across, rng.normal(-np.pi / 2, 0.7, 10)])
    return make.place("platform", indoor=False, bounds=(-half, -wide + 0.3, half, wide), gates=gates, stops=stops,
                      mounts=mounts, shading=frozenset(make.rows) - {"BRICK", "PLASTER", "POSTER"})  # fmt: skip


def build_office(rng: np.random.Generator) -> Place:
    """An office or laboratory: desks with screens along the walls and in rows, chairs, cupboards, machines."""
    half, wide, high = float(rng.uniform(3.6, 7.5)), float(rng.uniform(3.0, 5.5)), float(rng.uniform(2.6, 3.3))
    signs = ((-1, -1), (1, 1), (1, -1), (-1, 1), (0, 1))
    mounts = tuple(
        (float(x * (half - 0.3)), float(y * (wide - 0.3)), float(rng.uniform(2.1, high - 0.2))) for x, y in signs
    )
    make = Builder(rng, mounts)
    make.add(scenery.ground(rng, ("TILES", "CARPET", "CONCRETE", "WOOD"), half + 1))
    make.add(scenery.room(rng, half, wide, high))
    for side in range(4):
        _furnish_wall(make, side, half, wide)
    if wide > 3.8:
        for x in np.arange(-half + 2.6, half - 2.4, rng.uniform(2.6, 3.6)):
            if rng.random() < 0.6:
                _add_desk(make, float(x), float(rng.uniform(-0.8, 0.8)), float(rng.choice([0.0, np.pi])), 1.6)
    for _ in range(int(rng.integers(2, 9))):
        x, y = float(rng.uniform(-half + 0.7, half - 0.7)), float(rng.uniform(-wide + 0.7, wide - 0.7))
        make.add_chair(x, y, float(rng.uniform(-np.pi, np.pi)), 0.4)
    for _ in range(int(rng.integers(2, 9))):
        x, y = float(rng.uniform(-half + 0.5, half - 0.5)), float(rng.uniform(-wide + 0.5, wide - 0.5))
        thing = (furniture.standing_thing, furniture.trolley, furniture.low_thing)[int(rng.integers(3))]
        if all(np.hypot(x - ox, y - oy) > r + 0.7 for ox, oy, r in make.obstacles):
            make.add(furniture.put(thing(rng), x, y, float(rng.uniform(-np.pi, np.pi))))
            make.obstacles.append((x, y, 0.3))
    gates = _gaps(make, half, wide)
    stops = np.column_stack([rng.uniform(-half + 1, half - 1, 8), rng.uniform(-wide + 1, wide - 1, 8),
                             rng.uniform(-np.pi, np.pi, 8)])  # fmt: skip
    return make.place("office", indoor=True, bounds=(-half, -wide, half, wide), gates=gates, stops=stops,
                      mounts=mounts, shading=frozenset({"PLAIN", "LEAVES", "GOODS"}))  # fmt: skip


def _gaps(make: Builder, half: float, wide: float) -> Float64:
    """(4, 2) of each wall the point nearest to its middle that has most room before it."""
    taken = np.array(make.obstacles, np.float64).reshape(-1, 3)
    gates = []
    for side in range(4):
        reach, span = (half, wide) if side % 2 == 0 else (wide, half)
        out = np.array([np.cos(side * np.pi / 2), np.sin(side * np.pi / 2)])
        shifts = np.linspace(-span + 1.0, span - 1.0, 25)
        spots = out * (reach - 0.5) + shifts[:, None] * np.array([-out[1], out[0]])
        room = (np.hypot(*(spots[:, None] - taken[:, :2]).transpose(2, 0, 1)) - taken[:, 2]).min(axis=1, initial=1.0)
        gates.append(spots[np.lexsort((np.abs(shifts), -room.clip(max=0.6)))[0]])
    return np.array(gates)


def _furnish_wall(make: Builder, side: int, half: float, wide: float) -> None:
    """Desks, cupboards, boards and coat stands along one wall, with the way through its middle left free at times."""
    rng = make.rng
    inward = (side + 2) * np.pi / 2  # side 0 looks towards -x, 1 to -y, 2 to +x, 3 to +y
    reach, span = (half, wide) if side % 2 == 0 else (wide, half)
    out = np.array([np.cos(side * np.pi / 2), np.sin(side * np.pi / 2)])
    along = np.array([-out[1], out[0]])
    at = -span + float(rng.uniform(0.3, 1.2))
    while at < span - 1.0:
        kind, long = rng.random(), float(rng.uniform(1.2, 1.9))
        if at + long > span - 0.3:
            return
        x, y = (float(v) for v in out * (reach - 0.42) + along * (at + long / 2))
        if kind < 0.62:
            _add_desk(make, x, y, inward, long)
        elif kind < 0.78:
            back = out * 0.18
            make.add(furniture.put(furniture.cupboard(rng), x + float(back[0]), y + float(back[1]), inward))
            make.obstacles.append((x, y, 0.45))
        elif kind < 0.88:
            make.add(furniture.put(furniture.standing_thing(rng), x, y, inward))
            make.obstacles.append((x, y, 0.3))
        if rng.random() < 0.35:
            face = out * (reach - 0.02) + along * (at + long / 2)
            white = rng.random() < 0.6
            colour = (0.82, 0.83, 0.83) if white else scenery.tint(rng, 0.2, 0.8, 0.2)
            width = along * float(rng.uniform(0.35, 0.9))
            board = quad((*face, 1.65), (*width, 0), (0, 0, float(rng.uniform(0.3, 0.55))), colour)
            make.add([("PLAIN" if white else "POSTER", board)])
        at += long + float(rng.choice([0.02, 0.02, rng.uniform(0.1, 1.0)]))


def _add_desk(make: Builder, x: float, y: float, facing: float, long: float) -> None:
    """A desk whose working side looks along `facing`, mostly with a chair there, turned anyhow."""
    rng = make.rng
    front, along = np.array([np.cos(facing), np.sin(facing)]), np.array([-np.sin(facing), np.cos(facing)])
    make.add(furniture.put(furniture.desk(rng, long), x, y, facing))
    spots = [np.array([x, y]) + shift * along for shift in np.arange(-long / 2 + 0.2, long / 2 - 0.1, 0.4)]
    if rng.random() < 0.8:
        turn = float(rng.normal(0, 0.4)) if rng.random() < 0.6 else float(rng.uniform(-np.pi, np.pi))
        chair = np.array([x, y]) + float(rng.uniform(0.62, 0.95)) * front + float(rng.uniform(-0.3, 0.3)) * along
        make.add_chair(float(chair[0]), float(chair[1]), facing + np.pi + turn)
    make.obstacles += [(float(a), float(b), 0.35) for a, b in spots]


PLACES: dict[PlaceKind, Callable[[np.random.Generator], Place]] = {
    "square": build_square,
    "corridor": build_corridor,
    "shop": build_shop,
    "platform": build_platform,
    "office": build_office,
}


def build_place(kind: PlaceKind, rng: np.random.Generator) -> Place:
    return PLACES[kind](rng)
