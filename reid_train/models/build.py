"""The networks by name."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from importlib import import_module
from typing import Any

from torch import nn

ModelClass = Callable[..., nn.Module]


def _from(module: str, name: str) -> Callable[[], ModelClass]:
    """A function that imports `reid_train.models.<module>` when called and returns its `name`."""

    def load() -> ModelClass:
        found: ModelClass = getattr(import_module(f"reid_train.models.{module}"), name)
        return found

    return load


_CLASSES: dict[str, Callable[[], ModelClass]] = {
    "staformer": _from("staformer", "STAFormer"),
    "psta": _from("psta", "PSTA"),
    "ste_nvan": _from("ste_nvan", "ste_nvan"),
    "nvan": _from("ste_nvan", "nvan"),
    "ste_nvan_baseline": _from("ste_nvan", "FrameBaseline"),
    "sticc": _from("sticc", "STICC"),
    "st_reid": _from("st_reid", "STReID"),
    "light": _from("light", "Light"),
}


def _builder(name: str) -> ModelClass:
    def build(num_pids: int, **options: Any) -> nn.Module:
        if num_pids < 1:
            raise ValueError(f"{name}: num_pids must be at least 1, got {num_pids}")
        model_class = _CLASSES[name]()
        known = [option for option in inspect.signature(model_class).parameters if option != "num_pids"]
        for option in options:
            if option not in known:
                raise ValueError(f"{name}: unknown option {_near_miss(option, known)}")
        return model_class(num_pids, **options)

    return build


MODELS: dict[str, ModelClass] = {name: _builder(name) for name in _CLASSES}


def build_model(name: str, num_pids: int, **options: Any) -> nn.Module:
    """A network with freshly initialised weights.

    `num_pids` is the number of people to classify in training; `options` are the keyword arguments of the network's
    class (for example `input_hw`). Unknown names and options raise ValueError that names the near miss.
    """
    if name not in MODELS:
        raise ValueError(f"unknown model {_near_miss(name, list(MODELS))}")
    return MODELS[name](num_pids, **options)


def _near_miss(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    hint = f", did you mean {close[0]}?" if close else ""
    return f"{word}{hint} (known: {', '.join(known)})"
