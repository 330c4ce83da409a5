"""From the images of a clip to the network's input: what is drawn at random is drawn once for all frames.

The order is the published systems': resize (`images`), mirror, pad and crop, (distort), normalise, erase. With no
generator nothing is random and the result is the test-time input.
"""

from __future__ import annotations

import numpy as np
import torch

from pipeline.types import Float32, UInt8
from reid_train.data.config import ErasingConfig, TransformConfig
from reid_train.data.distort import distort

Rectangle = tuple[int, int, int, int]  # top, left, height, width


def transform_clip(frames: UInt8, config: TransformConfig, rng: np.random.Generator | None = None) -> torch.Tensor:
    """(T, H, W, 3) uint8 RGB of size `config.input_hw` -> (T, 3, H, W) float32. Draws from `rng`, if given."""
    if frames.ndim != 4 or frames.shape[1:] != (*config.input_hw, 3) or frames.dtype != np.uint8:
        raise ValueError(f"want frames (T, {config.input_hw[0]}, {config.input_hw[1]}, 3) uint8, got {frames.shape}")
    if rng is not None:
        if config.flip_probability > 0 and rng.random() < config.flip_probability:
            frames = flip(frames)
        if config.pad_px > 0:
            frames = pad_and_crop(frames, config.pad_px, rng)
        if config.distortion is not None:
            frames = distort(frames, config.distortion, rng)
    clip = normalise(frames, config.mean, config.std)
    if rng is not None and config.erasing is not None:
        clip = erase(clip, config, config.erasing, rng)
    return clip


def flip(frames: UInt8) -> UInt8:
    """Mirrored left to right, (T, H, W, 3)."""
    return np.asarray(torch.from_numpy(np.ascontiguousarray(frames)).flip(2).numpy())


def pad_and_crop(frames: UInt8, pad_px: int, rng: np.random.Generator) -> UInt8:
    """A window of the old size out of the frames with a black border of `pad_px`, the same for all frames."""
    _, height, width, _ = frames.shape
    top, left = (int(v) for v in rng.integers(0, 2 * pad_px + 1, 2))
    moved = np.zeros_like(frames)
    down, right = pad_px - top, pad_px - left  # where the image's corner comes to lie
    rows, columns = max(height - abs(down), 0), max(width - abs(right), 0)
    from_y, from_x, to_y, to_x = max(-down, 0), max(-right, 0), max(down, 0), max(right, 0)
    moved[:, to_y : to_y + rows, to_x : to_x + columns] = frames[:, from_y : from_y + rows, from_x : from_x + columns]
    return moved


def normalise(frames: UInt8, mean: tuple[float, ...], std: tuple[float, ...]) -> torch.Tensor:
    """(T, H, W, 3) uint8 -> (T, 3, H, W) float32, (x / 255 - mean) / std."""
    pixels = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2)
    clip = pixels.to(torch.float32, memory_format=torch.contiguous_format).div_(255.0)
    shape = (1, 3, 1, 1)
    return clip.sub_(torch.tensor(mean).view(shape)).div_(torch.tensor(std).view(shape))


def erase(
    clip: torch.Tensor, config: TransformConfig, erasing: ErasingConfig, rng: np.random.Generator
) -> torch.Tensor:
    """The clip (T, 3, H, W); in `erasing.probability` of the cases a rectangle of every frame is filled, in place."""
    if rng.random() >= erasing.probability:
        return clip
    num_frames, _, height, width = clip.shape
    corner = (float(rng.random()), float(rng.random()))
    same = erasing.rectangles == "same"
    fill = torch.tensor(_fill(config, erasing)).view(3, 1, 1)
    for rows in [slice(0, num_frames)] if same else [slice(t, t + 1) for t in range(num_frames)]:
        rectangle = draw_rectangle(height, width, corner, erasing, rng)
        if rectangle is not None:
            top, left, tall, wide = rectangle
            clip[rows, :, top : top + tall, left : left + wide] = fill
    return clip


def draw_rectangle(
    height: int, width: int, corner: tuple[float, float], erasing: ErasingConfig, rng: np.random.Generator
) -> Rectangle | None:
    """A rectangle smaller than the frame in both directions; `corner` in [0, 1) says where in the room that is left.

    None where none of `erasing.attempts` draws fits.
    """
    for _ in range(erasing.attempts):
        area = float(rng.uniform(erasing.area_min, erasing.area_max)) * height * width
        aspect = float(rng.uniform(erasing.aspect_min, 1.0 / erasing.aspect_min))
        tall, wide = round((area * aspect) ** 0.5), round((area / aspect) ** 0.5)
        if 0 < tall < height and 0 < wide < width:
            return int(corner[0] * (height - tall + 1)), int(corner[1] * (width - wide + 1)), tall, wide
    return None


def _fill(config: TransformConfig, erasing: ErasingConfig) -> Float32:
    fill = np.array(erasing.fill, np.float32)
    if erasing.fill_space == "normalised":
        return fill
    return ((fill - np.array(config.mean, np.float32)) / np.array(config.std, np.float32)).astype(np.float32)
