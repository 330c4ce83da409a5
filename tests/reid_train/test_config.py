"""Recipes: overrides, messages, and the published recipes with their schedules by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pipeline.yaml_file import ConfigError
from reid_train.config import Recipe, changed_keys, load_recipe, parse_setting, recipe_yaml
from reid_train.models import MODELS
from reid_train.schedules import ScheduleConfig, lr_factor

RECIPES = Path(__file__).parents[2] / "configs" / "reid_train"
NAMES = ("staformer", "psta", "ste_nvan", "nvan", "ste_nvan_baseline", "sticc", "st_reid", "light")


def published(name: str) -> Recipe:
    return load_recipe(RECIPES / f"{name}.yaml")


def rates(name: str, *epochs: int, group: str = "head") -> list[float]:
    """Learning rates of a published recipe at some epochs."""
    recipe = published(name)
    lr = recipe.optimiser.lr * recipe.optimiser.lr_factors.get(group, 1.0)
    return [lr * lr_factor(recipe.schedule, epoch, recipe.training.epochs, group) for epoch in epochs]


def test_every_system_has_a_recipe_and_a_small_one() -> None:
    assert set(NAMES) == set(MODELS)
    for folder, others in ((RECIPES, ["light_pku", "simulated"]), (RECIPES / "small", [])):
        assert sorted(path.stem for path in folder.glob("*.yaml")) == sorted([*NAMES, *others])
        for name in NAMES:
            assert load_recipe(folder / f"{name}.yaml").model.name == name
    assert load_recipe(RECIPES / "light_pku.yaml").model.name == "light"


def test_staformer_has_its_published_schedule() -> None:
    assert rates("staformer", 0, 39, 40, 79, 80, 120, 160, 199) == pytest.approx(
        [3e-4, 3e-4, 3e-5, 3e-5, 3e-6, 3e-7, 3e-8, 3e-8]
    )


def test_psta_has_its_published_warm_up_and_steps() -> None:
    warming = [3.5e-4 * factor for factor in (0.01, 0.109, 0.505, 0.901)]
    assert rates("psta", 0, 1, 5, 9) == pytest.approx(warming)
    assert rates("psta", 10, 69, 70, 139, 140, 210, 310, 409, 410, 499) == pytest.approx(
        [3.5e-4, 3.5e-4, 1.05e-4, 1.05e-4, 3.15e-5, 9.45e-6, 2.835e-6, 2.835e-6, 8.505e-7, 8.505e-7]
    )


@pytest.mark.parametrize(
    ("name", "epochs", "last"), [("ste_nvan", 200, 1e-7), ("nvan", 200, 1e-7), ("ste_nvan_baseline", 300, 1e-9)]
)
def test_ste_nvan_steps_every_fifty_epochs(name: str, epochs: int, last: float) -> None:
    assert published(name).training.epochs == epochs
    assert rates(name, 0, 49, 50, 99, 100, 150) == pytest.approx([1e-4, 1e-4, 1e-5, 1e-5, 1e-6, 1e-7])
    assert rates(name, epochs - 1) == pytest.approx([last])


def test_sticc_warms_its_backbone_at_a_tenth() -> None:
    assert rates("sticc", 0, 5, 10, 39, 40, 70, 100) == pytest.approx(
        [3.5e-6, 1.7675e-4, 3.5e-4, 3.5e-4, 3.5e-5, 3.5e-6, 3.5e-7]
    )
    assert rates("sticc", 0, 5, 10, 40, group="backbone") == pytest.approx([3.5e-7, 1.7675e-5, 3.5e-4, 3.5e-5])


def test_st_reid_has_a_tenth_of_the_rate_in_its_backbone() -> None:
    assert rates("st_reid", 0, 39, 40, 59) == pytest.approx([0.1, 0.1, 0.01, 0.01])
    assert rates("st_reid", 0, 39, 40, 59, group="backbone") == pytest.approx([0.01, 0.01, 0.001, 0.001])
    optimiser = published("st_reid").optimiser
    assert (optimiser.name, optimiser.momentum, optimiser.nesterov) == ("sgd", 0.9, True)


def test_published_batches_and_decays() -> None:
    decay = {"staformer": 5e-4, "psta": 5e-4, "ste_nvan": 5e-5, "nvan": 5e-5, "ste_nvan_baseline": 1e-5, "sticc": 5e-4}
    for name in NAMES:
        recipe = published(name)
        assert recipe.data.sampler.num_ids * recipe.data.sampler.per_id == 32
        assert recipe.optimiser.weight_decay == decay.get(name, 5e-4)
        assert recipe.optimiser.decay_vectors, "all five decay biases and norms, too"


def test_cosine_by_hand() -> None:
    schedule = ScheduleConfig(kind="cosine", warmup_epochs=2, warmup_start=0.1, final_factor=0.2, per="step")
    assert lr_factor(schedule, 0, 10) == pytest.approx(0.1)
    assert lr_factor(schedule, 1, 10) == pytest.approx(0.55)
    assert lr_factor(schedule, 2, 10) == pytest.approx(1.0)
    assert lr_factor(schedule, 6, 10) == pytest.approx(0.6)
    assert lr_factor(schedule, 10, 10) == pytest.approx(0.2)
    steady = schedule.model_copy(update={"per": "epoch"})
    assert lr_factor(steady, 6.9, 10) == lr_factor(steady, 6.0, 10) == pytest.approx(0.6)


@given(st.floats(0, 50), st.sampled_from(["step", "cosine"]), st.integers(0, 10))
def test_factors_lie_between_zero_and_one(epoch: float, kind: str, warmup: int) -> None:
    milestones = (20, 40) if kind == "step" else ()
    schedule = ScheduleConfig.model_validate(
        {"kind": kind, "milestones": milestones, "warmup_epochs": warmup, "per": "step"}
    )
    assert 0 < lr_factor(schedule, epoch, 50) <= 1


def test_a_setting_overrules_the_file(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("model: {name: psta}\ndata: {name: mars, sampler: {num_ids: 2}}\n")
    recipe = load_recipe(path, ["data.sampler.num_ids=3", "training.precision=bf16", "schedule.milestones=[2, 4]"])
    assert (recipe.data.sampler.num_ids, recipe.data.sampler.per_id) == (3, 4)
    assert recipe.training.precision == "bf16"
    assert recipe.schedule.milestones == (2, 4)


@pytest.mark.parametrize(
    ("text", "setting", "said"),
    [
        ("model: {nam: psta}\ndata: {name: mars}", "", "recipe.yaml:1: model.nam: unknown key, did you mean name?"),
        (
            "model: {name: psta}\ndata: {name: mars}\ntraning: {}",
            "",
            "recipe.yaml:3: traning: unknown key, did you mean training?",
        ),
        (
            "model: {name: psta}\ndata: {name: mars}",
            "training.epoch=3",
            "--set training.epoch=3: training.epoch: unknown key, did you mean epochs?",
        ),
        (
            "model: {name: psta}\ndata: {name: mars}",
            "optimiser.lr=-1",
            "--set optimiser.lr=-1: optimiser.lr: input should be greater than 0, got -1",
        ),
        ("model: {name: psta}\ndata: {name: mars}", "epochs", "--set epochs: want key.key=value"),
        ("model: {name: psta}", "", "data: is missing"),
        ("model: {name: psta}\ndata: {name: mars}\nschedule: {milestones: [5, 3]}", "", "milestones must be ascending"),
        (
            "model: {name: psta}\ndata: {name: mars}\nschedule: {kind: cosine, milestones: [3]}",
            "",
            "belong to kind: step",
        ),
    ],
)
def test_messages_say_where_and_what_was_meant(tmp_path: Path, text: str, setting: str, said: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        load_recipe(path, [setting] if setting else [])
    assert said in str(error.value)


def test_a_recipe_survives_its_yaml(tmp_path: Path) -> None:
    for name in NAMES:
        path = tmp_path / f"{name}.yaml"
        path.write_text(recipe_yaml(published(name)))
        assert load_recipe(path) == published(name)
        assert yaml.safe_load(path.read_text())["model"]["name"] == name


def test_paths_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "recipe.yaml"
    path.write_text("model: {name: psta, pretrained: w.pth}\ndata: {name: mars, root: mars}\n")
    recipe = load_recipe(path)
    assert recipe.data.root == str(tmp_path / "mars")
    assert recipe.model.pretrained == str(tmp_path / "w.pth")
    assert load_recipe(path, ["data.root=other"]).data.root == str(tmp_path / "other")


def test_changed_keys_are_named() -> None:
    before = published("psta")
    after = load_recipe(RECIPES / "psta.yaml", ["training.epochs=3", "transform.erasing=null"])
    assert changed_keys(before, before) == []
    changed = changed_keys(before, after)
    assert "training.epochs" in changed
    assert all(key.startswith(("training.epochs", "transform.erasing")) for key in changed)


def test_test_clips_know_nothing_random() -> None:
    transform = published("sticc").test_transform
    assert (transform.flip_probability, transform.pad_px, transform.erasing) == (0.0, 0, None)
    assert (transform.interpolation, transform.input_hw) == ("bilinear", (256, 128))
    assert published("sticc").test_clip_length == 1
    assert published("psta").test_clip_length == 8


def test_a_setting_is_read_as_yaml() -> None:
    assert parse_setting("a.b=[1, 2]") == (("a", "b"), [1, 2])
    assert parse_setting("a.b=null") == (("a", "b"), None)
    with pytest.raises(ConfigError, match="not valid YAML"):
        parse_setting("a.b=[1")
