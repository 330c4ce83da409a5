from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from reid_train.checkpoints import OFFICIAL_KEYS, convert_official, count_pids, read_official
from reid_train.models import build_model
from tests.reid_train.reference import needs_reference, official_shapes

NUM_PIDS = {"st_reid": 751}
UNREAD = {"staformer": 1, "st_reid": 2}  # entries that nothing reads: a cls token; the classifier of ImageNet
with_reference = pytest.mark.parametrize("name", [pytest.param(n, marks=needs_reference(n)) for n in OFFICIAL_KEYS])


def official(name: str) -> dict[str, torch.Tensor]:
    """Weights of the official shapes that take no memory, in order to talk about keys."""
    return {key: torch.empty(shape, device="meta") for key, shape in official_shapes(name).items()}


@with_reference
def test_every_official_key_has_a_place_and_every_place_a_key(name: str) -> None:
    state = official(name)
    converted = convert_official(name, {f"module.{key}": value for key, value in state.items()})
    with torch.device("meta"):
        ours = build_model(name, NUM_PIDS.get(name, 625)).state_dict()
    assert {key: value.shape for key, value in converted.items()} == {key: value.shape for key, value in ours.items()}
    assert len(converted) == len(state) - UNREAD.get(name, 0)
    assert count_pids(name, converted) == NUM_PIDS.get(name, 625)


@with_reference
def test_missing_unexpected_and_misshapen_weights_are_all_named(name: str) -> None:
    state = official(name)
    biases = [key for key in state if key.endswith("bias") and "classifier" not in key]
    for key in biases[:2]:
        del state[key]
    state["somebody.elses.weight"] = torch.empty(3, device="meta")
    state["another"] = torch.empty(3, device="meta")
    odd = next(key for key, value in state.items() if value.dim() == 4)
    state[odd] = torch.empty(5, 4, 3, 2, device="meta")
    with pytest.raises(ValueError, match="not the official weights") as caught:
        convert_official(name, state)
    message = str(caught.value)
    missing, unexpected, misshapen = message.split("; ")
    assert missing.count(",") == 1 and "missing" in missing
    assert "another" in unexpected and "somebody.elses.weight" in unexpected
    assert "is (5, 4, 3, 2), want" in misshapen


@needs_reference("psta")
def test_another_number_of_people_is_read_off_the_classifier() -> None:
    state = official("psta")
    for key, value in state.items():
        if key.startswith("classifier."):
            state[key] = torch.empty(702, *value.shape[1:], device="meta")
    assert count_pids("psta", convert_official("psta", state)) == 702


@needs_reference("psta")
def test_a_file_without_its_classifiers_is_refused() -> None:
    state = {key: value for key, value in official("psta").items() if not key.startswith("classifier")}
    with pytest.raises(ValueError, match=r"missing classifiers\.0\.bias, classifiers\.0\.weight"):
        convert_official("psta", state)


@needs_reference("ste_nvan_baseline")
def test_counters_that_old_files_lack_become_zero() -> None:
    state = {key: value for key, value in official("ste_nvan_baseline").items() if "num_batches" not in key}
    converted = convert_official("ste_nvan_baseline", state)
    assert int(converted["neck.num_batches_tracked"]) == 0


@needs_reference("psta")
@needs_reference("ste_nvan")
def test_weights_of_another_system_are_refused() -> None:
    with pytest.raises(ValueError, match="not the official weights of psta"):
        convert_official("psta", official("ste_nvan"))


@needs_reference("psta")
def test_a_key_given_twice_is_refused() -> None:
    state = official("psta")
    state["module.base.conv1.weight"] = state["base.conv1.weight"]
    with pytest.raises(ValueError, match="there twice"):
        convert_official("psta", state)


@pytest.mark.parametrize("name", ["sticc", "light"])
def test_systems_without_published_weights_say_so(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} has no official checkpoint"):
        convert_official(name, {})


def test_an_unknown_system_is_refused() -> None:
    with pytest.raises(ValueError, match=r"pstaa.*known: .*psta"):
        convert_official("pstaa", {})


@pytest.mark.parametrize("wrapped", [False, True])
def test_official_files_are_read_bare_or_with_their_scores(tmp_path: Path, wrapped: bool) -> None:
    state = {"module.bn.weight": torch.ones(2), "module.bn.num_batches_tracked": torch.tensor(3)}
    document = {"state_dict": state, "rank1": np.float64(0.915), "epoch": np.int64(200)} if wrapped else state
    path = tmp_path / "model.pth.tar"
    torch.save(document, path)
    assert {key: value.tolist() for key, value in read_official(path).items()} == {
        "bn.weight": [1.0, 1.0], "bn.num_batches_tracked": 3,
    }  # fmt: skip


def test_official_files_of_old_pytorch_are_read(tmp_path: Path) -> None:
    path = tmp_path / "old.pth"
    torch.save({"module.w": torch.ones(2)}, path, _use_new_zipfile_serialization=False)
    assert read_official(path)["w"].tolist() == [1.0, 1.0]


def test_safetensors_are_read_as_well(tmp_path: Path) -> None:
    save_file({"module.w": torch.ones(2)}, tmp_path / "model.safetensors")
    assert read_official(tmp_path / "model.safetensors")["w"].tolist() == [1.0, 1.0]


class _Trap:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (self.path,)  # type: ignore[return-value]


def test_code_inside_a_file_does_not_run(tmp_path: Path) -> None:
    for name, write in (("new.pth", torch.save), ("plain.pth", _pickle)):
        write({"w": torch.ones(1), "extra": _Trap(tmp_path / "trapped")}, tmp_path / name)
        with pytest.raises(ValueError, match=name):
            read_official(tmp_path / name)
        assert not (tmp_path / "trapped").exists()


def _pickle(document: object, path: Path) -> None:
    path.write_bytes(pickle.dumps(document, protocol=2))
