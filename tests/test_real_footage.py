"""The main job on real footage with real networks. These are the checks that a user's trust rests on."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest

from pipeline.app import run
from pipeline.evaluation.scores import score
from pipeline.report import RunOptions, RunReport
from pipeline.truth import load_truth_and_prediction
from tests.shared import needs_shared

CHECKS = Path(__file__).resolve().parents[1] / "configs/checks"
NETWORKS = ("weights/yolox_nano.onnx", "weights/osnet_x0_25_msmt17.onnx")


def run_check(name: str, output: Path) -> RunReport:
    return run(RunOptions(CHECKS / name, output), lambda progress: None, lambda: False)


@needs_shared("data/pets_s2l1/vtest.avi", "data/pets_s2l1/gt.txt", *NETWORKS)
def test_people_keep_their_identity_across_the_gap_of_the_pets_split(tmp_path: Path) -> None:
    report = run_check("pets_split.yaml", tmp_path)
    assert [camera.num_frames for camera in report.cameras] == [795, 795]
    scores = score(*load_truth_and_prediction(CHECKS / "pets_split.yaml", tmp_path))
    assert scores.overall.identity.idf1 >= 0.60
    assert scores.warnings == ()


@needs_shared("data/lab4/cam0.mp4", "data/lab4/calibration.json", *NETWORKS)
def test_each_of_two_walkers_has_one_identity_in_four_calibrated_views(tmp_path: Path) -> None:
    run_check("lab4.yaml", tmp_path)
    with (tmp_path / "global_tracks.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    frames = Counter((row["global_id"], row["camera"]) for row in rows)
    for walker in ("1", "2"):
        assert {camera for gid, camera in frames if gid == walker} == {"cam0", "cam1", "cam2", "cam3"}
        assert sum(count for (gid, _), count in frames.items() if gid == walker) > 900
    positions: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for row in rows:
        if row["global_id"] in ("1", "2") and row["ground_x"]:
            key = row["global_id"], row["frame"]
            positions.setdefault(key, []).append((float(row["ground_x"]), float(row["ground_y"])))
    apart = sorted(
        max(abs(a - c) + abs(b - d) for a, b in places for c, d in places)
        for places in positions.values()
        if len(places) > 1
    )
    assert apart[len(apart) // 2] < 1.0, "the cameras place a walker metres apart"


@pytest.mark.parametrize("name", ["pets_split.yaml", "lab4.yaml"])
@needs_shared("data/pets_s2l1/vtest.avi", "data/lab4/cam0.mp4", *NETWORKS)
def test_two_runs_of_two_seconds_write_the_same_bytes(name: str, tmp_path: Path) -> None:
    for place in ("one", "two"):
        options = RunOptions(CHECKS / name, tmp_path / place, max_seconds=2.0)
        run(options, lambda progress: None, lambda: False)
    one, two = ((tmp_path / place / "global_tracks.csv").read_bytes() for place in ("one", "two"))
    assert one == two and len(one) > 1000
