"""One fuser for a town, or one for each of its sites: what is lost, and what is gained?

    python benchmarks/fusion_sites.py [--rows 6] [--minutes 8] [--rate 0.6] [--seeds 2] [--noise 1.0]

A simulated town of `rows` x `rows` crossings, each with a camera, and people who walk from any to any; looks by the
noise model fitted to OSNet. It is parted into two halves or four quarters. Compared are one fuser, sites that know
nothing of each other, and sites whose neighbours' border cameras are guests, so that people keep their number over the
border.

IDF1 counts seconds of tracklets over the whole town. Tracklets a second are by processor time: `in one process` all
fusers one after the other; `in a process each` the slowest site and its share of the numbering, as if each site had a
core of its own. Frames of guests come twice, which is the price. With --processes sites are also run in processes
(`fusion.site_processes`): there `in a process each` is what the numbering process and the slowest site took, one after
the other, messages included, and `by the wall` needs as many free cores as there are sites.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.fusion.build import TravelMemory, build_fuser
from pipeline.fusion.config import FusionConfig
from pipeline.fusion.site_fuser import SiteJob
from pipeline.fusion.sites import SiteFusers
from pipeline.invariants import ids_never_reused
from pipeline.simulate.noise import AppearanceNoise
from pipeline.simulate.ready_sites import grid
from pipeline.simulate.run import SiteRun, simulate_site
from pipeline.simulate.scoring import final_identities, score_identities
from pipeline.simulate.stream import embedded_frames
from pipeline.site_process import SiteProcess
from pipeline.types import EmbeddedFrame

Sites = dict[str, dict[str, list[str]]]


def parted(rows: int, down: int, across: int, *, guests: bool) -> Sites:
    """The crossings of a square town in down x across sites; guests: cameras next door."""
    names = grid(rows, rows).camera_names
    site_of = [(n // rows * down // rows, n % rows * across // rows) for n in range(rows * rows)]
    sites: Sites = {}
    for site in dict.fromkeys(site_of):
        own = [n for n in range(rows * rows) if site_of[n] == site]
        near = {n + step for n in own for step in (-rows, rows) if 0 <= n + step < rows * rows}
        near |= {n + step for n in own for step in (-1, 1) if 0 <= n % rows + step < rows}
        beyond = sorted(near - set(own)) if guests else []
        sites[f"site{len(sites) + 1}"] = {"cameras": [names[n] for n in own], "guests": [names[n] for n in beyond]}
    return sites


@contextmanager
def timed(clock: list[float], place: int) -> Iterator[None]:
    began = time.process_time()
    yield
    clock[place] += time.process_time() - began


def associate(run: SiteRun, ticks: list[list[EmbeddedFrame]], sites: Sites, *, apart: bool = False) -> dict[str, float]:
    config = FusionConfig.model_validate({"sites": sites, "site_processes": apart})
    names = tuple(camera.id for camera in run.site.cameras)
    memory = TravelMemory(config, names)
    dim = run.site.noise.appearance.dim
    processes: list[SiteProcess] = []

    def start(job: SiteJob) -> SiteProcess:
        processes.append(SiteProcess(job))
        return processes[-1]

    fuser = build_fuser(config, [None] * len(names), run.site.overlaps(), dim, memory, start)
    each, whole, events = [0.0] * max(len(sites), 1), [0.0], []
    if isinstance(fuser, SiteFusers) and not apart:
        for place, one in enumerate(fuser._fusers):
            one.begin = _clocked(one.begin, each, place)  # type: ignore[method-assign]
    before, began_s = [0.0] * len(sites), 0.0
    num_warm = len(ticks) // 5  # not counted: processes start, compiled code is loaded
    for number, items in enumerate(ticks):
        if number == num_warm:
            before, began_s, whole[0] = [spent_s(process) for process in processes], time.perf_counter(), 0.0
            each[:] = [0.0] * len(each)
        with timed(whole, 0):
            fused = fuser.step(items)
        events += [event for frame in fused for event in frame.events]
    wall_s = time.perf_counter() - began_s
    if apart:
        each = [spent_s(process) - at_first for process, at_first in zip(processes, before, strict=True)]
        whole[0] += sum(each)
    events += [event for frame in fuser.flush() for event in frame.events]
    broken = ids_never_reused(events).num_broken
    num_counted = len(run.tracklets.track_id) * (1 - num_warm / len(ticks))
    score = score_identities(run, final_identities(events))
    naming = whole[0] - sum(each)
    slowest = max(each) + (naming if apart else naming / max(len(sites), 1)) if sites else whole[0]
    return {
        "idf1": score.idf1,
        "precision": score.pair_precision,
        "recall": score.pair_recall,
        "one_process": num_counted / whole[0],
        "each": num_counted / slowest,
        "naming": naming / whole[0] if sites else 0.0,
        "wall": num_counted / wall_s,
        "refused": float(fuser.names.num_refused) if isinstance(fuser, SiteFusers) else 0.0,
        "broken": float(broken),
    }


def spent_s(process: SiteProcess) -> float:
    """Processor time of a site's process so far (Linux)."""
    running = process._process
    assert running is not None
    fields = Path(f"/proc/{running.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _clocked(step: Callable[[Any], Any], clock: list[float], place: int) -> Callable[[Any], Any]:
    def clocked(items: Any) -> Any:
        with timed(clock, place):
            return step(items)

    return clocked


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=6)
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--rate", type=float, default=0.6, help="people a second who come to the town")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--noise", type=float, default=1.0)
    parser.add_argument("--processes", action="store_true", help="also with a process for each site")
    args = parser.parse_args()
    ways = {"one fuser": {}} | {
        f"{number} sites{'' if guests else ', no guests'}": parted(args.rows, down, across, guests=guests)
        for number, down, across in ((2, 1, 2), (4, 2, 2))
        for guests in (False, True)
    }
    if args.processes:
        ways |= {f"{way}, processes": sites for way, sites in ways.items() if sites and "no guests" not in way}
    rows: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    tracklets = []
    for seed in range(1, args.seeds + 1):
        town = grid(args.rows, args.rows, rate_per_s=args.rate)
        town = town.with_noise(appearance=AppearanceNoise(factor=args.noise))
        run = simulate_site(town, 60 * args.minutes, seed)
        ticks = list(embedded_frames(run, fps=2.0))
        tracklets.append(len(run.tracklets.track_id))
        for way, sites in ways.items():
            apart = way.endswith("processes")
            rows[way].append(associate(run, ticks, sites, apart=apart))
    print(
        f"{date.today()}, Python {platform.python_version()}: {args.rows**2} cameras, {args.minutes:g} minutes, "
        f"noise {args.noise:g}, {np.mean(tracklets):.0f} tracklets, mean of {args.seeds} seeds\n"
    )
    print(
        "| | cameras looked at | IDF1 | pair precision | pair recall | tracklets/s in one process | "
        "in a process each | by the wall | share of the numbering | links refused | invariants broken |"
    )
    print("|" + " --- |" * 11)
    for way, found in rows.items():
        m = {key: float(np.mean([row[key] for row in found])) for key in found[0]}
        looks = sum(len(site["cameras"]) + len(site["guests"]) for site in ways[way].values()) or args.rows**2
        print(
            f"| {way} | {looks} | {m['idf1']:.3f} | {m['precision']:.3f} | {m['recall']:.3f} | "
            f"{m['one_process']:.0f} | {m['each']:.0f} | {m['wall']:.0f} | {m['naming']:.1%} | {m['refused']:.1f} | "
            f"{m['broken']:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
