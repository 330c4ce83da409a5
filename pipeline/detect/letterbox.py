"""Fitting a picture into the network's input without changing its proportions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.types import Float32, UInt8

PAD_VALUE = 114.0  # grey of the border, the same for both families


@dataclass(frozen=True, slots=True)
class LetterboxRule:
    """How a family of networks wants its pictures.

    yolox        top left in the input, BGR, 0..255 (Ge et al., YOLOX, 2021; reference pre-processing of version 0.2+)
    ultralytics  centred in the input, RGB, 0..1 (YOLOv5 and all later models of that house)
    """

    centred: bool
    rgb: bool
    scale: float


RULES: dict[Literal["yolox", "ultralytics"], LetterboxRule] = {
    "yolox": LetterboxRule(centred=False, rgb=False, scale=1.0),
    "ultralytics": LetterboxRule(centred=True, rgb=True, scale=1.0 / 255.0),
}


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a picture lies in the network's input, all in pixels of the input."""

    left: int
    top: int
    width: int
    height: int
    image_width: int
    image_height: int

    def to_image(self, xyxy: Float32) -> Float32:
        """Boxes (N, 4) in pixels of the input -> in pixels of the picture, not yet clipped."""
        offset = np.array([self.left, self.top, self.left, self.top], np.float32)
        scale_x, scale_y = self.image_width / self.width, self.image_height / self.height
        return (xyxy - offset) * np.array([scale_x, scale_y, scale_x, scale_y], np.float32)


def place(rule: LetterboxRule, image_hw: tuple[int, int], input_hw: tuple[int, int]) -> Placement:
    """Where a picture of `image_hw` lies in an input of `input_hw`, both (height, width)."""
    (image_h, image_w), (input_h, input_w) = image_hw, input_hw
    ratio = min(input_h / image_h, input_w / image_w)
    if rule.centred:
        width, height = max(1, round(image_w * ratio)), max(1, round(image_h * ratio))
        left, top = round((input_w - width) / 2 - 0.1), round((input_h - height) / 2 - 0.1)
    else:
        width, height = max(1, int(image_w * ratio + 1e-6)), max(1, int(image_h * ratio + 1e-6))  # 415.9999 is 416
        left, top = 0, 0
    return Placement(left, top, width, height, image_w, image_h)


class LetterboxBuffer:
    """The network's input (B, 3, H, W), filled picture by picture and used again; one per thread."""

    def __init__(
        self, rule: LetterboxRule, batch_size: int, input_hw: tuple[int, int], dtype: npt.DTypeLike = np.float32
    ) -> None:
        self._rule = rule
        self._input_hw = input_hw
        self._pad = PAD_VALUE * rule.scale
        self.blob: npt.NDArray[Any] = np.full((batch_size, 3, *input_hw), self._pad, dtype)
        self._placed: list[Placement | None] = [None] * batch_size

    def put(self, slot: int, image: UInt8) -> Placement:
        """Write the picture (h, w, 3) BGR into place `slot` of the batch."""
        spot = place(self._rule, (image.shape[0], image.shape[1]), self._input_hw)
        target = self.blob[slot]
        before = self._placed[slot]
        if before is None or (before.left, before.top, before.width, before.height) != (
            spot.left,
            spot.top,
            spot.width,
            spot.height,
        ):
            target.fill(self._pad)
        self._placed[slot] = spot
        if (spot.height, spot.width) != image.shape[:2]:
            image = cv2.resize(image, (spot.width, spot.height), interpolation=cv2.INTER_LINEAR)  # type: ignore[assignment]
        planes = cv2.split(image)
        rows, columns = slice(spot.top, spot.top + spot.height), slice(spot.left, spot.left + spot.width)
        for channel, plane in enumerate(reversed(planes) if self._rule.rgb else planes):
            if self._rule.scale == 1.0:
                target[channel, rows, columns] = plane
            else:
                np.multiply(
                    plane, self.blob.dtype.type(self._rule.scale), out=target[channel, rows, columns], casting="unsafe"
                )
        return spot
