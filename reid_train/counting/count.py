"""Counting the individuals of a video window by window, and what a perfect counter would say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from reid_train.counting.config import CountConfig
from reid_train.counting.memory import PersonMemory
from reid_train.counting.windows import PersonTrack, Piece, cut_tracks

Embed: TypeAlias = Callable[[Sequence[Piece]], npt.NDArray[np.floating[Any]]]
"""Pieces of one window (at least one) -> (K, D) vectors of any length, one per piece."""


@dataclass(frozen=True, slots=True)
class VideoCount:
    """The people of one video. `person_lists` numbers them from 0 in the order of their first window."""

    frame_num: int
    fps: float
    present_list: tuple[int, ...]  # distinct people per window
    pos_lists: tuple[tuple[tuple[float, float], ...], ...]  # per window and piece: x, y in pixels
    inflow_lists: tuple[tuple[int, ...], ...]  # 1 where that piece is a new person
    person_lists: tuple[tuple[int, ...], ...]

    @property
    def cnt_list(self) -> tuple[int, ...]:
        """New people per window; the first is the initial count."""
        return tuple(sum(inflow) for inflow in self.inflow_lists)

    @property
    def video_num(self) -> int:
        return sum(self.cnt_list)

    @property
    def first_frame_num(self) -> int:
        return self.cnt_list[0] if self.cnt_list else 0

    def as_dict(self) -> dict[str, Any]:
        """What is written as JSON, one document per video."""
        return {
            "video_num": self.video_num,
            "first_frame_num": self.first_frame_num,
            "cnt_list": list(self.cnt_list),
            "pos_lists": [[list(place) for place in places] for places in self.pos_lists],
            "inflow_lists": [list(inflow) for inflow in self.inflow_lists],
            "frame_num": self.frame_num,
            "present_list": list(self.present_list),
            "fps": self.fps,
        }


def count_people(
    windows: Sequence[Sequence[Piece]], embed: Embed, *, num_frames: int, fps: float, config: CountConfig
) -> VideoCount:
    """Count the individuals of a video cut by `cut_tracks` or `cut_frames`."""
    memory = PersonMemory(config)
    people = []
    inflow = []
    for index, pieces in enumerate(windows):
        if pieces:
            vectors = np.asarray(embed(pieces), np.float32)
            if vectors.ndim != 2 or len(vectors) != len(pieces) or not np.isfinite(vectors).all():
                raise ValueError(f"embed: want {len(pieces)} finite rows, got shape {vectors.shape}")
            lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
            who, is_new = memory.admit(index, pieces, vectors / np.maximum(lengths, np.finfo(np.float32).tiny))
        else:
            who, is_new = np.zeros(0, np.int64), np.zeros(0, np.bool_)
        people.append(tuple(who.tolist()))
        inflow.append(tuple(int(new) for new in is_new))
    return VideoCount(
        num_frames,
        fps,
        tuple(len(set(who)) for who in people),
        tuple(tuple(piece.place_xy for piece in pieces) for pieces in windows),
        tuple(inflow),
        tuple(people),
    )


def count_tracks(
    tracks: Iterable[PersonTrack],
    embed: Embed,
    *,
    num_frames: int,
    fps: float,
    config: CountConfig | None = None,
) -> VideoCount:
    """`cut_tracks`, then `count_people`."""
    config = config or CountConfig()
    windows = cut_tracks(tracks, num_frames, fps, config)
    return count_people(windows, embed, num_frames=num_frames, fps=fps, config=config)


def true_count(tracks: Iterable[PersonTrack], *, num_frames: int, fps: float, interval_s: float = 3.0) -> VideoCount:
    """What a perfect counter says: every track is one person, counted in the first window that shows any of it."""
    everything = CountConfig(interval_s=interval_s, min_boxes=1, min_share=0, ttl_windows=None)
    windows = cut_tracks(tracks, num_frames, fps, everything)
    ids = sorted({piece.track_id for pieces in windows for piece in pieces})
    one_hot = dict(zip(ids, np.eye(len(ids)), strict=True))
    return count_people(
        windows,
        lambda pieces: np.stack([one_hot[piece.track_id] for piece in pieces]),
        num_frames=num_frames,
        fps=fps,
        config=everything,
    )
