"""The shared losses against hand numbers and the figures that the official code gives for a fixed random stream."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from reid_train.losses import batch_hard_triplet, center_loss, smoothed_cross_entropy

PIDS = torch.arange(8).repeat_interleave(4)


@cache
def stream() -> dict[str, Tensor]:
    """The draws that the reference figures were measured on: seed 3, float64, in this order."""
    rs = np.random.RandomState(3)
    shapes = {
        "f": (32, 768), "y": (32, 625), "i": (32, 768, 8), "loc_y": (256, 625), "glo_y": (256, 625),
        "loc": (256, 1024), "glo": (256, 2048), "psta": (32, 2048),
    }  # fmt: skip
    return {name: torch.from_numpy(rs.randn(*shape)) for name, shape in shapes.items()}


def test_cross_entropy_equals_the_reference() -> None:
    assert smoothed_cross_entropy(stream()["y"], PIDS).item() == pytest.approx(6.925518, abs=1e-6)


def test_cosine_triplets_equal_the_references() -> None:
    of = {
        name: batch_hard_triplet(stream()[name], PIDS, margin=0.3, distance="cosine").item() for name in ("f", "psta")
    }
    assert of["f"] == pytest.approx(0.40152807, abs=1e-8)
    assert of["psta"] == pytest.approx(0.35717982, abs=1e-8)


def test_soft_margin_triplet_equals_the_reference() -> None:
    loss = batch_hard_triplet(stream()["psta"], PIDS, margin=None)
    assert loss.item() == pytest.approx(2.27057030, abs=1e-8)


def test_smoothing_by_hand() -> None:
    logits = torch.tensor([[math.log(2.0), 0.0, 0.0]])  # probabilities 1/2, 1/4, 1/4
    expected = -(0.7 * math.log(0.5) + 2 * 0.15 * math.log(0.25))  # epsilon 0.45 spreads 0.15 over each of three
    assert smoothed_cross_entropy(logits, torch.tensor([0]), 0.45).item() == pytest.approx(expected, abs=1e-6)
    assert smoothed_cross_entropy(logits, torch.tensor([0]), 0.0).item() == pytest.approx(math.log(2), abs=1e-6)


def test_triplet_by_hand() -> None:
    features = torch.tensor([[0.0], [2.0], [3.0], [7.0]], dtype=torch.float64)
    pids = torch.tensor([0, 0, 1, 1])
    # anchors: d_ap 2 2 4 4, d_an 3 1 1 5
    hinge = batch_hard_triplet(features, pids, margin=0.5)
    soft = batch_hard_triplet(features, pids, margin=None)
    assert hinge.item() == pytest.approx((0 + 1.5 + 3.5 + 0) / 4)
    assert soft.item() == pytest.approx(sum(math.log1p(math.exp(g)) for g in (-1, 1, 3, -1)) / 4)


def test_a_batch_of_one_person_costs_nothing_and_has_a_finite_gradient() -> None:
    for distance in ("euclidean", "cosine"):
        for margin in (None, 0.3):
            features = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
            loss = batch_hard_triplet(features, torch.zeros(4, dtype=torch.int64), margin=margin, distance=distance)
            (gradient,) = torch.autograd.grad(loss, features)
            assert loss.item() == 0
            assert gradient.abs().max() == 0


def test_equal_rows_have_a_finite_gradient() -> None:
    features = torch.ones(4, 3, requires_grad=True)
    loss = batch_hard_triplet(features, torch.tensor([0, 0, 1, 1]), margin=0.3)
    (gradient,) = torch.autograd.grad(loss, features)
    assert loss.item() == pytest.approx(0.3)
    assert torch.isfinite(gradient).all()


def test_soft_margin_of_a_huge_gap_does_not_overflow() -> None:
    features = torch.tensor([[0.0], [1e4], [1.0], [9e3]])
    assert torch.isfinite(batch_hard_triplet(features, torch.tensor([0, 0, 1, 1]), margin=None))


def test_half_precision_is_computed_in_single() -> None:
    logits = stream()["y"].to(torch.bfloat16)
    loss = smoothed_cross_entropy(logits, PIDS)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(smoothed_cross_entropy(logits.float(), PIDS).item(), abs=1e-6)
    assert batch_hard_triplet(stream()["f"].to(torch.bfloat16), PIDS).dtype == torch.float32


def test_center_loss_by_hand_pulls_on_the_own_centre_only() -> None:
    features = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    centers = torch.zeros(3, 2, requires_grad=True)
    loss = center_loss(features, centers, torch.tensor([0, 2]))
    (gradient,) = torch.autograd.grad(loss, centers)
    assert loss.item() == pytest.approx(0.5 * (1 + 4) / 2)
    assert gradient.tolist() == [[-0.5, 0.0], [0.0, 0.0], [0.0, -1.0]]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31 - 1), st.sampled_from(["euclidean", "cosine"]), st.sampled_from([None, 0.0, 0.3]))
def test_triplet_equals_the_slow_definition(seed: int, distance: str, margin: float | None) -> None:
    rng = np.random.default_rng(seed)
    x, pids = rng.standard_normal((9, 5)), rng.integers(0, 3, 9)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    total = 0.0
    for a in range(9):
        d = [-unit[a] @ unit[b] if distance == "cosine" else np.linalg.norm(x[a] - x[b]) for b in range(9)]
        negatives = [d[b] for b in range(9) if pids[b] != pids[a]]
        if negatives:
            gap = max(d[b] for b in range(9) if pids[b] == pids[a]) - min(negatives)
            total += math.log1p(math.exp(gap)) if margin is None else max(0.0, gap + margin)
    loss = batch_hard_triplet(torch.from_numpy(x), torch.from_numpy(pids), margin=margin, distance=distance)  # type: ignore[arg-type]
    assert loss.item() == pytest.approx(total / 9, abs=1e-5)


def test_triplet_gradient_equals_finite_differences() -> None:
    features = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2), requires_grad=True)
    pids = torch.tensor([0, 0, 1, 1, 2, 2])
    for distance in ("euclidean", "cosine"):
        assert torch.autograd.gradcheck(
            lambda x, distance=distance: batch_hard_triplet(x, pids, margin=None, distance=distance), (features,)
        )
