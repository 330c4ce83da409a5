"""The per-camera tracker beside its peers on MOT15 sequences with public detections.

    python benchmarks/track_mot15.py ../shared/data/mot15 [--every 5 | --fps 5] [--per-sequence] [--loss]
        [--copies 3] [--only NAME] [--sequences NAME]

Every folder with `det.txt`, `gt.txt` and `seqinfo.ini` is one sequence, so that any folder of sequences in the format
of MOTChallenge will do. All trackers run with their defaults, in one process, on the same detections
(`track_peers.py`). Scores are pooled over the sequences, as one long sequence in which nobody appears twice; all boxes
of the ground truth count. Time is the median per frame of the tracker's update alone, one tracker after the other;
`track_speed.py` measures it with care.

`--every 5` keeps every 5th frame. `--fps 5` keeps as many as give about 5 frames a second, that is every 5th of a
sequence at 25 and all of one at 5. `--loss` runs at the full rate too and tells the points lost.

Our settings were chosen on these six sequences and on PETS. `--copies` says how much of a lead is luck: a second table
with means over perturbed copies of the detections, in which `DROPPED` of the boxes are missing and left, top, width and
height of the others are moved by a normal `JITTER` of their height. Footage that next to nothing was chosen on is in
`track_auditorium.py`.
"""

from __future__ import annotations

import argparse
import configparser
import platform
import time
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np
from track_peers import OURS, Follower, followers

from pipeline.evaluation.scores import ScoreRow, Scores, score
from pipeline.evaluation.tables import TrackTable

IDS_PER_SEQUENCE = 1_000_000
DROPPED = 0.05
JITTER = 0.02


@dataclass(frozen=True)
class Sequence:
    name: str
    fps: float
    length: int
    detections: np.ndarray  # rows of det.txt
    truth: np.ndarray  # rows of gt.txt


@dataclass(frozen=True)
class Run:
    """One tracker over all sequences."""

    scores: Scores
    median_us: float  # of an update


def load(folder: Path) -> Sequence:
    info = configparser.ConfigParser()
    info.read(folder / "seqinfo.ini")
    about = info["Sequence"]
    tables = (np.loadtxt(folder / name, delimiter=",") for name in ("det.txt", "gt.txt"))
    return Sequence(folder.name, float(about["frameRate"]), int(about["seqLength"]), *tables)


def load_all(folder: Path) -> list[Sequence]:
    found = [load(path.parent) for path in sorted(folder.glob("*/seqinfo.ini"))]
    if not found:
        raise SystemExit(f"{folder} holds no folder with a seqinfo.ini: give a folder of MOTChallenge sequences")
    return found


def corners(rows: np.ndarray) -> np.ndarray:
    return np.concatenate([rows[:, 2:4], rows[:, 2:4] + rows[:, 4:6]], axis=1)


def perturbed(sequence: Sequence, rng: np.random.Generator) -> Sequence:
    """The same sequence with boxes missing and moved."""
    rows = sequence.detections[rng.random(len(sequence.detections)) > DROPPED].copy()
    rows[:, 2:6] += rng.normal(0, JITTER, (len(rows), 4)) * rows[:, 5:6]
    return replace(sequence, detections=rows[(rows[:, 4:6] > 0).all(axis=1)])


def copies_of(sequences: list[Sequence], num: int) -> list[list[Sequence]]:
    return [[perturbed(s, rng) for s in sequences] for rng in map(np.random.default_rng, range(1, num + 1))]


def follow(sequence: Sequence, follower: Follower, every: int) -> tuple[np.ndarray, list[float]]:
    """Rows (frame, id, x1, y1, x2, y2) and the seconds of each update."""
    boxes = corners(sequence.detections).astype(np.float32)
    confidence = sequence.detections[:, 6].astype(np.float32)
    tracker = follower.start(sequence.fps / every)
    rows, seconds = [np.zeros((0, 6))], []
    for frame in range(1, sequence.length + 1, every):
        now = sequence.detections[:, 0] == frame
        given = follower.prepare(boxes[now], confidence[now], frame / sequence.fps)
        start = time.perf_counter()
        answer = follower.update(tracker, given)
        seconds.append(time.perf_counter() - start)
        ids, xyxy = follower.read(answer, given)
        rows.append(np.column_stack((np.full(len(ids), frame - 1), ids, np.reshape(xyxy, (-1, 4)))))
    return np.concatenate(rows), seconds


def table(sequences: list[Sequence], parts: list[np.ndarray]) -> TrackTable:
    """Rows (frame, id, x1, y1, x2, y2) of each sequence as one table in which no id stands in two sequences."""
    place = np.repeat(np.arange(len(parts)), [len(rows) for rows in parts])
    rows = np.concatenate(parts)
    ids = rows[:, 1] + place * IDS_PER_SEQUENCE
    return TrackTable(tuple(s.name for s in sequences), place, rows[:, 0], ids, ids, rows[:, 2:])


def truth_of(sequence: Sequence, every: int) -> np.ndarray:
    kept = sequence.truth[(sequence.truth[:, 0] - 1) % every == 0]
    return np.column_stack((kept[:, 0] - 1, kept[:, 1], corners(kept)))


def run(sequences: list[Sequence], follower: Follower, every: list[int]) -> Run:
    parts = [follow(s, follower, n) for s, n in zip(sequences, every, strict=True)]
    truth = table(sequences, [truth_of(s, n) for s, n in zip(sequences, every, strict=True)])
    median_us = 1e6 * float(np.median(np.concatenate([seconds for _, seconds in parts])))
    return Run(score(truth, table(sequences, [rows for rows, _ in parts])), median_us)


def figures(row: ScoreRow) -> list[float]:
    """HOTA, DetA, AssA, MOTA, IDF1 in per cent, and switches."""
    shares = (row.hota.hota, row.hota.det_a, row.hota.ass_a, row.clear.mota, row.identity.idf1)
    return [100 * share for share in shares] + [float(row.clear.num_switches)]


def print_rows(head: str, rows: dict[str, list[str]]) -> None:
    print(f"\n| {head} |\n|" + " --- |" * (head.count("|") + 1))
    for name, cells in rows.items():
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def print_pooled(runs: dict[str, list[Run]]) -> None:
    """A row per tracker: means over its runs."""
    values = {name: np.mean([figures(r.scores.overall) for r in each], axis=0) for name, each in runs.items()}
    us = {name: float(np.mean([r.median_us for r in each])) for name, each in runs.items()}
    rows = {n: [*(f"{v:.1f}" for v in values[n][:5]), f"{values[n][5]:.0f}", f"{us[n]:.0f}"] for n in runs}
    peers = [name for name in runs if name != OURS]
    if peers:
        best = [max(values[n][column] for n in peers) for column in range(5)] + [min(values[n][5] for n in peers)]
        fastest = min(us[n] for n in peers)
        rows["the best peer of each column"] = [*(f"{v:.1f}" for v in best[:5]), f"{best[5]:.0f}", f"{fastest:.0f}"]
        if OURS in runs:
            ahead = [own - other for own, other in zip(values[OURS], best, strict=True)]
            rows["ours against it"] = [*(f"{v:+.1f}" for v in ahead[:5]), f"{ahead[5]:+.0f}"]
            rows["ours against it"].append(f"{us[OURS] / fastest:.2f} ×")
    print_rows("tracker | HOTA | DetA | AssA | MOTA | IDF1 | switches | µs a frame", rows)


def print_per_sequence(runs: dict[str, Run]) -> None:
    names = [row.name for row in next(iter(runs.values())).scores.cameras]
    rows = {}
    for name, each in runs.items():
        values = [figures(row) for row in each.scores.cameras]
        rows[name] = [f"{hota:.1f} / {idf1:.1f} / {switches:.0f}" for hota, _, _, _, idf1, switches in values]
    print_rows("HOTA / IDF1 / switches | " + " | ".join(names), rows)


def print_loss(full: dict[str, list[Run]], thinned: dict[str, list[Run]]) -> None:
    """A row per tracker: means over its runs."""
    rows = {}
    for name in full:
        before, after = (np.mean([figures(r.scores.overall) for r in runs[name]], axis=0) for runs in (full, thinned))
        rows[name] = [f"{before[c]:.1f} | {after[c]:.1f} | {before[c] - after[c]:.1f}" for c in (0, 2, 4)]
    kinds = (f"{name} at full rate | thinned | lost" for name in ("HOTA", "AssA", "IDF1"))
    print_rows("tracker | " + " | ".join(kinds), rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    rate = parser.add_mutually_exclusive_group()
    rate.add_argument("--every", type=int, default=1, metavar="N", help="keep every Nth frame")
    rate.add_argument("--fps", type=float, help="keep about so many frames a second of each sequence")
    parser.add_argument("--per-sequence", action="store_true", help="a second table, one column a sequence")
    parser.add_argument("--loss", action="store_true", help="run at the full rate too and tell the points lost")
    parser.add_argument("--copies", type=int, default=0, metavar="N", help="a table of means over N perturbed copies")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="trackers with this in their name")
    parser.add_argument("--sequences", nargs="+", metavar="NAME", help="only these sequences")
    args = parser.parse_args()
    if args.every < 1 or (args.fps is not None and args.fps <= 0):
        parser.error("--every and --fps want a positive number")
    sequences = [s for s in load_all(args.folder) if not args.sequences or s.name in args.sequences]
    if not sequences:
        parser.error(f"{args.folder} has no sequence called {', '.join(args.sequences)}")
    every = [max(1, round(s.fps / args.fps)) if args.fps else args.every for s in sequences]
    kinds, remarks = followers(args.only)
    shown = ", ".join(f"{s.name} ({s.fps / n:.3g} fps)" for s, n in zip(sequences, every, strict=True))
    print(f"{date.today()}, Python {platform.python_version()}, numpy {np.__version__}, {', '.join(remarks)}.\n{shown}")
    groups = {"": [sequences]}
    if args.copies:
        groups[f"\nMeans over {args.copies} perturbed copies:"] = copies_of(sequences, args.copies)
    for heading, group in groups.items():
        print(heading)
        runs = {name: [run(each, follower, every) for each in group] for name, follower in kinds.items()}
        print_pooled(runs)
        if args.per_sequence and not heading:
            print_per_sequence({name: each for name, (each,) in runs.items()})
        if args.loss:
            ones = [1] * len(sequences)
            print_loss({name: [run(each, f, ones) for each in group] for name, f in kinds.items()}, runs)


if __name__ == "__main__":
    main()
