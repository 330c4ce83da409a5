"""A map of the floor with the paths of the people, seen from above: x to the right, y up, in metres."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from pipeline.sinks import colours
from pipeline.sinks.drawing import draw_label, draw_text, text_width
from pipeline.types import Float64, FusedFrame, UInt8

_LONGEST_TRAIL = 512  # points
_LEAST_STEP_PX = 26
_CURRENT_STEPS = 1.5  # a camera's dots stay for so many of its steps between frames
_LONGEST_STEP_S = 1.0
_STEPS_M = (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
_MARGIN = 0.04  # of the map's smaller side
_SHIFT = 3  # cv2 draws to 1/8 px


@dataclass(slots=True)
class _Trail:
    """The last steps of one track of one camera on the floor."""

    global_id: int = 0
    points: deque[tuple[float, float, float]] = field(default_factory=lambda: deque(maxlen=_LONGEST_TRAIL))  # t, x, y


class FloorMap:
    """Where each camera sees each person, with the path of the last seconds. Memory is bounded by what is in sight."""

    def __init__(self, bounds_m: tuple[float, float, float, float], num_cameras: int, *, trail_s: float) -> None:
        """`bounds_m`: (xmin, ymin, xmax, ymax) of what is shown; `trail_s`: length of the paths."""
        xmin, ymin, xmax, ymax = bounds_m
        if not (all(map(math.isfinite, bounds_m)) and xmin < xmax and ymin < ymax):
            raise ValueError(f"floor bounds: want xmin < xmax and ymin < ymax in metres, got {bounds_m}")
        self._bounds_m = bounds_m
        self._trail_s = trail_s
        self._turn = 2 * math.pi / min(max(num_cameras, 4), 8)
        self._trails: dict[tuple[int, int], _Trail] = {}  # (camid, track_id)
        self._camera_times: dict[int, tuple[float, float]] = {}  # of the last frame, and the step that led to it
        self._background: UInt8 = np.zeros((0, 0, 3), np.uint8)

    def update(self, frames: Sequence[FusedFrame]) -> None:
        """Take in one tick."""
        for frame in frames:
            before_s, _ = self._camera_times.get(frame.camid, (frame.time_s, 0.0))
            self._camera_times[frame.camid] = frame.time_s, min(frame.time_s - before_s, _LONGEST_STEP_S)
            known = dict(
                zip(frame.global_tracks.track_id.tolist(), frame.global_tracks.global_id.tolist(), strict=True)
            )
            for track_id, (x, y) in zip(frame.tracks.track_id.tolist(), frame.ground_xy.tolist(), strict=True):
                if math.isfinite(x) and math.isfinite(y):
                    trail = self._trails.setdefault((frame.camid, track_id), _Trail())
                    trail.global_id = known.get(track_id, trail.global_id)
                    if trail.points and frame.time_s - trail.points[-1][0] > _LONGEST_STEP_S:
                        trail.points.clear()  # nobody saw the way in between
                    trail.points.append((frame.time_s, x, y))

    def draw(self, picture: UInt8, time_s: float, *, text_px: int) -> None:
        """Draw the map as of now over the whole `picture` (H, W, 3)."""
        self._forget(time_s - self._trail_s)
        if self._background.shape != picture.shape:
            self._background = self._draw_grid(picture.shape, text_px)
        picture[:] = self._background
        current: dict[int, list[tuple[float, float]]] = {}
        for (camid, _), trail in sorted(self._trails.items()):
            path = self._to_pixels([point[1:] for point in trail.points], picture)
            colour = colours.colour_of(trail.global_id)
            faint = tuple((2 * c + 3 * b) // 5 for c, b in zip(colour, colours.BACKGROUND, strict=True))
            steps = np.round(path * (1 << _SHIFT)).astype(np.int32)
            cv2.polylines(picture, [steps], False, faint, 1, cv2.LINE_AA, _SHIFT)
            last_s, step_s = self._camera_times[camid]
            if trail.points[-1][0] >= last_s and time_s - last_s <= _CURRENT_STEPS * step_s:
                self._draw_dot(picture, path[-1], colour, camid, text_px)
                current.setdefault(trail.global_id, []).append((float(path[-1, 0]), float(path[-1, 1])))
        self._draw_names(picture, current, text_px)

    def grid_m(self, picture: UInt8) -> float:
        """Metres between the lines of the grid on a map of this size."""
        scale, _, _ = self._scale(picture.shape)
        return next((step for step in _STEPS_M if step * scale >= _LEAST_STEP_PX), _STEPS_M[-1])

    def _forget(self, before_s: float) -> None:
        for key in [key for key, trail in self._trails.items() if trail.points[-1][0] < before_s]:
            del self._trails[key]
        for trail in self._trails.values():
            while trail.points[0][0] < before_s:
                trail.points.popleft()

    def _draw_dot(self, picture: UInt8, place: Float64, colour: colours.Colour, camid: int, text_px: int) -> None:
        """A dot and the camera's letter beside it, in a direction of its own so that letters do not collide."""
        x, y = place.tolist()
        centre = round(x * (1 << _SHIFT)), round(y * (1 << _SHIFT))
        radius = max(2.5, 0.3 * text_px)
        cv2.circle(picture, centre, round((radius + 1) * (1 << _SHIFT)), colours.BLACK, cv2.FILLED, cv2.LINE_AA, _SHIFT)
        cv2.circle(picture, centre, round(radius * (1 << _SHIFT)), colour, cv2.FILLED, cv2.LINE_AA, _SHIFT)
        angle = 0.75 * math.pi + camid * self._turn
        letter = letter_of(camid)
        size_px = max(8, round(0.85 * text_px))
        left = x + 1.25 * text_px * math.cos(angle) - 0.5 * text_width(letter, size_px, bold=True)
        baseline = y - 1.25 * text_px * math.sin(angle) + 0.36 * size_px
        draw_text(picture, letter, (round(left), round(baseline)), colour, size_px, bold=True)

    @staticmethod
    def _draw_names(picture: UInt8, current: Mapping[int, Sequence[tuple[float, float]]], text_px: int) -> None:
        """The number of each identity beside the middle of its dots, one above another where they would collide."""
        taken: list[tuple[int, int]] = []
        for global_id, places in sorted(current.items()):
            x, y = np.mean(places, axis=0)
            if not global_id or not (0 <= x < picture.shape[1] and 0 <= y < picture.shape[0]):
                continue
            left, bottom = round(x + 2.0 * text_px), round(y - 1.0 * text_px)
            while any(abs(left - other) < 3 * text_px and abs(bottom - low) < 1.3 * text_px for other, low in taken):
                bottom -= round(0.5 * text_px)
            taken.append((left, bottom))
            draw_label(picture, f"#{global_id}", (left, bottom), colours.colour_of(global_id), text_px)

    def _scale(self, shape: tuple[int, ...]) -> tuple[float, float, float]:
        """-> (pixels per metre, pixel x of xmin, pixel y of ymin)."""
        height, width = shape[:2]
        xmin, ymin, xmax, ymax = self._bounds_m
        margin = _MARGIN * min(height, width)
        scale = min((width - 2 * margin) / (xmax - xmin), (height - 2 * margin) / (ymax - ymin))
        return scale, (width - scale * (xmax - xmin)) / 2, (height + scale * (ymax - ymin)) / 2

    def _to_pixels(self, points_xy: Sequence[tuple[float, ...]], picture: UInt8) -> Float64:
        """(N, 2) metres -> (N, 2) pixels, held within what drawing can take."""
        scale, left, bottom = self._scale(picture.shape)
        xy = np.asarray(points_xy, np.float64).reshape(-1, 2) - self._bounds_m[:2]
        pixels = xy * (scale, -scale) + (left, bottom)
        return np.clip(pixels, -1e5, 1e5)

    def _draw_grid(self, shape: tuple[int, ...], text_px: int) -> UInt8:
        image = np.empty(shape, np.uint8)
        image[:] = colours.BACKGROUND
        height, width = shape[:2]
        scale, left, bottom = self._scale(shape)
        step = self.grid_m(image)
        xmin, ymin, _, _ = self._bounds_m
        size_px = max(8, round(0.85 * text_px))
        for number in range(math.floor((xmin - left / scale) / step), math.ceil((xmin + width / scale) / step) + 1):
            x = round(left + (number * step - xmin) * scale)
            cv2.line(image, (x, 0), (x, height), colours.GRID, 2 if number == 0 else 1)
            draw_text(image, f"{number * step:g}", (x + 3, height - 4), colours.FAINT_INK, size_px)
        for number in range(math.floor((ymin - height / scale) / step), math.ceil((ymin + height / scale) / step) + 1):
            y = round(bottom - (number * step - ymin) * scale)
            cv2.line(image, (0, y), (width, y), colours.GRID, 2 if number == 0 else 1)
            if y < height - 2 * size_px:
                draw_text(image, f"{number * step:g}", (3, y - 3), colours.FAINT_INK, size_px)
        return image


def letter_of(camid: int) -> str:
    """A, B, ... Z, AA, AB, ...: how the floor map calls a camera."""
    letters = ""
    number = camid + 1
    while number:
        number, digit = divmod(number - 1, 26)
        letters = chr(ord("A") + digit) + letters
    return letters
