from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from reid_train.models import MODELS, build_model


def test_the_promised_names_are_there() -> None:
    assert list(MODELS) == [
        "staformer", "psta", "ste_nvan", "nvan", "ste_nvan_baseline", "sticc", "st_reid", "light",
    ]  # fmt: skip


def test_an_unknown_name_is_refused_with_the_near_miss() -> None:
    with pytest.raises(ValueError, match=r"ste_nvam, did you mean ste_nvan\? \(known: .*light\)"):
        build_model("ste_nvam", 4)


def test_an_unknown_option_is_refused_with_the_near_miss() -> None:
    with pytest.raises(ValueError, match="ste_nvan: unknown option windows, did you mean window"):
        build_model("ste_nvan", 4, windows=3)


def test_a_network_needs_people() -> None:
    with pytest.raises(ValueError, match="num_pids"):
        build_model("psta", 0)


@pytest.mark.parametrize(
    ("name", "num_parameters"),
    [("psta", 35_425_311), ("ste_nvan", 32_150_592), ("nvan", 32_150_592), ("ste_nvan_baseline", 24_792_128)],
)
def test_networks_have_as_many_parameters_as_the_published_ones(name: str, num_parameters: int) -> None:
    with torch.device("meta"):
        model = build_model(name, 625)
    assert sum(parameter.numel() for parameter in model.parameters()) == num_parameters


@pytest.mark.parametrize(
    ("name", "options", "giga_macs"),
    [
        ("psta", {}, 37.34),
        ("ste_nvan", {}, 17.67),
        ("ste_nvan", {"stripes": None, "window": "all"}, 42.63),
        ("nvan", {}, 63.56),
        ("nvan", {"stripes": 16}, 33.43),
        ("ste_nvan_baseline", {}, 32.43),
    ],
)
def test_a_clip_of_8_costs_what_the_published_network_costs(
    name: str, options: dict[str, Any], giga_macs: float
) -> None:
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        build_model(name, 625, **options).eval().embed(torch.empty(1, 8, 3, 256, 128))
    assert counter.get_total_flops() / 2e9 == pytest.approx(giga_macs, rel=2e-3)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("psta", {"input_hw": (250, 128)}, "multiples of 16"),
        ("ste_nvan", {"input_hw": (128, 64)}, "multiple of 256"),
        ("ste_nvan", {"window": 0}, "window"),
        ("nvan", {"blocks": (3, 4, 6)}, "four"),
        ("light", {"dim": 0, "pretrained": False}, "must be positive"),
        ("light", {"input_hw": (96, 64), "pretrained": False}, "multiple of 128"),
        ("light", {"taps": (2, 16), "pretrained": False}, "0 to 15"),
        ("light", {"taps": (4, 2), "pretrained": False}, "ascending"),
        ("light", {"taps": (), "pretrained": False}, "taps"),
    ],
)
def test_options_that_can_not_be_are_refused(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_model(name, 4, **options)
