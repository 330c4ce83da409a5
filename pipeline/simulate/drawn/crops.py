"""Tracklets of one person in one camera, drawn straight as crops: only the window around the person is drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.simulate.drawn.gpu import LoadedPerson, LoadedPlace
from pipeline.simulate.drawn.light import Light
from pipeline.simulate.drawn.optics import DrawnCamera, apply_look
from pipeline.simulate.drawn.people import Person, Posed, pose
from pipeline.simulate.drawn.places import Place
from pipeline.simulate.drawn.renderer import Renderer
from pipeline.simulate.drawn.staging import free_spot, is_free
from pipeline.types import Float64, UInt8

_STEP_S = 0.25  # between the crops of a tracklet
_TRIES, _STROLL_TRIES = 24, 400
_LEAST_SEEN = 0.5  # of what a tracklet's person covers of the crop where nothing stands before them
_USUAL_COVER = 0.3  # share of the crop that an unhidden person covers
_BODY_MARGIN_M = 0.03
_SHADOW_REACH_M = 4.0
_OTHERS_SHARES = (0.45, 0.33, 0.22)  # nobody, one or two others near the person


class NobodySeenError(ValueError):
    """A camera sees no point where somebody could stand."""


@dataclass(frozen=True, eq=False)
class Studio:
    """A camera in a place, and the people who happen to be there too."""

    place: LoadedPlace
    light: Light
    camera: DrawnCamera
    others: Sequence[tuple[Person, LoadedPerson]]


@dataclass(frozen=True, eq=False)
class Stroll:
    """Somebody who goes straight on, or stands."""

    person: Person
    start: Float64  # (2,)
    heading: float
    stir: float
    cycle: float

    def at(self, time_s: float) -> Posed:
        metres = self.person.stride_m * self.stir * time_s  # about one stride a second
        where = self.start + metres * np.array([np.cos(self.heading), np.sin(self.heading)])
        return pose(self.person, where, self.heading, cycle=self.cycle + self.stir * time_s, stir=self.stir)


def draw_tracklet(
    renderer: Renderer, studio: Studio, person: Person, loaded: LoadedPerson, *, crops: int,
    size_px: tuple[int, int], rng: np.random.Generator,
) -> list[UInt8]:  # fmt: skip
    """`crops` pictures (height, width, 3) BGR of the person walking through the camera, as a detector would cut them.

    What it returns is decided by `rng` alone. size_px: width and height of the crops. Raises NobodySeenError.
    """
    for attempt in range(_TRIES):
        stroll = random_stroll(studio.place.place, studio.camera, person, crops, rng)
        others = _random_others(studio, stroll, rng)
        gain = float(rng.uniform(0.85, 1.15))  # the camera's exposure drifts over the day
        pictures, seen = [], []
        for image, share in _crops(renderer, studio, loaded, stroll, others, crops, size_px, gain, rng):
            pictures.append(image)
            seen.append(share)
            if share < _LEAST_SEEN and len(seen) == 1 and attempt < _TRIES - 1:
                break
        if len(pictures) == crops and (np.mean(seen) >= _LEAST_SEEN or attempt == _TRIES - 1):
            break
    return pictures


def _crops(
    renderer: Renderer, studio: Studio, loaded: LoadedPerson, stroll: Stroll,
    others: Sequence[tuple[LoadedPerson, Stroll]], crops: int, size_px: tuple[int, int], gain: float,
    rng: np.random.Generator,
) -> Iterator[tuple[UInt8, float]]:  # fmt: skip
    """Pictures and how much of the person is seen in each (1 = as much as when nothing is in the way)."""
    camera, samples = studio.camera, renderer.samples
    sloppy = float(rng.choice([0.025, 0.06], p=[0.75, 0.25]))  # how exact the detector's boxes are
    for frame in range(crops):
        time_s = (frame - crops / 2) * _STEP_S
        posed = stroll.at(time_s)
        cast = [(loaded, posed), *((other, walk.at(time_s)) for other, walk in others)]
        x, y = posed.xy
        focus = (x - _SHADOW_REACH_M, y - _SHADOW_REACH_M, x + _SHADOW_REACH_M, y + _SHADOW_REACH_M)
        renderer.set_stage(studio.place, studio.light, cast, focus)
        window = _jittered(_body_box(camera, posed), sloppy, rng)
        native = _native_size(window, size_px)
        drawing = renderer.draw_flat(
            camera.projection(window), native[0] * samples, native[1] * samples, exposure=camera.look.exposure * gain
        )
        share = float(np.mean(drawing.ids == 1)) / _USUAL_COVER
        small = np.asarray(cv2.resize(drawing.samples, native, interpolation=cv2.INTER_AREA), np.uint8)
        seen = apply_look(small, camera.look, rng)
        yield np.asarray(cv2.resize(seen, size_px, interpolation=cv2.INTER_LINEAR), np.uint8), share


def _native_size(window: tuple[float, float, float, float], size_px: tuple[int, int]) -> tuple[int, int]:
    """Width and height with as many pixels as the camera has for the window, up to those of the crops."""
    height = int(np.clip(window[3] - window[1], 32, size_px[1]))
    return max(12, round((window[2] - window[0]) / (window[3] - window[1]) * height)), height


def _body_box(camera: DrawnCamera, posed: Posed) -> Float64:
    """(4,) xyxy of the body in the flat picture, from points on it and a little for the clothes."""
    pixels, depth = camera.flat_pixels(posed.outline_points())
    margin = _BODY_MARGIN_M * camera.intrinsic[0, 0] / float(depth.mean())
    return np.concatenate([pixels.min(axis=0) - margin, pixels.max(axis=0) + margin]) + 0.5


def _jittered(box: Float64, spread: float, rng: np.random.Generator) -> tuple[float, float, float, float]:
    size = np.array([box[2] - box[0], box[3] - box[1]] * 2)
    outward = np.array([-0.04, -0.015, 0.04, 0.015])
    left, top, right, bottom = (float(v) for v in box + (outward + rng.normal(0, spread, 4)) * size)
    return left, top, right, bottom


def random_stroll(place: Place, camera: DrawnCamera, person: Person, crops: int, rng: np.random.Generator) -> Stroll:
    """A short walk that stays inside the place and the picture. Somebody who can not walk anywhere stands.

    Raises NobodySeenError where the camera sees nobody wherever they stand.
    """
    for attempt in range(_STROLL_TRIES):
        spot = free_spot(place, rng)
        if spot is None:
            continue
        stands = rng.random() < 0.12 or attempt > _STROLL_TRIES // 2
        stir = 0.0 if stands else float(rng.uniform(0.8, 1.1))
        stroll = Stroll(person, spot, float(rng.uniform(-np.pi, np.pi)), stir, float(rng.random()))
        if _stays_in_view(place, camera, stroll, crops / 2 * _STEP_S):
            return stroll
    raise NobodySeenError(f"a camera of the {place.kind} sees no point where somebody could stand")


def _stays_in_view(place: Place, camera: DrawnCamera, stroll: Stroll, half_s: float) -> bool:
    for time_s in (-half_s, half_s)[: 2 if stroll.stir else 1]:
        posed = stroll.at(time_s)
        if not is_free(place, posed.xy):
            return False
        pixels, depth = camera.flat_pixels(posed.outline_points())
        if depth.min() < 0.6:
            return False
        size = pixels.max(axis=0) - pixels.min(axis=0)
        seen = camera.distorted(pixels)
        inside = (seen > -0.1 * size).all() and (seen < (camera.width_px, camera.height_px) + 0.1 * size).all()
        if not inside or not 48 <= size[1] <= 640:
            return False
    return True


def _random_others(studio: Studio, stroll: Stroll, rng: np.random.Generator) -> list[tuple[LoadedPerson, Stroll]]:
    """A few people near the person: beside, behind or in front; some go along."""
    chosen = rng.permutation(len(studio.others))[: int(rng.choice(3, p=_OTHERS_SHARES))]
    found = []
    for index in chosen:
        person, loaded = studio.others[int(index)]
        away = rng.normal(0, 0.8, 2)
        away += 0.45 * away / max(float(np.linalg.norm(away)), 1e-6)
        heading = stroll.heading if rng.random() < 0.5 else float(rng.uniform(-np.pi, np.pi))
        found.append((loaded, Stroll(person, stroll.start + away, heading, stroll.stir, float(rng.random()))))
    return found
