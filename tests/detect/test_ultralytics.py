"""The ultralytics adapter against the ONNX detector on the same real frames."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from pipeline.detect.build import build_detector
from pipeline.detect.config import DetectConfig
from pipeline.detect.detector import Detector
from pipeline.types import Frame
from tests.detect.test_onnx_detector import best_f1, pets_frames
from tests.shared import SHARED, needs_shared

pytestmark = [
    pytest.mark.slow,  # importing torch and ultralytics takes seconds
    pytest.mark.skipif(
        not (find_spec("ultralytics") and find_spec("openvino")), reason="needs the extra crosscam[ultralytics]"
    ),
]
MODEL = "weights/yolo11n_int8_openvino_model"


@pytest.fixture(scope="module")
def detector() -> Detector:
    return build_detector(DetectConfig(model=MODEL, min_score=0.05), ["a"], SHARED)


@needs_shared(MODEL, "weights/yolox_nano.onnx", "data/pets_s2l1/vtest.avi")
def test_recall_at_the_best_f1_is_within_two_points_of_the_onnx_detector(detector: Detector) -> None:
    frames, truth = pets_frames(step=20)
    other = build_detector(DetectConfig(model="weights/yolox_nano.onnx", min_score=0.05), ["a", "b"], SHARED)
    _, recall = best_f1(detector.detect(frames), truth)
    _, onnx_recall = best_f1(other.detect(frames), truth)
    assert recall >= onnx_recall - 0.02


@needs_shared(MODEL, "data/pets_s2l1/vtest.avi")
def test_a_frame_is_judged_the_same_beside_frames_of_other_sizes(detector: Detector) -> None:
    (whole,), _ = pets_frames(step=1000)
    half = Frame(1, 0, 0.0, whole.image[:, :352])
    together = detector.detect([whole, half, whole])
    assert len(together) == 3 and len(together[1]) < len(together[0])
    for frame, found in zip([whole, half, whole], together, strict=True):
        alone = detector.detect([frame])[0]
        np.testing.assert_allclose(found.xyxy, alone.xyxy, atol=1e-3)
    assert together[1].xyxy[:, 2].max() <= 352
    assert detector.detect([]) == []


SCRIPT = """
import sys
from pathlib import Path
from pipeline.detect.build import build_detector
from pipeline.detect.config import DetectConfig
try:
    build_detector(DetectConfig(model="people.pt"), ["a"], Path(sys.argv[1]))
except ValueError:
    import ultralytics.utils.events
    assert not ultralytics.utils.events.events.enabled
    assert not ultralytics.utils.AUTOINSTALL
    print("refused")
"""


def test_nothing_is_written_to_the_home_folder_and_nothing_printed(tmp_path: Path) -> None:
    (tmp_path / "people.pt").write_bytes(b"hello")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("YOLO_", "ULTRALYTICS_", "XDG_"))}
    environment = {**kept, "HOME": str(tmp_path), "TMPDIR": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])}
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.stdout == "refused\n", run.stderr
    left = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"people.pt"}


def test_a_file_that_is_no_model_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "people.pt").write_bytes(b"hello")
    with pytest.raises(ValueError, match=r"detect\.model: ultralytics can not load .*people\.pt"):
        build_detector(DetectConfig(model="people.pt"), ["a"], tmp_path)
