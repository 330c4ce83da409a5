"""Global IDF1 on PETS 2009 S2.L1 cut into cameras that do not overlap, by both readings of who is one person.

    python benchmarks/pets_split.py [--pipeline configs/pipeline.yaml]

The ground truth gives a person who leaves the picture and comes back a new number. By their clothes and times its 19
people are eleven at most; RETURNED says which numbers are one person, judged by eye from the annotated crops. Scored
are four ways to cut the picture, with identities that close after 8 s (as the annotation has it) and with the default
(people who return are recognised). The first cut is the one of configs/checks/pets_split.yaml; no setting differs
between the cuts. The networks (YOLOX-nano and OSNet x0.25 unless another file names others) run once per cut; what they
say is then associated in several ways.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
from datetime import date
from pathlib import Path

import numpy as np
import yaml

from pipeline.cameras import load_cameras
from pipeline.config import load_pipeline
from pipeline.evaluation.scores import association_ceiling, score, without_association
from pipeline.evaluation.tables import TrackTable
from pipeline.fusion.build import build_fuser
from pipeline.fusion.config import FusionConfig
from pipeline.ingest.spec import CameraSpec
from pipeline.ingest.ticks import TickReader
from pipeline.nodes import build_nodes
from pipeline.runtime.chain import Tick
from pipeline.runtime.inline import InlineRunner
from pipeline.sinks.build import open_sinks
from pipeline.sinks.config import OutputConfig
from pipeline.truth import load_truth_and_prediction
from pipeline.types import EmbeddedFrame

CHECK = Path("configs/checks/pets_split.yaml")
PIPELINE = Path("configs/checks/nano_osnet.yaml")
RETURNED = {19: 1, 13: 2, 11: 3, 12: 4, 9: 5, 10: 6, 14: 8, 15: 8, 18: 8}
CUTS = {
    "gap at 46 % (the check)": [(0, 352), (416, 352)],
    "gap at 30 %": [(0, 198), (262, 506)],
    "gap at 60 %": [(0, 429), (493, 275)],
    "two gaps, three cameras": [(0, 224), (288, 192), (544, 224)],
}
WAYS: dict[str, dict[str, object]] = {
    "appearance and motion": {"travel": "off"},
    "+ travel times between cameras": {"travel": "cameras"},
    "+ zones (the default)": {},
    "+ re-ranking, share 0.3": {"reranking": 0.3},
    "+ re-ranking, share 0.7 (the paper's)": {"reranking": 0.7},
    "offline": {"resolve": "end"},
    "offline, re-ranking 0.3": {"resolve": "end", "reranking": 0.3},
    "offline, re-ranking 0.7": {"resolve": "end", "reranking": 0.7},
}


def with_returns(truth: TrackTable) -> TrackTable:
    """The truth in which a person who returns is the same person."""
    identity = np.array([RETURNED.get(person, person) for person in truth.identity.tolist()], np.int64)
    return truth.with_identity(identity)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pipeline", type=Path, default=PIPELINE, help="a pipeline.yaml that names the networks")
    pipeline = parser.parse_args().pipeline.resolve()
    (camera, *_), _ = load_cameras(CHECK)
    print(
        f"{date.today()}, Python {platform.python_version()}: global IDF1 at IoU 0.5; in brackets the share of the way"
    )
    print("from nothing associated to perfectly associated\n")
    print("| cut | association | as annotated, closing after 8 s | who returns is the same, default | people found |")
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
            cams.write_text(yaml.safe_dump({"pipeline": str(pipeline), "cameras": entries}))
            score_cut(name, cams, embedded_ticks(cams), len(columns))


def embedded_ticks(cams: Path) -> list[list[EmbeddedFrame]]:
    """What the fuser would be given: the run without its last stage."""
    cameras, named = load_cameras(cams)
    config = load_pipeline(named)
    specs = [
        CameraSpec(camid, c.name, c.source, c.start_time_s, c.offset_s, c.fps, c.crop)
        for camid, c in enumerate(cameras)
    ]
    nodes = build_nodes(cameras, config, named.resolve().parent if named else Path.cwd(), 0)[:3]
    reader = TickReader(specs, config.ingest, max_seconds=None)
    reader.open()
    with reader, InlineRunner(nodes, [(Tick(0, tick.index, tick.frames) for tick in reader)]) as runner:
        return [list(tick.items) for tick in runner]


def score_cut(name: str, cams: Path, ticks: list[list[EmbeddedFrame]], num_cameras: int) -> None:
    bounds = None
    for way, settings in WAYS.items():
        annotated, people = associate(cams, ticks, num_cameras, FusionConfig(**settings, open_s=8))
        returned, people = associate(cams, ticks, num_cameras, FusionConfig(**settings))
        truth = load_truth_and_prediction(cams, cams.parent)[0]
        if bounds is None:  # by the tracklets before any of them is split
            whole = annotated.with_identity(annotated.track_id)
            bounds = [
                f(t, whole).overall.identity.idf1
                for t in (truth, with_returns(truth))
                for f in (without_association, association_ceiling)
            ]
        cells = []
        for t, found, (none, best) in (
            (truth, annotated, bounds[:2]),
            (with_returns(truth), returned, bounds[2:]),
        ):
            value = score(t, found).overall.identity.idf1
            cells.append(f"{value:.3f} ({(value - none) / (best - none):.0%})")
        print(f"| {name} | {way} | {cells[0]} | {cells[1]} | {people} |", flush=True)
    assert bounds is not None
    low, high, low_again, high_again = (f"{bound:.3f}" for bound in bounds)
    print(f"| | nothing / perfectly associated | {low} / {high} | {low_again} / {high_again} | |")


def associate(
    cams: Path, ticks: list[list[EmbeddedFrame]], num_cameras: int, config: FusionConfig
) -> tuple[TrackTable, int]:
    """-> the tracks with their final identities, and how many people that are."""
    dim = next(item.embeddings.vector.shape[1] for items in ticks for item in items)
    fuser = build_fuser(config, [None] * num_cameras, frozenset(), dim)
    names = [f"cam{place}" for place in range(num_cameras)]
    with open_sinks(OutputConfig(mot=False, report=False), cams.parent, names, video=False, fps=7) as sinks:
        for items in ticks:
            sinks.write(fuser.step(items))
        sinks.write(fuser.flush())
    found = load_truth_and_prediction(cams, cams.parent)[1]
    return found, len(np.unique(found.identity))


if __name__ == "__main__":
    main()
