"""Draws posed people in a place: colours and the id of the person at every sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import cv2
import numpy as np

from pipeline.simulate.drawn.device import open_context
from pipeline.simulate.drawn.gpu import LoadedPerson, LoadedPlace, PersonPrograms, PlacePrograms, matrix_bytes
from pipeline.simulate.drawn.light import Light
from pipeline.simulate.drawn.optics import DrawnCamera
from pipeline.simulate.drawn.people import Person, Posed
from pipeline.simulate.drawn.places import Place
from pipeline.simulate.drawn.programs import set_matrix, set_uniform
from pipeline.simulate.drawn.targets import Targets
from pipeline.types import BoolMask, Float64, UInt8

MAX_PEOPLE = 254  # ids are bytes
Window = tuple[float, float, float, float]

_NO_MAP = np.zeros((0, 0), np.int16)  # what OpenCV takes for none
_CONTACT_TEXELS_PER_M = 12
_CONTACT_RADIUS_M = 0.26


@dataclass(frozen=True, eq=False)
class Drawing:
    """samples: (H * s, W * s, 3) uint8 BGR; ids: (H * s, W * s) uint8, row of the person + 1, 0 = nobody."""

    samples: UInt8
    ids: UInt8


@dataclass(frozen=True, eq=False)
class Bend:
    """From every sample of a picture to the flat drawing, in cv2.remap's fixed-point forms."""

    smooth: tuple[Any, Any]
    nearest: Any  # (H * s, W * s, 2) int16 column and row


class Renderer:
    """Owns the OpenGL context, the programs and the framebuffers. One per process; close it, or use it in a `with`.

    samples: drawn samples per pixel and axis.
    """

    def __init__(self, samples: int = 2) -> None:
        import moderngl

        self.samples = samples
        self._context = open_context()
        self._context.enable(moderngl.DEPTH_TEST)
        self._context.front_face = "cw"  # pictures are drawn with rows running downwards
        self._targets = Targets(self._context)
        self._people = PersonPrograms(self._context)
        self._places = PlacePrograms(self._context)
        self._bends: WeakKeyDictionary[DrawnCamera, Bend] = WeakKeyDictionary()
        self._stage: tuple[list[LoadedPerson], LoadedPlace, Light] | None = None

    def __enter__(self) -> Renderer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._context.release()

    def load_person(self, person: Person) -> LoadedPerson:
        """Bring a person to the device; release() it when done."""
        return self._people.load(person)

    def load_place(self, place: Place) -> LoadedPlace:
        return self._places.load(place)

    def set_stage(
        self, place: LoadedPlace, light: Light, cast: Sequence[tuple[LoadedPerson, Posed]], focus: Window | None = None
    ) -> None:
        """Who stands how, where, in what light: skins the people and draws what the sun sees, once for all cameras.

        focus: left, bottom, right, top in metres of the floor where shadows matter; default: the whole place.
        """
        if len(cast) > MAX_PEOPLE:
            raise ValueError(f"{len(cast)} people in one drawing; at most {MAX_PEOPLE} can be told apart")
        self._targets.bind_noise()
        self._targets.picture(64, 64).use()  # surfaceless EGL captures nothing while no framebuffer is bound
        for loaded, posed in cast:
            self._people.skin(loaded, posed.bones)
        people = [loaded for loaded, _ in cast]
        area = focus or place.place.bounds
        shadow = _shadow_matrix(light, area)
        self._cast_shadows(people, place, shadow)
        contact = _contact_map([posed.xy for _, posed in cast], area)
        self._targets.set_contact_map(contact)
        for programs in (self._people.paint.values(), self._places.paint.values()):
            for program in programs:
                _set_light(program, light, shadow)
        self._places.set_contact_area(area)
        self._places.set_sky(light)
        self._stage = people, place, light

    def draw(self, camera: DrawnCamera) -> Drawing:
        """The stage as this camera's lens shows it, before sensor and encoder."""
        left, top, right, bottom = camera.flat_window
        width, height = round(right - left) * self.samples, round(bottom - top) * self.samples
        projection = camera.projection(camera.flat_window)
        flat = self.draw_flat(projection, width, height, exposure=camera.look.exposure)
        bend = self.bend(camera)
        samples = cv2.remap(flat.samples, *bend.smooth, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        ids = cv2.remap(flat.ids, bend.nearest, _NO_MAP, cv2.INTER_NEAREST)
        return Drawing(np.asarray(samples, np.uint8), np.asarray(ids, np.uint8))

    def bend(self, camera: DrawnCamera) -> Bend:
        """The maps of a camera's lens, kept for as long as the camera lives."""
        if camera not in self._bends:
            maps = camera.bending(self.samples)
            nearest, _ = cv2.convertMaps(*maps, cv2.CV_16SC2, nninterpolation=True)
            self._bends[camera] = Bend(cv2.convertMaps(*maps, cv2.CV_16SC2), nearest)
        return self._bends[camera]

    def draw_flat(self, projection: Float64, width: int, height: int, *, exposure: float = 1.0) -> Drawing:
        """The stage through a projection matrix, at `width` x `height` samples."""
        if self._stage is None:
            raise RuntimeError("call set_stage first")
        people, place, light = self._stage
        for program in (*self._people.paint.values(), *self._places.paint.values()):
            set_uniform(program, "exposure", exposure * light.exposure)
        target = self._targets.picture(width, height)
        target.use()
        target.clear(depth=1.0)
        target.viewport = (0, 0, width, height)
        self._targets.bind_textures()
        matrix = matrix_bytes(projection)
        target.color_mask = ((False,) * 4, (False,) * 4)
        self._people.draw_depth(people, matrix)
        target.color_mask = ((True,) * 4, (True,) * 4)
        self._context.depth_func = "<"
        self._places.draw(place, matrix)
        self._places.draw_sky(projection)
        self._context.depth_func = "=="
        self._people.draw(people, matrix)
        self._context.depth_func = "<"
        return Drawing(*self._targets.read_picture(width, height))

    def silhouette(self, posed_row: int, projection: Float64, width: int, height: int) -> BoolMask:
        """(height, width) where the person of this row of the cast would be if nothing stood before them."""
        if self._stage is None:
            raise RuntimeError("call set_stage first")
        target = self._targets.outline(width, height)
        target.use()
        target.clear(depth=1.0)
        target.viewport = (0, 0, width, height)
        self._people.draw_depth([self._stage[0][posed_row]], matrix_bytes(projection))
        return self._targets.read_outline(width, height)

    def _cast_shadows(self, people: Sequence[LoadedPerson], place: LoadedPlace, shadow: Float64) -> None:
        target = self._targets.shadow
        target.use()
        target.clear(depth=1.0)
        self._people.draw_depth(people, matrix_bytes(shadow), cull=False)
        self._places.draw_depth(place, matrix_bytes(shadow))


def _shadow_matrix(light: Light, area: Window) -> Float64:
    """(4, 4) world -> the sun's view of the floor in `area`."""
    left, bottom, right, top = area
    sun = np.array(light.towards_sun)
    across = np.cross(-sun, [0.0, 0.0, 1.0])
    across /= np.linalg.norm(across)
    view = np.eye(4)
    view[:3, :3] = np.stack([across, np.cross(-sun, across), -sun])
    view[:3, 3] = -view[:3, :3] @ np.array([(left + right) / 2, (bottom + top) / 2, 0.0])
    half = float(np.hypot(right - left, top - bottom)) / 2 + 1.5
    return np.asarray(np.diag([1 / half, 1 / half, 1 / 60.0, 1.0]) @ view)


def _contact_map(feet: Sequence[Float64], area: Window) -> UInt8:
    """How dark the floor is around feet, as a picture of `area` with its first row at the bottom edge."""
    left, bottom, right, top = area
    width, height = (max(8, round(side * _CONTACT_TEXELS_PER_M)) for side in (right - left, top - bottom))
    shade = np.zeros((height, width), np.uint8)
    for x, y in feet:
        centre = round((x - left) * _CONTACT_TEXELS_PER_M), round((y - bottom) * _CONTACT_TEXELS_PER_M)
        cv2.circle(shade, centre, round(_CONTACT_RADIUS_M * _CONTACT_TEXELS_PER_M), 190, -1)
    return np.asarray(cv2.GaussianBlur(shade, (0, 0), 0.16 * _CONTACT_TEXELS_PER_M), np.uint8)


def _set_light(program: Any, light: Light, shadow: Float64) -> None:
    set_uniform(program, "sun_direction", light.towards_sun)
    set_uniform(program, "sun_colour", light.sun)
    set_uniform(program, "sky_colour", light.sky)
    set_uniform(program, "floor_colour", light.floor)
    set_uniform(program, "lamp_colour", light.lamps)
    set_uniform(program, "lamp_spacing", light.lamp_spacing_m)
    set_uniform(program, "shadow_blur", light.shadow_blur)
    set_matrix(program, "shadow_matrix", matrix_bytes(shadow))
