"""Which part of a picture a sample shows, how large, and who is left in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import cv2
import numpy as np

from detect_train.config import DataConfig
from pipeline.types import BoolMask, Float32, UInt8

if TYPE_CHECKING:
    from detect_train.data import Picture

PAD_VALUE = 114  # the grey border of `pipeline.detect.letterbox`
CENTRED_SHARE = 0.85  # of the crops are laid around a person
LEAST_SHARE, LEAST_HEIGHT_PX = 0.25, 7.0  # of a person that must be left by a crop's edge
SCALES = (0.2, 2.2)
ASPECT_SPREAD = 0.08

Tile = tuple[int, int, int, int]  # left, top, right, bottom


@dataclass(frozen=True, slots=True, eq=False)
class Canvas:
    """A sample as it grows: the picture, boxes of people to find (P, 4), regions to ignore (R, 4)."""

    image: UInt8
    xyxy: Float32
    ignored_xyxy: Float32

    @classmethod
    def empty(cls, height: int, width: int) -> Self:
        none = np.zeros((0, 4), np.float32)
        return cls(np.full((height, width, 3), PAD_VALUE, np.uint8), none, none)

    def mirrored(self) -> Canvas:
        """Left and right changed, for the boxes only: the caller turns the picture."""
        width = self.image.shape[1]

        def turned(boxes: Float32) -> Float32:
            return np.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], axis=1)

        return Canvas(self.image, turned(self.xyxy), turned(self.ignored_xyxy))


def part_up(height: int, width: int, rng: np.random.Generator, mosaic: float) -> list[Tile]:
    """The whole canvas, or two or four parts of it."""
    if rng.random() >= mosaic:
        return [(0, 0, width, height)]
    x, y = (int(side * rng.uniform(0.3, 0.7)) for side in (width, height))
    kind = int(rng.integers(3))
    if kind == 0:
        return [(0, 0, x, height), (x, 0, width, height)]
    if kind == 1:
        return [(0, 0, width, y), (0, y, width, height)]
    return [(0, 0, x, y), (x, 0, width, y), (0, y, x, height), (x, y, width, height)]


def cut(picture: Picture, canvas: Canvas, tile: Tile, config: DataConfig, rng: np.random.Generator) -> Canvas:
    """The canvas with a part of the picture in `tile`, and its people.

    The scale takes a person drawn by lot to a height drawn by lot, so that all heights are learned alike.
    """
    width, height = tile[2] - tile[0], tile[3] - tile[1]
    scale_xy, corner = _window(picture, width, height, config, rng)
    image = _scaled(picture.read(), scale_xy, corner, (height, width), rng)
    shift = np.tile(np.array(tile[:2]) - corner, 2)
    scale = np.tile(scale_xy, 2)
    bounds = np.array(tile, np.float32)
    whole, seen = (
        np.clip(boxes * scale + shift, np.tile(bounds[:2], 2), np.tile(bounds[2:], 2)).astype(np.float32)
        for boxes in (picture.xyxy, picture.visible_xyxy)
    )
    left = _area(whole) / np.maximum(_area(picture.xyxy) * scale_xy.prod(), 1e-6)
    left_seen = _area(seen) / np.maximum(_area(picture.visible_xyxy) * scale_xy.prod(), 1e-6)
    there = (_area(whole) > 1) & (left > 0.02)
    tall = whole[:, 3] - whole[:, 1] >= LEAST_HEIGHT_PX
    good = there & tall & (left >= LEAST_SHARE) & (left_seen >= LEAST_SHARE) & ~picture.ignore
    good &= picture.visibility >= config.min_visibility
    rest = there & ~good & (_area(seen) > 1)
    canvas.image[tile[1] : tile[3], tile[0] : tile[2]] = image
    return Canvas(
        canvas.image,
        np.concatenate([canvas.xyxy, whole[good]]),
        np.concatenate([canvas.ignored_xyxy, seen[rest]]),
    )


def _window(
    picture: Picture, width: int, height: int, config: DataConfig, rng: np.random.Generator
) -> tuple[Float32, Float32]:
    """Scale in x and y, and the left and top of the window in the scaled picture."""
    good = np.flatnonzero(~picture.ignore & (picture.visibility >= config.min_visibility))
    size = np.array([picture.width_px, picture.height_px])
    window = np.array([width, height])
    low, high = config.heights_px
    if len(good):
        box = picture.xyxy[int(rng.choice(good))]
        wanted = np.exp(rng.uniform(np.log(low), np.log(high)))
        scale = float(wanted / max(box[3] - box[1], 1.0))
    else:
        box, scale = np.zeros(4, np.float32), float(np.exp(rng.uniform(np.log(0.4), np.log(1.3))))
    scale = float(np.clip(scale, max(SCALES[0], 0.75 * float((window / size).min())), SCALES[1]))
    stretch = np.exp(rng.normal(0.0, ASPECT_SPREAD))
    scale_xy = np.array([scale * stretch**0.5, scale / stretch**0.5])
    room = size * scale_xy - window
    if len(good) and rng.random() < CENTRED_SHARE:
        centre = (box[:2] + box[2:]) / 2 * scale_xy
        corner = centre - window * rng.uniform(0.1, 0.9, 2)
    else:
        corner = room * rng.random(2)
    corner = np.where(room > 0, np.clip(corner, 0, np.maximum(room, 0)), room * rng.random(2))
    return scale_xy.astype(np.float32), np.floor(corner).astype(np.float32)


def _scaled(
    image: UInt8, scale_xy: Float32, corner: Float32, size_hw: tuple[int, int], rng: np.random.Generator
) -> UInt8:
    """The window of the picture, grey where the picture ends."""
    height, width = size_hw
    out = np.full((height, width, 3), PAD_VALUE, np.uint8)
    last = np.minimum(corner + np.array([width, height]), np.array([image.shape[1], image.shape[0]]) * scale_xy)
    first = np.maximum(corner, 0)
    source = np.concatenate([np.floor(first / scale_xy), np.ceil(last / scale_xy)]).astype(int)
    part = image[source[1] : source[3], source[0] : source[2]]
    into = np.concatenate([np.maximum(np.round(first - corner), 0), np.round(last - corner)]).astype(int)
    into[2:] = np.minimum(into[2:], (width, height))
    if part.size == 0 or into[2] - into[0] < 1 or into[3] - into[1] < 1:
        return out
    kinds = (cv2.INTER_LINEAR, cv2.INTER_LINEAR, cv2.INTER_AREA, cv2.INTER_CUBIC)
    how = kinds[int(rng.integers(len(kinds)))]
    out[into[1] : into[3], into[0] : into[2]] = cv2.resize(
        part, (int(into[2] - into[0]), int(into[3] - into[1])), interpolation=how
    )
    return out


def cover(canvas: Canvas, painted: tuple[UInt8, BoolMask], most: float) -> Canvas:
    """The canvas with something painted on it, (H, W, 3) and (H, W) where; people of whom it hides more than `most`
    move to the regions to ignore."""
    image, mask = painted
    sums = cv2.integral(mask.astype(np.uint8))
    edges = canvas.xyxy.round().astype(int)
    hidden = np.array([sums[b, r] - sums[t, r] - sums[b, x] + sums[t, x] for x, t, r, b in edges], np.float32)
    gone = hidden > most * np.maximum(_area(canvas.xyxy), 1.0) if len(edges) else np.zeros(0, bool)
    ignored = np.concatenate([canvas.ignored_xyxy, canvas.xyxy[gone]])
    return Canvas(image, canvas.xyxy[~gone], ignored)


def _area(xyxy: Float32) -> Float32:
    return np.asarray((xyxy[:, 2] - xyxy[:, 0]) * (xyxy[:, 3] - xyxy[:, 1]), np.float32)
