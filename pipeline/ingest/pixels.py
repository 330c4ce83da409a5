"""From decoded video frames to BGR pictures."""

from __future__ import annotations

from typing import Final

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter

from pipeline.types import Float32, UInt8

_BT709: Final = 1  # ITU-T H.273 MatrixCoefficients, as FFmpeg numbers them
_BT601: Final = (2, 5, 6)  # 2 is "unspecified", which players take for BT.601
_FULL_RANGE: Final = 2
_LUMA_WEIGHTS: Final = {_BT709: (0.2126, 0.0722)} | dict.fromkeys(_BT601, (0.299, 0.114))
_ROTATE: Final = {1: cv2.ROTATE_90_COUNTERCLOCKWISE, 2: cv2.ROTATE_180, 3: cv2.ROTATE_90_CLOCKWISE}


def to_bgr(frame: av.VideoFrame, reformatter: VideoReformatter) -> UInt8:
    """The frame as a contiguous (H, W, 3) uint8 BGR array, upright after its rotation metadata.

    `reformatter` is kept per source: the scaler it holds costs more to set up than one conversion takes.
    """
    bgr = _from_yuv444(frame)
    if bgr is None:
        bgr = np.asarray(reformatter.reformat(frame, format="bgr24", threads=1).to_ndarray(), np.uint8)
    quarter_turns = round(frame.rotation / 90) % 4  # counterclockwise
    if quarter_turns:
        return np.asarray(cv2.rotate(bgr, _ROTATE[quarter_turns]), np.uint8)
    return np.ascontiguousarray(bgr, np.uint8)


def _from_yuv444(frame: av.VideoFrame) -> UInt8 | None:
    """8-bit 4:4:4 by one matrix, within one grey level of the scaler and five times as fast; None for other formats."""
    name = frame.format.name
    weights = _LUMA_WEIGHTS.get(int(frame.colorspace))
    if name not in ("yuv444p", "yuvj444p") or weights is None or min(p.line_size for p in frame.planes) <= 0:
        return None
    full = name == "yuvj444p" or int(frame.color_range) == _FULL_RANGE
    planes = [
        np.frombuffer(memoryview(p), np.uint8).reshape(-1, p.line_size)[: p.height, : p.width] for p in frame.planes
    ]
    return np.asarray(cv2.transform(cv2.merge(planes), _yuv_to_bgr(*weights, full=full)), np.uint8)


def _yuv_to_bgr(weight_r: float, weight_b: float, *, full: bool) -> Float32:
    """(3, 4) float32: (Y, Cb, Cr, 1) -> (B, G, R), all 0..255 (ITU-T H.273, equations 38 to 40)."""
    weight_g = 1 - weight_r - weight_b
    matrix = np.array(
        [
            [1, 2 * (1 - weight_b), 0],
            [1, -2 * weight_b * (1 - weight_b) / weight_g, -2 * weight_r * (1 - weight_r) / weight_g],
            [1, 0, 2 * (1 - weight_r)],
        ]
    )
    if not full:
        matrix = matrix * (255 / np.array([219, 224, 224]))
    shift = matrix @ np.array([0 if full else 16, 128, 128])
    return np.column_stack([matrix, -shift]).astype(np.float32)
