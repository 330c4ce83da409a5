"""How badly a detection fits a track. Pure functions; rows = tracks, columns = detections, inf = forbidden."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.track.kalman import boxes_of
from pipeline.types import Float32, Float64

FORBIDDEN = np.inf
NEAR_HEIGHTS = 0.05  # a detection this far from where the track was last seen says little about direction


@dataclass(frozen=True, slots=True)
class Fit:
    """What counts in `pair_cost`."""

    buffer: float = 0.2  # boxes are compared as if this share of their size were added on every side
    direction: float = 0.07  # the most that the direction of movement can add or take
    slowness: float = 0.5  # standard deviations of velocity at which a track's direction counts half


def pair_cost(mean: Float64, cov: Float64, last_xy: Float64, xyxy: Float64, fit: Fit) -> Float64:
    """(T, N) 1 - overlap, less for a detection that lies where the track was heading, more for one behind it.

    mean, cov: (T, 2, 4), (T, 3, 4) the filters predicted to the frame of the detections. last_xy: (T, 2) px, the
    centre of each track's last detection. xyxy: (N, 4) px. The overlap is the intersection over union of the
    buffered boxes (C-BIoU, Yang et al., WACV 2023) times that of their vertical extents (Hybrid-SORT, Yang et al.,
    AAAI 2024: people of other height are other people). The direction is OC-SORT's idea (Cao et al., CVPR 2023,
    section 4.2), with the filter's velocity in place of two detections: the cosine between it and the way from the
    last detection, weighted down for a track that hardly moves and for a detection that is hardly away. Boxes that
    do not overlap are forbidden.
    """
    tracks, detections = _buffered(boxes_of(mean), fit.buffer), _buffered(xyxy, fit.buffer)
    left_top = np.maximum(tracks[:, None, :2], detections[None, :, :2])
    right_bottom = np.minimum(tracks[:, None, 2:], detections[None, :, 2:])
    shared = right_bottom - left_top
    row, col = np.nonzero((shared > 0).all(axis=2))
    cost = np.full((len(mean), len(xyxy)), FORBIDDEN)
    if len(row) == 0:
        return cost
    width, height = shared[row, col].T
    both, (track_size, detection_size) = width * height, _sizes(tracks, detections)
    union = (track_size[0] * track_size[1])[row] + (detection_size[0] * detection_size[1])[col] - both
    tall = track_size[1][row] + detection_size[1][col] - height
    cost[row, col] = 1 - both / union * (height / tall)
    if fit.direction:
        velocity = mean[:, 1, :2]
        sure = np.hypot(velocity[:, 0], velocity[:, 1]) + fit.slowness * np.sqrt(cov[:, 2, 0])
        way = (xyxy[:, :2] + xyxy[:, 2:])[col] / 2 - last_xy[row]
        far = np.hypot(way[:, 0], way[:, 1]) + NEAR_HEIGHTS * np.maximum(mean[row, 0, 3], 1.0)
        cost[row, col] -= fit.direction * (way * velocity[row]).sum(axis=1) / (sure[row] * far)
    return cost


def weigh(cost: Float64, weight: Float32 | Float64) -> Float64:
    """(T, N) cost with a weight (N,) in [0, 1] of the detections worked in: 1 - (1 - cost) * weight.

    With scores as weights (ByteTrack, as of its MOT20 code) the surer of two boxes equally near is taken.
    """
    weighed: Float64 = 1 - (1 - cost) * weight
    return weighed


def _buffered(xyxy: Float64, share: float) -> Float64:
    margin = (xyxy[:, 2:] - xyxy[:, :2]) * share
    return np.concatenate((xyxy[:, :2] - margin, xyxy[:, 2:] + margin), axis=1)


def _sizes(*boxes: Float64) -> tuple[Float64, ...]:
    """Of each (N, 4) the widths and heights, (2, N)."""
    return tuple((xyxy[:, 2:] - xyxy[:, :2]).T for xyxy in boxes)
