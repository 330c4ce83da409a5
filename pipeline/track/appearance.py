"""Appearance as a cue of the tracker. Pure functions; rows = tracks, columns = detections.

The fusion is BoT-SORT's (Aharon, Orfaig, Bobrovsky, BoT-SORT: Robust Associations Multi-Pedestrian Tracking, 2022,
section 3.4): appearance may only make a pair cheaper, and only where the boxes are near anyway. The memory of a track's
looks is Deep OC-SORT's (Maggiolino et al., 2023, section on dynamic appearance): the less sure a detection, the less it
changes.
"""

from __future__ import annotations

import numpy as np

from pipeline.types import Float32, Float64


def cosine_distance(track_vector: Float32, detection_vector: Float32) -> Float64:
    """(T, N) 1 - cosine in [0, 2] between vectors (T, D) and (N, D) of unit norm; NaN where either is all zeros, that
    is unknown."""
    distance = (1 - track_vector @ detection_vector.T).astype(np.float64)
    distance[~(track_vector != 0).any(axis=1)] = np.nan
    distance[:, ~(detection_vector != 0).any(axis=1)] = np.nan
    return distance


def fuse_appearance(cost_iou: Float64, distance: Float64, iou_gate: float, appearance_gate: float) -> Float64:
    """(T, N) the lower of `cost_iou` and half the cosine `distance`, the latter only inside both gates.

    cost_iou: (T, N) in [0, 1], inf = forbidden, and stays so. distance: (T, N) in [0, 2], NaN = unknown.
    A pair takes part in appearance where cost_iou < `iou_gate` and distance < `appearance_gate`.
    """
    near = (cost_iou < iou_gate) & (distance < appearance_gate)
    return np.where(near, np.minimum(cost_iou, np.maximum(distance, 0) / 2), cost_iou)


def update_vectors(
    track_vector: Float32, seen_vector: Float32, score: Float32, keep: float = 0.95, low_score: float = 0.4
) -> Float32:
    """(T, D) the tracks' vectors after each has been seen once more, of unit norm.

    track_vector, seen_vector: (T, D) of unit norm, or zeros = unknown: an unknown one leaves the other as it is.
    score: (T,) of the detections. A vector keeps the share `keep` of itself at score 1 and all of itself at
    `low_score` and below, in between in proportion. Raises ValueError unless 0 <= low_score < 1.
    """
    if not 0 <= low_score < 1:
        raise ValueError(f"update_vectors: want 0 <= low_score < 1, got {low_score}")
    trust = np.clip((score - low_score) / (1 - low_score), 0, 1)[:, None]
    share = np.where((track_vector != 0).any(axis=1, keepdims=True), (1 - keep) * trust, 1.0)
    share = np.where((seen_vector != 0).any(axis=1, keepdims=True), share, 0.0)
    mixed = (1 - share) * track_vector + share * seen_vector
    norm = np.linalg.norm(mixed, axis=1, keepdims=True)
    # Opposite vectors may cancel out: then the old one stays.
    return np.where(norm > 1e-6, mixed / np.where(norm > 1e-6, norm, 1), track_vector).astype(np.float32)
