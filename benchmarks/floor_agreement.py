"""Do calibrated cameras agree on where an identity stands, and in which views was it seen?

    python benchmarks/floor_agreement.py OUT/global_tracks.csv

For every identity: frames per camera, and how far apart on the floor its cameras place it at the same time (median and
95 % of all pairs of cameras in a frame, metres).
"""

from __future__ import annotations

import csv
import sys
from collections import defaultdict
from itertools import combinations
from pathlib import Path

import numpy as np


def main() -> None:
    with Path(sys.argv[1]).open(newline="") as file:
        rows = list(csv.DictReader(file))
    cameras = sorted({row["camera"] for row in rows})
    frames: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(cameras, 0))
    places: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for row in rows:
        frames[row["global_id"]][row["camera"]] += 1
        if row["ground_x"]:
            places[row["global_id"], row["time_s"]].append((float(row["ground_x"]), float(row["ground_y"])))
    apart: dict[str, list[float]] = defaultdict(list)
    for (global_id, _), points in places.items():
        apart[global_id] += [float(np.hypot(a[0] - b[0], a[1] - b[1])) for a, b in combinations(points, 2)]
    print(f"| identity | {' | '.join(cameras)} | apart, median m | 95 % m |\n|{' --- |' * (len(cameras) + 3)}")
    for global_id, seen in sorted(frames.items(), key=lambda item: int(item[0] or 0)):
        counts = " | ".join(str(seen[camera]) for camera in cameras)
        metres = apart[global_id]
        figures = f"{np.median(metres):.2f} | {np.percentile(metres, 95):.2f}" if metres else "- | -"
        print(f"| {global_id or 'none'} | {counts} | {figures} |")


if __name__ == "__main__":
    main()
