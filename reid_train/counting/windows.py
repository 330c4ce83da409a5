"""From tracks or boxes of a whole video to the pieces of each window that are embedded and counted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from pipeline.types import Float64, Int64
from reid_train.counting.config import CountConfig
from reid_train.data.clips import whole

NO_TRACK = 0


@dataclass(frozen=True, slots=True, eq=False)
class PersonTrack:
    """One person's path as a tracker gives it: frames ascending. Ids start at 1."""

    track_id: int
    frame_idx: Int64  # (L,) 0-based
    xyxy: Float64  # (L, 4) pixels

    def __post_init__(self) -> None:
        if self.track_id <= NO_TRACK:
            raise ValueError(f"track {self.track_id}: ids start at 1")
        if self.xyxy.shape != (len(self.frame_idx), 4):
            raise ValueError(f"track {self.track_id}: {len(self.frame_idx)} frames beside boxes {self.xyxy.shape}")
        if (np.diff(self.frame_idx) <= 0).any():
            raise ValueError(f"track {self.track_id}: its frames must ascend, each once")


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """What is embedded of one person in one window. `track_id` 0: no tracker knows it."""

    track_id: int
    frame_idx: Int64  # (K,) of the crops
    xyxy: Float64  # (K, 4)
    place_xy: tuple[float, float]  # where it is first seen in the window
    first_frame: int
    last_frame: int


def window_starts(num_frames: int, fps: float, interval_s: float) -> list[range]:
    """The frames of each window: disjoint, the last one perhaps shorter. Raises ValueError for a rate of 0 or less."""
    if not fps > 0:
        raise ValueError(f"fps must be positive, got {fps}")
    length = max(round(interval_s * fps), 1)
    return [range(start, min(start + length, num_frames)) for start in range(0, num_frames, length)]


def cut_tracks(tracks: Iterable[PersonTrack], num_frames: int, fps: float, config: CountConfig) -> list[list[Piece]]:
    """Per window the pieces that are long enough to count, by track id. Frames beyond `num_frames` are left out."""
    ordered = sorted(tracks, key=lambda track: track.track_id)
    windows = []
    for frames in window_starts(num_frames, fps, config.interval_s):
        least = max(config.min_boxes, config.min_share * len(frames))
        pieces = []
        for track in ordered:
            low, high = np.searchsorted(track.frame_idx, (frames.start, frames.stop))
            if high - low >= least:
                pieces.append(_piece(track, int(low), int(high), config.num_crops))
        windows.append(pieces)
    return windows


def cut_frames(
    boxes_of_frame: Mapping[int, Float64],
    num_frames: int,
    fps: float,
    config: CountConfig,
    *,
    places_of_frame: Mapping[int, Float64] | None = None,
) -> list[list[Piece]]:
    """Without a tracker: the boxes (N, 4) on the first frame of each window, one piece each.

    `places_of_frame` (N, 2) are the points behind the boxes, else their centres stand in the result. Raises ValueError
    where the first frame of a window is missing (an empty frame must be there, with no boxes).
    """
    windows = []
    for frames in window_starts(num_frames, fps, config.interval_s):
        if frames.start not in boxes_of_frame:
            raise ValueError(f"frame {frames.start} starts a window and is missing; give it, with no boxes if empty")
        xyxy = np.asarray(boxes_of_frame[frames.start], np.float64).reshape(-1, 4)
        places = (xyxy[:, :2] + xyxy[:, 2:]) / 2 if places_of_frame is None else places_of_frame[frames.start]
        at = np.array([frames.start])
        windows.append(
            [
                Piece(NO_TRACK, at, box[None], (float(x), float(y)), frames.start, frames.start)
                for box, (x, y) in zip(xyxy, places, strict=True)
            ]
        )
    return windows


def _piece(track: PersonTrack, low: int, high: int, num_crops: int) -> Piece:
    """Boxes low..high-1 of a track, thinned to evenly spaced crops."""
    rows = low + whole(high - low, num_crops)[0]
    left, top, right, bottom = track.xyxy[low].tolist()
    first, last = int(track.frame_idx[low]), int(track.frame_idx[high - 1])
    place = ((left + right) / 2, (top + bottom) / 2)
    return Piece(track.track_id, track.frame_idx[rows], track.xyxy[rows], place, first, last)
