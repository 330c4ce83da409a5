"""Mending the tracklets of one camera once all of them are known. Pure functions; used offline only.

merge_tracklets  joins tracklets that a short occlusion cut in two (merging.py)
fill_gaps        puts boxes where a tracklet was unseen for a while
smooth_boxes     takes the detector's jitter out of the paths

Filling linearly and then smoothing with a Gaussian in time is the idea of StrongSORT's Gaussian-smoothed interpolation
(Du et al., StrongSORT: Make DeepSORT Great Again, IEEE Transactions on Multimedia 2023, section on GSI). In place of
its Gaussian process stands the local linear regression of Fan and Gijbels (Local Polynomial Modelling and Its
Applications, 1996, chapter 3), whose cost per row does not grow with the length of the path, whose width is in seconds
and which does not pull the ends of a path inwards.
"""

from __future__ import annotations

import numpy as np

from pipeline.track.merging import Merged, merge_tracklets
from pipeline.track.smoothing_config import SmoothingConfig
from pipeline.track.track_rows import TrackRows
from pipeline.types import BoolMask, Float32, Float64, Int64


def mend(
    rows: TrackRows, frame_idx: Int64, frame_time_s: Float64, config: SmoothingConfig, vector: Float32 | None = None
) -> tuple[TrackRows, Merged]:
    """Join, fill and smooth -> (the mended rows, what was joined). The arguments are those of the three functions."""
    merged = merge_tracklets(rows, config, vector)
    return smooth_boxes(fill_gaps(merged.rows, frame_idx, frame_time_s, config), config), merged


def fill_gaps(rows: TrackRows, frame_idx: Int64, frame_time_s: Float64, config: SmoothingConfig) -> TrackRows:
    """Add linearly interpolated boxes, marked so, where a track was unseen for at most `max_gap_s`.

    frame_idx, frame_time_s: (F,) all frames of the camera that were looked at, ascending; boxes are added at these
    only. A path with many gaps around is more often a false alarm than a person, and stays as it is (`fill_presence`).
    Raises ValueError where the frames do not ascend or a row's time is none of theirs.
    """
    if len(frame_idx) != len(frame_time_s) or (np.diff(frame_time_s) <= 0).any():
        raise ValueError("fill_gaps: frame_idx and frame_time_s must be of one length, and ascend")
    place = np.searchsorted(frame_time_s, rows.time_s)
    if not np.isin(rows.time_s, frame_time_s).all():
        raise ValueError("fill_gaps: a box lies at a time at which there is no frame")
    before = _gaps_to_fill(rows, place, frame_time_s, config)
    counts = np.diff(place)[before] - 1
    left = np.repeat(before, counts)
    at = place[left] + 1 + np.arange(len(left)) - np.repeat(np.cumsum(counts) - counts, counts)
    time_s = frame_time_s[at]
    share = (time_s - rows.time_s[left]) / (rows.time_s[left + 1] - rows.time_s[left])
    xyxy = rows.xyxy[left] + share[:, None] * (rows.xyxy[left + 1] - rows.xyxy[left])
    score = rows.score[left] + share * (rows.score[left + 1] - rows.score[left])
    return TrackRows(
        np.concatenate((rows.frame_idx, frame_idx[at])),
        np.concatenate((rows.time_s, time_s)),
        np.concatenate((rows.track_id, rows.track_id[left])),
        np.concatenate((rows.xyxy, xyxy)),
        np.concatenate((rows.score, score.astype(np.float32))),
        np.concatenate((rows.interpolated, np.ones(len(left), np.bool_))),
    )


def smooth_boxes(rows: TrackRows, config: SmoothingConfig) -> TrackRows:
    """The same rows with each path smoothed in time, centre and size apart; a path that moves evenly is unchanged."""
    centre = (rows.xyxy[:, :2] + rows.xyxy[:, 2:]) / 2
    size = rows.xyxy[:, 2:] - rows.xyxy[:, :2]
    centre = _local_linear(rows, centre, config.centre_sigma_s)
    half = np.maximum(_local_linear(rows, size, config.size_sigma_s), 0) / 2
    return rows.with_boxes(np.concatenate((centre - half, centre + half), axis=1))


def _gaps_to_fill(rows: TrackRows, place: Int64, frame_time_s: Float64, config: SmoothingConfig) -> Int64:
    """(G,) the rows after which boxes are missing that ought to be added. place: (R,) of each row among the frames."""
    gap: BoolMask = (np.diff(rows.track_id) == 0) & (np.diff(place) > 1) & (np.diff(rows.time_s) <= config.max_gap_s)
    before = np.flatnonzero(gap)
    start = np.searchsorted(frame_time_s, rows.time_s[before] - config.presence_window_s)
    stop = np.searchsorted(frame_time_s, rows.time_s[before + 1] + config.presence_window_s, side="right")
    track = np.cumsum(np.diff(rows.track_id, prepend=rows.track_id[:1]) != 0) * (len(frame_time_s) + 1)
    key = track + place  # ascending: of one track, then in time
    low, high = np.searchsorted(key, track[before] + start), np.searchsorted(key, track[before] + stop)
    detected = np.concatenate(([0], np.cumsum(~rows.interpolated)))
    seen = detected[high] - detected[low]
    looked = (place[before] + 1 - start) + (stop - place[before + 1])
    return before[seen >= config.fill_presence * looked]


def _local_linear(rows: TrackRows, value: Float64, sigma_s: float) -> Float64:
    """(R, C) at each row the straight line through its track's values, weighted by a Gaussian in time around it.

    The kernel ends at three sigma. Works along diagonals: all pairs of rows `shift` apart at once.
    """
    if sigma_s == 0:
        return value
    weights = np.ones((len(rows), 1))  # sums over a row's neighbours of w, w t, w t^2, and of w y, w t y, with
    times, squares = np.zeros_like(weights), np.zeros_like(weights)  # t and y relative to the row itself
    levels, slopes = np.zeros_like(value), np.zeros_like(value)
    for shift in range(1, len(rows)):
        apart_s = rows.time_s[shift:] - rows.time_s[:-shift]
        near = np.flatnonzero((rows.track_id[shift:] == rows.track_id[:-shift]) & (apart_s <= 3 * sigma_s))
        if len(near) == 0:
            break
        t = apart_s[near, None]
        w = np.exp(-0.5 * (t / sigma_s) ** 2)
        y = value[near + shift] - value[near]
        for here, sign in ((near, 1.0), (near + shift, -1.0)):
            weights[here] += w
            times[here] += sign * w * t
            squares[here] += w * t * t
            levels[here] += sign * w * y
            slopes[here] += w * t * y
    determinant = weights * squares - times * times
    alone = determinant <= 1e-12 * weights * squares
    change = (squares * levels - times * slopes) / np.where(alone, 1.0, determinant)
    return value + np.where(alone, 0.0, change)


__all__ = ["Merged", "TrackRows", "fill_gaps", "mend", "merge_tracklets", "smooth_boxes"]
