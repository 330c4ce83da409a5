"""What does one more tracklet cost when a thousand people are known, or a million?

    python benchmarks/fusion_scale.py [--sizes 1e3,1e4,1e5,1e6] [--dim 256] [--only gallery|fuser|peers]

Simulated looks: of one person seen twice the cosine is 0.84 +- 0.07, of two people 0.45 +- 0.11, in a space of about 24
effective dimensions (`--isotropic`: people have nothing in common and spread evenly over all dimensions). Seconds are
those of the processor, as the machine is shared; every size runs in a process of its own, with one thread.

    gallery  identities are added one by one; then people who are in it are sought, by another look at them.
             found  the share of them who are among the 32 best, beside the same share by brute force
             first, best 32  how many of what brute force finds first, and among its 32 best, are found
    fuser    identities are put into the book and the gallery, spread over the last ten minutes; then tracklets come in
             from 100 cameras, twenty every half second, each of four boxes and two clips; every other one is a person
             known, last seen by the same camera or one of its neighbours
    peers    indexes of faiss with the same vectors, as a measure for the gallery
"""

from __future__ import annotations

import argparse
import cProfile
import json
import os
import platform
import pstats
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from pipeline.fusion.build import build_fuser
from pipeline.fusion.config import FusionConfig
from pipeline.fusion.gallery import Gallery
from pipeline.fusion.identities import Member
from pipeline.fusion.online import OnlineFuser
from pipeline.types import NO_PREVIEW, EmbeddedFrame, Embeddings, Float32, Int64, Tracks

NUM_CAMERAS, NUM_SOUGHT, NUM_BEST = 100, 300, 32
PER_TICK, TICK_S, LIFE = 20, 0.5, 4
CHUNK = 20_000
PAST_S = 600.0  # the known identities were last seen in these seconds


class Looks:
    """Draws people and looks at them."""

    def __init__(self, dim: int, isotropic: bool, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._spread = np.full(dim, dim**-0.5) if isotropic else _falling(dim, 24)
        self._common = np.full(dim, 0.0 if isotropic else (0.535 / dim) ** 0.5, np.float32)
        self._own = 1.0 if isotropic else 0.465**0.5

    def people(self, num: int) -> Float32:
        return self._common + self._own * self._directions(num)

    def look(self, people: Float32) -> Float32:
        """One look at each of `people`, of unit norm; some are blurred more than others."""
        blur = 0.42 * np.exp(0.3 * self._rng.standard_normal((len(people), 1), np.float32))
        seen = people + blur * self._directions(len(people))
        return np.asarray(seen / np.linalg.norm(seen, axis=1, keepdims=True), np.float32)

    def clips(self, people: Float32) -> Float32:
        """(N, 2, D): two clips of one tracklet each, which resemble each other more than two looks do."""
        first = self.look(people)
        second = first + 0.3 * self._directions(len(people))
        return np.stack((first, second / np.linalg.norm(second, axis=1, keepdims=True)), axis=1)

    def _directions(self, num: int) -> Float32:
        drawn = self._rng.standard_normal((num, len(self._spread)), np.float32) * self._spread.astype(np.float32)
        if self._common.any():
            drawn -= drawn.mean(axis=1, keepdims=True)
        return np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True), np.float32)


def _falling(dim: int, effective: float) -> np.ndarray:
    """Standard deviations per dimension, falling by a power law, worth `effective` equal dimensions."""
    low, high = 0.0, 3.0
    for _ in range(60):
        power = (low + high) / 2
        variance = np.arange(1, dim + 1) ** -power
        low, high = (power, high) if variance.sum() ** 2 / (variance**2).sum() > effective else (low, power)
    return np.asarray(np.sqrt(variance / variance.sum()))


def rss_mib() -> float:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024


def known(looks: Looks, size: int, sought: Int64, wanted: Float32) -> Iterator[tuple[int, Float32]]:
    """Looks at `size` people in portions, with the first number of each; those at `sought` show the people `wanted`."""
    for start in range(0, size, CHUNK):
        vectors = looks.look(looks.people(min(CHUNK, size - start)))
        here = (sought >= start) & (sought < start + len(vectors))
        vectors[sought[here] - start] = looks.look(wanted[here])
        yield start, vectors


def places(size: int, num: int) -> Int64:
    return np.sort(np.random.default_rng(1).choice(size, num, replace=False))


def measure_gallery(size: int, dim: int, isotropic: bool) -> dict[str, float]:
    looks, sought = Looks(dim, isotropic, 0), places(size, NUM_SOUGHT)
    wanted = looks.people(NUM_SOUGHT)
    queries = looks.look(wanted)
    best, best_id = np.full((NUM_SOUGHT, NUM_BEST), -9.0, np.float32), np.zeros((NUM_SOUGHT, NUM_BEST), np.int64)
    gallery, cost, start_mib = Gallery(dim, 6), np.zeros(size), rss_mib()
    for start, vectors in known(looks, size, sought, wanted):
        near, rows = faiss.knn(queries, vectors, NUM_BEST, metric=faiss.METRIC_INNER_PRODUCT)
        near, rows = np.concatenate((best, near), 1), np.concatenate((best_id, rows + start + 1), 1)
        order = np.argsort(-near, axis=1, kind="stable")[:, :NUM_BEST]
        best, best_id = np.take_along_axis(near, order, 1), np.take_along_axis(rows, order, 1)
        for row, vector in enumerate(vectors, start):
            began = time.process_time()
            gallery.add(row + 1, row % NUM_CAMERAS, vector)
            cost[row] = time.process_time() - began
    seconds, found = [], []
    for query in queries:
        began = time.process_time()
        found.append(gallery.search(query[None], NUM_BEST)[0][0])
        seconds.append(time.process_time() - began)
    ids = np.array(found)
    return {
        "search_us": 1e6 * float(np.median(seconds)),
        "search_p99_us": 1e6 * float(np.quantile(seconds, 0.99)),
        "add_us": 1e6 * float(cost[-size // 10 :].mean()),
        "stall_ms": 1e3 * float(cost[100:].max()),
        "mib": rss_mib() - start_mib,
        "found": float((ids == sought[:, None] + 1).any(axis=1).mean()),
        "found_exact": float((best_id == sought[:, None] + 1).any(axis=1).mean()),
        "first": float((ids[:, 0] == best_id[:, 0]).mean()),
        "best": float(np.mean([len(np.intersect1d(a, b)) / NUM_BEST for a, b in zip(ids, best_id, strict=True)])),
    }


def fill(fuser: OnlineFuser, portions: Iterator[tuple[int, Float32]], size: int) -> None:
    """Put identities into a fuser as if each had been one tracklet, one after the other before second 0."""
    book, gallery = fuser._state.book, fuser._state.gallery
    for start, vectors in portions:
        for row, vector in enumerate(vectors, start):
            last_s, camid = -10.0 - PAST_S * (1 - row / size), row % NUM_CAMERAS
            member = Member(camid, row // NUM_CAMERAS + 1, last_s - 2, last_s, slot=-1, open=False)
            gallery.add(book.found(member), camid, vector)
        book.prune(-300.0)


def ticks(looks: Looks, faces: Float32, num_ticks: int) -> Iterator[tuple[list[EmbeddedFrame], list[tuple[int, int]]]]:
    """The ticks of a stream, and the tracklets that begin in each: (camid, track_id). faces (T, 2, D): their clips."""
    dim = faces.shape[2]
    empty = Embeddings.empty(dim)
    for tick in range(num_ticks):
        items, new = [], []
        for camid in range(NUM_CAMERAS):
            age = (tick - camid // PER_TICK) % (NUM_CAMERAS // PER_TICK)
            track_id = 10**6 + (tick - age) * PER_TICK + camid % PER_TICK
            if tick - age < 0:
                continue
            person = track_id - 10**6
            visible = age < LIFE
            left = 100.0 + 50.0 * (person % 7) + 20.0 * age
            box = np.array([[left, 200, left + 40, 300]], np.float32)[: int(visible)]
            ids = np.array([track_id], np.int64)
            clip = Embeddings(ids, faces[person, age // 2][None], np.ones(1)) if visible and age % 2 == 0 else empty
            tracks = Tracks(ids, box, np.ones(1)) if visible else Tracks.empty()
            ended = ids if age == LIFE else ids[:0]
            items.append(EmbeddedFrame(camid, tick, tick * TICK_S, tracks, clip, ended, NO_PREVIEW, 1.0))
            if not age:
                new.append((camid, track_id))
        yield items, new


def returning(size: int, num: int) -> Int64:
    """The known person that each second tracklet of the stream shows, last seen by its camera or one beside, or -1."""
    left, chosen = [list(range(camid, size, NUM_CAMERAS)) for camid in range(NUM_CAMERAS)], []
    rng = np.random.default_rng(1)
    for person in range(0, num, 2):
        tick, place = divmod(person, PER_TICK)
        camid = (tick % (NUM_CAMERAS // PER_TICK)) * PER_TICK + place
        rows = left[(camid + int(rng.integers(-2, 3))) % NUM_CAMERAS]
        chosen.append(rows.pop(int(rng.integers(len(rows)))) if rows else -1)
    return np.array(chosen, np.int64)


def measure_fuser(size: int, dim: int, isotropic: bool, num_ticks: int, profile: bool = False) -> dict[str, float]:
    looks, num = Looks(dim, isotropic, 0), num_ticks * PER_TICK
    back = returning(size, num)
    people = looks.people(num)
    config = FusionConfig(capacity=2 * size + num)
    fuser = build_fuser(config, [None] * NUM_CAMERAS, frozenset(), dim)
    assert isinstance(fuser, OnlineFuser)
    start_mib = rss_mib()
    fill(fuser, known(looks, size, back, people[0::2]), size)
    filled_mib = rss_mib() - start_mib
    faces = looks.clips(people)
    cost, given = [], {}
    profiler = cProfile.Profile()
    for tick, (items, new) in enumerate(ticks(looks, faces, num_ticks)):
        if profile and tick == num_ticks // 4:
            profiler.enable()
        began = time.process_time()
        fused = fuser.step(items)
        cost.append((time.process_time() - began) / max(len(new), 1))
        for frame in fused:
            tracks = frame.global_tracks
            given.update(
                zip(((frame.camid, t) for t in tracks.track_id.tolist()), tracks.global_id.tolist(), strict=True)
            )
    if profile:
        profiler.disable()
        pstats.Stats(profiler).sort_stats("cumulative").print_stats(45)
    person_of = {track_id - 10**6: gid for (_, track_id), gid in given.items()}
    right = np.mean([person_of.get(2 * n) == row + 1 for n, row in enumerate(back.tolist()) if row >= 0])
    alone = np.mean([person_of.get(n, 0) > size for n in range(1, num, 2)])
    ms = 1e3 * np.array(cost[num_ticks // 4 :])  # by then the store holds as many tracklets as it ever will
    return {
        "per_s": 1e3 / float(ms.mean()),
        "p50_ms": float(np.median(ms)),
        "p99_ms": float(np.quantile(ms, 0.99)),
        "filled_mib": filled_mib,
        "rss_mib": rss_mib(),
        "right": float(right),
        "alone": float(alone),
    }


def measure_peers(size: int, dim: int, isotropic: bool) -> dict[str, dict[str, float]]:
    """faiss indexes: microseconds to search and add, seconds of training, how many of the sought are found."""
    looks, sought = Looks(dim, isotropic, 0), places(size, NUM_SOUGHT)
    wanted = looks.people(NUM_SOUGHT)
    queries = looks.look(wanted)
    vectors = np.concatenate([portion for _, portion in known(looks, size, sought, wanted)])
    num_lists = int(4 * size**0.5)
    kinds = {
        "flat": (faiss.IndexFlatIP(dim), {}),
        f"IVF{num_lists}": (
            faiss.index_factory(dim, f"IVF{num_lists},Flat", faiss.METRIC_INNER_PRODUCT),
            {"nprobe": 64},
        ),
        "HNSW16": (faiss.IndexHNSWFlat(dim, 16, faiss.METRIC_INNER_PRODUCT), {"efSearch": 128}),
    }
    results = {}
    for name, (index, settings) in kinds.items():
        began = time.process_time()
        index.train(vectors)
        trained = time.process_time()
        index.add(vectors)
        added = time.process_time()
        for key, value in settings.items():
            faiss.ParameterSpace().set_index_parameter(index, key, value)
        found, seconds = [], []
        for query in queries:
            start = time.process_time()
            found.append(index.search(query[None], NUM_BEST)[1][0])
            seconds.append(time.process_time() - start)
        results[name] = {
            "train_s": trained - began,
            "add_us": 1e6 * (added - trained) / size,
            "search_us": 1e6 * float(np.median(seconds)),
            "found": float((np.array(found) == sought[:, None]).any(axis=1).mean()),
        }
    return results


def in_own_process(what: str, size: int, args: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, __file__, "--what", what, "--sizes", str(size), "--dim", str(args.dim)]
    command += ["--ticks", str(args.ticks), *(["--isotropic"] if args.isotropic else [])]
    env = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    result: dict[str, Any] = json.loads(
        subprocess.run(command, check=True, capture_output=True, text=True, env=env).stdout
    )
    return result


def table(title: str, columns: dict[str, str]) -> None:
    print(f"\n{title}\n\n| identities | {' | '.join(columns)} |\n|{' --- |' * (len(columns) + 1)}", flush=True)


GALLERY = {
    "search us": "{search_us:.0f}",
    "p99": "{search_p99_us:.0f}",
    "add us": "{add_us:.0f}",
    "longest add ms": "{stall_ms:.1f}",
    "MiB": "{mib:.0f}",
    "first": "{first:.3f}",
    "best 32": "{best:.3f}",
    "found": "{found:.3f}",
    "by brute force": "{found_exact:.3f}",
}
FUSER = {
    "tracklets/s": "{per_s:.0f}",
    "ms, median": "{p50_ms:.2f}",
    "p99": "{p99_ms:.2f}",
    "MiB of identities": "{filled_mib:.0f}",
    "MiB in all": "{rss_mib:.0f}",
    "known people recognised": "{right:.3f}",
    "new people told apart": "{alone:.3f}",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="1e3,1e4,1e5,1e6")
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--isotropic", action="store_true")
    parser.add_argument("--only", choices=("gallery", "fuser", "peers"))
    parser.add_argument("--ticks", type=int, default=80, help="length of the fuser's stream; 20 tracklets each")
    parser.add_argument("--profile", action="store_true", help="where the fuser's time goes, at each size")
    parser.add_argument("--what", help=argparse.SUPPRESS)
    args = parser.parse_args()
    faiss.omp_set_num_threads(1)
    sizes = [int(float(size)) for size in args.sizes.split(",")]
    if args.profile:
        for size in sizes:
            print(measure_fuser(size, args.dim, args.isotropic, args.ticks, profile=True))
        return
    if args.what == "gallery":
        print(json.dumps(measure_gallery(sizes[0], args.dim, args.isotropic)))
    elif args.what == "fuser":
        print(json.dumps(measure_fuser(sizes[0], args.dim, args.isotropic, args.ticks)))
    elif args.what == "peers":
        print(json.dumps(measure_peers(sizes[0], args.dim, args.isotropic)))
    if args.what:
        return
    print(f"{date.today()}, Python {platform.python_version()}, numpy {np.__version__}, faiss {faiss.__version__}")
    for what, columns in (("gallery", GALLERY), ("fuser", FUSER)):
        if args.only in (None, what):
            table(f"{what}, {args.dim} numbers a vector{', isotropic' if args.isotropic else ''}", columns)
            for size in sizes:
                result = in_own_process(what, size, args)
                cells = (form.format(**result) for form in columns.values())
                print(f"| {size} | {' | '.join(cells)} |", flush=True)
    if args.only in (None, "peers"):
        table("peers", {"index": "", "search us": "", "add us": "", "training s": "", "found": ""})
        for size in [size for size in sizes if size <= 100_000]:
            for name, r in in_own_process("peers", size, args).items():
                cost = f"{r['search_us']:.0f} | {r['add_us']:.0f} | {r['train_s']:.1f}"
                print(f"| {size} | {name} | {cost} | {r['found']:.3f} |", flush=True)


if __name__ == "__main__":
    main()
