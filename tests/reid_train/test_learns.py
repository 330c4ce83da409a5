"""The five published systems learn on real people, in sizes that a CPU trains in seconds, by the real command's way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from reid_train.config import Recipe, load_recipe
from reid_train.data.build import load_split
from reid_train.data.loading import ClipDataset, collate_train
from reid_train.data.samplers import ClipKey, epoch_batches
from reid_train.data.tracklet import ReidSplit
from reid_train.state import load_checkpoint, load_model
from reid_train.train import train
from reid_train.trainer import build_network
from tests.shared import SHARED, needs_shared

RECIPES = Path(__file__).parents[2] / "configs" / "reid_train" / "small"
PEOPLE = SHARED / "data" / "pku_reid"
COMMON = (
    "schedule={kind: cosine, per: step}", "transform.erasing=null", "training.tensorboard=false",
    "data.options={dense_step: 4}",
)  # fmt: skip
SIZES = {  # smaller still than the small recipes
    "staformer": (),
    "psta": ("transform.input_hw=[32, 16]",),
    "ste_nvan": (),
    "sticc": ("transform.input_hw=[64, 32]", "model.options.channels=64", "data.sampler.name=chunk"),
    "st_reid": ("transform.input_hw=[96, 32]", "data.options.dense_step=1"),
}
EPOCH = {
    "staformer": ("data.options.dense_step=0", "data.sampler.num_ids=4", "data.sampler.per_id=2"),
    "psta": ("data.sampler.num_ids=4", "data.sampler.per_id=2", "optimiser.lr=1e-3"),
    "ste_nvan": ("data.sampler.num_ids=2", "data.sampler.per_id=4"),
    "sticc": ("data.sampler.num_ids=2", "data.sampler.per_id=4", "optimiser.lr=3e-4"),
    "st_reid": ("data.sampler.num_ids=8", "data.sampler.per_id=4", "optimiser.lr=0.005"),
}
OVERFIT = {  # the epochs of 4 people, and their rates
    "staformer": ("training.epochs=6",),
    "psta": ("training.epochs=30", "optimiser.lr=2e-3"),
    "ste_nvan": ("training.epochs=25", "optimiser.lr=1e-3"),
    "sticc": ("training.epochs=15", "optimiser.lr=2e-3", "optimiser.lr_factors.backbone=0.1"),
    "st_reid": ("training.epochs=6",),
}
pytestmark = [pytest.mark.slow, needs_shared("data/pku_reid")]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def small(name: str, root: Path, *settings: str) -> Recipe:
    return load_recipe(RECIPES / f"{name}.yaml", [f"data.root={root}", *COMMON, *SIZES[name], *settings])


def loss_on(model: nn.Module, recipe: Recipe, split: ReidSplit, num_batches: int = 4) -> float:
    """Mean loss of a network on the same training clips, with the same dropout, whenever it is asked."""
    clips = ClipDataset(split.train, recipe.test_transform, recipe.data.clip_length, rule=recipe.data.rule)
    batches = epoch_batches([t.pid for t in split.train], recipe.data.sampler, 7, 0)[:num_batches]
    torch.manual_seed(0)
    model.train()
    losses = []
    with torch.no_grad():
        for batch in batches:
            inputs, pids, _ = collate_train([clips[ClipKey(row, 0, row)] for row in batch.tolist()])
            terms = model.loss_terms(model(inputs), pids)  # type: ignore[operator]
            losses.append(sum(term.item() for term in terms.values()))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("name", list(SIZES))
def test_an_epoch_lowers_the_loss(name: str, tmp_path: Path) -> None:
    recipe = small(name, PEOPLE, "training.epochs=1", "training.evaluate_epochs=0", *EPOCH[name])
    split = load_split(recipe.data.name, PEOPLE, **recipe.data.options)
    train(recipe, tmp_path, device="cpu")
    torch.manual_seed(recipe.training.seed)
    before = loss_on(build_network(recipe, split.num_pids), recipe, split)
    after = loss_on(load_model(tmp_path)[0], recipe, split)
    assert split.num_pids == 40
    assert after < 0.99 * before


@pytest.mark.parametrize("name", list(SIZES))
def test_four_people_are_learnt_by_heart(name: str, tmp_path: Path) -> None:
    settings = ("data.sampler.num_ids=4", "data.sampler.per_id=2", "training.evaluate_epochs=3", *OVERFIT[name])
    recipe = small(name, four_people(tmp_path / "people"), *settings)
    summary = train(recipe, tmp_path / "run", device="cpu")
    assert load_checkpoint(tmp_path / "run/last.safetensors").about["epochs_done"] == recipe.training.epochs
    rank1 = [line.split(",")[3] for line in (tmp_path / "run/scores.csv").read_text().splitlines()]
    assert (rank1[0], rank1[-1]) == ("rank1", "100.0"), "at the end of training, not only at its best"
    assert summary.best_score == 100.0


def four_people(root: Path) -> Path:
    """Camera 1 asks, camera 2 answers, and both are trained on."""
    for person in sorted(PEOPLE.iterdir())[:4]:
        for part, images in (("train", "*"), ("query", "c1_*"), ("gallery", "c2_*")):
            (root / part / person.name).mkdir(parents=True)
            for image in sorted(person.glob(images)):
                (root / part / person.name / image.name).symlink_to(image)
    return root
