"""How many camera-frames a second each runner moves, what a hop costs, and how it scales.

    python benchmarks/runners.py [--ray] [--seconds 3] [--only QUESTION] [--output FILE.md]

Three questions: one hop of a picture from the source to a stage; 1 to 32 cameras through look, reduce and a joining
stage; and 1 to 16 workers with a stage that sleeps as if it waited for a GPU, where all should go as fast as one.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
from runner_stages import Glance, Look, Pass, PictureHost, Reduce, Sleeps, held_pictures, pictures

from pipeline.runtime.build import Runner, build_runner, open_hosts
from pipeline.runtime.chain import Node
from pipeline.runtime.config import RuntimeConfig

SLEEPS_S = 0.02, 0.1
ROUNDS = 3
TOGETHER_S = 1e-3
ORDER = ("inline", "processes", "processes, apart", "ray, read by the driver", "ray")


def runtime(name: str) -> RuntimeConfig:
    return RuntimeConfig(kind=name.split(",")[0], together="apart" not in name, checkpoint_ticks=64)


def rate(name: str, nodes: Sequence[Node], sources: Callable[[int], list], num_frames: int, seconds: float) -> float:
    """Camera-frames a second, from the fifth result, or the last that came together with it, to the last of all;
    `sources(n)` gives n ticks of each group.

    The best of `ROUNDS` (Ray: one), as others' work on the machine can only slow a round down.
    """
    rates, num_ticks = [], 40
    while len(rates) < (1 if name.startswith("ray") else ROUNDS):
        with _running(name, nodes, sources, num_ticks) as runner:
            times = [time.perf_counter() for _ in runner]
        first = 4
        while first < len(times) // 4 and times[first + 1] - times[first] < TOGETHER_S:
            first += 1
        spent_s = times[-1] - times[first]
        if spent_s >= seconds / 2 or num_ticks > 20_000:
            rates.append((len(times) - 1 - first) * num_frames / spent_s)
        else:
            num_ticks = int(num_ticks * min(20.0, 1.2 * seconds / max(spent_s, 1e-3)))
    return max(rates)


@contextmanager
def _running(name: str, nodes: Sequence[Node], sources: Callable[[int], list], num_ticks: int) -> Iterator[Runner]:
    """The runner at work; with Ray a stage that sleeps has its pictures read beside it, as a run has."""
    config, ready = runtime(name), sources(num_ticks)
    if name != "ray" or nodes[0].name != "sleep":
        with build_runner(config, nodes, ready) as runner:
            yield runner
        return
    with open_hosts(config, nodes, len(ready), partial(PictureHost, 360, 640)) as hosts:
        held = [held_pictures(way, shard, num_ticks) for shard, way in enumerate(hosts.ways)] if hosts else ready
        with build_runner(config, nodes, held, hosts=hosts) as runner:
            yield runner


def processor_ms(name: str, nodes: Sequence[Node], sources: Callable[[int], list]) -> float:
    """Processor time of all processes a frame, start and end left out: that of many ticks less that of few."""
    spent_s = []
    for num_ticks in (100, 1100):
        before = os.times()
        with build_runner(runtime(name), nodes, sources(num_ticks)) as runner:
            for _ in runner:
                pass
        after = os.times()
        spent_s.append(sum(after[:4]) - sum(before[:4]))
    return spent_s[1] - spent_s[0]


def hops(names: Sequence[str], seconds: float) -> list[list[str]]:
    """A picture from the source through a stage that only glances at it, and what is left to a joining stage."""
    rows = []
    nodes = [Node("glance", Glance), Node("join", Pass, merges=True)]
    for height, width in ((360, 640), (1080, 1920)):
        source = partial(_group, height_px=height, width_px=width)
        row = [f"{width} × {height}"]
        for name in names:
            fps = rate(name, nodes, source, 1, seconds)
            spent = "" if name.startswith("ray") else f", {processor_ms(name, nodes, source):.2f} ms"
            row.append(f"{fps:,.0f}{spent}")
        rows.append(row)
    return rows


def _group(num_ticks: int, *, height_px: int, width_px: int) -> list:
    return [pictures(0, num_ticks, 1, height_px, width_px)]


def scaling(names: Sequence[str], seconds: float) -> list[list[str]]:
    """Camera-frames a second of 640 × 360 through three stages, by the number of cameras; 2 groups from 2 on."""
    rows = []
    for num_cameras in (1, 2, 4, 8, 16, 32):
        groups = min(num_cameras, 2)
        row = [str(num_cameras)]
        for name in names:
            nodes = [Node("look", Look, groups), Node("reduce", Reduce, groups), Node("join", Pass, merges=True)]

            def sources(num_ticks: int, groups: int = groups, each: int = num_cameras // groups) -> list:
                return [pictures(s, num_ticks, each, 360, 640) for s in range(groups)]

            row.append(f"{rate(name, nodes, sources, num_cameras, seconds):,.0f}")
        rows.append(row)
    return rows


def sleeping(names: Sequence[str], seconds: float) -> list[list[str]]:
    """Ticks a second of all workers and the share of what they could do at most."""
    rows = []
    for sleep_s, workers in product(SLEEPS_S, (1, 4, 16)):
        row = [f"{workers}, {1000 * sleep_s:.0f} ms", f"{workers / sleep_s:,.0f}"]
        for name in names:
            nodes = [Node("sleep", partial(Sleeps, sleep_s), workers), Node("join", Pass, merges=True)]

            def sources(num_ticks: int, workers: int = workers) -> list:
                return [pictures(s, num_ticks, 1, 360, 640) for s in range(workers)]

            fps = rate(name, nodes, sources, workers, seconds)
            row.append(f"{fps:,.0f} ({fps * sleep_s / workers:.0%})")
        rows.append(row)
    return rows


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ray", action="store_true", help="also on a private Ray cluster of this machine")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of each measurement")
    parser.add_argument("--only", choices=("hops", "cameras", "sleep"), help="one of the three questions")
    parser.add_argument("--runtimes", help=f"of these only, with semicolons between them: {'; '.join(ORDER)}")
    parser.add_argument("--output", type=Path, help="also write the tables to this file")
    args = parser.parse_args()
    wanted = args.runtimes.split(";") if args.runtimes else ORDER
    names = [n for n in ORDER if n in wanted and (not n.startswith("ray") or args.ray)]
    if args.ray:
        import ray

        ray.init(
            include_dashboard=False,
            logging_level="ERROR",
            log_to_driver=False,
            object_store_memory=1 << 30,
            _system_config={"worker_niceness": 0},  # as a run does
        )
    machine = f"Python {platform.python_version()}, numpy {np.__version__}, {os.cpu_count()} cores"
    parts = [f"{machine}, load average {os.getloadavg()[0]:.1f} before"]
    print(parts[0], flush=True)
    for title, head, measure in (
        ("One hop of a picture: frames a second, processor time a frame", "picture", hops),
        ("Cameras: camera-frames a second", "cameras", scaling),
        (
            "A stage that sleeps so long a tick: frames a second, share of the possible",
            "workers",
            sleeping,
        ),
    ):
        if args.only and measure is not {"hops": hops, "cameras": scaling, "sleep": sleeping}[args.only]:
            continue
        columns = [head, *(["possible"] if measure is sleeping else []), *names]
        parts.append(f"{title}\n\n{table(columns, measure(names, args.seconds))}")
        print(f"\n{parts[-1]}", flush=True)
    text = "\n\n".join([*parts, f"Load average {os.getloadavg()[0]:.1f} after"])
    if args.output:
        args.output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
