"""What a network that learned from drawn people makes of real and of drawn people it never saw, beside OSNet.

    python -m pipeline simulate reid --identities 0 --test-identities 100 --tracklets 2 --crops 4 --samples 1 \
        --seed 1000 --output data/drawn_test
    python benchmarks/reid_simulated.py bundled out/sim250/light.onnx \
        --osnet ../shared/weights/osnet_x0_25_msmt17.onnx --pku ../shared/data/pku_reid --drawn data/drawn_test

Every network runs as in the pipeline: `pipeline.reid`, its manifest, vectors averaged over a clip. PKU-Reid: 50 people,
camera 1 asks camera 2; by single crops, and by clips of the 8 crops of a person in a camera. Drawn: the queries of
the test set against all of it, other cameras only; by tracklets of 4 crops, and by their first crops.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from pipeline.evaluation.retrieval import evaluate
from pipeline.reid.build import build_embedder
from pipeline.reid.config import ReidConfig
from pipeline.reid.embedder import Embedder
from pipeline.reid.manifest import Manifest
from pipeline.types import Clips, Float32, UInt8
from reid_train.data.build import load_split

OSNET = Manifest(input_size=(256, 128), colour="rgb", mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


@dataclass(frozen=True)
class Tracklets:
    """Crops by tracklet, with labels."""

    paths: list[tuple[str, ...]]
    pids: np.ndarray
    camids: np.ndarray

    def first_crops(self) -> Tracklets:
        return Tracklets([p[:1] for p in self.paths], self.pids, self.camids)

    def single_crops(self) -> Tracklets:
        counts = [len(p) for p in self.paths]
        return Tracklets(
            [(path,) for p in self.paths for path in p], np.repeat(self.pids, counts), np.repeat(self.camids, counts)
        )


def read_pku(root: Path) -> Tracklets:
    people = sorted((p for p in root.iterdir() if p.is_dir()), key=lambda p: int(p.name))
    rows = [(tuple(str(f) for f in sorted(p.glob(f"c{c}_*.png"))), int(p.name), c) for p in people for c in (1, 2)]
    return Tracklets([r[0] for r in rows], np.array([r[1] for r in rows]), np.array([r[2] for r in rows]))


def read_drawn(root: Path) -> Tracklets:
    gallery = load_split("mars", root, check_counts=False).gallery
    return Tracklets(
        [t.paths for t in gallery], np.array([t.pid for t in gallery]), np.array([t.camid for t in gallery])
    )


def vectors(config: ReidConfig, tracklets: Tracklets) -> Float32:
    """(N, D) unit vectors of the tracklets' clips, each as long as its tracklet, at most `config.clip_crops`."""
    length = min(config.clip_crops or 1, max(len(paths) for paths in tracklets.paths))
    embedder = build_embedder(config.model_copy(update={"clip_crops": length}), Path.cwd())
    height, width = embedder.input_hw
    found = []
    for paths in tracklets.paths:
        crops = [_resized(cv2.imread(path), height, width) for path in paths[: embedder.clip_length]]
        own = len(crops)
        crops += [crops[i % own] for i in range(embedder.clip_length - own)]
        clips = Clips(
            np.zeros(1, np.int64), np.stack(crops)[None], np.array([own], np.int64), np.ones(1, np.float32)
        )  # fmt: skip
        found.append(embedder.embed(clips).vector)
    return np.concatenate(found)


def _resized(image: UInt8, height: int, width: int) -> UInt8:
    way = cv2.INTER_AREA if image.shape[0] > height else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (width, height), interpolation=way), np.uint8)


def across(values: Float32, tracklets: Tracklets, ask: np.ndarray, search: np.ndarray) -> str:
    """Rank-1 / mAP in percent."""
    score = evaluate(
        -values[ask] @ values[search].T,
        tracklets.pids[ask], tracklets.pids[search], tracklets.camids[ask], tracklets.camids[search],
    )  # fmt: skip
    return f"{100 * score.rank(1):.1f} / {100 * score.mAP:.1f}"


def similarities(values: Float32, tracklets: Tracklets) -> str:
    """5, 50 and 95 % of the cosines between cameras, of the same and of other people, and how well they separate."""
    one, two = tracklets.camids == 1, tracklets.camids == 2
    cosine = values[one] @ values[two].T
    same = tracklets.pids[one][:, None] == tracklets.pids[two]
    inside, between = cosine[same], cosine[~same]
    above = (inside[:, None] > between[None]).mean()
    rows = [" ".join(f"{q:.2f}" for q in np.quantile(part, (0.05, 0.5, 0.95))) for part in (inside, between)]
    return f"{rows[0]} | {rows[1]} | {above:.3f}"


def ms_per_crop(embedder: Embedder, repeats: int = 25) -> float:
    """Processor time of a crop on one core, clips of 8, the best of some runs."""
    crops = np.random.default_rng(0).integers(0, 256, (1, embedder.clip_length, *embedder.input_hw, 3), np.uint8)
    clips = Clips(np.zeros(1, np.int64), crops, np.array([embedder.clip_length]), np.ones(1, np.float32))
    took = []
    for _ in range(repeats):
        begun = time.process_time()
        embedder.embed(clips)
        took.append(time.process_time() - begun)
    return 1000 * min(took) / embedder.clip_length


def report(name: str, config: ReidConfig, pku: Tracklets | None, drawn: Tracklets | None) -> list[str]:
    """Cells of the figures and of the similarities."""
    embedder = build_embedder(config, Path.cwd())
    cells, cosines = [name], [name]
    if pku is not None:
        for part in (pku.single_crops(), pku):
            values = vectors(config, part)
            cells.append(across(values, part, part.camids == 1, part.camids == 2))
            cosines.append(similarities(values, part))
    if drawn is not None:
        for part in (drawn.first_crops(), drawn):
            everyone = np.ones(len(part.pids), bool)
            cells.append(across(vectors(config, part), part, everyone, everyone))
    cells.append(f"{ms_per_crop(embedder):.2f}")
    return [f"| {' | '.join(cells)} |", *([f"| {' | '.join(cosines)} |"] if pku is not None else [])]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", help="bundled, or .onnx files with their manifests")
    parser.add_argument("--osnet", type=Path, help="OSNet x0.25 of MSMT17 as ONNX")
    parser.add_argument("--pku", type=Path, help="folder of PKU-Reid")
    parser.add_argument("--drawn", type=Path, help="folder of a drawn test set")
    chosen = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    pku = read_pku(chosen.pku) if chosen.pku else None
    drawn = read_drawn(chosen.drawn) if chosen.drawn else None
    common = {"clip_crops": 8, "threads": 1, "device": "cpu"}
    configs = [(m, ReidConfig(model=m if m == "bundled" else str(Path(m).resolve()), **common)) for m in chosen.models]
    if chosen.osnet:
        configs.append(("OSNet x0.25", ReidConfig(model=str(chosen.osnet.resolve()), inline=OSNET, **common)))
    told = [report(name, config, pku, drawn) for name, config in configs]
    heads = ["PKU crops", "PKU clips of 8"] * (pku is not None) + ["drawn crops", "drawn tracklets"] * bool(drawn)
    _table(["Rank-1 / mAP", *heads, "ms a crop"], [rows[0] for rows in told])
    if pku is not None:
        words = ["same 5 50 95 %", "other 5 50 95 %", "P(same > other)"]
        _table(["cosine, camera 1 to 2", *(f"{kind}: {w}" for kind in ("crop", "clip") for w in words)],
               [rows[1] for rows in told])  # fmt: skip


def _table(heads: list[str], rows: list[str]) -> None:
    print(f"| {' | '.join(heads)} |\n|{' --- |' * len(heads)}", *rows, sep="\n", flush=True)
    print()


if __name__ == "__main__":
    main()
