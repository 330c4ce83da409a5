"""The scores agree to 1e-9 with three libraries that follow the same papers.

* `trackers` (roboflow), a port of TrackEval: CLEAR, Identity, HOTA, on everything.
* `motmetrics`: IDF1, IDP and IDR on everything. It keeps a person's last match however long ago it was, where
  TrackEval keeps that of the frame before; so MOTA, switches, precision and recall are compared on fake tracks that
  are close to the truth, where the two rules choose alike.
* `reid_hota` (NIST): HOTA, DetA, AssA with its alignment `per_frame`, which is HOTA as published (its default aligns
  identities first, and is another measure).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.evaluation.hota import ALPHAS
from pipeline.evaluation.loaders import load_tracks
from pipeline.evaluation.scores import ScoreRow, score
from pipeline.evaluation.tables import TrackTable, concatenate
from tests.evaluation.scenes import crowd, fake_tracker
from tests.shared import SHARED, needs_shared

SEQUENCES = ("ETH-Bahnhof", "ETH-Sunnyday", "KITTI-13", "PETS09-S2L1", "TUD-Campus", "TUD-Stadtmitte")
needs_mot15 = needs_shared(*(f"data/mot15/{name}/gt.txt" for name in SEQUENCES))
Frames = tuple[list[Any], list[Any], list[Any]]


def frame_by_frame(truth: TrackTable, pred: TrackTable) -> Frames:
    """Ids and IoU matrices per frame, cameras one behind the other, by nothing but numpy's plain definition."""
    sides: Frames = ([], [], [])
    for camera in truth.cameras:
        g, p = truth.of_camera(camera), pred.of_camera(camera)
        for frame in np.union1d(g.frame, p.frame):
            a, b = g[g.frame == frame], p[p.frame == frame]
            low = np.maximum(a.xyxy[:, None, :2], b.xyxy[None, :, :2])
            high = np.minimum(a.xyxy[:, None, 2:], b.xyxy[None, :, 2:])
            shared = np.clip(high - low, 0, None).prod(axis=2)
            area_a, area_b = ((t.xyxy[:, 2:] - t.xyxy[:, :2]).prod(axis=1) for t in (a, b))
            sides[0].append(a.identity)
            sides[1].append(b.identity)
            sides[2].append(shared / (area_a[:, None] + area_b[None] - shared))
    return sides


def assert_agrees_with_trackers(row: ScoreRow, frames: Frames) -> None:
    library = pytest.importorskip("trackers.eval", reason="the parity test needs the package trackers")
    reference = {
        **library.compute_clear_metrics(*frames),
        **library.compute_identity_metrics(*frames),
        **library.compute_hota_metrics(*frames),
    }
    names = ["IDF1", "IDP", "IDR", "IDTP", "IDFN", "IDFP", "MOTA"]
    names += ["HOTA", "DetA", "AssA", "DetRe", "DetPr", "AssRe", "AssPr", "LocA"]
    ours = row.figures()
    assert {n: ours[n.lower()] for n in names} == pytest.approx({n: reference[n] for n in names}, abs=1e-9)
    assert ours["precision"] == pytest.approx(reference["CLR_Pr"], abs=1e-9)
    assert ours["recall"] == pytest.approx(reference["CLR_Re"], abs=1e-9)
    counts = [reference[name] for name in ("IDSW", "CLR_TP", "CLR_FN", "CLR_FP")]
    assert [ours[name] for name in ("switches", "tp", "fn", "fp")] == counts


def assert_agrees_with_motmetrics(row: ScoreRow, frames: Frames, *figures: str) -> int:
    """-> the switches that motmetrics counts"""
    library = pytest.importorskip("motmetrics", reason="the parity test needs the package motmetrics")
    record = library.MOTAccumulator(auto_id=True)
    for truth_id, pred_id, iou in zip(*frames, strict=True):
        record.update(truth_id, pred_id, np.where(iou >= 0.5, 1 - iou, np.nan))
    names = [name for name in figures if name != "switches"] + ["num_switches"]
    reference = dict(library.metrics.create().compute(record, metrics=names).iloc[0])
    reference["switches"] = reference.pop("num_switches")
    ours = row.figures()
    assert {n: ours[n] for n in figures} == pytest.approx({n: reference[n] for n in figures}, abs=1e-9)
    return int(reference["switches"])


def assert_agrees_with_reid_hota(row: ScoreRow, truth: TrackTable, pred: TrackTable) -> None:
    library = pytest.importorskip("reid_hota", reason="the parity test needs the package reid-hota")
    pandas = pytest.importorskip("pandas")

    def frames(table: TrackTable) -> dict[str, Any]:
        corners = dict(zip(("x1", "y1", "x2", "y2"), table.xyxy.T, strict=True))
        return {"0": pandas.DataFrame({"frame": table.frame, "id": table.identity, **corners})}

    settings = library.HOTAConfig(
        id_alignment_method="per_frame",
        similarity_metric="iou",
        iou_thresholds=np.array(ALPHAS),
        suppress_print_statements=True,
    )
    evaluator = library.HOTAReIDEvaluator(config=settings)
    evaluator.evaluate(frames(truth), frames(pred))
    reference = evaluator.get_global_hota_data()
    ours = row.figures()
    for name in ("HOTA", "DetA", "AssA"):
        assert ours[name.lower()] == pytest.approx(float(np.mean(reference[name])), abs=1e-9), name


def mot15(name: str) -> TrackTable:
    return load_tracks(SHARED / "data/mot15" / name / "gt.txt", truth=True, camera=name)


def tracks_from_detections(path: Path, camera: str) -> TrackTable:
    """A crude tracker over real detections: each box takes the id of the nearest box of the frame before."""
    rows = np.loadtxt(path, delimiter=",")[:, :6]
    frame, tlwh = rows[:, 0].astype(np.int64) - 1, rows[:, 2:]
    identity = np.arange(1, len(rows) + 1)
    frames = [np.flatnonzero(frame == f) for f in np.unique(frame)]
    for before, now in pairwise(frames):
        distance = np.linalg.norm(tlwh[now, None, :2] - tlwh[None, before, :2], axis=2)
        nearest = distance.argmin(axis=1)
        mutual = distance.argmin(axis=0)[nearest] == np.arange(len(now))
        close = mutual & (distance.min(axis=1) < 20)
        identity[now[close]] = identity[before[nearest[close]]]
    xyxy = np.concatenate([tlwh[:, :2], tlwh[:, :2] + tlwh[:, 2:]], axis=1)
    return TrackTable((camera,), np.zeros(len(rows), np.int64), frame, identity, identity, xyxy)


@pytest.mark.parametrize("seed", range(8))
def test_random_crowds_score_as_the_references_do(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = crowd(rng, people=9, frames=30, gaps=0.2)
    pred = fake_tracker(truth, rng, jitter=0.12, missed=0.2, false=0.3, switch=0.05)
    row, frames = score(truth, pred).overall, frame_by_frame(truth, pred)
    assert_agrees_with_trackers(row, frames)
    assert_agrees_with_motmetrics(row, frames, "idf1", "idp", "idr")


def test_random_cameras_together_score_as_one_long_sequence() -> None:
    rng = np.random.default_rng(5)
    truth = concatenate([crowd(rng, people=6, frames=25, camera=name) for name in ("a", "b", "c")])
    pred = concatenate([fake_tracker(truth.of_camera(name), rng, switch=0.1) for name in ("a", "b", "c")])
    pred = pred.with_identity(np.where(pred.identity < 10**7, pred.identity // 10_000, pred.identity))
    assert_agrees_with_trackers(score(truth, pred).overall, frame_by_frame(truth, pred))


@pytest.mark.parametrize("seed", range(3))
def test_random_tracks_close_to_the_truth_score_as_motmetrics_and_reid_hota_do(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = crowd(rng, people=6, frames=40)
    pred = fake_tracker(truth, rng, jitter=0.02, false=0.0, switch=0.1)
    row, frames = score(truth, pred).overall, frame_by_frame(truth, pred)
    assert row.clear.num_switches > 5
    assert_agrees_with_motmetrics(row, frames, "mota", "switches", "idf1", "precision", "recall")
    assert_agrees_with_reid_hota(row, truth, pred)


Fake = Callable[[str, TrackTable], TrackTable]
FAKES: dict[str, Fake] = {
    "rough": lambda name, truth: fake_tracker(truth, np.random.default_rng(1)),
    "from detections": lambda name, truth: tracks_from_detections(SHARED / "data/mot15" / name / "det.txt", name),
}


@needs_mot15
@pytest.mark.parametrize("fake", FAKES)
@pytest.mark.parametrize("name", SEQUENCES)
def test_mot15_scores_as_trackers_and_motmetrics_do(name: str, fake: str) -> None:
    truth = mot15(name)
    pred = FAKES[fake](name, truth)
    row, frames = score(truth, pred).overall, frame_by_frame(truth, pred)
    assert_agrees_with_trackers(row, frames)
    switches = assert_agrees_with_motmetrics(row, frames, "idf1", "idp", "idr")
    assert abs(switches - row.clear.num_switches) <= 0.2 * row.clear.num_switches


@needs_mot15
@pytest.mark.parametrize("name", SEQUENCES)
def test_mot15_tracks_close_to_the_truth_score_as_motmetrics_and_reid_hota_do(name: str) -> None:
    truth = mot15(name)
    pred = fake_tracker(truth, np.random.default_rng(1), jitter=0.03, false=0.0)
    row, frames = score(truth, pred).overall, frame_by_frame(truth, pred)
    assert_agrees_with_motmetrics(row, frames, "mota", "switches", "idf1", "idp", "idr", "precision", "recall")
    assert_agrees_with_reid_hota(row, truth, pred)


@needs_mot15
def test_six_sequences_as_six_cameras_score_as_one_long_sequence() -> None:
    rng = np.random.default_rng(2)
    truths = [mot15(name) for name in SEQUENCES]
    truth, pred = concatenate(truths), concatenate([fake_tracker(table, rng) for table in truths])
    row, frames = score(truth, pred).overall, frame_by_frame(truth, pred)
    assert_agrees_with_trackers(row, frames)
    assert_agrees_with_motmetrics(row, frames, "idf1", "idp", "idr")
