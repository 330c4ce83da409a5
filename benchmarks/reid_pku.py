"""Does the light network learn to tell people apart that it has never seen? Five folds by person on PKU-Reid.

    python benchmarks/reid_pku.py ../shared/data/pku_reid --osnet ../shared/weights/osnet_x0_25_msmt17.onnx

50 people, two cameras, 8 crops of a person in a camera. In each fold the network learns from 40 people (recipe
configs/reid_train/light_pku.yaml, about five minutes on two free cores) and is tested on the other 10. OSNet x0.25,
trained on the 4,101 people of MSMT17, is given as it is. Both directions, camera 1 to 2 and 2 to 1; rectangular AP.

image      every crop asks and is searched for by itself
tracklet   the mean of a person's 8 vectors in a camera
10 people  the gallery holds the fold's test people
50 people  the gallery holds all people; for the light network the others were training people, which here only distract
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np
import onnxruntime

from pipeline.evaluation.retrieval import evaluate
from pipeline.types import Float32
from reid_train.config import Recipe, load_recipe
from reid_train.data.build import load_split
from reid_train.data.images import read_image
from reid_train.data.tracklet import LabelledTracklet
from reid_train.embedding import embed_tracklets
from reid_train.state import load_model
from reid_train.train import train

RECIPE = Path(__file__).parents[1] / "configs" / "reid_train" / "light_pku.yaml"
NUM_FOLDS = 5
OSNET_HW = (256, 128)
MEAN, STD = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)
LEVELS = ("image, 10 people", "tracklet, 10 people", "image, 50 people", "tracklet, 50 people")
Figures = dict[str, tuple[float, float]]  # level -> Rank-1, mAP


@dataclass(frozen=True)
class Crops:
    """All crops with their labels, in one order."""

    tracklets: list[LabelledTracklet]  # of one crop each
    pids: np.ndarray
    camids: np.ndarray

    @classmethod
    def read(cls, root: Path) -> Crops:
        everyone = load_split("pku_reid", root, num_folds=1)
        singles = [
            replace(t, paths=(path,), frames=()) for t in (*everyone.query, *everyone.gallery) for path in t.paths
        ]
        return cls(singles, np.array([t.pid for t in singles]), np.array([t.camid for t in singles]))

    def fold(self, fold: int) -> np.ndarray:
        """True at the crops of the people whom fold `fold` tests."""
        people = np.unique(self.pids)
        return np.isin(self.pids, people[fold::NUM_FOLDS])


def figures(vectors: Float32, crops: Crops, tested: np.ndarray) -> Figures:
    """Rank-1 and mAP at every level; `tested` are the crops that ask."""
    found = {}
    everyone = np.ones_like(tested)
    for gallery_name, gallery in (("10 people", tested), ("50 people", everyone)):
        for level in ("image", "tracklet"):
            found[f"{level}, {gallery_name}"] = _both_ways(vectors, crops, tested, gallery, level == "tracklet")
    return found


def _both_ways(
    vectors: Float32, crops: Crops, asking: np.ndarray, gallery: np.ndarray, as_tracklets: bool
) -> tuple[float, float]:
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    scores = []
    for query_cam in (0, 1):
        sides = []
        for part, cam in ((asking, query_cam), (gallery, 1 - query_cam)):
            rows = np.flatnonzero(part & (crops.camids == cam))
            pids, values = crops.pids[rows], unit[rows]
            if as_tracklets:
                people = np.unique(pids)
                values = np.stack([vectors[rows][pids == pid].mean(axis=0) for pid in people])
                values, pids = values / np.linalg.norm(values, axis=1, keepdims=True), people
            sides.append((values, pids))
        (query, query_pids), (searched, gallery_pids) = sides
        zeros, ones = np.zeros(len(query_pids), int), np.ones(len(gallery_pids), int)
        scores.append(evaluate(-query @ searched.T, query_pids, gallery_pids, zeros, ones))
    return float(np.mean([s.rank(1) for s in scores])), float(np.mean([s.mAP for s in scores]))


def osnet_vectors(path: Path, crops: Crops) -> Float32:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    vectors = []
    for start in range(0, len(crops.tracklets), 32):
        images = [read_image(t.paths[0], OSNET_HW, "bilinear") for t in crops.tracklets[start : start + 32]]
        blob = ((np.stack(images).astype(np.float32) / 255 - MEAN) / STD).transpose(0, 3, 1, 2)
        vectors.append(session.run(None, {name: np.ascontiguousarray(blob, np.float32)})[0])
    return np.concatenate(vectors)


def light_vectors(recipe: Recipe, output: Path, crops: Crops, say: Callable[[str], None]) -> Float32:
    """Of the fold's network, which is trained where `output` holds none."""
    begun_s = time.perf_counter()
    summary = train(recipe, output, resume=(output / "last.safetensors").exists())
    say(f"{output}: {summary.steps} steps, loss {summary.loss:.3f}, {time.perf_counter() - begun_s:.0f} s")
    model, _ = load_model(output / "last.safetensors")  # nothing is chosen by a test score
    return embed_tracklets(model, crops.tracklets, recipe, clips="each", workers=0)


def table(title: str, rows: Sequence[tuple[str, Figures]]) -> str:
    lines = [
        f"| {title} | " + " | ".join(LEVELS) + " |",
        "| --- |" + " --- |" * len(LEVELS),
    ]
    for name, found in rows:
        cells = " | ".join(f"{100 * found[level][0]:.1f} / {100 * found[level][1]:.1f}" for level in LEVELS)
        lines.append(f"| {name} | {cells} |")
    return "\n".join(lines)


def mean_of(rows: Sequence[Figures]) -> Figures:
    return {level: tuple(np.mean([row[level] for row in rows], axis=0).tolist()) for level in LEVELS}


def difference(one: Figures, other: Figures) -> str:
    cells = [f"{100 * (one[level][k] - other[level][k]):+.1f}" for level in LEVELS for k in (0, 1)]
    return " | ".join(f"{a} / {b}" for a, b in zip(cells[::2], cells[1::2], strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", type=Path, help="folder of PKU-Reid: <person>/c<camera>_<1-8>.png")
    parser.add_argument("--osnet", type=Path, required=True, help="OSNet x0.25 of MSMT17 as ONNX")
    parser.add_argument("--recipe", type=Path, default=RECIPE)
    parser.add_argument("--output", type=Path, default=Path("out/reid_pku"), help="folder of the runs")
    parser.add_argument("--folds", type=int, nargs="*", default=list(range(NUM_FOLDS)))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="overrule the recipe")
    arguments = parser.parse_args()

    crops = Crops.read(arguments.root)
    osnet = osnet_vectors(arguments.osnet, crops)
    ours, theirs = [], []
    for fold in arguments.folds:
        recipe = load_recipe(
            arguments.recipe,
            [f"data.root={json.dumps(str(arguments.root))}", f"data.options.fold={fold}", *arguments.set],
        )
        tested = crops.fold(fold)
        vectors = light_vectors(recipe, arguments.output / f"fold{fold}", crops, lambda text: print(text, flush=True))
        ours.append(figures(vectors, crops, tested))
        theirs.append(figures(osnet, crops, tested))
        print(table(f"fold {fold}", [("light", ours[-1]), ("OSNet, zero-shot", theirs[-1])]), flush=True)
    print(f"\n{date.today()}, Python {platform.python_version()}, {platform.machine()}: Rank-1 / mAP in percent\n")
    chosen = [("folds", range(len(ours)))]
    if 0 in arguments.folds and len(ours) > 1:
        chosen.append(("folds without 0", [i for i, fold in enumerate(arguments.folds) if fold]))
    for name, members in chosen:
        light, zero_shot = mean_of([ours[i] for i in members]), mean_of([theirs[i] for i in members])
        print(table(f"mean of {len(list(members))} {name}", [("light", light), ("OSNet, zero-shot", zero_shot)]))
        print(f"| difference | {difference(light, zero_shot)} |\n")


if __name__ == "__main__":
    main()
