"""Text, labels and boxes on BGR images, drawn in place. Coordinates in pixels; sizes are heights of the letters."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np

from pipeline.sinks.colours import BLACK, Colour, readable_on
from pipeline.types import Float64, UInt8

_REGULAR, _BOLD = 400, 650
_HERSHEY_PX = 30.0  # height of a line of FONT_HERSHEY_SIMPLEX at scale 1, letters to descenders


@lru_cache(maxsize=1)
def _font() -> Any:
    """OpenCV 5's own scalable font; None on OpenCV 4, which has stroked letters only."""
    return cv2.FontFace("sans") if hasattr(cv2, "FontFace") else None


@lru_cache(maxsize=4096)
def text_width(text: str, size_px: int, *, bold: bool = False) -> int:
    """How many pixels wide `text` will be."""
    font = _font()
    if font is None:
        return int(cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size_px / _HERSHEY_PX, 1)[0][0])
    left, _, width, _ = cv2.getTextSize((1 << 14, 1 << 10), text, (0, 512), font, size_px, _BOLD if bold else _REGULAR)
    return int(left + width)


def draw_text(
    image: UInt8, text: str, left_baseline: tuple[int, int], colour: Colour, size_px: int, *, bold: bool = False
) -> None:
    """Write `text` from its left end on its baseline."""
    font = _font()
    if font is None:
        scale = size_px / _HERSHEY_PX
        cv2.putText(image, text, left_baseline, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, 1 + bold, cv2.LINE_AA)
    else:
        cv2.putText(image, text, left_baseline, colour, font, size_px, _BOLD if bold else _REGULAR)


def shortened(text: str, size_px: int, width_px: int, *, bold: bool = False) -> str:
    """`text`, or as much of its beginning as fits into `width_px`, with an ellipsis; "" where nothing fits."""
    if text_width(text, size_px, bold=bold) <= width_px:
        return text
    for length in range(len(text) - 1, 0, -1):
        if text_width(text[:length] + "…", size_px, bold=bold) <= width_px:
            return text[:length] + "…"
    return ""


def draw_label(image: UInt8, text: str, left_bottom: tuple[int, int], background: Colour, size_px: int) -> None:
    """`text` on a filled plate whose lower left corner is at `left_bottom`, moved so that it stays in the image."""
    pad = max(2, size_px // 4)
    width, height = text_width(text, size_px, bold=True) + 2 * pad, round(1.25 * size_px)
    left = min(max(0, left_bottom[0]), max(0, image.shape[1] - width))
    bottom = min(max(height, left_bottom[1]), image.shape[0])
    cv2.rectangle(image, (left, bottom - height), (left + width - 1, bottom - 1), background, cv2.FILLED)
    draw_text(image, text, (left + pad, bottom - round(0.28 * size_px)), readable_on(background), size_px, bold=True)


def draw_box(image: UInt8, xyxy: Float64, colour: Colour, thickness_px: int) -> None:
    """A box (4,) with a thin dark seam, so that it shows on any picture."""
    left, top, right, bottom = np.round(xyxy).astype(int).tolist()
    cv2.rectangle(image, (left, top), (right, bottom), BLACK, thickness_px + 2, cv2.LINE_AA)
    cv2.rectangle(image, (left, top), (right, bottom), colour, thickness_px, cv2.LINE_AA)


def letterbox(image: UInt8, view: UInt8) -> tuple[float, int, int]:
    """Copy `image` into the middle of `view`, as large as fits, the rest dark. -> (scale, left_px, top_px)."""
    height, width = image.shape[:2]
    scale = min(view.shape[1] / width, view.shape[0] / height)
    new_w, new_h = min(view.shape[1], max(1, round(width * scale))), min(view.shape[0], max(1, round(height * scale)))
    left, top = (view.shape[1] - new_w) // 2, (view.shape[0] - new_h) // 2
    view[:] = 0
    kind = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    view[top : top + new_h, left : left + new_w] = cv2.resize(image, (new_w, new_h), interpolation=kind)
    return scale, left, top
