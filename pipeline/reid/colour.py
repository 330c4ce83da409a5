"""Embedder without weights: colours of clothes, stripe by stripe. Weak, and honest about it.

Each crop is freed of the light's colour (grey world), cut into horizontal stripes, and described by histograms of
hue (weighted by saturation), brightness and the two colour axes of CIELAB, with more weight on the middle columns
where the person stands. Square roots turn Euclidean into Hellinger distance; taking the mean away spreads the cosine.
On real crops it finds about half of what a small trained network finds: use it to try the pipeline out, or where
people's clothes differ clearly. Colour histograms over stripes: Gray and Tao, "Viewpoint invariant pedestrian
recognition with an ensemble of localized features", ECCV 2008; grey world: Buchsbaum, 1980.
"""

from __future__ import annotations

import cv2
import numpy as np

from pipeline.reid.vectors import clip_means, own_crops
from pipeline.types import Clips, Embeddings, Float32, UInt8

INPUT_HW = (64, 32)
NUM_STRIPES = 12
NUM_BINS = 8
NUM_CHANNELS = 4
DIM = NUM_STRIPES * NUM_CHANNELS * NUM_BINS
CENTRE_SIGMA = 0.15  # of the crop's width
LAB_GAIN = 4.0  # clothes use only the middle of the colour axes
CHUNK = 64  # crops described at once, which bounds the memory


class ColourEmbedder:
    """Turns clips into mean colour descriptions. It has no state but its clip length."""

    def __init__(self, clip_length: int) -> None:
        self._clip_length = clip_length

    @property
    def clip_length(self) -> int:
        """T, the number of crops it takes per clip."""
        return self._clip_length

    @property
    def input_hw(self) -> tuple[int, int]:
        """Height and width of a crop in pixels."""
        return INPUT_HW

    @property
    def dim(self) -> int:
        """D, the length of a vector."""
        return DIM

    def embed(self, clips: Clips) -> Embeddings:
        """One unit vector per clip, in order. Raises ValueError where the crops have another size."""
        if not len(clips):
            return Embeddings.empty(DIM)
        if clips.image.shape[2:4] != INPUT_HW:
            raise ValueError(f"crops of {clips.image.shape[2:4]} pixels, want {INPUT_HW} (height, width)")
        own = own_crops(clips.num_crops, clips.image.shape[1])
        places = np.argwhere(own)
        chunks = [places[start : start + CHUNK] for start in range(0, len(places), CHUNK)]
        vectors = np.concatenate([describe(clips.image[chunk[:, 0], chunk[:, 1]]) for chunk in chunks])
        return Embeddings(clips.track_id, clip_means(vectors, own.sum(axis=1)), clips.quality)


def describe(crops: UInt8) -> Float32:
    """Crops (M, 64, 32, 3) BGR -> descriptions (M, DIM), not yet of unit norm."""
    height, width = INPUT_HW
    columns = (np.arange(width) - (width - 1) / 2) / width
    weight = np.exp(-0.5 * (columns / CENTRE_SIGMA) ** 2).astype(np.float32)  # (w,)
    pixels = crops.astype(np.float32)
    light = np.einsum("mhwc,w->mc", pixels, weight) / (height * weight.sum())
    balanced = np.clip(pixels * (128.0 / np.maximum(light, 1.0))[:, None, None, :], 0, 255).astype(np.uint8)
    tall = balanced.reshape(len(crops) * height, width, 3)
    hsv = cv2.cvtColor(tall, cv2.COLOR_BGR2HSV_FULL).reshape(crops.shape).astype(np.float32) / 256.0
    lab = cv2.cvtColor(tall, cv2.COLOR_BGR2LAB).reshape(crops.shape).astype(np.float32)
    axes = np.clip((lab[..., 1:] - 128.0) / 256.0 * LAB_GAIN + 0.5, 0.0, 0.999)
    full = np.broadcast_to(weight, crops.shape[:3])
    described = [
        _histograms(hsv[..., 0], full * hsv[..., 1], is_circular=True),
        _histograms(hsv[..., 2], full),
        _histograms(axes[..., 0], full),
        _histograms(axes[..., 1], full),
    ]
    root = np.sqrt(np.stack(described, axis=2) / (weight.sum() * height / NUM_STRIPES))  # (M, S, channels, bins)
    root -= root.mean(axis=3, keepdims=True)
    return np.asarray(root.reshape(len(crops), DIM), np.float32)


def _histograms(values: Float32, weight: Float32, *, is_circular: bool = False) -> Float32:
    """Soft histogram per stripe of (M, h, w) values in [0, 1): each pixel is shared by the two nearest bins."""
    num_crops, height, _ = values.shape
    stripe = np.arange(height) * NUM_STRIPES // height
    place = values * NUM_BINS - 0.5
    low = np.floor(place).astype(np.int64)
    share = place - low
    base = (np.arange(num_crops)[:, None, None] * NUM_STRIPES + stripe[None, :, None]) * NUM_BINS
    total = np.zeros(num_crops * NUM_STRIPES * NUM_BINS)
    for bins, part in ((low, 1.0 - share), (low + 1, share)):
        inside = bins % NUM_BINS if is_circular else np.clip(bins, 0, NUM_BINS - 1)
        total += np.bincount((base + inside).ravel(), (weight * part).ravel(), total.size)
    return total.reshape(num_crops, NUM_STRIPES, NUM_BINS).astype(np.float32)
