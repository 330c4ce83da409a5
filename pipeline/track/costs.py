"""What it costs to take a detection for a track. Pure functions; rows = tracks, columns = detections."""

from __future__ import annotations

import numpy as np

from pipeline.geometry.boxes import iou
from pipeline.types import Float32, Float64


def iou_cost(track_xyxy: Float64, detection_xyxy: Float64) -> Float64:
    """(T, N) 1 - intersection over union."""
    return np.asarray(1 - iou(track_xyxy, detection_xyxy), np.float64)


def fuse_score(cost: Float64, score: Float32) -> Float64:
    """(T, N) cost in [0, 1] with the detections' scores (N,) worked in: 1 - (1 - cost) * score (ByteTrack, as of its
    MOT20 code), so that of two boxes equally near the surer one is taken."""
    fused: Float64 = 1 - (1 - cost) * np.clip(score, 0, 1)
    return fused
