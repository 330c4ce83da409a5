"""What every detector promises."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.detect.build import build_detector
from pipeline.detect.config import DetectConfig
from pipeline.detect.detector import Detector
from pipeline.types import Frame
from tests.detect import tiny_detectors as tiny

CAMERAS = ["a", "b", "c"]


@pytest.fixture(params=["onnx, batch of one", "onnx, open batch", "onnx, end to end", "from file"])
def detector(request: pytest.FixtureRequest, tmp_path: Path) -> Detector:
    """Each of these finds the blue cells of `frames`, whole or cut off by the picture's border."""
    path = tmp_path / "model.onnx"
    match request.param:
        case "onnx, batch of one":
            tiny.save_grid(path, num_classes=1)
        case "onnx, open batch":
            tiny.save_columns(path, batch="batch")
        case "onnx, end to end":
            tiny.save_end_to_end(path, batch="batch")
        case _:
            rows = [f"{c},{i},{32 * (i % 3)},32,40,40,0.9" for c in CAMERAS for i in range(4)]
            (tmp_path / "d.csv").write_text("\n".join(["camera,frame,left,top,width,height,score", *rows]))
            return build_detector(DetectConfig(model="d.csv"), CAMERAS, tmp_path)
    return build_detector(DetectConfig(model="model.onnx", threads=2), CAMERAS, tmp_path)


def make_frames() -> list[Frame]:
    """Four frames of three cameras, of different sizes, with one person in each."""
    frames = []
    for frame_idx in range(4):
        for camid in range(3):
            image = tiny.picture((1, frame_idx % 3), scale=1 + camid // 2)
            frames.append(Frame(camid, frame_idx, frame_idx / 10, image[: 64 - 4 * camid] if camid < 2 else image))
    return frames


def test_no_frames_give_no_detections(detector: Detector) -> None:
    assert detector.detect([]) == []


def test_there_is_one_result_per_frame_and_something_is_found(detector: Detector) -> None:
    found = detector.detect(make_frames())
    assert len(found) == 12
    assert all(len(d) >= 1 for d in found)


def test_boxes_lie_inside_the_picture_and_scores_between_0_and_1(detector: Detector) -> None:
    frames = make_frames()
    for frame, found in zip(frames, detector.detect(frames), strict=True):
        height_px, width_px = frame.image.shape[:2]
        assert (found.xyxy >= 0).all() and (found.xyxy <= [width_px, height_px, width_px, height_px]).all()
        assert (found.xyxy[:, 2:] > found.xyxy[:, :2]).all()
        assert ((found.score > 0) & (found.score <= 1)).all()


def test_a_frame_is_judged_the_same_in_any_company_and_order(detector: Detector) -> None:
    frames = make_frames()
    together = detector.detect(frames)
    backwards = detector.detect(frames[::-1])[::-1]
    for frame, one, other in zip(frames, together, backwards, strict=True):
        (alone,) = detector.detect([frame])
        for found in (one, other):
            np.testing.assert_allclose(found.xyxy, alone.xyxy, atol=1e-3)
            np.testing.assert_allclose(found.score, alone.score, atol=1e-5)


def test_pictures_are_left_as_they_were(detector: Detector) -> None:
    frames = make_frames()
    copies = [frame.image.copy() for frame in frames]
    detector.detect(frames)
    assert all((frame.image == copy).all() for frame, copy in zip(frames, copies, strict=True))
