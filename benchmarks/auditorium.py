"""Who is who in four views that overlap, without calibration and without a single pixel: an auditorium.

    python benchmarks/auditorium.py ../shared/data/auditorium [--tracklets truth found] [--seed 0] [--verbose]

FOLDER holds `<view>.gt.csv` and `<view>.det.csv` as in `track_auditorium.py`. There is no appearance: all that tells
people's identities across views is motion and the floor that the fuser learns from people seen at once
(docs/learned-floor.md). Tracklets are those of the ground truth under random numbers, and those of our tracker
(defaults) on the detections. The floor is learned during the first 60 s, then `freeze()`; figures are for all frames
after that:

* *on the way*: the fuser saw everything from the beginning, as a running system does;
* *cold*: a new fuser with the floor learned before, which sees nothing before second 60.

Beside them what the same tracklets give without any association, and under their true identities (the ceiling).
"""

from __future__ import annotations

import argparse
import logging
import platform
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import date
from itertools import combinations
from pathlib import Path

import numpy as np

from pipeline.evaluation.scores import association_ceiling, score, without_association
from pipeline.evaluation.tables import TrackTable
from pipeline.fusion.config import FusionConfig
from pipeline.fusion.learned_floor import LearnedFloor
from pipeline.fusion.online import OnlineFuser
from pipeline.track.build import build_tracker
from pipeline.track.config import TrackConfig
from pipeline.types import NO_PREVIEW, Detections, EmbeddedFrame, Embeddings, Event, Tracks

FPS = 30000 / 1001
LEARN_S = 60.0
VIEWS = ("HC3", "HC4", "IP2", "IP5")
ALL_PAIRS = frozenset(combinations(range(len(VIEWS)), 2))
DIM = 8


def load_truth(folder: Path) -> TrackTable:
    """The ground truth, rows marked as out of the picture left out."""
    parts = []
    for camid, view in enumerate(VIEWS):
        rows = np.loadtxt(folder / f"{view}.gt.csv", delimiter=",", skiprows=1)
        rows = rows[rows[:, 6] == 0]
        parts.append(np.column_stack((np.full(len(rows), camid), rows)))
    rows = np.concatenate(parts)
    person = rows[:, 2].astype(np.int64) + 1
    return TrackTable(
        VIEWS, rows[:, 0].astype(np.int64), rows[:, 1].astype(np.int64), person, person, rows[:, 3:7].astype(np.float64)
    )


def hidden(truth: TrackTable, rng: np.random.Generator) -> TrackTable:
    """The true boxes as tracklets that say nothing of who it is: a random number per camera, a new one after a gap."""
    track_id = np.zeros(len(truth), np.int64)
    for camid in range(len(VIEWS)):
        rows = np.flatnonzero(truth.camid == camid)
        rows = rows[np.lexsort((truth.frame[rows], truth.identity[rows]))]
        new = (np.diff(truth.frame[rows], prepend=-9) != 1) | (np.diff(truth.identity[rows], prepend=-9) != 0)
        number = np.cumsum(new) - 1
        track_id[rows] = 1 + rng.permutation(int(number.max()) + 1)[number]
    return TrackTable(VIEWS, truth.camid, truth.frame, track_id, track_id, truth.xyxy)


def found(folder: Path) -> TrackTable:
    """The tracklets of our tracker, with its defaults, on the given detections."""
    parts = []
    for camid, view in enumerate(VIEWS):
        rows = np.loadtxt(folder / f"{view}.det.csv", delimiter=",", skiprows=1)
        tracker = build_tracker(TrackConfig())
        for frame in range(int(rows[:, 0].max()) + 1):
            here = rows[rows[:, 0] == frame]
            detections = Detections(here[:, 1:5].astype(np.float32), here[:, 5].astype(np.float32))
            tracks = tracker.update(detections, frame / FPS)
            key = np.tile((camid, frame), (len(tracks), 1))
            parts.append(np.column_stack((key, tracks.track_id, tracks.xyxy)))
    rows = np.concatenate(parts)
    camid, frame, track_id = rows[:, :3].astype(np.int64).T
    return TrackTable(VIEWS, camid, frame, track_id, track_id, rows[:, 3:])


def ticks(table: TrackTable, first: int, end: int) -> Iterator[list[EmbeddedFrame]]:
    """All views at every frame in [first, end). A tracklet ends `max_lost_s` after it was last seen."""
    linger = round(TrackConfig().max_lost_s * FPS)
    last: dict[int, list[tuple[int, int]]] = defaultdict(list)
    keys = np.column_stack((table.camid, table.track_id))
    pairs, place = np.unique(keys, axis=0, return_inverse=True)
    ends = np.zeros(len(pairs), np.int64)
    np.maximum.at(ends, place.ravel(), table.frame)
    for (camid, track_id), frame in zip(pairs.tolist(), ends.tolist(), strict=True):
        if frame >= first:
            last[frame + linger].append((camid, track_id))
    order = np.lexsort((table.track_id, table.camid, table.frame))
    frames = table.frame[order]
    for frame in range(first, end):
        rows = order[np.searchsorted(frames, frame) : np.searchsorted(frames, frame, side="right")]
        items = []
        for camid in range(len(VIEWS)):
            own = rows[table.camid[rows] == camid]
            ended = np.array([tid for cam, tid in last[frame] if cam == camid], np.int64)
            tracks = Tracks(table.track_id[own], table.xyxy[own], np.ones(len(own)))
            items.append(
                EmbeddedFrame(camid, frame, frame / FPS, tracks, Embeddings.empty(DIM), ended, NO_PREVIEW, 1.0)
            )
        yield items


def fuse(
    table: TrackTable, first: int, end: int, overlaps: frozenset[tuple[int, int]], learned: LearnedFloor | None = None
) -> tuple[TrackTable, OnlineFuser, float]:
    """-> the tracklets under the fuser's identities, the fuser, seconds of a core spent on learning the floor."""
    cameras = [None] * len(VIEWS)
    fuser = OnlineFuser(FusionConfig(), cameras, overlaps, DIM, learned)
    update, spent = fuser.learned_floor.update, [0.0]

    def timed(now_s: float) -> bool:
        began = time.process_time()
        changed = update(now_s)
        spent[0] += time.process_time() - began
        return changed

    fuser.learned_floor.update = timed  # type: ignore[method-assign]
    events: list[Event] = []
    for items in ticks(table, first, end):
        if items[0].time_s >= LEARN_S:
            fuser.learned_floor.freeze()
        events += [event for frame in fuser.step(items) for event in frame.events]
    events += [event for frame in fuser.flush() for event in frame.events]
    inside = table[(table.frame >= first) & (table.frame < end)]
    return inside.with_identity(final_identities(inside, events)), fuser, spent[0]


def final_identities(table: TrackTable, events: Sequence[Event]) -> np.ndarray:
    """(R,) identities as a function of tracklets and events, 0 for none."""
    own: dict[tuple[int, int], list[tuple[float, int]]] = defaultdict(list)
    became: dict[int, int] = {}
    for event in events:
        if event.kind in ("create", "link"):
            own[event.camid, event.track_id].append((-np.inf, event.global_id))
        elif event.kind == "split":
            own[event.camid, event.track_id].append((event.time_s, event.global_id))
        elif event.kind == "merge":
            became[event.other_id] = event.global_id
    identity = np.zeros(len(table), np.int64)
    for row, (camid, frame, track_id) in enumerate(
        zip(table.camid.tolist(), table.frame.tolist(), table.track_id.tolist(), strict=True)
    ):
        spans = [(from_s, gid) for from_s, gid in own[camid, track_id] if from_s <= frame / FPS + 1e-9]
        gid = max(spans, key=lambda span: span[0])[1] if spans else 0
        while gid in became:
            gid = became[gid]
        identity[row] = gid
    return identity


def report(name: str, truth: TrackTable, table: TrackTable, overlaps: frozenset[tuple[int, int]]) -> LearnedFloor:
    """One line of the table."""
    end = int(truth.frame.max()) + 1
    start = int(np.ceil(LEARN_S * FPS))
    rest, given = truth[truth.frame >= start], table[table.frame >= start]
    warm, fuser, spent_s = fuse(table, 0, end, overlaps)
    learned = fuser.learned_floor
    cold, _, _ = fuse(table, start, end, overlaps, learned)
    warm = warm[warm.frame >= start]
    cells = [
        without_association(rest, given).overall.identity.idf1,
        score(rest, cold).overall.identity.idf1,
        score(rest, warm).overall.identity.idf1,
        association_ceiling(rest, given).overall.identity.idf1,
    ]
    people = f"{len(np.unique(warm.identity))} / {len(np.unique(rest.identity))}"
    print(f"| {name} | {' | '.join(f'{cell:.3f}' for cell in cells)} | {people} | {spent_s:.1f} |", flush=True)
    return learned


def print_floors(name: str, learned: LearnedFloor) -> None:
    for q in learned.quality:
        views = " - ".join(VIEWS[camid] for camid in q.cameras)
        print(
            f"| {name} | {views} | {q.num_confirmed} / {q.num_people} | {q.gain:.2f} | "
            f"{q.explained:.2f} ({q.explained_by_chance:.2f}) | {q.residual_heights:.2f} | {q.residual_m:.2f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tracklets", nargs="+", choices=("truth", "found"), default=["truth", "found"])
    parser.add_argument("--seed", type=int, default=0, help="of the numbers that hide the identities")
    parser.add_argument("--verbose", action="store_true", help="say when floors are learned")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO if args.verbose else logging.ERROR, format="%(message)s")
    truth = load_truth(args.folder)
    tables = {
        "truth": ("ground-truth boxes, ids hidden", lambda: hidden(truth, np.random.default_rng(args.seed))),
        "found": ("detections, our tracker", lambda: found(args.folder)),
    }
    print(f"{date.today()}, Python {platform.python_version()}, numpy {np.__version__}: global IDF1 at IoU 0.5\n")
    print("| tracklets | no association | cold | on the way | ceiling | people found / true | learning, s of a core |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    floors = {}
    for kind in args.tracklets:
        name, make = tables[kind]
        floors[name] = report(name, truth, make(), ALL_PAIRS)
    print("\n| tracklets | floor | people confirmed / matched | gain | explained (chance) | heights | metres |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, learned in floors.items():
        print_floors(name, learned)


if __name__ == "__main__":
    main()
