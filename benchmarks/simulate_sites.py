"""How fast sites are simulated, stage by stage, on one core.

OMP_NUM_THREADS=1 python benchmarks/simulate_sites.py
"""

from __future__ import annotations

import argparse
import platform
import resource
import time
from datetime import date

import numpy as np

from pipeline.simulate.detecting import crowding, detect
from pipeline.simulate.graph import Site
from pipeline.simulate.ready_sites import grid, station
from pipeline.simulate.run import SiteRun
from pipeline.simulate.scoring import score_identities
from pipeline.simulate.stream import embedded_frames
from pipeline.simulate.tracklets import track
from pipeline.simulate.truth import see
from pipeline.simulate.walkers import walk_site


def measure(name: str, site: Site, seconds: float, shown_fps: float | None) -> str:
    rng = np.random.default_rng(0)
    clock = [time.process_time()]

    def lap() -> None:
        clock.append(time.process_time())

    visits = walk_site(site, seconds, rng)
    lap()
    truth = see(site, visits, seconds, rng)
    lap()
    crowd = crowding(truth, site.noise.tracker.swap_iou)
    detections = detect(site, truth, crowd.covered, seconds, rng)
    lap()
    boxes, tracklets = track(site, truth, detections, crowd, seconds, rng)
    lap()
    run = SiteRun(site, seconds, 0, visits, truth, detections, boxes, tracklets)
    num_frames = num_vectors = 0
    for items in embedded_frames(run, fps=shown_fps):
        num_frames += len(items)
        num_vectors += sum(len(item.embeddings) for item in items)
    lap()
    score = score_identities(run, run.person_of())
    lap()
    laps = np.diff(clock)
    return (
        f"| {name} | {len(site.cameras)} | {run.num_people:,} | {len(tracklets):,} | "
        f"{truth.person_seconds(site):,.0f} | {len(truth):,} | {laps[0]:.1f} | {laps[1]:.1f} | {laps[2]:.1f} | "
        f"{laps[3]:.1f} | {laps[:4].sum():.1f} | {num_frames:,} | {num_vectors:,} | {laps[4]:.1f} | {laps[5]:.1f} | "
        f"{score.idf1:.3f} | {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", type=float, default=1.0, help="of the simulated time")
    scale = parser.parse_args().scale
    print(
        f"{date.today()}, Python {platform.python_version()}, {platform.machine()}; seconds of CPU time, 5 frames/s\n"
    )
    print(
        "| site | cameras | people | tracklets | person-seconds in view | true boxes | walk | see | detect | track | "
        "all four | frames shown | vectors | stream | score | IDF1 of the truth | peak GiB |"
    )
    print("|" + " --- |" * 17)
    print(measure("station, 1 h", station(16, rate_per_s=0.5), 3600 * scale, 1.0), flush=True)
    print(measure("station, every frame", station(16, rate_per_s=0.5), 3600 * scale, None), flush=True)
    print(measure("grid, 1e5 tracklets", grid(10, 10, rate_per_s=8.0), 2400 * scale, 1.0), flush=True)
    print(measure("station, 1e6 person-seconds", station(100, rate_per_s=7.0), 1800 * scale, 1.0), flush=True)


if __name__ == "__main__":
    main()
