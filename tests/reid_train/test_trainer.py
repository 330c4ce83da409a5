"""One step of training, by hand: what is skipped, accumulated, clipped, averaged, and how groups get their rates."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from pipeline.yaml_file import ConfigError
from reid_train.config import OptimiserConfig, Recipe
from reid_train.data.build import load_split
from reid_train.distributed import World
from reid_train.models import MODELS
from reid_train.optimiser import MovingAverage, build_optimiser, set_rates
from reid_train.schedules import ScheduleConfig
from reid_train.trainer import Trainer, TrainingError
from tests.reid_train.tiny import Tiny, tiny_recipe, write_people

CPU = World(0, 1, torch.device("cpu"))


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_people(tmp_path_factory.mktemp("data") / "people")


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(MODELS, "tiny", Tiny)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def trainer_of(recipe: Recipe) -> Trainer:
    return Trainer(recipe, load_split(recipe.data.name, Path(str(recipe.data.root)), **recipe.data.options), CPU)


def batch(*pids: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    clips = torch.randn(len(pids), 2, 3, 16, 8, generator=torch.Generator().manual_seed(seed))
    return clips, torch.tensor(pids), torch.zeros(len(pids), dtype=torch.int64)


def test_a_gradient_that_is_not_finite_leaves_the_weights_alone(people: Path) -> None:
    trainer = trainer_of(tiny_recipe(people))
    before = {key: value.clone() for key, value in trainer.model.state_dict().items() if "weight" in key}
    clips, pids, camids = batch(0, 1)
    with pytest.raises(TrainingError, match=r"step 1 \(epoch 1\)"):
        trainer.step([(clips * math.inf, pids, camids)], 0.0)
    assert all(torch.equal(trainer.model.state_dict()[key], value) for key, value in before.items())


def test_a_recipe_that_does_not_fit_its_network_is_refused(people: Path) -> None:
    with pytest.raises(ConfigError, match=r"transform.input_hw: \[32, 16\], but tiny was built for \[16, 8\]"):
        options = {"input_hw": [16, 8]}
        trainer_of(tiny_recipe(people, transform={"input_hw": (32, 16)}, model={"options": options}))
    with pytest.raises(ConfigError, match=r"optimiser.lr_factors.backbon: .* did you mean backbone"):
        trainer_of(tiny_recipe(people, optimiser={"lr_factors": {"backbon": 0.1}}))
    with pytest.raises(ValueError, match="unknown model tinny, did you mean tiny"):
        trainer_of(tiny_recipe(people, model={"name": "tinny"}))


def test_a_batch_of_one_person_is_skipped_where_the_recipe_says_so(people: Path) -> None:
    trainer = trainer_of(tiny_recipe(people, training={"skip_single_id": True}))
    before = trainer.model.state_dict()["classifier.weight"].clone()
    assert trainer.step([batch(1, 1, 1)], 0.0) is None
    assert torch.equal(trainer.model.state_dict()["classifier.weight"], before)
    assert trainer.step([batch(1, 1, 0)], 0.0) is not None
    assert trainer_of(tiny_recipe(people)).step([batch(1, 1, 1)], 0.0) is not None


def test_accumulated_gradients_are_those_of_the_mean_loss(people: Path) -> None:
    def step(training: dict[str, Any], *batches: Any) -> tuple[Trainer, dict[str, float]]:
        options = {"dropout": 0.0, "use_norm": False}
        recipe = tiny_recipe(people, model={"options": options}, training=training)
        trainer = trainer_of(recipe)
        values = trainer.step(batches, 0.0)
        assert values is not None
        return trainer, values

    both, values = step({}, batch(0, 1, seed=1), batch(1, 2, seed=2))
    one, first = step({}, batch(0, 1, seed=1))
    other, second = step({}, batch(1, 2, seed=2))
    assert values["loss"] == pytest.approx((first["loss"] + second["loss"]) / 2)
    for a, b, c in zip(both.model.parameters(), one.model.parameters(), other.model.parameters(), strict=True):
        if a.grad is not None:
            assert b.grad is not None and c.grad is not None
            torch.testing.assert_close(a.grad, (b.grad + c.grad) / 2)
    _, same = step({"skip_single_id": True}, batch(0, 1, seed=1), batch(2, 2, seed=3))
    assert same["loss"] == pytest.approx(first["loss"]), "a skipped batch does not thin the others"


def test_a_gradient_is_clipped_to_its_largest_norm(people: Path) -> None:
    sgd = {"name": "sgd", "lr": 1.0, "momentum": 0.0, "weight_decay": 0.0}
    trainer = trainer_of(tiny_recipe(people, optimiser=sgd, training={"clip_norm": 0.01}))
    before = [p.detach().clone() for p in trainer.model.parameters()]
    values = trainer.step([batch(0, 1, 2)], 0.0)
    moved = math.sqrt(
        sum((p.detach() - b).square().sum().item() for p, b in zip(trainer.model.parameters(), before, strict=True))
    )
    assert values is not None
    assert values["grad_norm"] > 0.1, "the log tells the norm before clipping"
    assert moved == pytest.approx(0.01, rel=1e-3)


def test_half_precision_and_channels_last_train_about_alike(people: Path) -> None:
    first = {}
    for name, training in {
        "plain": {},
        "last": {"channels_last": True},
        "bf16": {"precision": "bf16", "channels_last": True},
    }.items():
        trainer = trainer_of(tiny_recipe(people, model={"options": {"dropout": 0.0}}, training=training))
        values = trainer.step([batch(0, 1, 2)], 0.0)
        assert values is not None
        first[name] = values["loss"]
        weight = dict(trainer.model.named_parameters())["backbone.0.weight"]
        assert weight.is_contiguous(memory_format=torch.channels_last) is (name != "plain")
        assert weight.dtype == torch.float32
    assert first["last"] == pytest.approx(first["plain"], rel=1e-5)
    assert first["bf16"] == pytest.approx(first["plain"], rel=0.05)


def test_a_compiled_network_trains_alike_under_the_same_names(people: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = nn.Module.compile
    calls: list[nn.Module] = []

    def eager(self: nn.Module, *args: Any, **kwargs: Any) -> None:
        calls.append(self)
        compiled(self, *args, **kwargs, backend="eager")

    monkeypatch.setattr(nn.Module, "compile", eager)
    model = {"options": {"dropout": 0.0}}
    plain = trainer_of(tiny_recipe(people, model=model))
    swift = trainer_of(tiny_recipe(people, model=model, training={"compile": True}))
    assert calls == [swift.model]
    assert swift.model.state_dict().keys() == plain.model.state_dict().keys()
    one, other = plain.step([batch(0, 1, 2)], 0.0), swift.step([batch(0, 1, 2)], 0.0)
    assert one is not None and other is not None
    assert other["loss"] == pytest.approx(one["loss"], rel=1e-5)


def test_groups_have_their_rates_and_decays() -> None:
    model = Tiny(4)
    config = OptimiserConfig(lr=0.1, lr_factors={"backbone": 0.01}, bias_lr_factor=2.0, decay_vectors=False)
    schedule = ScheduleConfig(warmup_epochs=10, warmup_start=0.5, warming_factors={"head": 0.1})
    optimiser = build_optimiser(model.param_groups(), config, schedule, torch.device("cpu"))
    set_rates(optimiser, schedule, 0, 20)
    rates = {(g["name"], g["params"][0].dim() > 1): (g["lr"], g["weight_decay"]) for g in optimiser.param_groups}
    assert rates == {
        ("backbone", True): (pytest.approx(0.0005), 5e-4),
        ("backbone", False): (pytest.approx(0.001), 0.0),
        ("head", True): (pytest.approx(0.005), 5e-4),
        ("head", False): (pytest.approx(0.01), 0.0),
    }
    set_rates(optimiser, schedule, 10, 20)
    assert optimiser.param_groups[0]["lr"] == pytest.approx(0.001)
    assert sum(len(g["params"]) for g in optimiser.param_groups) == len(list(model.parameters()))


def test_the_moving_average_by_hand() -> None:
    model = nn.Linear(1, 1, bias=False)
    model.weight.data.fill_(0.0)
    average = MovingAverage(model, 0.5)
    model.weight.data.fill_(1.0)
    average.update(model)  # decay 1/10: 0.9
    average.update(model)  # decay 2/11: 1 - 0.1 * 2/11
    assert average.average["weight"].item() == pytest.approx(1 - 0.1 * 2 / 11)
    with average.applied(model):
        assert model.weight.item() == pytest.approx(1 - 0.1 * 2 / 11)
    assert model.weight.item() == 1.0


def test_a_backbone_begins_with_local_weights(people: Path, tmp_path: Path) -> None:
    weights = {key: torch.full_like(value, 2) for key, value in Tiny(3).backbone.state_dict().items()}
    save_file(weights, tmp_path / "w.safetensors")
    model = {"pretrained": str(tmp_path / "w.safetensors")}
    trainer = trainer_of(tiny_recipe(people, model=model))
    assert trainer.model.state_dict()["backbone.0.weight"].eq(2).all()
