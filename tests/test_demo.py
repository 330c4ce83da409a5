"""What a newcomer sees first: the demo from pixels to tables, with the networks that come with the project."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.app import run
from pipeline.config import load_pipeline
from pipeline.evaluation.scores import score
from pipeline.report import RunOptions
from pipeline.truth import load_truth_and_prediction

CAMS = Path(__file__).resolve().parents[1] / "configs/demo/cams.yaml"


@pytest.mark.slow
def test_the_demo_gives_its_people_one_identity_over_four_cameras(tmp_path: Path) -> None:
    report = run(RunOptions(CAMS, tmp_path), lambda progress: None, lambda: False)
    assert [camera.num_frames for camera in report.cameras] == [400] * 4
    scores = score(*load_truth_and_prediction(CAMS, tmp_path))
    assert scores.warnings == ()
    assert scores.overall.identity.idf1 >= 0.85


def test_the_demo_uses_the_default_networks_and_fits_into_a_clone() -> None:
    config, default = load_pipeline(CAMS.with_name("pipeline.yaml")), load_pipeline(None)
    assert (config.detect.model, config.reid, config.track) == (default.detect.model, default.reid, default.track)
    assert sum(path.stat().st_size for path in CAMS.parent.rglob("*") if path.is_file()) < 10e6
