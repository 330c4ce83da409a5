"""The per-camera tracker beside its peers on footage that next to nothing was tuned on: four views of an auditorium.

    python benchmarks/track_auditorium.py ../shared/data/auditorium [--every 6] [--only NAME]

FOLDER holds `<view>.det.csv` (frame, x1, y1, x2, y2, score; YOLOv8n) and `<view>.gt.csv` (frame, person_id, x1, y1, x2,
y2, lost, occluded, interpolated) of UCLA's CAMPUS data set, 29.97 frames a second. Rows of the ground truth with
`lost` = 1 (out of the picture) are left out, occluded people count. All trackers run with their defaults, in one
process, on the same detections (`track_peers.py`). Scores are per view and pooled over the views, as one long sequence.

Of our settings one was chosen with these views in sight: how long lost tracks are looked for below 7.5 frames/s.

The ground truth is coarse: 99 % of its boxes are interpolated between marks. At IoU 0.5, where IDF1, MOTA and
switches are taken as usual, the detector finds 60 % of its boxes and 85 % of the detections are right (67 and 92 % at
0.3). So DetA and MOTA say more of truth and detector than of the trackers; differences between trackers mean something.
The detector gave no box below 0.5, hence nobody's second stage has anything to do.
"""

from __future__ import annotations

import argparse
import platform
from datetime import date
from pathlib import Path

import numpy as np
from track_mot15 import Sequence, print_loss, print_per_sequence, print_pooled, run
from track_peers import followers

FPS = 30000 / 1001


def is_auditorium(folder: Path) -> bool:
    return any(folder.glob("*.det.csv"))


def load_views(folder: Path) -> list[Sequence]:
    """The views as sequences with the columns of MOTChallenge, frames from 1."""
    found = [_load_view(folder, path.name.removesuffix(".det.csv")) for path in sorted(folder.glob("*.det.csv"))]
    if not found:
        raise SystemExit(f"{folder} holds no <view>.det.csv: give the folder of the auditorium")
    return found


def _load_view(folder: Path, view: str) -> Sequence:
    found, true = (np.loadtxt(folder / f"{view}.{kind}.csv", delimiter=",", skiprows=1) for kind in ("det", "gt"))
    length = 1 + int(max(found[:, 0].max(), true[:, 0].max()))
    true = true[true[:, 6] == 0]
    detections = np.column_stack((found[:, 0] + 1, np.full(len(found), -1), _tlwh(found[:, 1:5]), found[:, 5]))
    truth = np.column_stack((true[:, 0] + 1, true[:, 1], _tlwh(true[:, 2:6])))
    return Sequence(view, FPS, length, detections, truth)


def _tlwh(xyxy: np.ndarray) -> np.ndarray:
    return np.concatenate((xyxy[:, :2], xyxy[:, 2:] - xyxy[:, :2]), axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--every", type=int, default=6, metavar="N", help="the low rate keeps every Nth frame")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="trackers with this in their name")
    args = parser.parse_args()
    if args.every < 1:
        parser.error("--every wants a positive number")
    views = load_views(args.folder)
    kinds, remarks = followers(args.only)
    print(f"{date.today()}, Python {platform.python_version()}, numpy {np.__version__}, {', '.join(remarks)}.")
    results = {}
    for step in (1, args.every):
        results[step] = {name: run(views, follower, [step] * len(views)) for name, follower in kinds.items()}
        print(f"\n## {'All frames' if step == 1 else f'Every {step}th frame'} ({FPS / step:.3g} fps)")
        print_pooled({name: [each] for name, each in results[step].items()})
        print_per_sequence(results[step])
    print_loss(*({name: [each] for name, each in results[step].items()} for step in (1, args.every)))


if __name__ == "__main__":
    main()
