"""Cameras and people put into a place at random."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.simulate.drawn.light import Hour, Light, random_hour, random_light
from pipeline.simulate.drawn.optics import DrawnCamera, SensorLook, camera_at, random_look
from pipeline.simulate.drawn.people import Person, Posed, pose
from pipeline.simulate.drawn.places import Place, PlaceKind, build_place
from pipeline.types import Float64

_TRIES = 60
_APART_M = 0.55
_STANDING_SHARE = 0.3
_PAIR_SHARE = 0.25
_WALL_M = 0.35
_KIND_SHARES: dict[PlaceKind, float] = {  # an office is drawn where it is asked for
    "square": 0.4,
    "corridor": 0.18,
    "shop": 0.18,
    "platform": 0.24,
}


@dataclass(frozen=True, eq=False)
class Scene:
    """A place at some hour."""

    place: Place
    light: Light


def random_scene(rng: np.random.Generator, kind: PlaceKind | None = None, hour: Hour | None = None) -> Scene:
    """A place of this kind, or of one of the four usual ones; outdoors at this hour, or at any."""
    kinds = list(_KIND_SHARES)
    chosen = kind or kinds[int(rng.choice(len(kinds), p=list(_KIND_SHARES.values())))]
    place = build_place(chosen, rng)
    drawn = random_hour(rng, indoor=place.indoor)
    return Scene(place, random_light(drawn if place.indoor or hour is None else hour, rng))


def random_distortion(rng: np.random.Generator, size_px: tuple[int, int], fov_deg: float) -> tuple[float, ...]:
    """k1, k2, p1, p2, k3 of a lens that pulls the corners in by up to 16 % (a little out at times); one to one
    everywhere, also beyond the picture."""
    corner = float(np.hypot(*size_px) / size_px[0] * np.tan(np.radians(fov_deg) / 2))
    pull = float(rng.uniform(-0.02, 0.16))
    return -pull / corner**2, 0.15 * pull / corner**4, *(float(v) for v in rng.normal(0, 0.0008, 2)), 0.0


def random_camera(
    place: Place, rng: np.random.Generator, size_px: tuple[int, int], *, mount: int | None = None, bent: bool = True,
    look: SensorLook | None = None,
) -> DrawnCamera:  # fmt: skip
    """A camera on one of the place's mounts that looks at people's middle somewhere near the centre."""
    chosen = int(rng.integers(len(place.mounts))) if mount is None else mount
    position = np.array(place.mounts[chosen % len(place.mounts)])
    left, bottom, right, top = place.bounds
    target = np.array([rng.uniform(left, right) * 0.3, rng.uniform(bottom, top) * 0.3, rng.uniform(0.2, 1.1)])
    if np.hypot(*(target - position)[:2]) < 2.5:
        target[:2] = position[:2] + 2.5 * _unit(-position[:2] + (0.01, 0.0))
    fov = float(rng.uniform(52, 92))
    return camera_at(
        position,
        target,
        size_px=size_px,
        fov_deg=fov,
        distortion=random_distortion(rng, size_px, fov) if bent else (0.0,) * 5,
        look=look or random_look(rng),
        roll=float(rng.normal(0, 0.015)),
    )


def free_spot(place: Place, rng: np.random.Generator, others: Sequence[Float64] = ()) -> Float64 | None:
    """A point where somebody can stand, or None where there is no room."""
    left, bottom, right, top = place.bounds
    for _ in range(_TRIES):
        spot = np.array([rng.uniform(left + _WALL_M, right - _WALL_M), rng.uniform(bottom + _WALL_M, top - _WALL_M)])
        if is_free(place, spot) and all(np.hypot(*(spot - other)) > _APART_M for other in others):
            return spot
    return None


def is_free(place: Place, spot: Float64) -> bool:
    """Whether a point is inside the place and in none of its obstacles."""
    left, bottom, right, top = place.bounds
    if not (left <= spot[0] <= right and bottom <= spot[1] <= top):
        return False
    if not len(place.obstacles):
        return True
    return bool((np.hypot(*(place.obstacles[:, :2] - spot).T) > place.obstacles[:, 2] + 0.3).all())


def random_cast(place: Place, people: Sequence[Person], rng: np.random.Generator) -> list[tuple[int, Posed]]:
    """(person, pose) of as many of `people` as find room; some stand, some go in pairs."""
    cast: list[tuple[int, Posed]] = []
    spots: list[Float64] = []
    heading, stands = 0.0, False
    for number, person in enumerate(people):
        spot = None
        if cast and rng.random() < _PAIR_SHARE:
            beside = spots[-1] + rng.uniform(0.6, 0.8) * np.array([-np.sin(heading), np.cos(heading)])
            if is_free(place, beside) and all(np.hypot(*(beside - other)) > _APART_M for other in spots):
                spot = beside
        if spot is None:
            spot = free_spot(place, rng, spots)
            heading, stands = float(rng.uniform(-np.pi, np.pi)), bool(rng.random() < _STANDING_SHARE)
        if spot is None:
            continue
        turned = heading + float(rng.normal(0, 0.12))
        stir = 0.0 if stands else float(rng.uniform(0.75, 1.1))
        cast.append((number, pose(person, spot, turned, cycle=float(rng.random()), stir=stir)))
        spots.append(spot)
    return cast


def _unit(vector: Float64) -> Float64:
    return np.asarray(vector / np.linalg.norm(vector))
