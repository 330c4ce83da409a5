"""Checkpoints: whole or not there, what does not fit is named, and nothing is pickled."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import reid_train.state as state
from reid_train.models import MODELS
from reid_train.state import (
    Checkpoint,
    CheckpointError,
    about_network,
    find_checkpoint,
    load_checkpoint,
    load_model,
    load_weights,
    pack_optimiser,
    pack_rng,
    save_checkpoint,
    unpack_optimiser,
    unpack_rng,
)
from tests.reid_train.tiny import Tiny


def some(value: float = 1.0) -> Checkpoint:
    return Checkpoint({"w": torch.full((2, 3), value)}, {"step": 7}, {"rng/0": torch.arange(5, dtype=torch.uint8)})


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "last.safetensors"
    save_checkpoint(path, some())
    back = load_checkpoint(path)
    assert torch.equal(back.model["w"], some().model["w"])
    assert torch.equal(back.training["rng/0"], some().training["rng/0"])
    assert back.about == {"step": 7} == json.loads((tmp_path / "last.json").read_text())
    assert load_checkpoint(path, training=False).training == {}


def test_any_safetensors_reader_finds_the_weights_under_their_names(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "best.safetensors", some())
    assert "w" in load_file(tmp_path / "best.safetensors")


def test_tensors_that_share_memory_are_stored(tmp_path: Path) -> None:
    whole = torch.arange(6.0).view(2, 3)
    save_checkpoint(tmp_path / "a.safetensors", Checkpoint({"a": whole, "b": whole, "c": whole[0], "d": whole.T}, {}))
    back = load_checkpoint(tmp_path / "a.safetensors").model
    assert torch.equal(back["a"], whole)
    assert torch.equal(back["b"], whole)
    assert torch.equal(back["c"], whole[0])
    assert torch.equal(back["d"], whole.T)


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "last.safetensors"
    save_checkpoint(path, some(1.0))

    def half(tensors: object, file: Path, metadata: object) -> None:
        file.write_bytes(b"half of it")
        raise OSError("the disk is full")

    monkeypatch.setattr(state, "save_file", half)
    with pytest.raises(OSError, match="full"):
        save_checkpoint(path, some(2.0))
    assert load_checkpoint(path).model["w"][0, 0] == 1.0


def test_files_that_are_no_checkpoints_are_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"none.safetensors: no such file"):
        load_checkpoint(tmp_path / "none.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(b"\x10\x00\x00")
    with pytest.raises(CheckpointError, match=r"cut.safetensors: not a whole safetensors file"):
        load_checkpoint(tmp_path / "cut.safetensors")
    save_file({"w": torch.zeros(1)}, tmp_path / "bare.safetensors")
    with pytest.raises(CheckpointError, match=r"bare.safetensors: no description .* convert"):
        load_checkpoint(tmp_path / "bare.safetensors")
    with pytest.raises(CheckpointError, match="train one first"):
        find_checkpoint(tmp_path)


def test_weights_that_do_not_fit_are_named() -> None:
    model = nn.Linear(2, 3)
    with pytest.raises(CheckpointError) as error:
        load_weights(model, {"weight": torch.zeros(3, 4), "extra": torch.zeros(1)}, Path("w.safetensors"))
    for part in ("w.safetensors", "missing bias", "unexpected extra", "weight is (3, 4), the network has (3, 2)"):
        assert part in str(error.value)


def test_a_run_gives_its_best_network_else_its_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS, "tiny", Tiny)
    model = Tiny(5, dropout=0.1)
    about = about_network("tiny", 5, {"dropout": 0.1}) | {"epochs_done": 4}
    save_checkpoint(tmp_path / "last.safetensors", Checkpoint(model.state_dict(), about))
    assert find_checkpoint(tmp_path).name == "last.safetensors"
    save_checkpoint(tmp_path / "best.safetensors", Checkpoint(model.state_dict(), about | {"epochs_done": 3}))
    loaded, told = load_model(tmp_path)
    assert told["epochs_done"] == 3
    assert not loaded.training
    clips = torch.randn(2, 2, 3, 16, 8)
    assert torch.equal(loaded.embed(clips), model.eval().embed(clips))  # type: ignore[operator]


@pytest.mark.parametrize("kind", ["adam", "sgd"])
def test_the_optimiser_goes_on_as_if_nothing_had_been(kind: str) -> None:
    def made() -> tuple[nn.Linear, torch.optim.Optimizer, dict[torch.Tensor, str]]:
        torch.manual_seed(0)
        model = nn.Linear(3, 2)
        names: dict[torch.Tensor, str] = {p: n for n, p in model.named_parameters()}
        adam = torch.optim.Adam(model.parameters(), lr=0.1)
        sgd = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        return model, adam if kind == "adam" else sgd, names

    def steps(model: nn.Linear, optimiser: torch.optim.Optimizer, count: int) -> None:
        for _ in range(count):
            optimiser.zero_grad()
            model(torch.ones(1, 3)).square().sum().backward()
            optimiser.step()

    straight, optimiser, _ = made()
    steps(straight, optimiser, 5)
    first, optimiser, names = made()
    steps(first, optimiser, 2)
    packed, weights = pack_optimiser(optimiser, names), first.state_dict()
    second, optimiser, names = made()
    second.load_state_dict(weights)
    unpack_optimiser(optimiser, names, packed)
    steps(second, optimiser, 3)
    assert torch.equal(second.weight, straight.weight)
    with pytest.raises(CheckpointError, match="not trained now: gone"):
        unpack_optimiser(optimiser, names, {"optimiser/gone/step": torch.zeros(())})


def test_random_numbers_go_on_where_they_were() -> None:
    cpu = torch.device("cpu")
    torch.manual_seed(3)
    torch.rand(2)
    packed = pack_rng(cpu)
    expected = torch.rand(4)
    torch.manual_seed(4)
    unpack_rng(packed, cpu)
    assert torch.equal(torch.rand(4), expected)
