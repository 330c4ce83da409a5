"""A small town to film: some places with cameras, and the people who walk between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.simulate.drawn.light import Hour
from pipeline.simulate.drawn.optics import DrawnCamera, SensorLook, camera_at
from pipeline.simulate.drawn.people import Person, random_person
from pipeline.simulate.drawn.places import Place, PlaceKind
from pipeline.simulate.drawn.staging import Scene, random_distortion, random_scene
from pipeline.simulate.drawn.walkers import Moment, Walkers

PLACE_ORDER: tuple[PlaceKind, ...] = ("square", "corridor", "shop", "platform")
_WARM_UP_S = 6.0


@dataclass(frozen=True, eq=False)
class TownCamera:
    name: str
    zone: int
    camera: DrawnCamera


@dataclass(frozen=True, eq=False)
class Town:
    zones: tuple[Scene, ...]
    cameras: tuple[TownCamera, ...]
    people: tuple[Person, ...]


def build_town(
    rng: np.random.Generator,
    *,
    cameras: int,
    overlapping: int,
    people: int,
    size_px: tuple[int, int],
    hour: Hour | None = None,
    places: Sequence[PlaceKind] = PLACE_ORDER,
) -> Town:
    """`overlapping` cameras look at the first place; each of the others has one of its own, the kinds in turn.

    hour: light outdoors.
    """
    num_zones = 1 + max(0, cameras - overlapping)
    zones = tuple(random_scene(rng, places[number % len(places)], hour) for number in range(num_zones))
    placed = []
    for number in range(cameras):
        zone = 0 if number < overlapping else number - overlapping + 1
        place = zones[zone].place
        names = [scene.place.kind for scene in zones[: zone + 1]]
        name = place.kind if names.count(place.kind) == 1 else f"{place.kind}-{names.count(place.kind)}"
        if zone == 0 and overlapping > 1:
            name += f"-{'abcdefghijklmnopqrstuvwxyz'[number]}"
        placed.append(TownCamera(name, zone, _town_camera(place, rng, size_px, 0 if zone else number)))
    return Town(zones, tuple(placed), tuple(random_person(rng) for _ in range(people)))


def play(
    town: Town, rng: np.random.Generator, *, fps: float, num_frames: int, between_s: tuple[float, float]
) -> list[Moment]:
    """Where everybody is in every frame; `between_s` is the range of seconds out of sight between two places."""
    walkers = Walkers([scene.place for scene in town.zones], town.people, rng, between_s=between_s)
    for _ in range(round(_WARM_UP_S * fps)):
        walkers.step(1 / fps)
    moments = []
    for _ in range(num_frames):
        moments.append(walkers.moment())
        walkers.step(1 / fps)
    return moments


def _town_camera(place: Place, rng: np.random.Generator, size_px: tuple[int, int], mount: int) -> DrawnCamera:
    """Looks at the middle of its place, with a mild sensor."""
    position = np.array(place.mounts[mount % len(place.mounts)])
    target = np.array([0.12 * position[0], 0.12 * position[1], 0.55])
    fov = float(rng.uniform(54, 68))
    look = SensorLook(
        exposure=float(rng.uniform(0.9, 1.15)),
        white_balance=tuple(float(v) for v in 1.0 + rng.normal(0, 0.03, 3)),  # type: ignore[arg-type]
        saturation=float(rng.uniform(0.8, 1.05)),
        vignette=float(rng.uniform(0.0, 0.2)),
        blur_px=float(rng.uniform(0.2, 0.5)),
        noise=float(rng.uniform(0.002, 0.006)),
        jpeg_quality=93,
    )
    return camera_at(
        position, target, size_px=size_px, fov_deg=fov, distortion=random_distortion(rng, size_px, fov), look=look
    )
