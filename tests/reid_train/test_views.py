"""Features of a frozen backbone kept for training, and runs that begin with the weights of another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.yaml_file import ConfigError
from reid_train.config import Recipe
from reid_train.data.build import load_split
from reid_train.data.config import DistortionConfig
from reid_train.data.samplers import ClipKey
from reid_train.data.tracklet import ReidSplit
from reid_train.distributed import World
from reid_train.models.light import Light
from reid_train.state import CheckpointError, load_checkpoint
from reid_train.train import train
from reid_train.trainer import Trainer
from reid_train.views import ViewClips, frozen_views
from tests.reid_train.tiny import tiny_recipe, write_people

LIGHT = {"dim": 8, "hidden": 0, "taps": [0, 2], "stripes": 2, "pretrained": False, "freeze_backbone": True}
CPU = World(0, 1, torch.device("cpu"))


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_people(tmp_path_factory.mktemp("data") / "people")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def light_recipe(people: Path, *, views: int = 2, flip: float = 0.5, **training: Any) -> Recipe:
    sampler = {"name": "identity", "num_ids": 3, "per_id": 2}
    return tiny_recipe(
        people,
        model={"name": "light", "options": LIGHT},
        data={"views": views, "clip_length": 1, "sampler": sampler, "options": {"num_folds": 2, "dense_step": 1}},
        transform={"input_hw": (32, 16), "flip_probability": flip, "erasing": None},
        training=training,
    )


def split_of(recipe: Recipe) -> ReidSplit:
    return load_split(recipe.data.name, Path(str(recipe.data.root)), **recipe.data.options)


def test_without_changes_a_view_is_what_the_backbone_sees(people: Path) -> None:
    recipe = light_recipe(people, views=1, flip=0.0)
    split = split_of(recipe)
    model = Trainer(recipe, split, CPU).model.train()
    assert isinstance(model, Light)
    features = frozen_views(model, split, recipe)
    assert features.shape == (sum(len(t) for t in split.train), 1, model.standardise.num_features)
    assert model.training
    clips = ViewClips(split, recipe, features)
    clip, pid, camid = clips[ClipKey(3, 0, 0)]
    assert (pid, camid) == (split.train[3].pid, split.train[3].camid)
    images = Trainer(light_recipe(people, views=0, flip=0.0), split, CPU)
    from reid_train.data.images import read_image
    from reid_train.data.transforms import transform_clip

    pixels = transform_clip(read_image(split.train[3].paths[0], (32, 16))[None], recipe.transform)
    with torch.no_grad():
        torch.testing.assert_close(clip, images.model.eval().stripe_features(pixels), rtol=2e-3, atol=1e-3)  # type: ignore[operator]
        model.eval()
        torch.testing.assert_close(model.embed(clip[None]), model.embed(pixels[None]), rtol=1e-2, atol=1e-2)


def test_views_differ_and_repeat(people: Path) -> None:
    recipe = light_recipe(people, views=3)
    split = split_of(recipe)
    model = Trainer(recipe, split, CPU).model
    told: list[tuple[int, int]] = []
    features = frozen_views(model, split, recipe, show=lambda *now: told.append(now))
    assert told[-1] == (len(features), len(features))
    assert len({view.tobytes() for view in features[0]}) > 1 or len({view.tobytes() for view in features[1]}) > 1
    np.testing.assert_array_equal(frozen_views(model, split, recipe), features)


def test_every_second_view_may_be_distorted_otherwise(people: Path) -> None:
    recipe = light_recipe(people, views=4, flip=0.0)
    noisy = DistortionConfig(box_probability=1, light_probability=1)
    other = recipe.model_copy(update={"data": recipe.data.model_copy(update={"views_distortion": noisy})})
    split = split_of(recipe)
    model = Trainer(recipe, split, CPU).model
    plain, mixed = (frozen_views(model, split, r) for r in (recipe, other))
    np.testing.assert_array_equal(mixed[:, ::2], plain[:, ::2])
    assert (np.abs(mixed[:, 1::2].astype(np.float32) - plain[:, 1::2]).max(axis=2) > 0).all()


def test_a_head_learns_from_views_and_goes_on_to_the_last_digit(people: Path, tmp_path: Path) -> None:
    recipe = light_recipe(people, epochs=6)
    whole = train(recipe, tmp_path / "whole", device="cpu")
    assert whole.loss < 0.9 * float((tmp_path / "whole" / "log.csv").read_text().splitlines()[1].split(",")[2])
    train(light_recipe(people, epochs=6), tmp_path / "cut", device="cpu", should_stop=_after(3))
    train(recipe, tmp_path / "cut", resume=True, device="cpu")
    one, other = (load_checkpoint(tmp_path / name / "last.safetensors").model for name in ("whole", "cut"))
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_a_backbone_that_learns_takes_no_views(people: Path) -> None:
    recipe = light_recipe(people)
    free = recipe.model_copy(update={"model": recipe.model.model_copy(
        update={"options": LIGHT | {"freeze_backbone": False}})})  # fmt: skip
    with pytest.raises(ConfigError, match=r"data\.views.*freeze_backbone"):
        train(free, people.parent / "refused", device="cpu")


def test_a_run_begins_with_the_weights_of_another(people: Path, tmp_path: Path) -> None:
    train(light_recipe(people, epochs=1), tmp_path / "head", device="cpu")
    head = load_checkpoint(tmp_path / "head" / "last.safetensors").model
    recipe = light_recipe(people, views=0, begin_with=str(tmp_path / "head"))
    begun = Trainer(recipe, split_of(recipe), CPU).model.state_dict()
    assert all(torch.equal(begun[key], head[key]) for key in head)


def test_other_people_have_a_classifier_of_their_own(people: Path, tmp_path: Path) -> None:
    train(light_recipe(people, epochs=1), tmp_path / "head", device="cpu")
    head = load_checkpoint(tmp_path / "head" / "last.safetensors").model
    more = write_people(tmp_path / "more", num_people=8)
    recipe = light_recipe(more, begin_with=str(tmp_path / "head" / "last.safetensors"))
    begun = Trainer(recipe, split_of(recipe), CPU).model.state_dict()
    assert torch.equal(begun["perceptron.weight"], head["perceptron.weight"])
    assert begun["classifier.weight"].shape[0] != head["classifier.weight"].shape[0]
    wider = recipe.model_copy(update={"model": recipe.model.model_copy(update={"options": LIGHT | {"dim": 16}})})
    with pytest.raises(CheckpointError, match=r"perceptron\.weight is \(8"):
        Trainer(wider, split_of(wider), CPU)


def _after(num_calls: int) -> Any:
    calls = iter(range(1000))
    return lambda: next(calls) >= num_calls
