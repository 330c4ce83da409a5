"""The per-camera tracker beside its peers on MOT15 sequences with public detections.

    python benchmarks/track_mot15.py ../shared/data/mot15 [--every 5]

Every folder with `det.txt`, `gt.txt` and `seqinfo.ini` is one sequence. All trackers run with their defaults, in one
process, on the same detections; the peers are those of the `trackers` package. Scores are pooled over the sequences, as
one long sequence in which nobody appears twice; all boxes of the ground truth count. Time is the median per frame of
the tracker's update alone, one core. `--every 5` keeps every 5th frame. The tracker's settings were chosen on these
six sequences and on PETS: only others can say how general they are.
"""

from __future__ import annotations

import argparse
import configparser
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import supervision as sv
from trackers import ByteTrackTracker, CBIoUTracker, OCSORTTracker, SORTTracker

from pipeline.evaluation.scores import score
from pipeline.evaluation.tables import TrackTable
from pipeline.track.build import build_tracker
from pipeline.track.config import TrackConfig
from pipeline.types import Detections

Update = Callable[[np.ndarray, np.ndarray, float], tuple[np.ndarray, np.ndarray]]
PEERS = {"ByteTrack": ByteTrackTracker, "OC-SORT": OCSORTTracker, "SORT": SORTTracker, "C-BIoU": CBIoUTracker}
IDS_PER_SEQUENCE = 1_000_000


@dataclass(frozen=True)
class Sequence:
    name: str
    fps: float
    length: int
    detections: np.ndarray  # rows of det.txt
    truth: np.ndarray  # rows of gt.txt


def load(folder: Path) -> Sequence:
    info = configparser.ConfigParser()
    info.read(folder / "seqinfo.ini")
    about = info["Sequence"]
    tables = (np.loadtxt(folder / name, delimiter=",") for name in ("det.txt", "gt.txt"))
    return Sequence(folder.name, float(about["frameRate"]), int(about["seqLength"]), *tables)


def corners(rows: np.ndarray) -> np.ndarray:
    return np.concatenate([rows[:, 2:4], rows[:, 2:4] + rows[:, 4:6]], axis=1)


def ours(fps: float) -> Update:
    tracker = build_tracker(TrackConfig())

    def update(xyxy: np.ndarray, confidence: np.ndarray, time_s: float) -> tuple[np.ndarray, np.ndarray]:
        tracks = tracker.update(Detections(xyxy, confidence), time_s)
        return tracks.track_id, tracks.xyxy

    return update


def peer(kind: Callable[..., object], fps: float) -> Update:
    tracker = kind(frame_rate=fps)

    def update(xyxy: np.ndarray, confidence: np.ndarray, time_s: float) -> tuple[np.ndarray, np.ndarray]:
        found = tracker.update(sv.Detections(xyxy=xyxy, confidence=confidence, class_id=np.zeros(len(xyxy), int)))
        if found.tracker_id is None:
            return np.zeros(0, int), np.zeros((0, 4))
        known = found.tracker_id >= 0
        return found.tracker_id[known], found.xyxy[known]

    return update


def follow(place: int, sequence: Sequence, update: Update, every: int) -> tuple[np.ndarray, list[float]]:
    """Rows (place, frame, id, x1, y1, x2, y2) and the seconds of each update."""
    boxes = corners(sequence.detections).astype(np.float32)
    confidence = sequence.detections[:, 6].astype(np.float32)
    rows, seconds = [np.zeros((0, 7))], []
    for frame in range(1, sequence.length + 1, every):
        now = sequence.detections[:, 0] == frame
        start = time.perf_counter()
        ids, xyxy = update(boxes[now], confidence[now], frame / sequence.fps)
        seconds.append(time.perf_counter() - start)
        head = np.stack([np.full(len(ids), place), np.full(len(ids), frame - 1), ids], axis=1)
        rows.append(np.concatenate([head, np.asarray(xyxy).reshape(-1, 4)], axis=1))
    return np.concatenate(rows), seconds


def table(names: tuple[str, ...], rows: np.ndarray) -> TrackTable:
    ids = rows[:, 2] + rows[:, 0] * IDS_PER_SEQUENCE
    return TrackTable(names, rows[:, 0], rows[:, 1], ids, ids, rows[:, 3:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--every", type=int, default=1)
    args = parser.parse_args()
    sequences = [load(path.parent) for path in sorted(args.folder.glob("*/seqinfo.ini"))]
    names = tuple(sequence.name for sequence in sequences)
    truth_rows = []
    for place, sequence in enumerate(sequences):
        kept = sequence.truth[(sequence.truth[:, 0] - 1) % args.every == 0]
        head = np.stack([np.full(len(kept), place), kept[:, 0] - 1, kept[:, 1]], axis=1)
        truth_rows.append(np.concatenate([head, corners(kept)], axis=1))
    truth = table(names, np.concatenate(truth_rows))
    print(f"{date.today()}, Python {platform.python_version()}, every {args.every}. frame of {', '.join(names)}\n")
    print("| tracker | HOTA | DetA | AssA | MOTA | IDF1 | switches | µs a frame |\n|" + " --- |" * 8)
    makers = {"ours": ours} | {name: (lambda fps, kind=kind: peer(kind, fps)) for name, kind in PEERS.items()}
    for name, make in makers.items():
        parts = [follow(i, s, make(s.fps / args.every), args.every) for i, s in enumerate(sequences)]
        result = score(truth, table(names, np.concatenate([rows for rows, _ in parts]))).overall
        figures = (result.hota.hota, result.hota.det_a, result.hota.ass_a, result.clear.mota, result.identity.idf1)
        median_us = 1e6 * float(np.median(np.concatenate([seconds for _, seconds in parts])))
        shown = " | ".join(f"{100 * figure:.1f}" for figure in figures)
        print(f"| {name} | {shown} | {result.clear.num_switches} | {median_us:.0f} |", flush=True)


if __name__ == "__main__":
    main()
