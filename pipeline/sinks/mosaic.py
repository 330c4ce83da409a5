"""One picture of all cameras, side by side, with the boxes of the people in the colours of their identities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median

import cv2
import numpy as np

from pipeline.sinks import colours
from pipeline.sinks.drawing import draw_box, draw_label, draw_text, letterbox, shortened, text_width
from pipeline.sinks.floor_map import FloorMap, letter_of
from pipeline.sinks.layout import Layout, grid_layout
from pipeline.types import FusedFrame, UInt8

_SMALLEST_PICTURE_PX = 480  # a picture smaller than this may be enlarged to it
_STALE_INTERVALS = 2.5
_EPOCH_S = 1e8  # later than this, a time counts from 1970
_DIMMED = 0.35


@dataclass(slots=True)
class _View:
    """What is known of one camera: when its last picture came, the usual step between two, and whether it is silent."""

    time_s: float
    interval_s: float = 0.0
    silent: bool = False


class Mosaic:
    """Draws tick after tick into one canvas; a camera without a new picture keeps its last one.

    The grid is laid out after the first pictures, and when cameras come or go. A picture that comes in another size
    later is fitted in.
    """

    def __init__(
        self, camera_names: Sequence[str], *, max_size: tuple[int, int], stale_s: float, floor: FloorMap | None = None
    ) -> None:
        """`max_size` (width, height) px; a camera is silent after `stale_s` or 2.5 of its steps without a frame."""
        self._names = tuple(camera_names)
        self._tiles = tuple(range(len(self._names)))  # camids in the order of their tiles
        self._next: tuple[tuple[str, ...], tuple[int, ...]] | None = None  # names and tiles from the next picture on
        self._max_size = max_size
        self._shape = (1.0, 0)  # aspect and largest width of the pictures
        self._stale_s = stale_s
        self._floor = floor
        self._views: dict[int, _View] = {}
        self._layout: Layout | None = None
        self._canvas: UInt8 = np.zeros((0, 0, 3), np.uint8)

    def follow(self, camera_names: Sequence[str], shown: Sequence[int]) -> None:
        """Other cameras from the next picture on: names by camid, and the camids that are shown; from any thread.

        The picture keeps its size, and the tiles share it anew.
        """
        self._next = tuple(camera_names), tuple(shown)

    def draw(self, frames: Sequence[FusedFrame], time_s: float) -> UInt8:
        """The picture (H, W, 3) after one tick, which has at least one preview the first time.

        H and W are even and never change. The canvas is the mosaic's own: it is drawn over by the next call.
        """
        layout = self._layout or self._begin(frames)
        if self._next is not None:
            (self._names, self._tiles), self._next = self._next, None
            layout = self._lay_out((self._canvas.shape[1], self._canvas.shape[0]))
        for frame in frames:
            if frame.preview.size and frame.camid in self._tiles:
                self._draw_camera(layout, frame)
        for camid, view in self._views.items():
            allowed_s = max(self._stale_s, _STALE_INTERVALS * view.interval_s)
            if camid in self._tiles and not view.silent and time_s - view.time_s > allowed_s:
                view.silent = True
                self._draw_silence(layout, camid, f"no signal since {clock(view.time_s)}")
        if self._floor:
            self._floor.update(frames)
            self._draw_floor(layout, self._floor, time_s)
        return self._canvas

    def _begin(self, frames: Sequence[FusedFrame]) -> Layout:
        shapes = [frame.preview.shape for frame in frames if frame.preview.size]
        aspect = median(width / height for height, width, _ in shapes)
        self._shape = aspect, max(_SMALLEST_PICTURE_PX, *(width for _, width, _ in shapes))
        if self._next is not None:
            (self._names, self._tiles), self._next = self._next, None
        return self._lay_out(self._max_size)

    def _lay_out(self, max_size: tuple[int, int]) -> Layout:
        num_tiles = len(self._tiles) + (self._floor is not None)
        layout = self._layout = grid_layout(num_tiles, self._shape[0], max_size, self._shape[1])
        if not self._canvas.size:
            self._canvas = np.empty((*layout.size[::-1], 3), np.uint8)
        self._canvas[:] = colours.BACKGROUND
        for tile, camid in enumerate(self._tiles):
            strip, picture = self._parts(layout, tile)
            picture[:] = 0
            self._draw_strip(strip, self._names[camid], "", camid)
            _draw_notice(picture, "no signal yet", layout.strip_h)
        return layout

    def _parts(self, layout: Layout, tile: int) -> tuple[UInt8, UInt8]:
        """Views of the canvas: (strip for text, picture). The floor map, the last tile, has the rest of its row."""
        left, top = layout.corner(tile)
        middle = top + layout.strip_h
        columns = slice(left, None if tile == len(self._tiles) else left + layout.picture_w)
        return self._canvas[top:middle, columns], self._canvas[middle : middle + layout.picture_h, columns]

    def _draw_camera(self, layout: Layout, frame: FusedFrame) -> None:
        view = self._views.setdefault(frame.camid, _View(frame.time_s))
        if not view.silent:
            view.interval_s = max(0.0, frame.time_s - view.time_s)
        view.time_s, view.silent = frame.time_s, False
        strip, picture = self._parts(layout, self._tiles.index(frame.camid))
        scale, left, top = letterbox(frame.preview, picture)
        size_px = max(9, round(0.62 * layout.strip_h))
        known = dict(zip(frame.global_tracks.track_id.tolist(), frame.global_tracks.global_id.tolist(), strict=True))
        boxes = frame.tracks.xyxy.astype(np.float64) * (frame.preview_scale * scale) + (left, top, left, top)
        identities = [known.get(track_id, 0) for track_id in frame.tracks.track_id.tolist()]
        far_to_near = np.argsort(boxes[:, 3], kind="stable").tolist()
        thickness_px = 1 if layout.picture_h < 220 else 2
        for row in far_to_near:
            draw_box(picture, boxes[row], colours.colour_of(identities[row]), thickness_px)
        for row in far_to_near:
            text = f"#{identities[row]}" if identities[row] else "?"
            corner = round(boxes[row, 0]) - thickness_px // 2, round(boxes[row, 1])
            draw_label(picture, text, corner, colours.colour_of(identities[row]), size_px)
        note = f"{clock(frame.time_s)}   frame {frame.frame_idx}"
        self._draw_strip(strip, self._names[frame.camid], note, frame.camid)

    def _draw_silence(self, layout: Layout, camid: int, notice: str) -> None:
        _, picture = self._parts(layout, self._tiles.index(camid))
        picture[:] = cv2.convertScaleAbs(picture, alpha=_DIMMED)
        _draw_notice(picture, notice, layout.strip_h)

    def _draw_floor(self, layout: Layout, floor: FloorMap, time_s: float) -> None:
        strip, picture = self._parts(layout, len(self._tiles))
        floor.draw(picture, time_s, text_px=max(9, round(0.5 * layout.strip_h)))
        self._draw_strip(strip, "floor", f"grid {floor.grid_m(picture):g} m", None)

    def _draw_strip(self, strip: UInt8, name: str, note: str, camid: int | None) -> None:
        """The line above a picture: the camera's letter (where a floor map uses it) and name, right its time."""
        strip[:] = colours.STRIP
        height, width = strip.shape[:2]
        size_px, pad = max(9, round(0.56 * height)), max(3, height // 4)
        baseline = round(0.5 * height + 0.36 * size_px)
        left = pad
        if self._floor and camid is not None:
            letter = letter_of(camid)
            draw_text(strip, letter, (left, baseline), colours.FAINT_INK, size_px, bold=True)
            left += text_width(letter, size_px, bold=True) + pad
        name = shortened(name, size_px, width - left - pad, bold=True)
        draw_text(strip, name, (left, baseline), colours.INK, size_px, bold=True)
        left += text_width(name, size_px, bold=True) + 2 * pad
        for text in (note, note.partition("   ")[0]):
            if text and left + text_width(text, size_px) + pad <= width:
                draw_text(strip, text, (width - pad - text_width(text, size_px), baseline), colours.FAINT_INK, size_px)
                break


def clock(time_s: float) -> str:
    """A time of the shared clock for people: minutes and seconds, or date and time (UTC) where it counts from 1970."""
    tenths = round(time_s * 10)
    if abs(time_s) >= _EPOCH_S:
        return f"{datetime.fromtimestamp(tenths // 10, UTC):%Y-%m-%d %H:%M:%S}.{tenths % 10}Z"
    sign, tenths = "-" if tenths < 0 else "", abs(tenths)
    minutes, seconds = divmod(tenths // 10, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{sign}{f'{hours}:' if hours else ''}{minutes:02d}:{seconds:02d}.{tenths % 10}"


def _draw_notice(picture: UInt8, text: str, strip_h: int) -> None:
    """A line in the middle of a picture."""
    size_px = max(9, round(0.62 * strip_h))
    text = shortened(text, size_px, picture.shape[1] - 4)
    left = (picture.shape[1] - text_width(text, size_px)) // 2
    draw_text(picture, text, (left, picture.shape[0] // 2), colours.ALARM, size_px)
