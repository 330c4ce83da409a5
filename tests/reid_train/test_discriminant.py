"""The linear map in closed form: by hand, against its definition, and through the loop."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.yaml_file import ConfigError
from reid_train.discriminant import CLASSIFIER_NORM, fit_discriminant
from reid_train.models.light import Light
from reid_train.state import load_checkpoint, load_model
from reid_train.train import train
from tests.reid_train.test_views import light_recipe
from tests.reid_train.tiny import write_people

_SIZE = 2 * 16  # stripes x channels of block 0


def _light(num_pids: int, dim: int = 4, hidden: int = 0) -> Light:
    torch.manual_seed(0)
    return Light(num_pids, dim=dim, hidden=hidden, taps=(0,), stripes=2, pretrained=False, freeze_backbone=True,
                 input_hw=(32, 16))  # fmt: skip


def _people(rng: np.random.Generator, num_people: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """(images, views, F): the first three features say who it is, the fourth is loud and says nothing."""
    pids = np.repeat(np.arange(num_people), 5)
    values = rng.normal(0, 0.3, (len(pids), 2, _SIZE))
    values[..., :3] += rng.normal(0, 1, (num_people, 3))[pids][:, None]
    values[..., 3] = rng.normal(0, 30, values.shape[:2])
    return (values + 7).astype(np.float16), pids


def _vectors(model: Light, features: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return model.eval().embed(torch.from_numpy(features.astype(np.float32))).numpy()


def test_what_says_who_it_is_counts_and_what_is_loud_does_not() -> None:
    features, pids = _people(np.random.default_rng(0))
    model = _light(40)
    fit_discriminant(model, features, pids, 0.05)
    weight = np.abs(model.perceptron.weight.detach().numpy())  # of features of variance 1
    assert weight[:, :3].max() > 10 * weight[:, 3].max()
    new, who = _people(np.random.default_rng(0))
    vectors = _vectors(model, new[:, :1])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    cosine = vectors @ vectors.T
    same = who[:, None] == who
    assert cosine[same].mean() > 0.8 and abs(cosine[~same].mean()) < 0.1


def test_within_people_the_variance_is_what_the_directions_are_worth() -> None:
    features, pids = _people(np.random.default_rng(1), num_people=200)
    model = _light(200)
    fit_discriminant(model, features, pids, 1e-6)
    vectors = np.stack([_vectors(model, features[:, view : view + 1]) for view in (0, 1)], axis=1)
    centres = np.stack([vectors[pids == p].mean(axis=(0, 1)) for p in range(200)])
    apart = vectors - centres[pids][:, None]
    within = np.square(apart).sum(axis=(0, 1)) / (pids.size * 2 - 200)
    between = centres.var(axis=0, ddof=0) - within / 10
    ratio = np.maximum(between / within, 1e-3)
    np.testing.assert_allclose(within[-3:], (ratio / (1 + ratio))[-3:], rtol=0.02)
    turned = apart.reshape(-1, 4)
    covariance = turned.T @ turned / (pids.size * 2 - 200)
    assert np.abs(covariance - np.diag(np.diag(covariance))).max() < 0.01


def test_independent_features_are_weighed_by_hand() -> None:
    """Person p and view v: every feature is a sign of the person times b, plus a sign of the view; no two alike."""
    signs = np.array(
        [[1.0 if bin(row & column).count("1") % 2 else -1.0 for column in range(1, 65)] for row in range(64)]
    )
    strength = np.linspace(1, 4, _SIZE)
    features = (signs[:, None, :_SIZE] * strength + np.array([1.0, -1.0])[None, :, None] * signs[:, None, _SIZE:]) + 3
    for power in (0.0, 0.4, 1.0):
        model = _light(64)
        model.weights = torch.tensor([3.0] * 16 + [1.0] * 16)
        fit_discriminant(model, features.astype(np.float16), np.arange(64), 0.5, power)
        # of variance 1 in all: between b^2 / (b^2 + 1), of which a mean of two views is 1 / 64 of the freedom short
        total = np.square(strength) + 1
        within, mean = 2 / total, np.square(strength) / total  # one degree of freedom of two
        shrunk = within + 0.5 / np.array([9.0] * 16 + [1.0] * 16)
        ratio = (mean - within / 2) / shrunk
        size = np.sqrt(1 / shrunk) * (ratio / (1 + ratio)) ** power
        best = np.sort(np.argsort(ratio)[-4:])
        weight = np.abs(model.perceptron.weight.detach().numpy())
        np.testing.assert_allclose(weight.sum(axis=0)[best], size[best], rtol=0.02)
        assert np.delete(weight, best, axis=1).max() < 0.02


def test_the_classifier_stands_at_the_means_of_people() -> None:
    features, pids = _people(np.random.default_rng(2), num_people=8)
    model = _light(8)
    fit_discriminant(model, features, pids, 0.1)
    rows = model.classifier.weight.detach().numpy()
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), CLASSIFIER_NORM, rtol=1e-4)
    with torch.no_grad():
        logits = model.eval()(torch.from_numpy(features[:, :1].astype(np.float32)))["logits"]
    assert float((logits.argmax(dim=1).numpy() == pids).mean()) > 0.8


def test_more_numbers_than_features_or_another_network_are_refused() -> None:
    features, pids = _people(np.random.default_rng(3))
    with pytest.raises(ConfigError, match=r"dim: 64, but there are only 32"):
        fit_discriminant(_light(40, dim=64), features, pids, 0.1)
    with pytest.raises(ConfigError, match=r"hidden: 0"):
        fit_discriminant(_light(40, hidden=8), features, pids, 0.1)
    with pytest.raises(ConfigError, match="two people"):
        fit_discriminant(_light(1), features, np.zeros_like(pids), 0.1)


def test_a_run_without_epochs_is_the_discriminant_and_one_with_goes_on_from_it(tmp_path: Path) -> None:
    people = write_people(tmp_path / "people", num_people=8, num_images=6)
    done = train(light_recipe(people, epochs=0, discriminant=0.1), tmp_path / "closed", device="cpu")
    assert (done.epochs_done, done.steps) == (0, 0)
    model, about = load_model(tmp_path / "closed")
    assert about["step"] == 0 and isinstance(model, Light)
    recipe = light_recipe(people, epochs=1, discriminant=0.1)
    slow = recipe.model_copy(update={"optimiser": recipe.optimiser.model_copy(update={"lr": 1e-9})})
    train(slow, tmp_path / "on", device="cpu")
    one, other = (load_checkpoint(tmp_path / name / "last.safetensors").model for name in ("closed", "on"))
    torch.testing.assert_close(one["perceptron.weight"], other["perceptron.weight"], rtol=1e-4, atol=1e-5)


def test_kept_statistics_stay_while_the_head_learns() -> None:
    model = Light(4, dim=4, hidden=0, taps=(0,), stripes=2, pretrained=False, keep_statistics=True, input_hw=(32, 16))
    before = model.standardise.running_mean.clone()
    model.train()(torch.rand(4, 1, 3, 32, 16))
    assert torch.equal(model.standardise.running_mean, before) and model.backbone.training


def test_without_views_there_is_nothing_to_fit(tmp_path: Path) -> None:
    people = write_people(tmp_path / "people")
    with pytest.raises(ConfigError, match=r"say data\.views"):
        train(light_recipe(people, views=0, epochs=0, discriminant=0.1), tmp_path / "run", device="cpu")
