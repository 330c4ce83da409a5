"""What does mending tracklets afterwards add to the per-camera tracker? Boxes alone, no appearance.

    python benchmarks/track_smoothing.py ../shared/data/mot15 [--every 1 5] [--copies 3]
    python benchmarks/track_smoothing.py ../shared/data/auditorium --every 1 6

FOLDER holds MOT15 sequences (`track_mot15.py`) or the views of the auditorium (`track_auditorium.py`). Each row does a
step more to the tracks of the row above it. By default tracklets are joined only where their appearance agrees too, and
so none are here; the last row joins them on motion alone, which is off by default. Scores are pooled over the
sequences; "copies" are means over perturbed copies of the detections (`track_mot15.perturbed`).
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
from track_auditorium import is_auditorium, load_views
from track_mot15 import Sequence, copies_of, figures, follow, load_all, print_rows, table, truth_of
from track_peers import ours

from pipeline.evaluation.scores import score
from pipeline.track.smoothing import fill_gaps, mend
from pipeline.track.smoothing_config import SmoothingConfig
from pipeline.track.track_rows import TrackRows

Step = Callable[[TrackRows, np.ndarray, np.ndarray], TrackRows]  # rows, frame_idx (F,), frame_time_s (F,)
CONFIG = SmoothingConfig()
BLIND = SmoothingConfig(blind_share=0.5)

STEPS: dict[str, Step] = {
    "as tracked": lambda rows, frames, times_s: rows,
    "gaps filled": lambda rows, frames, times_s: fill_gaps(rows, frames, times_s, CONFIG),
    "gaps filled and paths smoothed: `mend` with its defaults": lambda *given: mend(*given, CONFIG)[0],
    "`mend` that joins on motion alone (`blind_share` 0.5)": lambda *given: mend(*given, BLIND)[0],
}


def tracked(sequence: Sequence, every: int) -> TrackRows:
    rows, _ = follow(sequence, ours(), every)
    frame = rows[:, 0].astype(np.int64)
    return TrackRows(
        frame_idx=frame,
        time_s=frame / sequence.fps,
        track_id=rows[:, 1].astype(np.int64),
        xyxy=rows[:, 2:],
        score=np.ones(len(rows), np.float32),
        interpolated=np.zeros(len(rows), np.bool_),
    )


def measure(sequences: list[Sequence], every: int) -> tuple[dict[str, list[float]], float]:
    """The figures after each step, and how many thousand boxes a second `mend` takes."""
    truth = table(sequences, [truth_of(s, every) for s in sequences])
    before = [tracked(s, every) for s in sequences]
    found, seconds = {}, 0.0
    for name, step in STEPS.items():
        parts, start = [], time.process_time()
        for sequence, rows in zip(sequences, before, strict=True):
            frames = np.arange(0, sequence.length, every)
            parts.append(step(rows, frames, frames / sequence.fps))
        seconds = time.process_time() - start
        boxes = [np.column_stack((rows.frame_idx, rows.track_id, rows.xyxy)) for rows in parts]
        found[name] = figures(score(truth, table(sequences, boxes)).overall)
    return found, sum(map(len, before)) / seconds / 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--every", type=int, nargs="+", default=[1, 5], metavar="N", help="keep every Nth frame")
    parser.add_argument("--copies", type=int, default=3, help="perturbed copies")
    args = parser.parse_args()
    sequences = load_views(args.folder) if is_auditorium(args.folder) else load_all(args.folder)
    print(f"{date.today()}, Python {platform.python_version()}, numpy {np.__version__}, {len(sequences)} sequences.")
    for every in args.every:
        runs = [measure(each, every) for each in (sequences, *copies_of(sequences, args.copies))]
        rows = {}
        for name in STEPS:
            kinds = [runs[0][0][name], *([np.mean([r[name] for r, _ in runs[1:]], axis=0)] if runs[1:] else [])]
            rows[name] = [f"{v:.1f}" if place % 6 < 5 else f"{v:.0f}" for place, v in enumerate(np.concatenate(kinds))]
        names = "HOTA | DetA | AssA | MOTA | IDF1 | switches"
        print(
            f"\nEvery {every}. frame; `mend` takes {np.median([rate for _, rate in runs]):.0f} thousand boxes a second."
        )
        print_rows(f"tracks | {names}" + (f" | copies: {names}" if args.copies else ""), rows)


if __name__ == "__main__":
    main()
