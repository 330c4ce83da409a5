"""Light, colour, lens, sensor and compression, varied far beyond what is drawn: real cameras lie somewhere within."""

from __future__ import annotations

import cv2
import numpy as np

from pipeline.types import Float32, UInt8


def vary_look(image: UInt8, rng: np.random.Generator, strength: float = 1.0) -> UInt8:
    """The same picture (H, W, 3) BGR as another camera in another light would have it."""
    if strength <= 0:
        return image
    image = _tone(image, rng, strength)
    if rng.random() < 0.5 * strength:
        image = _colour(image, rng)
    if rng.random() < 0.08 * strength:
        image = np.repeat(np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)[..., None], 3, axis=2)
    if rng.random() < 0.3 * strength:
        image = _uneven_light(image, rng)
    if rng.random() < 0.35 * strength:
        image = _blur(image, rng)
    elif rng.random() < 0.35 * strength:
        image = _sharpen(image, rng)
    if rng.random() < 0.4 * strength:
        image = _noise(image, rng)
    if rng.random() < 0.45 * strength:
        _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(18, 90))])
        image = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
    return np.ascontiguousarray(image)


def _tone(image: UInt8, rng: np.random.Generator, strength: float) -> UInt8:
    """Gamma, contrast, brightness and white balance, as one table per channel."""
    levels = np.linspace(0, 1, 256)
    gamma = np.exp(rng.normal(0, 0.25) * strength)
    contrast, brightness = np.exp(rng.normal(0, 0.2) * strength), rng.normal(0, 0.08) * strength
    tables = []
    for _ in range(3):
        gain = np.exp(rng.normal(0, 0.08) * strength)
        tables.append(((levels**gamma * gain - 0.5) * contrast + 0.5 + brightness).clip(0, 1) * 255)
    table = np.stack(tables, axis=1).round().astype(np.uint8)
    return np.asarray(cv2.LUT(image, table[None]), np.uint8)


def _colour(image: UInt8, rng: np.random.Generator) -> UInt8:
    """Saturation, and a turn of the hue: a little mostly, sometimes any."""
    hsv = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2HSV))
    turn = rng.uniform(-90, 90) if rng.random() < 0.12 else rng.normal(0, 6)
    hue = ((np.arange(256) + turn) % 180).astype(np.uint8)
    saturation = (np.arange(256) * np.exp(rng.normal(0, 0.45))).clip(0, 255).astype(np.uint8)
    table = np.stack([hue, saturation, np.arange(256, dtype=np.uint8)], axis=1)
    return np.asarray(cv2.cvtColor(cv2.LUT(hsv, table[None]), cv2.COLOR_HSV2BGR), np.uint8)


def _uneven_light(image: UInt8, rng: np.random.Generator) -> UInt8:
    """Soft shade or the hard edge of a shadow across the picture."""
    height, width = image.shape[:2]
    if rng.random() < 0.5:
        side = int(rng.integers(2, 7))
        coarse = np.exp(rng.normal(0, 0.35, (side, side))).astype(np.float32)
        field = np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)
    else:
        angle, offset = rng.uniform(0, np.pi), rng.uniform(-0.3, 0.3)
        x, y = np.meshgrid(np.linspace(-0.5, 0.5, width), np.linspace(-0.5, 0.5, height))
        field = np.where(x * np.cos(angle) + y * np.sin(angle) > offset, rng.uniform(0.35, 0.8), 1.0).astype(np.float32)
    return _to_uint8(image * field[..., None])


def _blur(image: UInt8, rng: np.random.Generator) -> UInt8:
    kind = int(rng.integers(3))
    if kind == 0:
        return np.asarray(cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.4, 1.6))), np.uint8)
    if kind == 1:  # motion
        length = int(rng.integers(3, 8))
        kernel = np.zeros((length, length), np.float32)
        angle = rng.uniform(0, np.pi)
        for step in np.linspace(-0.5, 0.5, 4 * length):
            row, column = (length - 1) * (0.5 + step * np.sin(angle)), (length - 1) * (0.5 + step * np.cos(angle))
            kernel[round(row), round(column)] = 1
        return np.asarray(cv2.filter2D(image, -1, kernel / kernel.sum()), np.uint8)
    height, width = image.shape[:2]  # too few pixels
    factor = rng.uniform(0.45, 0.9)
    small = cv2.resize(image, (max(8, int(width * factor)), max(8, int(height * factor))), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def _sharpen(image: UInt8, rng: np.random.Generator) -> UInt8:
    soft = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.7, 1.5)))
    amount = float(rng.uniform(0.3, 1.6))
    return np.asarray(cv2.addWeighted(image, 1 + amount, soft, -amount, 0), np.uint8)


def _noise(image: UInt8, rng: np.random.Generator) -> UInt8:
    """Of the sensor: fine or in grains of two pixels, in one channel or in three."""
    height, width = image.shape[:2]
    sigma = float(np.exp(rng.uniform(np.log(2), np.log(16))))
    grain, channels = int(rng.integers(1, 3)), 3 if rng.random() < 0.5 else 1
    small = rng.standard_normal((-(-height // grain), -(-width // grain), channels), np.float32) * sigma
    field = np.repeat(np.repeat(small, grain, axis=0), grain, axis=1)[:height, :width]
    return _to_uint8(image + field)


def _to_uint8(values: Float32) -> UInt8:
    return np.asarray(np.clip(values, 0, 255) + 0.5).clip(0, 255).astype(np.uint8)
