"""One camera's picture of one moment, and the exact truth about whom it shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.types import Float32, Float64, Int64, UInt8
from tests.tiny_site.people import LOOKS, Polygon, Pose, paint, pose
from tests.tiny_site.scenery import Scenery, draw_scenery
from tests.tiny_site.site import ROOMS, Camera
from tests.tiny_site.world import Moment

_FINE = 3  # people are drawn this many times larger and then scaled down
_SHIFT = 4  # fractional bits of polygon corners
_NEAREST_M = 0.6  # people nearer than this are out of every picture, and are not drawn
_NOISE_MARGIN = 64


@dataclass(frozen=True, eq=False)
class View:
    """What a camera shows of a moment. Row i of every array is one person of whom at least one pixel is seen."""

    image: UInt8  # (H, W, 3) BGR, coloured and noisy as the camera does it
    ids: UInt8  # (H, W) person + 1, 0 = nobody
    person: Int64  # (N,) 0-based
    full_xyxy: Float64  # (N, 4) the whole body, cut at the picture's edge
    visible_xyxy: Float64  # (N, 4) what is seen of it
    visibility: Float64  # (N,) share of the body's pixels that are seen
    ground_xy: Float64  # (N, 2) metres


@dataclass(frozen=True, eq=False)
class Cutout:
    """One person, drawn alone: a patch of the picture that may hang over its edges."""

    left: int
    top: int
    colour: Float32  # (h, w, 3)
    alpha: Float32  # (h, w)


class Artist:
    """Draws the views of one camera. Holds the empty room and the sensor's noise, so that they are made only once."""

    def __init__(self, camera: Camera) -> None:
        self.camera = camera
        self.scenery: Scenery = draw_scenery(camera)
        rows, cols = np.mgrid[0 : camera.height_px, 0 : camera.width_px]
        away = np.hypot(cols / camera.width_px - 0.5, rows / camera.height_px - 0.5)
        vignette = 1.04 - 0.34 * away**2
        self._look = (vignette[..., None] * np.array(camera.gain)).astype(np.float32)
        self._empty = np.asarray(np.clip(self.scenery.image * self._look, 0, 255), np.uint8)
        self._floor = np.isinf(self.scenery.depth)
        shape = (camera.height_px + _NOISE_MARGIN, camera.width_px + _NOISE_MARGIN, 3)
        grain = np.random.default_rng(0).standard_normal(shape) * camera.noise
        grain = 0.4 * grain + 0.9 * grain[..., :1]  # mostly brightness, a little colour
        self._grain = np.round(cv2.GaussianBlur(grain, (3, 3), 0.5)).astype(np.int16)

    def view(self, moment: Moment, rng: np.random.Generator) -> View:
        """Draw `moment`; `rng` makes the sensor's noise."""
        camera = self.camera
        here = np.flatnonzero(moment.in_hall == (camera.room == "hall"))
        bodies = [
            pose(LOOKS[moment.person[i]], moment.xy[i], moment.heading[i], moment.phase[i], moment.pace[i])
            for i in here
        ]
        ground = np.array([body.ground for body in bodies]).reshape(-1, 3)
        _, depth = camera.project(ground + np.array([0.0, 0.0, 1.0]))
        _, foot_depth = camera.project(ground)
        order = [k for k in np.argsort(-depth, kind="stable") if min(foot_depth[k], depth[k]) > _NEAREST_M]

        canvas, ids = self._empty.copy(), np.zeros(self._empty.shape[:2], np.uint8)
        for k in order:
            self._cast_shadow(canvas, bodies[k])
        solid: dict[int, tuple[Float64, int]] = {}
        for k in order:
            person = int(moment.person[here[k]])
            cutout = cut_out(paint(LOOKS[person], bodies[k], camera))
            bright = float(ROOMS[camera.room].light(ground[k, :2]))
            self._paste(canvas, ids, cutout, depth=float(depth[k]), bright=bright, label=person + 1)
            solid[k] = _extent(cutout.alpha > 0.5, cutout.left, cutout.top)
        return self._truth(self._add_noise(canvas, rng), ids, moment, here, solid)

    def _paste(self, canvas: UInt8, ids: UInt8, cutout: Cutout, *, depth: float, bright: float, label: int) -> None:
        """Lay a person over `canvas` and `ids`, except where a wall or a column stands nearer."""
        height, width = cutout.alpha.shape
        top, left = max(cutout.top, 0), max(cutout.left, 0)
        bottom, right = min(cutout.top + height, ids.shape[0]), min(cutout.left + width, ids.shape[1])
        if bottom <= top or right <= left:
            return
        into = np.s_[top:bottom, left:right]
        out_of = np.s_[top - cutout.top : bottom - cutout.top, left - cutout.left : right - cutout.left]
        alpha = cutout.alpha[out_of] * (self.scenery.depth[into] > depth)
        lit = cutout.colour[out_of] * self._look[into] * np.float32(bright)
        mixed = canvas[into] + alpha[..., None] * (lit - canvas[into])
        canvas[into] = np.clip(mixed, 0, 255).astype(np.uint8)
        ids[into][alpha > 0.5] = label

    def _cast_shadow(self, canvas: UInt8, body: Pose) -> None:
        """Darken the floor under a person softly."""
        angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        ring = 0.3 * np.stack([np.cos(angles), np.sin(angles), np.zeros(24)], axis=1)
        pixels, depth = self.camera.project(body.ground + np.array([0.06, 0.06, 0.0]) + ring)
        if depth.min() <= 0.1:
            return
        soft = max(1, int(0.09 * self.camera.intrinsic[0, 0] / depth.mean()))
        pad = 2 * soft + 2
        left, top = (int(v) for v in np.floor(pixels.min(axis=0)) - pad)
        right, bottom = (int(v) for v in np.ceil(pixels.max(axis=0)) + pad)
        mask = np.zeros((bottom - top, right - left), np.float32)
        cv2.fillPoly(mask, [np.round(pixels - (left, top)).astype(np.int32)], (0.42,))
        mask = np.asarray(cv2.blur(cv2.blur(mask, (soft, soft)), (soft, soft)), np.float32)
        height, width = self._floor.shape
        y0, y1, x0, x1 = max(top, 0), min(bottom, height), max(left, 0), min(right, width)
        if y1 > y0 and x1 > x0:
            dim = 1.0 - mask[y0 - top : y1 - top, x0 - left : x1 - left] * self._floor[y0:y1, x0:x1]
            canvas[y0:y1, x0:x1] = (canvas[y0:y1, x0:x1] * dim[..., None]).astype(np.uint8)

    def _add_noise(self, canvas: UInt8, rng: np.random.Generator) -> UInt8:
        """Another part of the grain every time."""
        y, x = (int(v) for v in rng.integers(0, _NOISE_MARGIN, 2))
        height, width = canvas.shape[:2]
        grain = self._grain[y : y + height, x : x + width]
        return np.asarray(cv2.add(canvas, grain, dtype=cv2.CV_8U), np.uint8)

    def _truth(
        self, image: UInt8, ids: UInt8, moment: Moment, here: Int64, solid: dict[int, tuple[Float64, int]]
    ) -> View:
        edge = np.array([self.camera.width_px, self.camera.height_px] * 2, np.float64)
        rows: list[tuple[int, Float64, Float64, float]] = []
        for k in sorted(solid):
            full, num_pixels = solid[k]
            seen, num_seen = _extent(ids == moment.person[here[k]] + 1, 0, 0)
            if num_seen > 0:
                rows.append((here[k], np.clip(full, 0, edge), seen, num_seen / num_pixels))
        at = np.array([row[0] for row in rows], np.int64)
        return View(
            image,
            ids,
            moment.person[at],
            np.array([row[1] for row in rows]).reshape(-1, 4),
            np.array([row[2] for row in rows]).reshape(-1, 4),
            np.array([row[3] for row in rows]),
            moment.xy[at].reshape(-1, 2),
        )


def cut_out(polygons: Sequence[Polygon]) -> Cutout:
    """Draw polygons on a patch of their own, with smooth edges."""
    corners = np.concatenate([outline for outline, _ in polygons])
    left, top = (int(v) for v in np.floor(corners.min(axis=0)) - 2)
    right, bottom = (int(v) for v in np.ceil(corners.max(axis=0)) + 3)
    shape = ((bottom - top) * _FINE, (right - left) * _FINE)
    colour, mask = np.zeros((*shape, 3), np.uint8), np.zeros(shape, np.uint8)
    scale = _FINE * (1 << _SHIFT)
    for outline, fill in polygons:
        # a pixel's centre is its whole number; the corner of the patch lies half a pixel before its first one
        fixed = np.round((outline - (left - 0.5, top - 0.5)) * scale - scale / _FINE / 2).astype(np.int32)
        cv2.fillPoly(colour, [fixed], fill, cv2.LINE_8, _SHIFT)
        cv2.fillPoly(mask, [fixed], 255, cv2.LINE_8, _SHIFT)
    size = (right - left, bottom - top)
    alpha = np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_AREA) / 255.0, np.float32)
    small = np.asarray(cv2.resize(colour, size, interpolation=cv2.INTER_AREA), np.float32)
    return Cutout(left, top, np.asarray(small / np.maximum(alpha, 1e-3)[..., None], np.float32), alpha)


def _extent(mask: np.ndarray, left: int, top: int) -> tuple[Float64, int]:
    """Bounding box (xyxy, pixel edges) and number of the pixels that are set; the box is zero where none is."""
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return np.zeros(4), 0
    box = np.array([cols[0] + left, rows[0] + top, cols[-1] + 1 + left, rows[-1] + 1 + top], np.float64)
    return box, int(np.count_nonzero(mask))
