"""Training of the person detector: assignment, crops, scores, and a whole small training with its export."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from detect_train.assignment import assign_cells
from detect_train.cli import app
from detect_train.config import Recipe, load_recipe
from detect_train.crops import Canvas, cover
from detect_train.data import Crops, read_set
from detect_train.evaluate import strict, usual
from detect_train.export import run_export
from detect_train.losses import giou_loss
from detect_train.model import PersonNet, cells, corners
from detect_train.scores import Scene, fit_scores, score_detector
from detect_train.train import load_network, train
from pipeline.detect.config import DetectConfig
from pipeline.detect.onnx import OnnxDetector
from pipeline.types import Detections, Frame
from reid_train.trainer import TrainingError


@pytest.fixture
def drawn_set(tmp_path: Path) -> Path:
    """Four pictures with one white upright box each, in the layout of `simulate detections`."""
    root = tmp_path / "set"
    (root / "images").mkdir(parents=True)
    images, people = [], []
    for number in range(1, 5):
        picture = np.full((192, 256, 3), 60, np.uint8)
        left = 30 * number
        picture[40:140, left : left + 40] = 255
        cv2.imwrite(str(root / f"images/{number}.jpg"), picture)
        images.append({"id": number, "file_name": f"images/{number}.jpg", "width": 256, "height": 192})
        box = [left, 40, 40, 100]
        people.append({"id": number, "image_id": number, "category_id": 1, "bbox": box, "visibility": 1.0, "ignore": 0})
    (root / "annotations.json").write_text(json.dumps({"images": images, "annotations": people}))
    return root


def test_only_cells_inside_a_person_answer_and_ignored_regions_do_not_count() -> None:
    cell_xy, stride_px = cells(64, 64)
    centre = (cell_xy + 0.5) * stride_px[:, None]
    person, ignored = torch.tensor([[0.0, 0.0, 24.0, 48.0]]), torch.tensor([[40.0, 0.0, 64.0, 64.0]])
    guess = torch.tensor([[0.0, 0.0, 24.0, 40.0]]).expand(len(centre), 4)
    targets = assign_cells(torch.full((len(centre),), 0.5), guess, centre, stride_px, person, ignored)
    answers = targets.person == 0
    assert 0 < int(answers.sum()) <= 10
    assert float(targets.score.max()) == pytest.approx(40 / 48)
    assert not targets.counts[(centre[:, 0] > 40) & ~answers].any()
    nobody = assign_cells(torch.zeros(len(centre)), guess, centre, stride_px, person[:0], ignored[:0])
    assert not nobody.score.any() and nobody.counts.all()


def test_the_same_box_has_no_loss_and_one_far_away_the_most() -> None:
    box = torch.tensor([[0.0, 0.0, 10.0, 20.0]])
    assert float(giou_loss(box, box)) == pytest.approx(0, abs=1e-5)
    assert float(giou_loss(box, box + 1000)) > 1.9


def test_a_sample_is_the_same_whenever_it_is_made_and_its_boxes_lie_on_the_people(drawn_set: Path) -> None:
    config = Recipe().data.model_copy(update={"root": drawn_set, "look": 0.0, "clutter": 0.0})
    crops = Crops(read_set(drawn_set), config, num_samples=40, batch_size=4, seed=3)
    found = 0
    for index in range(40):
        image, people = crops[index]
        again, _ = crops[index]
        assert torch.equal(image, again)
        for left, top, right, bottom in people.xyxy.round().astype(int):
            found += 1
            assert float(image[:, top + 1 : bottom - 1, left + 1 : right - 1].float().mean()) > 200
    assert found > 20


def test_people_painted_over_need_not_be_found() -> None:
    boxes = np.array([[0, 0, 10, 20], [30, 0, 40, 20]], np.float32)
    canvas = Canvas(np.zeros((32, 64, 3), np.uint8), boxes, np.zeros((0, 4), np.float32))
    mask = np.zeros((32, 64), bool)
    mask[:, :12] = True
    after = cover(canvas, (canvas.image, mask), 0.7)
    assert after.xyxy.tolist() == boxes[1:].tolist() and after.ignored_xyxy.tolist() == boxes[:1].tolist()


def test_average_precision_by_hand() -> None:
    frame = Frame(0, 0, 0.0, np.zeros((8, 8, 3), np.uint8))
    true = np.array([[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]], float)
    scenes = [Scene(frame, true, np.array([False, False, True]))]
    boxes = np.array([[0, 0, 10, 10], [60, 0, 70, 10], [20, 0, 30, 10], [40, 0, 50, 10]], np.float32)
    score = score_detector(scenes, [Detections(boxes, np.array([0.9, 0.8, 0.7, 0.6], np.float32))])
    assert score.ap == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert score.recall_between(0, 100) == (1.0, 2)
    assert score_detector(scenes, [Detections.empty()]).ap == 0


def test_in_the_usual_reading_people_seen_to_less_than_a_quarter_are_neither_right_nor_wrong(drawn_set: Path) -> None:
    path = drawn_set / "annotations.json"
    coco = json.loads(path.read_text())
    coco["annotations"][0]["visibility"], coco["annotations"][1]["visibility"] = 0.2, 0.3
    path.write_text(json.dumps(coco))
    pictures = read_set(drawn_set)
    scenes = strict(pictures)
    assert [bool(scene.ignore[0]) for scene in scenes] == [False] * 4
    assert [bool(scene.ignore[0]) for scene in usual(scenes, pictures)] == [True, False, False, False]
    found = [Detections(scene.xyxy.astype(np.float32), np.ones(1, np.float32)) for scene in scenes]
    found[0] = Detections.empty()
    assert score_detector(scenes, found).ap == pytest.approx(0.75)
    assert score_detector(usual(scenes, pictures), found).ap == 1


def test_a_training_that_goes_astray_ends_with_one_line(drawn_set: Path, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(
        f"data: {{root: [{drawn_set}, {drawn_set}], sizes: [[64, 64]]}}\n"
        "model: {channels: 8, tower: 1, pretrained: false}\n"
        "training: {steps: 9, batch_size: 2, lr: 1.0e30, warmup_steps: 0, bf16: false}\n"
    )
    result = CliRunner().invoke(app, ["train", str(path), "--output", str(tmp_path / "run")])
    assert result.exit_code == 1 and isinstance(result.exception, SystemExit)
    assert "error: step" in result.stderr and "try a lower training.lr" in result.stderr


def test_fitted_scores_are_the_share_of_right_boxes() -> None:
    frame = Frame(0, 0, 0.0, np.zeros((8, 8, 3), np.uint8))
    true = np.array([[0, 0, 10, 10]], float)
    scenes = [Scene(frame, true, np.array([False]))] * 10
    right, wrong = np.array([[0, 0, 10, 10]], np.float32), np.array([[50, 50, 60, 60]], np.float32)
    found = [Detections(right if i < 8 else wrong, np.array([0.6], np.float32)) for i in range(10)]
    found += [Detections(right if i < 1 else wrong, np.array([0.4], np.float32)) for i in range(10)]
    slope, offset = fit_scores(scenes * 2, found)
    logit = np.log(0.6 / 0.4)
    assert 1 / (1 + np.exp(-(slope * logit + offset))) == pytest.approx(0.8, abs=0.01)
    assert 1 / (1 + np.exp(slope * logit - offset)) == pytest.approx(0.1, abs=0.01)


def test_a_small_training_stops_goes_on_and_exports_what_the_pipeline_reads(drawn_set: Path, tmp_path: Path) -> None:
    recipe = Recipe.model_validate(
        {
            "data": {"root": drawn_set, "sizes": [[64, 64]]},
            "model": {"channels": 8, "tower": 1, "pretrained": False},
            "training": {"steps": 4, "batch_size": 2, "save_every": 2, "bf16": False},
        }
    )
    run = tmp_path / "run"
    assert train(recipe, run, should_stop=lambda: True) == 1
    assert train(recipe, run, resume=True) == 4
    report = run_export(run, tmp_path / "person.onnx", input_hw=(96, 64), score_fit=(2.0, 0.5))
    manifest = json.loads(report.manifest.read_text())
    assert manifest["input_size"] == [96, 64] and len(manifest["sha256"]) == 64
    detector = OnnxDetector(report.model, DetectConfig(min_score=0.0001), 1)
    assert detector.head.kind == "grid" and detector.head.letterbox == "yolox" and detector.input_hw == (96, 64)


def test_a_second_stage_starts_from_the_first_ones_network_and_refuses_another_shape(
    drawn_set: Path, tmp_path: Path
) -> None:
    plan = {
        "data": {"root": drawn_set, "sizes": [[64, 64]]},
        "model": {"channels": 8, "tower": 1, "pretrained": False},
        "training": {"steps": 1, "batch_size": 2, "bf16": False},
    }
    train(Recipe.model_validate(plan), tmp_path / "first")
    still = Recipe.model_validate(plan | {"training": {**plan["training"], "lr": 1e-9, "backbone_lr": 0.0, "seed": 5}})
    train(still, tmp_path / "second", start_from=tmp_path / "first")
    (first, _, _), (second, _, step) = load_network(tmp_path / "first"), load_network(tmp_path / "second")
    assert step == 1
    for name, weight in first.named_parameters():
        assert torch.allclose(weight, dict(second.named_parameters())[name], atol=1e-6), name
    other = Recipe.model_validate(plan | {"model": {**plan["model"], "channels": 16}})
    with pytest.raises(TrainingError, match="first is a run of another network than the recipe's `model`"):
        train(other, tmp_path / "third", start_from=tmp_path / "first")
    with pytest.raises(FileNotFoundError, match=r"no run to start from in .*nowhere"):
        train(still, tmp_path / "third", start_from=tmp_path / "nowhere")


def test_the_folded_backbone_computes_what_the_plain_one_does() -> None:
    torch.manual_seed(0)
    net = PersonNet(8, 1, pretrained=False).eval()
    images = torch.rand(1, 3, 64, 96) * 255
    plain = net.backbone.block_maps((images / 127.5 - 1 - net.backbone._shift) / net.backbone._scale)  # type: ignore[operator]
    with torch.no_grad():
        for have, tap in zip(net.features(images), (4, 10, 11), strict=True):
            assert torch.allclose(have, plain[tap], rtol=1e-3, atol=1e-3 * float(plain[tap].abs().max()))
        raw = net(images)
    assert raw.shape == (1, 8 * 12 + 4 * 6 + 2 * 3, 5)
    xyxy = corners(raw[..., :4], *cells(64, 96))
    assert bool((xyxy[..., 2:] > xyxy[..., :2]).all())


def test_the_recipe_in_the_project_is_valid_and_names_a_wrong_key(tmp_path: Path) -> None:
    folder = Path(__file__).parents[2] / "configs/detect_train"
    path = folder / "person.yaml"
    assert load_recipe(path, ["training.steps=7"]).training.steps == 7
    assert load_recipe(folder / "person_second.yaml").model == load_recipe(path).model
    with pytest.raises(ValueError, match="did you mean steps"):
        load_recipe(path, ["training.stepz=7"])
