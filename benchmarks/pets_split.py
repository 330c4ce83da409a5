"""Global IDF1 on PETS 2009 S2.L1 cut into cameras that do not overlap, by both readings of who is one person.

    python benchmarks/pets_split.py

The ground truth gives a person who leaves the picture and comes back a new number. By their clothes and times its 19
people are eleven at most; RETURNED says which numbers are one person, judged by eye from the annotated crops. Scored
are four ways to cut the picture, with identities that close after 8 s (as the annotation has it) and with the default
(people who return are recognised). The first cut is the one of configs/checks/pets_split.yaml; no setting differs
between the cuts.
"""

from __future__ import annotations

import platform
import tempfile
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import yaml

from pipeline.app import run
from pipeline.config import load_cameras
from pipeline.evaluation.scores import association_ceiling, score, without_association
from pipeline.evaluation.tables import TrackTable
from pipeline.report import RunOptions
from pipeline.truth import load_truth_and_prediction

CHECK = Path("configs/checks/pets_split.yaml")
PIPELINE = Path("configs/checks/nano_osnet.yaml")
RETURNED = {19: 1, 13: 2, 11: 3, 12: 4, 9: 5, 10: 6, 14: 8, 15: 8, 18: 8}
CUTS = {
    "gap at 46 % (the check)": [(0, 352), (416, 352)],
    "gap at 30 %": [(0, 198), (262, 506)],
    "gap at 60 %": [(0, 429), (493, 275)],
    "two gaps, three cameras": [(0, 224), (288, 192), (544, 224)],
}


def with_returns(truth: TrackTable) -> TrackTable:
    """The truth in which a person who returns is the same person."""
    identity = np.array([RETURNED.get(person, person) for person in truth.identity.tolist()], np.int64)
    return truth.with_identity(identity)


def main() -> None:
    (camera, *_), _ = load_cameras(CHECK)
    print(f"{date.today()}, Python {platform.python_version()}: global IDF1 at IoU 0.5\n")
    print("| cut | identities close after | as annotated | who returns is the same | people found |")
    print("| --- | --- | --- | --- | --- |")
    for name, columns in CUTS.items():
        with tempfile.TemporaryDirectory() as folder:
            cams = Path(folder, "cams.yaml")
            entries = [
                {
                    "id": f"cam{place}",
                    "source": camera.source,
                    "fps": camera.fps,
                    "crop": [left, 0, width, 576],
                    "ground_truth": str(camera.ground_truth),
                }
                for place, (left, width) in enumerate(columns)
            ]
            cams.write_text(yaml.safe_dump({"pipeline": str(PIPELINE.resolve()), "cameras": entries}))
            options = RunOptions(cams, Path(folder, "out"))
            for label, settings in (("8 s", ("fusion.open_s=8",)), ("4 h (default)", ())):
                run(replace(options, settings=settings), lambda progress: None, lambda: False)
                truth, found = load_truth_and_prediction(cams, options.output)
                physical = with_returns(truth)
                people = len(np.unique(found.identity))
                print(f"| {name} | {label} | {idf1(truth, found)} | {idf1(physical, found)} | {people} |", flush=True)
            none = f"{without_association(truth, found).overall.identity.idf1:.3f}"
            best = [f"{association_ceiling(t, found).overall.identity.idf1:.3f}" for t in (truth, physical)]
            print(f"| | nothing associated | {none} | | |\n| | perfectly associated | {best[0]} | {best[1]} | |")


def idf1(truth: TrackTable, found: TrackTable) -> str:
    return f"{score(truth, found).overall.identity.idf1:.3f}"


if __name__ == "__main__":
    main()
