"""The official published checkpoints, read safely and turned into state dicts of our names.

A model takes them by `build_model("psta", num_pids).load_state_dict(convert_official("psta", read_official(path)))`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path

import torch
from torch import Tensor

from reid_train.models import MODELS, build_model
from reid_train.models.backbones import list_problems, read_weights

OFFICIAL_KEYS = {  # models that authors published weights for: the module that holds `official_key`
    "staformer": "staformer",
    "psta": "psta",
    "ste_nvan": "ste_nvan",
    "nvan": "ste_nvan",
    "ste_nvan_baseline": "ste_nvan",
    "st_reid": "st_reid",
}


def read_official(path: str | Path) -> dict[str, Tensor]:
    """The state dict of a published file, without a `state_dict` wrapper and without DataParallel's `module.`.

    Torch files are read with `weights_only`: no code of theirs runs. Raises FileNotFoundError, or ValueError that
    names a file of another kind.
    """
    return {key.removeprefix("module."): value for key, value in read_weights(path).items()}


def convert_official(name: str, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Official weights of model `name` under our names, ready for `build_model(name, num_pids(...)).load_state_dict`.

    Keys may carry `module.`. Convolutions over single places that are linear layers here are reshaped; missing
    counters of batch norm (files older than PyTorch 0.4.1) become 0. Raises ValueError that names every missing and
    unexpected key and every wrong shape, and for models whose authors published no weights.
    """
    rename = _renamer(name)
    renamed: dict[str, Tensor] = {}
    doubled = []
    for key, value in state_dict.items():
        ours = rename(key.removeprefix("module."))
        if ours is None:
            continue
        if ours in renamed:
            doubled.append(f"{key} is there twice")
        renamed[ours] = value
    expected = _expected_shapes(name, renamed)
    for key, shape in expected.items():
        if key not in renamed and key.endswith("num_batches_tracked"):
            renamed[key] = torch.zeros((), dtype=torch.int64)
        elif key in renamed and _squeezed(renamed[key].shape) == _squeezed(shape):
            renamed[key] = renamed[key].reshape(shape)
    problems = doubled + list_problems(renamed, expected)
    if problems:
        raise ValueError(f"these are not the official weights of {name}: {'; '.join(problems)}")
    return {key: renamed[key] for key in expected}


def count_pids(name: str, state_dict: Mapping[str, Tensor]) -> int:
    """How many people the classifier of a state dict of our names knows, for `build_model(name, num_pids)`."""
    one, two = (_shapes_for(name, num_pids) for num_pids in (1, 2))
    for key in one:
        if one[key] != two[key] and key in state_dict and state_dict[key].dim() > 0:
            return int(state_dict[key].shape[0])
    raise ValueError(f"{name}: no classifier among the weights, so the number of people is unknown")


def _renamer(name: str) -> Callable[[str], str | None]:
    if name not in MODELS:
        raise ValueError(f"unknown model {name} (known: {', '.join(MODELS)})")
    if name not in OFFICIAL_KEYS:
        raise ValueError(
            f"{name} has no official checkpoint (there are some for {', '.join(OFFICIAL_KEYS)}); "
            "train it, or load one of our own checkpoints"
        )
    rename: Callable[[str], str | None] = import_module(f"reid_train.models.{OFFICIAL_KEYS[name]}").official_key
    return rename


def _expected_shapes(name: str, state_dict: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Shapes of model `name` with as many people as the classifier in `state_dict` knows (1 where it has none)."""
    try:
        return _shapes_for(name, count_pids(name, state_dict))
    except ValueError:
        return _shapes_for(name, 1)


def _shapes_for(name: str, num_pids: int) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        model = build_model(name, max(num_pids, 1))
    return {key: tuple(value.shape) for key, value in model.state_dict().items()}


def _squeezed(shape: tuple[int, ...] | torch.Size) -> tuple[int, ...]:
    """The shape without trailing ones: (256, 512, 1, 1, 1) -> (256, 512)."""
    sizes = list(shape)
    while sizes and sizes[-1] == 1:
        sizes.pop()
    return tuple(sizes)
