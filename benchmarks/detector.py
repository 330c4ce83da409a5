"""How well does the bundled person detector find people, real and drawn, beside another detector?

    python -m pipeline simulate detections --output out/det_test --frames 160 --frames-per-scene 8 --seed 1021
    python -m pipeline simulate detections --output out/office_test --places office --frames 60 --frames-per-scene 3 \\
        --most-people 12 --seed 1031
    python benchmarks/detector.py --drawn out/det_test,out/office_test --other ../shared/weights/yolox_nano.onnx

Real: every 5th frame of PETS 2009 S2.L1 view 1 (../shared/data/pets_s2l1), which no training has seen. AP is the area
under the precision-recall curve with precision made monotonous, IoU 0.5 and 0.75; recall by person height is at IoU 0.5
and the score of the best F1. Drawn people count from 8 % visibility on; in the second table of a drawn set those seen
to less than 25 % are neither right nor wrong, which is how most benchmarks read. Processor time per frame includes
letterbox and suppression, one thread, in turns.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from detect_train.data import read_set
from detect_train.evaluate import strict, usual
from detect_train.scores import Scene, score_detector
from pipeline.detect.build import build_detector
from pipeline.detect.config import DetectConfig
from pipeline.detect.detector import Detector
from pipeline.types import Detections, Frame

HEIGHTS_PX = ((0, 32), (32, 64), (64, 96), (96, 128), (128, 256), (256, 4000))


def pets(folder: Path, step: int = 5) -> list[Scene]:
    rows = np.loadtxt(folder / "gt.txt", delimiter=",")
    video = cv2.VideoCapture(str(folder / "vtest.avi"))
    scenes, index = [], 0
    while True:
        ok, image = video.read()
        if not ok:
            return scenes
        if index % step == 0:
            xyxy = rows[rows[:, 0] == index + 1, 2:6].copy()
            xyxy[:, 2:] += xyxy[:, :2]
            scenes.append(Scene(Frame(0, index, index / 7, image), xyxy, np.zeros(len(xyxy), bool)))
        index += 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path, default=Path("../shared/data/pets_s2l1"))
    parser.add_argument("--drawn", default="", help="drawn detection sets of other seeds than the training's: a,b")
    parser.add_argument("--model", default="bundled", help="bundled, or an .onnx file in its place")
    parser.add_argument("--other", type=Path, help="another .onnx detector for comparison")
    parser.add_argument("--sizes", default="384x640,416x416,448x608,576x768", help="heights x widths of the input")
    options = parser.parse_args()
    sizes = [tuple(map(int, size.split("x"))) for size in options.sizes.split(",")]
    detectors: list[tuple[str, Detector]] = [(f"bundled {h}x{w}", _open(options.model, (h, w))) for h, w in sizes]
    if options.other:
        detectors.append((options.other.stem, _open(str(options.other), None)))
    scenes = pets(options.real)
    _table("real", scenes, *_run(scenes, detectors))
    for folder in filter(None, options.drawn.split(",")):
        pictures = read_set(Path(folder))
        scenes = strict(pictures)
        found, costs_ms = _run(scenes, detectors)
        _table(f"{Path(folder).name}, seen to 8 % and more", scenes, found, costs_ms)
        _table(f"{Path(folder).name}, seen to 25 % and more", usual(scenes, pictures), found, costs_ms)


def _open(model: str, size: tuple[int, int] | None) -> Detector:
    return build_detector(DetectConfig(model=model, input_size=size, min_score=0.01, threads=1), ["camera"], Path())


def _run(
    scenes: Sequence[Scene], detectors: Sequence[tuple[str, Detector]]
) -> tuple[dict[str, list[Detections]], dict[str, float]]:
    """What each detector finds in all pictures, and its milliseconds per picture; in turns."""
    found: dict[str, list[Detections]] = {name: [] for name, _ in detectors}
    costs_ms = dict.fromkeys(found, 0.0)
    for scene in scenes:
        for name, detector in detectors:
            start = time.process_time()
            found[name].append(detector.detect([scene.frame])[0])
            costs_ms[name] += 1000 * (time.process_time() - start) / len(scenes)
    return found, costs_ms


def _table(
    title: str, scenes: Sequence[Scene], results: dict[str, list[Detections]], costs_ms: dict[str, float]
) -> None:
    people = sum((~scene.ignore).sum() for scene in scenes)
    print(f"\n{title}: {len(scenes)} pictures, {people} people\n")
    heights = [f"{low} to {high} px" for low, high in HEIGHTS_PX]
    print("| detector | AP50 | AP75 | best F1 | at score | ms/frame | " + " | ".join(heights) + " |")
    print("| --- |" + " --- |" * (5 + len(heights)))
    for name, found in results.items():
        at50, at75 = (score_detector(scenes, found, least) for least in (0.5, 0.75))
        recall = [at50.recall_between(low, high) for low, high in HEIGHTS_PX]
        cells = [f"{value:.3f} of {count}" if count else "-" for value, count in recall]
        print(
            f"| {name} | {at50.ap:.3f} | {at75.ap:.3f} | {at50.best_f1:.3f} | {at50.best_score:.2f} | "
            f"{costs_ms[name]:.1f} | " + " | ".join(cells) + " |",
            flush=True,
        )


if __name__ == "__main__":
    main()
