"""How fast and how small is k-reciprocal re-ranking beside the dense form of its equations?

    python benchmarks/rerank.py [--queries 3368] [--gallery 15913] [--repeats 3]

Simulated features as many as Market-1501's test set has images: 750 people seen by six cameras, and in the gallery
also people nobody asks for. Every way runs in a process of its own and reads the same input from disk; seconds are
those of re-ranking alone, the peak is of the whole process, inputs and result included.

    dense     the equations of Zhong et al. (CVPR 2017) with whole N x N matrices, float32, and a partial sort, as
              published code does it; written here for comparison
    matrix    k_reciprocal, of the same distances
    features  k_reciprocal_features: it computes the distances as well, and never holds more than a block of them
    top       rerank_top: the same, and only the best 100 per query are kept
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import numpy as np

from pipeline.evaluation.retrieval import evaluate
from pipeline.fusion.rerank import CosineDistances, k_reciprocal, k_reciprocal_features, rerank_top
from pipeline.types import Float32, Int64

WAYS = ("dense", "matrix", "features", "top")
NUM_PEOPLE, NUM_CAMERAS, NUM_BEST = 750, 6, 100
DISTRACTOR_SHARE = 2798 / 15913


def simulate(num_queries: int, num_gallery: int, dim: int) -> tuple[Float32, Int64, Int64]:
    """Features (N, D), pids and camids (N,), the queries first; people nobody asks for have the pid 0."""
    rng = np.random.default_rng(0)
    pids = np.concatenate((rng.integers(1, NUM_PEOPLE + 1, num_queries), rng.integers(1, NUM_PEOPLE + 1, num_gallery)))
    stranger = np.flatnonzero(rng.random(num_gallery) < DISTRACTOR_SHARE) + num_queries
    look = pids.copy()
    look[stranger] = NUM_PEOPLE + 1 + np.arange(len(stranger)) // 2
    pids[stranger] = 0
    camids = rng.integers(0, NUM_CAMERAS, len(pids))
    people = rng.standard_normal((look.max() + 1, dim), np.float32)
    light = rng.standard_normal((NUM_CAMERAS, dim), np.float32)
    noise = rng.standard_normal((len(pids), dim), np.float32)
    return people[look] + 0.5 * light[camids] + 2.2 * noise, pids, camids


def dense(query_gallery: Float32, query_query: Float32, gallery_gallery: Float32) -> Float32:
    """The equations with dense matrices: k1 = 20, k2 = 6, lambda = 0.3, distances squared."""
    k1, k2, share = 20, 6, 0.3
    num_queries, total = len(query_gallery), sum(query_gallery.shape)
    upper = np.concatenate((query_query, query_gallery), axis=1)
    distance = np.concatenate((upper, np.concatenate((query_gallery.T, gallery_gallery), axis=1)), axis=0)
    distance = np.power(distance, 2)
    distance = np.transpose(distance / distance.max(axis=0))
    ranking = np.argpartition(distance, range(1, k1 + 1))
    weight = np.zeros_like(distance)

    def reciprocal(item: int, k: int) -> Int64:
        near = ranking[item, : k + 1]
        return near[(ranking[near, : k + 1] == item).any(axis=1)]

    for item in range(total):
        members = grown = reciprocal(item, k1)
        for candidate in members:
            more = reciprocal(candidate, k1 // 2)
            if len(np.intersect1d(more, members)) > 2 / 3 * len(more):
                grown = np.append(grown, more)
        grown = np.unique(grown)
        closeness = np.exp(-distance[item, grown])
        weight[item, grown] = closeness / closeness.sum()
    weight_of_near = np.zeros_like(weight)
    for item in range(total):
        weight_of_near[item] = weight[ranking[item, :k2]].mean(axis=0)
    weight = weight_of_near
    holders = [np.flatnonzero(weight[:, item]) for item in range(total)]
    jaccard = np.zeros((num_queries, total), np.float32)
    for item in range(num_queries):
        shared = np.zeros(total, np.float32)
        for other in np.flatnonzero(weight[item]):
            shared[holders[other]] += np.minimum(weight[item, other], weight[holders[other], other])
        jaccard[item] = 1 - shared / (2 - shared)
    return (jaccard * (1 - share) + distance[:num_queries] * share)[:, num_queries:]


def one(way: str, folder: Path) -> None:
    """Re-rank in this process, keep the result beside the input, print seconds and MiB."""
    names = ("query", "gallery") if way in ("features", "top") else ("query_gallery", "query_query", "gallery_gallery")
    arrays = [np.load(folder / f"{name}.npy") for name in names]
    start, start_cpu = time.perf_counter(), time.process_time()
    if way == "top":
        index, best = rerank_top(CosineDistances.of(*arrays), len(arrays[0]), NUM_BEST)
    else:
        result = {"dense": dense, "matrix": k_reciprocal, "features": k_reciprocal_features}[way](*arrays)
    seconds = time.perf_counter() - start
    cpu = time.process_time() - start_cpu
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    if way == "top":
        np.save(folder / "top-index.npy", index)
        result = best
    np.save(folder / f"{way}.npy", result)
    print(json.dumps({"seconds": seconds, "cpu": cpu, "mib": int(peak.split()[1]) / 1024}))


def measure(way: str, folder: Path, repeats: int) -> tuple[float, float, float]:
    """Seconds on the clock and of the processors, the least of `repeats` runs, and the peak in MiB."""
    runs = []
    for _ in range(repeats):
        command = [sys.executable, __file__, "--way", way, "--folder", str(folder)]
        runs.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    return min(run["seconds"] for run in runs), min(run["cpu"] for run in runs), max(run["mib"] for run in runs)


def difference(way: str, folder: Path, reference: Float32) -> float:
    result = np.load(folder / f"{way}.npy")
    if way == "top":
        reference = np.take_along_axis(reference, np.load(folder / "top-index.npy"), axis=1)
    return float(np.abs(result - reference).max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=3368)
    parser.add_argument("--gallery", type=int, default=15913)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=3, help="runs of each way but the dense one, the fastest counts")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.way:
        one(args.way, args.folder)
        return
    features, pids, camids = simulate(args.queries, args.gallery, args.dim)
    n = args.queries
    labels = (pids[:n], pids[n:], camids[:n], camids[n:])
    print(f"{date.today()}, Python {platform.python_version()}, numpy {np.__version__}, {os.cpu_count()} cores")
    print(f"{n} queries, {args.gallery} in the gallery, {args.dim} features\n")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        unit = features / np.linalg.norm(features, axis=1, keepdims=True)
        np.save(folder / "query.npy", unit[:n])
        np.save(folder / "gallery.npy", unit[n:])
        start, start_cpu = time.perf_counter(), time.process_time()
        query, gallery = unit[:n], unit[n:]
        for part, left, right in (
            ("query_gallery", query, gallery),
            ("query_query", query, query),
            ("gallery_gallery", gallery, gallery),
        ):
            np.save(folder / f"{part}.npy", 2 - 2 * left @ right.T)
        seconds, cpu = time.perf_counter() - start, time.process_time() - start_cpu
        print(f"distances of all pairs, computed and written: {seconds:.1f} s, {cpu:.1f} CPU seconds\n")
        before = evaluate(np.load(folder / "query_gallery.npy"), *labels)
        seconds, cpu, mib = measure("dense", folder, 1)
        reference = np.load(folder / "dense.npy")
        after = evaluate(reference, *labels)
        print(f"mAP {before.mAP:.4f} before, {after.mAP:.4f} after\n")
        print("| way | seconds | CPU seconds | peak MiB | faster, clock | faster, CPU | smaller | largest difference |")
        print("| --- | --- | --- | --- | --- | --- | --- | --- |")
        print(f"| dense | {seconds:.1f} | {cpu:.1f} | {mib:.0f} | 1 | 1 | 1 | 0 |", flush=True)
        for way in WAYS[1:]:
            own_s, own_cpu, own_mib = measure(way, folder, args.repeats)
            gap = difference(way, folder, reference)
            ratios = f"{seconds / own_s:.1f} | {cpu / own_cpu:.1f} | {mib / own_mib:.1f}"
            print(f"| {way} | {own_s:.2f} | {own_cpu:.2f} | {own_mib:.0f} | {ratios} | {gap:.1e} |", flush=True)


if __name__ == "__main__":
    main()
