"""What another camera, another detector and somebody in the way would have made of a clip.

Drawn people are all seen by cameras of one kind; real ones are not. Everything is drawn once per clip, except the
sensor's noise. The order is that of the world: box, what stands in front, light, lens, sensor, encoder.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.types import UInt8
from reid_train.data.config import DistortionConfig

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def distort(frames: UInt8, config: DistortionConfig, rng: np.random.Generator) -> UInt8:
    """(T, H, W, 3) uint8 RGB -> the same shape. Draws from `rng`; each part is left out with its own probability."""
    if rng.random() < config.box_probability:
        frames = move_box(frames, config, rng)
    if rng.random() < config.hide_probability:
        frames = hide(frames, config, rng)
    if rng.random() < config.light_probability:
        frames = relight(frames, config, rng)
    if rng.random() < config.grey_probability:
        frames = saturated(frames, 0.0)
    if rng.random() < config.coarse_probability:
        frames = coarsen(frames, float(rng.uniform(config.coarse_min, 1.0)))
    if rng.random() < config.blur_probability:
        sigma = float(rng.uniform(0.3, config.blur_px))
        frames = np.stack([_bytes(cv2.GaussianBlur(frame, (0, 0), sigma)) for frame in frames])
    if rng.random() < config.noise_probability:
        noise = rng.standard_normal(frames.shape, np.float32) * np.float32(255 * rng.uniform(0, config.noise))
        frames = _bytes(frames + noise)
    if rng.random() < config.jpeg_probability:
        frames = encoded(frames, int(rng.integers(config.jpeg_quality_min, 96)))
    return frames


def move_box(frames: UInt8, config: DistortionConfig, rng: np.random.Generator) -> UInt8:
    """The clip as a box of other size and place would have cut it; what lies outside repeats the border."""
    height, width = frames.shape[1:3]
    scale_y, scale_x = np.exp(rng.uniform(-1, 1, 2) * np.log1p(config.box_scale))
    move_x, move_y = rng.uniform(-config.box_shift, config.box_shift, 2) * (width, height)
    centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
    warp = np.array(
        [[scale_x, 0, centre_x * (1 - scale_x) + move_x], [0, scale_y, centre_y * (1 - scale_y) + move_y]], np.float64
    )
    moved = [
        cv2.warpAffine(f, warp, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        for f in frames
    ]
    return np.stack([_bytes(frame) for frame in moved])


def hide(frames: UInt8, config: DistortionConfig, rng: np.random.Generator) -> UInt8:
    """Somebody or something covers the feet or one side, in a colour of its own, unevenly lit."""
    height, width = frames.shape[1:3]
    share = float(rng.uniform(0.08, config.hide_share))
    side = rng.choice(["below", "left", "right"], p=[0.5, 0.25, 0.25])
    tall, wide = (max(1, round(share * height)), width) if side == "below" else (height, max(1, round(share * width)))
    top = height - tall
    left = width - wide if side == "right" else 0
    colour = rng.uniform(10, 230, 3)
    above, below = (float(v) for v in rng.uniform(0.6, 1.2, 2))
    patch = colour * np.linspace(above, below, tall)[:, None, None] + rng.normal(0, 6, (tall, wide, 3))
    hidden = np.array(frames)
    hidden[:, top : top + tall, left : left + wide] = _bytes(patch)
    return hidden


def relight(frames: UInt8, config: DistortionConfig, rng: np.random.Generator) -> UInt8:
    """Exposure, white balance, gamma, contrast and saturation of another camera at another hour."""
    gain = 2.0 ** rng.uniform(-config.exposure_stops, config.exposure_stops) * np.exp(
        rng.uniform(-1, 1, 3) * np.log1p(config.white_balance)
    )
    gamma = np.exp(rng.uniform(-1, 1) * np.log1p(config.gamma))
    contrast = 1 + rng.uniform(-config.contrast, config.contrast)
    levels = np.clip((np.arange(256)[:, None] / 255) * gain, 0, 1) ** gamma
    table = _bytes(255 * ((levels - 0.45) * contrast + 0.45))  # (256, 3)
    lit = np.stack([table[:, channel][frames[..., channel]] for channel in range(3)], axis=-1)
    return saturated(lit, float(rng.uniform(1 - config.saturation, 1 + config.saturation)))


def saturated(frames: UInt8, saturation: float) -> UInt8:
    """Colours `saturation` times as far from grey; 0 is grey."""
    colours = frames.astype(np.float32)
    grey = (colours @ _LUMA)[..., None]
    return _bytes(grey + np.float32(saturation) * (colours - grey))


def coarsen(frames: UInt8, share: float) -> UInt8:
    """As a camera with `share` of the pixels along each side would have seen it."""
    height, width = frames.shape[1:3]
    size = max(8, round(share * width)), max(16, round(share * height))
    few = [cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in frames]
    return np.stack([_bytes(cv2.resize(f, (width, height), interpolation=cv2.INTER_LINEAR)) for f in few])


def encoded(frames: UInt8, quality: int) -> UInt8:
    """After JPEG of this quality."""
    coded = [cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, quality])[1] for frame in frames]
    return np.stack([np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR), np.uint8) for code in coded])


def _bytes(values: npt.NDArray[Any]) -> UInt8:
    if values.dtype == np.uint8:
        return np.asarray(values, np.uint8)
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)
