"""Frames to send."""

from __future__ import annotations

import numpy as np

from pipeline.types import NO_PREVIEW, EmbeddedFrame, Embeddings, Event, FusedFrame, GlobalTracks, Tracks

NAMES = ("door", "hall é/1")
DIM = 16


def unit(rng: np.random.Generator, num: int) -> np.ndarray:
    vectors = rng.normal(size=(num, DIM))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def embedded(camid: int, frame_idx: int, time_s: float, num: int = 3) -> EmbeddedFrame:
    rng = np.random.default_rng([camid, frame_idx])
    corner = rng.uniform(-5, 500, (num, 2))
    xyxy = np.concatenate([corner, corner + rng.uniform(1, 200, (num, 2))], axis=1).astype(np.float32)
    return EmbeddedFrame(
        camid=camid,
        frame_idx=frame_idx,
        time_s=time_s,
        tracks=Tracks(np.arange(1, num + 1), xyxy, rng.uniform(0, 1, num).astype(np.float32)),
        embeddings=Embeddings(np.array([1, 7]), unit(rng, 2), np.array([0.3, 1.0], np.float32)),
        ended=np.array([4, 9]),
        preview=np.zeros((9, 9, 3), np.uint8),
        preview_scale=0.5,
    )


def fused(time_s: float, *events: Event) -> FusedFrame:
    return FusedFrame(
        0, 0, time_s, Tracks.empty(), np.zeros((0, 2)), GlobalTracks.empty(), tuple(events), NO_PREVIEW, 1.0
    )


def same(a: EmbeddedFrame, b: EmbeddedFrame) -> bool:
    """Equal to the last bit, but for the pixels."""
    arrays = [
        (a.tracks.track_id, b.tracks.track_id),
        (a.tracks.xyxy, b.tracks.xyxy),
        (a.tracks.score, b.tracks.score),
        (a.embeddings.track_id, b.embeddings.track_id),
        (a.embeddings.vector, b.embeddings.vector),
        (a.embeddings.quality, b.embeddings.quality),
        (a.ended, b.ended),
    ]
    numbers = (a.camid, a.frame_idx, a.time_s) == (b.camid, b.frame_idx, b.time_s)
    return numbers and all(x.dtype == y.dtype and np.array_equal(x, y) for x, y in arrays)
