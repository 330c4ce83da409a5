"""The frames that leave a fuser: those of a tick with identities and events, and the last one, after all others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.types import (
    NO_PREVIEW,
    EmbeddedFrame,
    Event,
    Float64,
    FusedFrame,
    GlobalTracks,
    Int64,
    Tracks,
)

_NOBODY = GlobalTracks.empty()


def fused_frames(
    items: Sequence[EmbeddedFrame],
    places: Sequence[Float64],
    global_id: Int64,
    confidence: Float64,
    events: Sequence[Event],
) -> list[FusedFrame]:
    """The frames of one tick; events ride on the first.

    places: (N, 2) metres of each item's tracks. global_id (0: nobody yet), confidence: of all tracks, item by item.
    """
    sure = confidence.astype(np.float32)
    num_known = np.concatenate((np.zeros(1, np.int64), np.cumsum(global_id > 0))).tolist()
    frames, start, riding = [], 0, tuple(events)
    for item, ground_xy in zip(items, places, strict=True):
        stop = start + len(item.tracks)
        here: slice | Int64 = slice(start, stop)
        tracks = item.tracks
        if num_known[stop] - num_known[start] < stop - start:
            known = np.flatnonzero(global_id[start:stop])
            tracks, here = tracks[known], known + start
        frames.append(
            FusedFrame(
                camid=item.camid,
                frame_idx=item.frame_idx,
                time_s=item.time_s,
                tracks=item.tracks,
                ground_xy=ground_xy,
                global_tracks=GlobalTracks(tracks.track_id, global_id[here], tracks.xyxy, sure[here])
                if len(tracks)
                else _NOBODY,
                events=riding,
                preview=item.preview,
                preview_scale=item.preview_scale,
            )
        )
        start, riding = stop, ()
    return frames


def last_words(events: Sequence[Event], last_frame: Mapping[int, int], now_s: float) -> list[FusedFrame]:
    """A frame without tracks that carries events after the last frames, or nothing where there are none.

    last_frame: the number of the last frame of each camera, by camid.
    """
    if not events:
        return []
    camid = min(last_frame)
    return [
        FusedFrame(
            camid=camid,
            frame_idx=last_frame[camid],
            time_s=now_s,
            tracks=Tracks.empty(),
            ground_xy=np.zeros((0, 2)),
            global_tracks=_NOBODY,
            events=tuple(events),
            preview=NO_PREVIEW,
            preview_scale=1.0,
        )
    ]
