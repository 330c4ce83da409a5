"""An exported detector on drawn pictures, run by the pipeline's own code."""

from __future__ import annotations

from pathlib import Path

from detect_train.data import read_set
from detect_train.scores import Scene, fit_scores, score_detector
from pipeline.detect.build import build_detector
from pipeline.detect.config import DetectConfig
from pipeline.types import Detections, Frame

HEIGHTS_PX = ((0, 32), (32, 64), (64, 128), (128, 256), (256, 4000))


def run_detector(model: Path, root: Path, *, every: int = 1) -> tuple[list[Scene], list[Detections]]:
    """Every n-th picture of a drawn set and what the detector finds there, weak boxes included."""
    detector = build_detector(DetectConfig(model=str(model), min_score=0.01), ["drawn"], Path())
    scenes = [
        Scene(Frame(0, number, 0.0, picture.read()), picture.xyxy.astype(float), picture.ignore)
        for number, picture in enumerate(read_set(root)[::every])
    ]
    return scenes, [detector.detect([scene.frame])[0] for scene in scenes]


def fit_on(model: Path, root: Path, *, every: int = 9) -> tuple[float, float]:
    """Slope and offset of the scores, for `export.run_export`."""
    return fit_scores(*run_detector(model, root, every=every))


def report(model: Path, root: Path) -> str:
    """AP, best F1 and recall by height as text."""
    scenes, found = run_detector(model, root)
    at50, at75 = (score_detector(scenes, found, least) for least in (0.5, 0.75))
    lines = [
        f"{len(scenes)} pictures, {len(at50.height_px)} people: AP50 {at50.ap:.3f}, AP75 {at75.ap:.3f}, "
        f"best F1 {at50.best_f1:.3f} at score {at50.best_score:.2f}; recall there by height:"
    ]
    for low, high in HEIGHTS_PX:
        recall, count = at50.recall_between(low, high)
        lines.append(f"  {low} to {high} px: {f'{recall:.3f} of {count}' if count else '-'}")
    return "\n".join(lines)
