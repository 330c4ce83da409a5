"""The person detector that comes with the project."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np

from pipeline.detect.build import build_detector, model_path
from pipeline.detect.config import DetectConfig
from pipeline.models import bundled_path
from pipeline.types import Frame
from tests.shared import SHARED, needs_shared


def test_the_bundled_file_is_small_and_is_the_one_its_manifest_describes() -> None:
    path = bundled_path("person_detector.onnx")
    assert path.stat().st_size <= 5_000_000
    manifest = json.loads(path.with_suffix(".json").read_text())
    assert manifest["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_bundled_opens_from_any_folder_and_finds_nobody_on_plain_grey(tmp_path: Path) -> None:
    config = DetectConfig(model="bundled", min_score=0.5, threads=1)
    assert model_path(config, tmp_path) == bundled_path("person_detector.onnx")
    (found,) = build_detector(config, ["a"], tmp_path).detect([Frame(0, 0, 0.0, np.full((90, 160, 3), 128, np.uint8))])
    assert len(found) == 0


@needs_shared("data/pets_s2l1/vtest.avi")
def test_bundled_finds_most_people_of_a_real_video_it_never_saw(tmp_path: Path) -> None:
    video = cv2.VideoCapture(str(SHARED / "data/pets_s2l1/vtest.avi"))
    rows = np.loadtxt(SHARED / "data/pets_s2l1/gt.txt", delimiter=",")
    detector = build_detector(DetectConfig(model="bundled", min_score=0.6, threads=1), ["a"], tmp_path)
    found = true = right = 0
    for index in range(401):
        ok, image = video.read()
        assert ok
        if index % 100:
            continue
        here = rows[rows[:, 0] == index + 1, 2:6]
        (boxes,) = detector.detect([Frame(0, index, index / 7, image)])
        centre = (boxes.xyxy[:, :2] + boxes.xyxy[:, 2:]) / 2
        inside = (centre[:, None] > here[None, :, :2]) & (centre[:, None] < here[None, :, :2] + here[None, :, 2:])
        right += int(inside.all(axis=2).any(axis=0).sum())
        true, found = true + len(here), found + len(boxes)
    assert right >= 0.8 * true and found <= 1.4 * true
