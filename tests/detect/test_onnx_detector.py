"""Real ONNX inference on tiny networks for each kind of head, and parity with published figures on real footage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.detect.build import build_detector
from pipeline.detect.config import DetectConfig
from pipeline.detect.onnx import OnnxDetector
from pipeline.geometry.boxes import iou
from pipeline.types import Detections, Frame
from tests.detect import tiny_detectors as tiny
from tests.detect.tiny_detectors import frame, picture
from tests.shared import SHARED, needs_shared

YOLOX_CLASSES: tuple[int | str, ...] = (0,)  # the tiny networks without metadata have no names


def save_v5(path: Path) -> Path:
    return tiny.save_objectness(path, anchors=3)


HEADS: dict[str, tuple[Callable[[Path], Path], str, str, tuple[int | str, ...]]] = {
    "yolox": (tiny.save_grid, "grid", "yolox", YOLOX_CLASSES),
    "yolox decoded": (tiny.save_objectness, "objectness", "yolox", YOLOX_CLASSES),
    "yolov5": (save_v5, "objectness", "ultralytics", YOLOX_CLASSES),
    "yolo11": (tiny.save_columns, "columns", "ultralytics", ("person",)),
    "yolov10": (tiny.save_end_to_end, "end_to_end", "ultralytics", ("person",)),
}


@pytest.mark.parametrize("name", HEADS)
def test_each_head_is_recognised_and_finds_the_blue_cells_where_they_are(name: str, tmp_path: Path) -> None:
    save, kind, family, classes = HEADS[name]
    detector = OnnxDetector(save(tmp_path / "model.onnx"), DetectConfig(classes=classes))
    assert (detector.head.kind, detector.head.letterbox, detector.input_hw) == (kind, family, tiny.INPUT_HW)

    found = detector.detect([frame(picture((0, 1), (1, 2)))])[0]

    assert sorted(found.xyxy.round(3).tolist()) == [[32, 0, 64, 32], [64, 32, 96, 64]]
    assert (found.score > 0.9).all()


@pytest.mark.parametrize("name", HEADS)
def test_each_head_wants_its_own_colour_order(name: str, tmp_path: Path) -> None:
    save, _, _, classes = HEADS[name]
    detector = OnnxDetector(save(tmp_path / "model.onnx"), DetectConfig(classes=classes))
    red = picture((0, 1), colour=(0, 0, 255))
    assert len(detector.detect([frame(red)])[0]) == 0


@pytest.mark.parametrize("batch", [1, 4, "batch"])
def test_pictures_of_a_tick_keep_their_order_whatever_the_batch_size_of_the_model(
    batch: int | str, tmp_path: Path
) -> None:
    path = tiny.save_columns(tmp_path / "model.onnx", batch=batch)
    detector = OnnxDetector(path, DetectConfig(threads=2, batch_size=2), num_cameras=2)
    frames = [frame(picture((row, column))) for row in range(2) for column in range(3)]
    found = detector.detect(frames)
    assert [d.xyxy.round(3).tolist() for d in found] == [
        [[32 * c, 32 * r, 32 * c + 32, 32 * r + 32]] for r in range(2) for c in range(3)
    ]


def test_boxes_come_back_in_pixels_of_a_larger_picture(tmp_path: Path) -> None:
    detector = OnnxDetector(tiny.save_grid(tmp_path / "model.onnx"), DetectConfig(classes=(0,)))
    found = detector.detect([frame(picture((1, 0), scale=5))])[0]
    np.testing.assert_allclose(found.xyxy, [[0, 160, 160, 320]], atol=1e-3)


def test_a_read_only_cut_of_a_picture_is_taken_as_it_is(tmp_path: Path) -> None:
    wide = np.zeros((64, 300, 3), np.uint8)
    wide[:, 100:196] = picture((0, 2))
    cut = wide[:, 100:196]
    assert not cut.flags.c_contiguous
    detector = OnnxDetector(tiny.save_grid(tmp_path / "model.onnx"), DetectConfig(classes=(0,)))
    np.testing.assert_allclose(detector.detect([frame(cut)])[0].xyxy, [[64, 0, 96, 32]], atol=1e-3)


def test_a_box_over_the_border_is_clipped_to_the_picture(tmp_path: Path) -> None:
    # A picture 60 high is padded to 64 by 2 rows above and below; the cell of the lower row ends in the border.
    detector = OnnxDetector(tiny.save_columns(tmp_path / "model.onnx"), DetectConfig())
    found = detector.detect([frame(np.ascontiguousarray(picture((1, 1))[4:]))])[0]
    np.testing.assert_allclose(found.xyxy, [[32, 30, 64, 60]], atol=1e-3)


def test_classes_choose_what_counts_by_name_and_by_number(tmp_path: Path) -> None:
    path = tiny.save_columns(tmp_path / "model.onnx")
    green = frame(picture((0, 0), colour=(0, 255, 0)))
    assert len(OnnxDetector(path, DetectConfig()).detect([green])[0]) == 0
    assert len(OnnxDetector(path, DetectConfig(classes=("car",))).detect([green])[0]) == 1
    assert len(OnnxDetector(path, DetectConfig(classes=(1, 0))).detect([green])[0]) == 1


def test_a_model_of_one_class_finds_people_without_naming_them(tmp_path: Path) -> None:
    detector = OnnxDetector(tiny.save_grid(tmp_path / "model.onnx", num_classes=1), DetectConfig())
    assert len(detector.detect([frame(picture((0, 0)))])[0]) == 1


def test_a_model_of_eighty_classes_has_the_names_of_coco(tmp_path: Path) -> None:
    path = tiny.save_grid(tmp_path / "model.onnx", num_classes=80)
    assert len(OnnxDetector(path, DetectConfig()).detect([frame(picture((0, 0)))])[0]) == 1
    assert len(OnnxDetector(path, DetectConfig(classes=("toothbrush",))).detect([frame(picture((0, 0)))])[0]) == 0
    with pytest.raises(ValueError, match=r"detect\.classes: .* no class 'persn'; did you mean 'person'\?"):
        OnnxDetector(path, DetectConfig(classes=("persn",)))


def test_the_letterbox_of_the_configuration_comes_before_the_guess(tmp_path: Path) -> None:
    path = tiny.save_objectness(tmp_path / "model.onnx")  # recognised as BGR 0..255; as RGB 0..1 nothing is bright
    assert len(OnnxDetector(path, DetectConfig(classes=(0,))).detect([frame(picture((0, 0)))])[0]) == 1
    as_rgb = OnnxDetector(path, DetectConfig(classes=(0,), letterbox="ultralytics"))
    assert len(as_rgb.detect([frame(picture((0, 0)))])[0]) == 0


def test_a_network_that_is_no_detector_is_refused_with_its_outputs_and_what_is_understood(tmp_path: Path) -> None:
    path = tiny.save_classifier(tmp_path / "classifier.onnx")
    with pytest.raises(ValueError) as caught:
        build_detector(DetectConfig(model="classifier.onnx"), ["a"], tmp_path)
    message = str(caught.value)
    assert message.startswith(f"detect.model: {path}")
    assert "(1, 3, 1, 1)" in message and "YOLOX" in message and "pixels" in message


def test_a_classifier_of_the_same_house_is_refused_by_its_task(tmp_path: Path) -> None:
    path = tiny.save_columns(tmp_path / "m.onnx", metadata={"task": "classify", "names": tiny.NAMES})
    with pytest.raises(ValueError, match="task classify"):
        OnnxDetector(path, DetectConfig())


@pytest.mark.parametrize("content", [b"", b"not a network at all\n", b"\x08\x08\x12\x07pytorch" + bytes(64)])
def test_a_file_that_is_no_onnx_model_is_refused_by_name(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "garbage.onnx"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"detect\.model: .*garbage\.onnx"):
        OnnxDetector(path, DetectConfig())


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"input_size": (128, 128)}, r"detect\.input_size"),
        ({"classes": (9,)}, r"detect\.classes"),
        ({"classes": ("dog",)}, r"detect\.classes"),
    ],
)
def test_settings_that_do_not_fit_the_model_name_their_key(
    options: dict[str, object], key: str, tmp_path: Path
) -> None:
    path = tiny.save_columns(tmp_path / "model.onnx")
    with pytest.raises(ValueError, match=key):
        OnnxDetector(path, DetectConfig.model_validate(options))


def best_f1(found: list[Detections], truth: list[np.ndarray]) -> tuple[float, float]:
    """Best F1 over all score thresholds at IoU 0.5, and the recall there; greedy matching, best score first."""
    scores: list[float] = []
    hits: list[bool] = []
    for detections, boxes in zip(found, truth, strict=True):
        free = np.ones(len(boxes), bool)
        overlap = iou(detections.xyxy.astype(np.float64), boxes)
        for row in np.argsort(-detections.score, kind="stable"):
            best = int(np.where(free, overlap[row], -1.0).argmax())
            hit = bool(free[best] and overlap[row, best] >= 0.5)
            free[best] &= not hit
            scores.append(float(detections.score[row]))
            hits.append(hit)
    hit_count = np.cumsum(np.array(hits)[np.argsort(-np.array(scores), kind="stable")])
    recall = hit_count / sum(len(boxes) for boxes in truth)
    precision = hit_count / np.arange(1, len(hits) + 1)
    f1 = 2 * precision * recall / (precision + recall)
    return float(f1.max()), float(recall[f1.argmax()])


def pets_frames(step: int) -> tuple[list[Frame], list[np.ndarray]]:
    """Every step-th frame of the PETS view and its true boxes."""
    rows = np.loadtxt(SHARED / "data/pets_s2l1/gt.txt", delimiter=",")
    reader = cv2.VideoCapture(str(SHARED / "data/pets_s2l1/vtest.avi"))
    frames, truth, idx = [], [], 0
    while reader.grab():
        if idx % step == 0:
            boxes = rows[rows[:, 0] == idx + 1, 2:6]
            frames.append(Frame(0, idx, idx / 7, reader.retrieve()[1]))
            truth.append(np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1))
        idx += 1
    return frames, truth


@needs_shared("weights/yolox_nano.onnx", "data/pets_s2l1/vtest.avi", "data/pets_s2l1/gt.txt")
def test_best_f1_of_yolox_nano_equals_the_published_figure_on_pets() -> None:
    frames, truth = pets_frames(step=5)
    config = DetectConfig(model="weights/yolox_nano.onnx", min_score=0.05)
    f1, _ = best_f1(build_detector(config, ["a", "b"], SHARED).detect(frames), truth)
    assert f1 == pytest.approx(0.910, abs=0.005)
