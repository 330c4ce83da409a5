"""Small worlds for the fuser: people with a look, seen by cameras, without any picture."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from pipeline.fusion.fuser import Fuser
from pipeline.saved_state import load_state, save_state
from pipeline.types import NO_PREVIEW, EmbeddedFrame, Embeddings, FusedFrame, Tracks

DIM = 32


def look(rng: np.random.Generator, num_people: int, dim: int = DIM) -> np.ndarray:
    """(P, D) unit vectors of people, about 0.5 similar to each other, as networks have it."""
    shared = np.abs(rng.standard_normal(dim))
    own = rng.standard_normal((num_people, dim))
    vectors = shared / np.linalg.norm(shared) + own / np.linalg.norm(own, axis=1, keepdims=True)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def clip(rng: np.random.Generator, person: np.ndarray, noise: float) -> np.ndarray:
    """One noisy clip vector of unit norm; `noise` is the length of what is added to the unit vector."""
    added = rng.standard_normal(len(person))
    vector = person + noise * added / np.linalg.norm(added)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def box(left: float, foot: float, height: float = 80.0) -> tuple[float, float, float, float]:
    return left, foot - height, left + 0.4 * height, foot


def frame(
    camid: int,
    index: int,
    time_s: float,
    *,
    boxes: dict[int, tuple[float, float, float, float]] | None = None,
    clips: Sequence[tuple[int, np.ndarray]] = (),
    ended: Iterable[int] = (),
    dim: int = DIM,
) -> EmbeddedFrame:
    """One frame: boxes by track_id, clip vectors as (track_id, vector), ended track_ids."""
    boxes = boxes or {}
    count = len(boxes)
    tracks = Tracks(
        np.array(list(boxes), np.int64), np.array(list(boxes.values()), np.float32).reshape(count, 4), np.ones(count)
    )
    embeddings = Embeddings(
        np.array([track_id for track_id, _ in clips], np.int64),
        np.array([vector for _, vector in clips], np.float32).reshape(len(clips), dim),
        np.ones(len(clips), np.float32),
    )
    return EmbeddedFrame(camid, index, time_s, tracks, embeddings, np.array(sorted(ended), np.int64), NO_PREVIEW, 1.0)


def resolve(frames: Iterable[FusedFrame]) -> dict[tuple[int, int, int], int]:
    """The final identities as a pure function of tracks and events: (camid, frame_idx, track_id) -> global_id.

    A create or link speaks for the whole tracklet, a split for the tracklet from `time_s` up to its next
    split, a merge for ever.
    """
    frames = list(frames)
    own: dict[tuple[int, int], list[tuple[float, int]]] = defaultdict(list)
    became: dict[int, int] = {}
    for event in (event for fused in frames for event in fused.events):
        if event.kind in ("create", "link"):
            own[event.camid, event.track_id].append((-np.inf, event.global_id))
        elif event.kind == "split":
            own[event.camid, event.track_id].append((event.time_s, event.global_id))
        elif event.kind == "merge":
            became[event.other_id] = event.global_id
    table = {}
    for fused in frames:
        for track_id in fused.tracks.track_id.tolist():
            spans = own[fused.camid, track_id]
            _, global_id = max(((from_s, gid) for from_s, gid in spans if from_s <= fused.time_s), key=lambda s: s[0])
            while global_id in became:
                global_id = became[global_id]
            table[fused.camid, fused.frame_idx, track_id] = global_id
    return table


def of_track(table: dict[tuple[int, int, int], int], camid: int, track_id: int) -> set[int]:
    """All identities that a tracklet wears in the end."""
    return {gid for (cam, _, tid), gid in table.items() if (cam, tid) == (camid, track_id)}


def walk(
    camid: int,
    track_id: int,
    times_s: Sequence[float],
    person: np.ndarray,
    rng: np.random.Generator,
    *,
    noise: float = 0.3,
    left: float = 0.0,
    foot: float = 200.0,
) -> list[EmbeddedFrame]:
    """One person alone in a camera: a clip at every time, and the end half a second after the last one."""
    frames = [
        frame(
            camid,
            round(t * 10),
            t,
            boxes={track_id: box(left + 10 * i, foot)},
            clips=[(track_id, clip(rng, person, noise))],
        )
        for i, t in enumerate(times_s)
    ]
    return [*frames, frame(camid, round(times_s[-1] * 10) + 5, times_s[-1] + 0.5, ended=[track_id])]


def events_of_saved(fuser: Fuser, ticks: Iterable[Sequence[EmbeddedFrame]], save_every: int) -> list[str]:
    """All that a fuser says that is saved and read back now and then."""
    events: list[str] = []
    for place, tick in enumerate(ticks):
        events += [repr(event) for fused in fuser.step(tick) for event in fused.events]
        if place % save_every == 3:
            fuser = load_state(save_state(fuser), ("pipeline.fusion.", "pipeline.types", "pipeline.geometry."))
    return events + [repr(event) for fused in fuser.flush() for event in fused.events]
