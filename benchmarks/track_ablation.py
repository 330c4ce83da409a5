"""What is each part of the per-camera tracker worth? Every part is changed alone, all else stays as it is.

    python benchmarks/track_ablation.py ../shared/data/mot15 [--every 5] [--copies 3] [--only NAME]
    python benchmarks/track_ablation.py ../shared/data/auditorium --every 6

FOLDER holds MOT15 sequences (`track_mot15.py`) or the views of the auditorium (`track_auditorium.py`). Each cell is
HOTA / IDF1 / switches, pooled over the sequences; the first row is the tracker as it is, the others are differences to
it. A single run tells little: one switch more or less in the right place moves HOTA by half a point. So everything also
runs on perturbed copies of the detections (`track_mot15.perturbed`), and the mean over the copies is the better guide;
± is the standard error of the difference in HOTA over the copies.
The last column has the difference in HOTA at the full rate, as a mean over the sequence as it is and its copies, for
each sequence in the order of the heading; a part that helps lies below zero where it is taken away.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import platform
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from track_auditorium import is_auditorium, load_views
from track_mot15 import Sequence, copies_of, figures, load_all, print_rows, run
from track_peers import Follower, boxes_follower

from pipeline.geometry.boxes import iou
from pipeline.track.box_tracker import SLOW_S, BoxTracker
from pipeline.track.config import TrackConfig
from pipeline.track.costs import Fit
from pipeline.track.kalman import MotionNoise, boxes_of
from pipeline.track.kernels import Kernels, load_kernels
from pipeline.types import Tracks

SHOWN = (0, 4, 5)  # of track_mot15.figures: HOTA, IDF1, switches

Figures = np.ndarray  # (2 rates, 1 + copies, 1 + sequences, 3): the pooled ones first, then those of each sequence


def plain_overlap(kernels: Kernels) -> Kernels:
    """Pairs by the overlap of the buffered boxes alone; what the direction adds is what it was."""

    def buffered(xyxy: np.ndarray, share: float) -> np.ndarray:
        margin = (xyxy[:, 2:] - xyxy[:, :2]) * share
        return np.concatenate((xyxy[:, :2] - margin, xyxy[:, 2:] + margin), axis=1)

    def pair_cost(mean: np.ndarray, cov: np.ndarray, last_xy: np.ndarray, xyxy: np.ndarray, fit: Fit) -> np.ndarray:
        whole = kernels.pair_cost(mean, cov, last_xy, xyxy, fit)
        undirected = kernels.pair_cost(mean, cov, last_xy, xyxy, dataclasses.replace(fit, direction=0.0))
        plain = 1 - iou(buffered(boxes_of(mean), fit.buffer), buffered(xyxy, fit.buffer))
        touching = np.isfinite(whole)
        return np.where(touching, plain + np.where(touching, whole, 0) - np.where(touching, undirected, 0), np.inf)

    return dataclasses.replace(kernels, pair_cost=pair_cost)


def scores_ignored(kernels: Kernels) -> Kernels:
    """The score of a detection is not worked into its cost."""
    alike = lambda cost, weight, *others: kernels.match(cost, np.ones_like(weight), *others)  # noqa: E731
    return dataclasses.replace(kernels, match=alike)


def unpredicted(kernels: Kernels) -> Kernels:
    """Pairs are compared where the filter was at the last detection; the filter itself runs as ever."""
    rested: list[np.ndarray] = []

    def predict(mean: np.ndarray, cov: np.ndarray, dt_s: np.ndarray, noise: MotionNoise) -> Any:
        rested[:] = [mean[:, :1].copy()]
        return kernels.predict(mean, cov, dt_s, noise)

    def pair_cost(mean: np.ndarray, *others: Any) -> np.ndarray:
        return kernels.pair_cost(np.concatenate((rested[0], mean[:, 1:]), axis=1), *others)

    return dataclasses.replace(kernels, predict=predict, pair_cost=pair_cost)


def shown_as(filtered: float, tracker: BoxTracker, given: tuple[Any, float]) -> Tracks:
    """Boxes with this share of the filter; the tracker itself shows them half and half."""
    tracks = tracker.update(*given)
    ids = tracker._table.track_id
    order = ids.argsort()
    rows = order[np.searchsorted(ids[order], tracks.track_id)]
    of_filter = boxes_of(tracker._table.mean[rows])
    detected = 2 * tracks.xyxy - of_filter
    return Tracks(tracks.track_id, (filtered * of_filter + (1 - filtered) * detected).astype(np.float32), tracks.score)


def variant(
    kernels: Callable[[Kernels], Kernels] | None = None,
    noise: MotionNoise | None = None,
    update: Callable[[Any, Any], Any] | None = None,
    slow_s: float = SLOW_S,
    **settings: Any,
) -> Follower:
    """Our tracker with other settings, arithmetic, noise, way to show its boxes, or notion of a low frame rate."""

    def start() -> BoxTracker:
        tracker = BoxTracker(TrackConfig(**settings), noise)
        tracker._slow_s = slow_s
        if kernels:
            tracker._kernels = kernels(load_kernels(compiled=True))
        return tracker

    return boxes_follower(start, update)


VARIANTS: dict[str, Callable[[], Follower]] = {
    "as it is": variant,
    "cost: no vertical factor": partial(variant, kernels=plain_overlap),
    "cost: buffer 0 (is 0.2)": partial(variant, buffer=0.0),
    "cost: buffer 0.1": partial(variant, buffer=0.1),
    "cost: buffer 0.3": partial(variant, buffer=0.3),
    "cost: direction 0 (is 0.07)": partial(variant, direction_weight=0.0),
    "cost: direction 0.2": partial(variant, direction_weight=0.2),
    "cost: none of the three, plain IoU": partial(variant, kernels=plain_overlap, buffer=0.0, direction_weight=0.0),
    "cost: score not fused": partial(variant, kernels=scores_ignored),
    "motion: pairs compared unpredicted": partial(variant, kernels=unpredicted),
    "motion: drift 0.15 (is 0.3)": partial(variant, noise=MotionNoise(drift_position=0.15)),
    "motion: drift 0.6": partial(variant, noise=MotionNoise(drift_position=0.6)),
    "stages: no second one": partial(variant, low_score=0.4),
    "stages: second gate 0.5 (is 0.4)": partial(variant, second_max_cost=0.5),
    "births: confirmed by 1 (is 2)": partial(variant, confirm_hits=1),
    "births: confirmed by 3": partial(variant, confirm_hits=3),
    "births: new_score 0.5 (is 0.65)": partial(variant, new_score=0.5),
    "births: new_score 0.8": partial(variant, new_score=0.8),
    "births: outlive a miss by 0.2 s": partial(variant, tentative_s=0.2),
    "births: duplicates stay": partial(variant, duplicate_iou=1.0),
    "deaths: lost for 1 s (is 2 s)": partial(variant, max_lost_s=1.0),
    "deaths: lost for 3 s": partial(variant, max_lost_s=3.0),
    "deaths: lost for 2 s at any rate": partial(variant, slow_s=np.inf),
    "deaths: longer below 15 frames/s (is 7.5)": partial(variant, slow_s=1 / 15),
    "boxes: as detected": partial(variant, update=partial(shown_as, 0.0)),
    "boxes: as filtered": partial(variant, update=partial(shown_as, 1.0)),
}


def measure(name: str, copies: list[list[Sequence]], every: int) -> Figures:
    """All figures of one variant."""
    results = []
    for step in (1, every):
        for sequences in copies:
            scores = run(sequences, VARIANTS[name](), [step] * len(sequences)).scores
            results.append([[figures(row)[c] for c in SHOWN] for row in (scores.overall, *scores.cameras)])
    return np.array(results).reshape(2, len(copies), -1, len(SHOWN))


def cells(own: Figures, base: Figures | None) -> list[str]:
    """Four cells: both rates, each as it is and as mean over the copies; then the differences by sequence."""
    shown = own - (0 if base is None else base)
    shares, count = ("{:.1f}", "{:.0f}") if base is None else ("{:+.1f}", "{:+.0f}")
    row = []
    for rate in shown[:, :, 0]:
        for runs in (rate[:1], rate[1:]) if len(rate) > 1 else (rate,):
            hota, idf1, switches = runs.mean(axis=0)
            error = f" ±{runs[:, 0].std(ddof=1) / len(runs) ** 0.5:.1f}" if base is not None and len(runs) > 1 else ""
            row.append(f"{shares.format(hota)}{error} / {shares.format(idf1)} / {count.format(switches)}")
    by_sequence = shown[0, :, 1:, 0].mean(axis=0)
    return [*row, " ".join(shares.format(hota) for hota in by_sequence)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--every", type=int, default=5, metavar="N", help="the low rate keeps every Nth frame")
    parser.add_argument("--copies", type=int, default=3, help="perturbed copies")
    parser.add_argument("--only", nargs="+", default=[""], metavar="NAME", help="variants with this in their name")
    args = parser.parse_args()
    sequences = load_views(args.folder) if is_auditorium(args.folder) else load_all(args.folder)
    copies = [sequences, *copies_of(sequences, args.copies)]
    base, *others = VARIANTS
    names = [base, *(name for name in others if any(part in name for part in args.only))]
    workers = min(len(names), os.cpu_count() or 1)
    about = f"{len(sequences)} sequences, {args.copies} perturbed copies"
    print(f"{date.today()}, Python {platform.python_version()}, numpy {np.__version__}, {about}.")
    with ProcessPoolExecutor(workers) as pool:
        results = dict(zip(names, pool.map(partial(measure, copies=copies, every=args.every), names), strict=True))
    kinds = ("as they are", "copies") if args.copies else ("as they are",)
    rates = " | ".join(f"{rate}, {kind}" for rate in ("full rate", f"every {args.every}") for kind in kinds)
    rows = {name: cells(own, None if name == base else results[base]) for name, own in results.items()}
    print_rows(f"HOTA / IDF1 / switches | {rates} | HOTA: {', '.join(s.name for s in sequences)}", rows)


if __name__ == "__main__":
    main()
