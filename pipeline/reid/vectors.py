"""Means of vectors of unit norm. Pure."""

from __future__ import annotations

import numpy as np

from pipeline.types import BoolMask, Float32, Int64


def unit(vectors: Float32) -> Float32:
    """(N, D) -> (N, D), each row of norm 1; a row without direction (zeros, NaN) becomes the diagonal."""
    norm = np.linalg.norm(vectors, axis=1, keepdims=True)
    level = np.float32(1.0 / np.sqrt(max(1, vectors.shape[1])))
    return np.asarray(np.where(norm > 1e-12, vectors / np.maximum(norm, 1e-12), level), np.float32)


def own_crops(num_crops: Int64, clip_length: int) -> BoolMask:
    """(K, T): which crops of each clip are its own, not repeats."""
    return np.arange(clip_length)[None, :] < num_crops[:, None]


def clip_means(vectors: Float32, num_crops: Int64) -> Float32:
    """Vectors (M, D) of all own crops, clip after clip -> unit mean per clip (K, D). Each crop counts the same."""
    starts = np.concatenate([[0], np.cumsum(num_crops)[:-1]])
    return unit(np.add.reduceat(unit(vectors), starts, axis=0))
