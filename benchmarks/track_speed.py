"""How long the per-camera tracker and its peers take for a frame, by the number of boxes in it. One core.

    python benchmarks/track_speed.py ../shared/data/mot15 [--boxes 1 6 50 200 1000] [--frames 300] [--only NAME]

Scenes are made of real detections: MOT15 sequences stand side by side as tiles, each begun at another frame and played
forth and back, so that no two tiles are alike; the last tile is cut to a strip, so that the mean number of boxes is
the wanted one. Boxes come in any order. All trackers see the same frames in one process and take turns, a block of
frames each, so that whatever else the machine does hits all alike; their order is turned from block to block. Only the
update is timed, and the first frames (`WARM_UP`) are not. Time is processor time of all threads, which leaves out what
other programs take of a shared machine; `--wall` measures the clock's. Ratios are medians over the blocks, of a
tracker's median in the block to ours in the same block. Ours runs twice, with numba and without.
"""
# ruff: noqa: E402

from __future__ import annotations

import os

for _library in ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "NUMBA"):
    os.environ[f"{_library}_NUM_THREADS"] = "1"  # before numpy is imported

import argparse
import gc
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
from track_mot15 import Sequence, corners, load_all, print_rows
from track_peers import OURS, Follower, followers, ours

FPS = 14.0  # of a scene: that of the sequences with the most boxes
WARM_UP = 30  # frames, in which tracks are confirmed and what is compiled is compiled
BLOCK = 10  # frames that a tracker does before it is the next one's turn
MARGIN_PX = 50.0  # between tiles
FALLBACK = "ours, without numba"
DEFAULT_FRAMES = {1: 900, 6: 900, 50: 400, 200: 160, 1000: 40}
ALLOWED = ((6, 0.5), (200, 0.25))  # boxes, and how much of the fastest peer's time we may take

Frame = tuple[np.ndarray, np.ndarray]  # xyxy (N, 4), confidence (N,), float32


@dataclass(frozen=True)
class Timing:
    """Seconds of each timed update: (blocks, BLOCK)."""

    seconds: np.ndarray

    @property
    def median_us(self) -> float:
        return 1e6 * float(np.median(self.seconds))

    @property
    def p95_us(self) -> float:
        return 1e6 * float(np.percentile(self.seconds, 95))

    def ratio_to(self, other: Timing) -> float:
        return float(np.median(np.median(self.seconds, axis=1) / np.median(other.seconds, axis=1)))


def _played(sequence: Sequence, start: int, num_frames: int) -> list[np.ndarray]:
    """Rows of det.txt, frame by frame, from frame `start` on, forth and back and forth again."""
    turn = 2 * (sequence.length - 1)
    phase = (start + np.arange(num_frames)) % turn
    frames = 1 + np.minimum(phase, turn - phase)
    by_frame = [sequence.detections[sequence.detections[:, 0] == frame] for frame in range(sequence.length + 1)]
    return [by_frame[frame] for frame in frames]


def make_scene(sequences: list[Sequence], num_boxes: float, num_frames: int, rng: np.random.Generator) -> list[Frame]:
    """Frames of `num_boxes` boxes on average, made of as many tiles as it takes."""
    frames: list[list[Frame]] = [[] for _ in range(num_frames)]
    missing, left, tile = float(num_boxes), 0.0, 0
    while missing > 1e-9:
        sequence = sequences[tile % len(sequences)]
        rows = _played(sequence, int(rng.integers(2 * (sequence.length - 1))), num_frames)
        everything = np.concatenate(rows)
        mean, centre = len(everything) / num_frames, everything[:, 2] + everything[:, 4] / 2
        border = np.quantile(centre, min(1.0, missing / mean))
        for into, here in zip(frames, rows, strict=True):
            kept = here[here[:, 2] + here[:, 4] / 2 <= border]
            into.append((corners(kept) + np.array((left, 0, left, 0)), kept[:, 6]))
        missing -= min(mean, missing)
        left += float((everything[:, 2] + everything[:, 4]).max()) + MARGIN_PX
        tile += 1
    scene = []
    for parts in frames:
        xyxy, confidence = (np.concatenate(each).astype(np.float32) for each in zip(*parts, strict=True))
        order = rng.permutation(len(xyxy))
        scene.append((np.ascontiguousarray(xyxy[order]), np.ascontiguousarray(confidence[order])))
    return scene


def measure(kinds: dict[str, Follower], scene: list[Frame], clock: Callable[[], float]) -> dict[str, Timing]:
    """All trackers over the same frames, in turns of BLOCK frames."""
    given = {
        name: [kind.prepare(*frame, (i + 1) / FPS) for i, frame in enumerate(scene)] for name, kind in kinds.items()
    }
    alive = {name: kind.start(FPS) for name, kind in kinds.items()}
    for name, kind in kinds.items():
        for i in range(WARM_UP):
            kind.update(alive[name], given[name][i])
    seconds: dict[str, list[list[float]]] = {name: [] for name in kinds}
    names = list(kinds)
    gc.collect()
    gc.freeze()  # what the libraries have allocated so far is nobody's update
    for block, begin in enumerate(range(WARM_UP, len(scene) - BLOCK + 1, BLOCK)):
        for turn in range(len(names)):
            name = names[(block + turn) % len(names)]
            update, tracker, taken = kinds[name].update, alive[name], []
            for each in given[name][begin : begin + BLOCK]:
                start = clock()
                update(tracker, each)
                taken.append(clock() - start)
            seconds[name].append(taken)
    gc.unfreeze()
    return {name: Timing(np.array(rows)) for name, rows in seconds.items()}


def print_times(results: dict[float, dict[str, Timing]], names: list[str]) -> None:
    rows = {}
    for name in names:
        cells = []
        for timings in results.values():
            own = timings[name]
            ratio = f" ({own.ratio_to(timings[OURS]):.2f} ×)" if OURS in timings and name != OURS else ""
            cells.append(f"{own.median_us:,.0f} / {own.p95_us:,.0f}{ratio}")
        rows[name] = cells
    print_rows("median / p95 µs a frame (to ours) | " + " | ".join(f"{n:g} boxes" for n in results), rows)


def print_against_fastest(results: dict[float, dict[str, Timing]]) -> None:
    rows = {}
    for num_boxes, timings in results.items():
        peers = {name: timing for name, timing in timings.items() if name not in (OURS, FALLBACK)}
        if not peers or OURS not in timings:
            return
        fastest = min(peers, key=lambda name: peers[name].median_us)
        ratio = timings[OURS].ratio_to(peers[fastest])
        allowed = [most for n, most in ALLOWED if n == num_boxes]
        verdict = f"{'yes' if ratio <= allowed[0] else 'NO'} (at most {allowed[0]:g})" if allowed else ""
        us = (f"{timings[OURS].median_us:,.0f}", f"{peers[fastest].median_us:,.0f}")
        rows[f"{num_boxes:g}"] = [*us, fastest, f"{ratio:.2f}", verdict]
    print_rows("boxes a frame | ours, µs | fastest peer, µs | which | ours to it | as wanted", rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--boxes", type=float, nargs="+", default=[1, 6, 50, 200, 1000])
    parser.add_argument("--frames", type=int, help=f"timed frames of every scene (default: {DEFAULT_FRAMES})")
    parser.add_argument("--wall", action="store_true", help="time by the clock, for a machine that does nothing else")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="trackers with this in their name")
    args = parser.parse_args()
    if args.frames is not None and args.frames < BLOCK:
        parser.error(f"--frames wants at least one block of {BLOCK}")
    sequences = load_all(args.folder)
    kinds, remarks = followers(args.only)
    kinds.pop("Norfair, detected", None)  # the same updates as Norfair's, read differently
    if OURS in kinds:
        kinds = {OURS: kinds.pop(OURS), FALLBACK: ours(compiled=False), **kinds}
    clock, called = (time.perf_counter, "wall clock") if args.wall else (time.process_time, "processor time")
    about = ", ".join((*remarks, "one core", called))
    print(f"{date.today()}, Python {platform.python_version()}, numpy {np.__version__}, {about}.")
    results = {}
    for num_boxes in args.boxes:
        num_frames = args.frames or DEFAULT_FRAMES.get(num_boxes, 200)
        scene = make_scene(sequences, num_boxes, WARM_UP + num_frames, np.random.default_rng(0))
        counts = [len(confidence) for _, confidence in scene]
        note = f"mean {np.mean(counts):.1f} boxes, {min(counts)} to {max(counts)}, {num_frames} frames"
        print(f"- {num_boxes:g}: {note}", flush=True)
        results[num_boxes] = measure(kinds, scene, clock)
    print_times(results, list(kinds))
    print_against_fastest(results)


if __name__ == "__main__":
    main()
