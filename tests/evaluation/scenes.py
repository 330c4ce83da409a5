"""Small made-up worlds and fake trackers for the tests of the scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.evaluation.tables import TrackTable, concatenate

Row = tuple[str, int, int, tuple[float, float, float, float]]  # camera, frame, identity, xyxy


def table(rows: Sequence[Row], cameras: Sequence[str] = (), track_id: Sequence[int] = ()) -> TrackTable:
    names = tuple(dict.fromkeys([*cameras, *(camera for camera, *_ in rows)]))
    identity = np.array([who for _, _, who, _ in rows], np.int64)
    return TrackTable(
        names,
        np.array([names.index(camera) for camera, *_ in rows], np.int64),
        np.array([frame for _, frame, *_ in rows], np.int64),
        np.array(track_id, np.int64) if len(track_id) else identity,
        identity,
        np.array([box for *_, box in rows], np.float64).reshape(-1, 4),
    )


def standing(place: float, camera: str, identities: Sequence[int | None], width: float = 10.0) -> list[Row]:
    """One person standing still, 10 pixels high; the identity written in each frame, None where there is no box."""
    box = (100.0 * place, 0.0, 100.0 * place + width, 10.0)
    return [(camera, frame, who, box) for frame, who in enumerate(identities) if who is not None]


def crowd(rng: np.random.Generator, *, people: int, frames: int, camera: str = "a", gaps: float = 0.1) -> TrackTable:
    """People who wander through each other, each missing from some frames."""
    start = rng.uniform(0, 200, (people, 1, 2))
    path = start + np.cumsum(rng.normal(0, 6, (people, frames, 2)), axis=1)
    size = np.concatenate([rng.uniform(25, 45, (people, 1)), rng.uniform(60, 100, (people, 1))], axis=1)[:, None]
    xyxy = np.concatenate([path, path + size], axis=2).reshape(-1, 4)
    who, frame = np.divmod(np.arange(people * frames), frames)
    seen = rng.random(len(who)) >= gaps
    camid = np.zeros(int(seen.sum()), np.int64)
    return TrackTable((camera,), camid, frame[seen], who[seen] + 1, who[seen] + 1, xyxy[seen])


def fake_tracker(
    truth: TrackTable,
    rng: np.random.Generator,
    *,
    jitter: float = 0.08,
    missed: float = 0.1,
    false: float = 0.1,
    switch: float = 0.02,
) -> TrackTable:
    """A tracker's output on one camera: boxes off by `jitter` of their size, some missed, some invented, and each
    person's id changed now and then. No identity stands twice in a frame."""
    kept = truth[rng.random(len(truth)) >= missed]
    order = np.lexsort((kept.frame, kept.identity))
    kept = kept[order]
    part = np.cumsum(rng.random(len(kept)) < switch)
    wh = np.tile(kept.xyxy[:, 2:] - kept.xyxy[:, :2], 2)
    found = TrackTable(
        kept.cameras,
        kept.camid,
        kept.frame,
        kept.identity * 10_000 + part,
        kept.identity * 10_000 + part,
        kept.xyxy + wh * rng.normal(0, jitter, wh.shape),
    )
    ghost = found[rng.choice(len(found), int(false * len(found)), replace=False)]
    ghost_id = 10_000_000 + rng.permutation(len(ghost)) // 5  # short tracks of five boxes each
    away = np.tile(rng.normal(0, 30, (len(ghost), 2)), 2)
    ghost = TrackTable(ghost.cameras, ghost.camid, ghost.frame, ghost_id, ghost_id, ghost.xyxy + away)
    _, first = np.unique(ghost.frame * 1_000_000 + ghost_id - 10_000_000, return_index=True)
    return concatenate([found, ghost[np.sort(first)]])
