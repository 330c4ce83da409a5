"""An exported detector on drawn pictures, run by the pipeline's own code.

Two readings of the same boxes. Strict: everybody counts whom the set does not mark as hardly there, that is from 8 %
visibility on. Usual: people of whom less than a quarter is seen are neither right nor wrong to find, as in most
benchmarks of pedestrians.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from detect_train.data import Picture, read_set
from detect_train.scores import Scene, fit_scores, score_detector
from pipeline.detect.build import build_detector
from pipeline.detect.config import DetectConfig
from pipeline.types import Detections, Frame

USUAL_VISIBILITY = 0.25
HEIGHTS_PX = ((0, 32), (32, 64), (64, 128), (128, 256), (256, 4000))


def strict(pictures: Sequence[Picture]) -> list[Scene]:
    """Pictures with all people who count."""
    return [
        Scene(Frame(0, number, 0.0, picture.read()), picture.xyxy.astype(float), picture.ignore)
        for number, picture in enumerate(pictures)
    ]


def usual(scenes: Sequence[Scene], pictures: Sequence[Picture]) -> list[Scene]:
    """The same, people of whom less than a quarter is seen neither right nor wrong."""
    return [
        replace(scene, ignore=scene.ignore | (picture.visibility < USUAL_VISIBILITY))
        for scene, picture in zip(scenes, pictures, strict=True)
    ]


def run_detector(model: Path, scenes: Sequence[Scene]) -> list[Detections]:
    """What the detector finds in every picture, weak boxes included."""
    detector = build_detector(DetectConfig(model=str(model), min_score=0.01), ["drawn"], Path())
    return [detector.detect([scene.frame])[0] for scene in scenes]


def fit_on(model: Path, roots: Sequence[Path], *, every: int = 9) -> tuple[float, float]:
    """Slope and offset of the scores on every n-th picture, for `export.run_export`."""
    scenes = strict([picture for root in roots for picture in read_set(root)[::every]])
    return fit_scores(scenes, run_detector(model, scenes))


def report(model: Path, root: Path) -> str:
    """AP, best F1 and recall by height as text, in both readings."""
    pictures = read_set(root)
    scenes = strict(pictures)
    found = run_detector(model, scenes)
    lines = [f"{len(scenes)} pictures"]
    for reading, counted in (("seen to 8 % and more", scenes), ("seen to 25 % and more", usual(scenes, pictures))):
        at50, at75 = (score_detector(counted, found, least) for least in (0.5, 0.75))
        lines.append(
            f"{len(at50.height_px)} people {reading}: AP50 {at50.ap:.3f}, AP75 {at75.ap:.3f}, "
            f"best F1 {at50.best_f1:.3f} at score {at50.best_score:.2f}; recall there by height:"
        )
        for low, high in HEIGHTS_PX:
            recall, count = at50.recall_between(low, high)
            lines.append(f"  {low} to {high} px: {f'{recall:.3f} of {count}' if count else '-'}")
    return "\n".join(lines)
