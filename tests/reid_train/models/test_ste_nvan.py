from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reid_train.checkpoints import convert_official
from reid_train.models import build_model
from reid_train.models.ste_nvan import NonLocal
from tests.reid_train.models.small import small_clips, small_model
from tests.reid_train.reference import assert_golden, golden_input, needs_reference, official_state

STE_NVAN = small_model("ste_nvan")
ALL_FRAMES = small_model("ste_nvan", window="all")


@pytest.mark.slow
@pytest.mark.parametrize("name", [pytest.param(n, marks=needs_reference(n)) for n in ("ste_nvan", "ste_nvan_baseline")])
def test_embeddings_equal_the_reference(name: str) -> None:
    _assert_reference(name, rows=[0, 1])


@pytest.mark.slow
@needs_reference("nvan")
def test_an_embedding_of_nvan_equals_the_reference() -> None:
    _assert_reference("nvan", rows=[1])


def _assert_reference(name: str, rows: list[int]) -> None:
    model = build_model(name, 625).eval()
    model.load_state_dict(convert_official(name, official_state(name)))
    with torch.no_grad():
        assert_golden(model.embed(golden_input()[rows]), name, rows=rows)


@settings(max_examples=10, deadline=None)
@given(num_blocks=st.integers(1, 4), seed=st.integers(0, 2**16))
def test_the_running_mean_of_blocks_equals_the_whole_pass(num_blocks: int, seed: int) -> None:
    clips = small_clips(STE_NVAN, 2, 4 * num_blocks, seed=seed)
    running = torch.zeros(2, STE_NVAN.dim)
    with torch.no_grad():
        for index, block in enumerate(clips.split(4, dim=1)):
            running += (STE_NVAN.blocks(block)[:, 0] - running) / (index + 1)
        torch.testing.assert_close(STE_NVAN.combine(running), STE_NVAN.embed(clips), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("window", "multiple"), [(1, 4), (2, 4), (4, 8)])
def test_blocks_hold_for_every_window(window: int, multiple: int) -> None:
    model = small_model("ste_nvan", window=window)
    assert model.frame_multiple == multiple
    clips = small_clips(model, 1, 2 * multiple)
    with torch.no_grad():
        blocks = model.blocks(clips)
        assert blocks.shape == (1, 2, 2048)
        torch.testing.assert_close(model.combine(blocks.mean(dim=1)), model.embed(clips), rtol=1e-4, atol=1e-5)
        alone = model.embed(clips[:, multiple:])
    torch.testing.assert_close(model.combine(blocks[:, 1]), alone, rtol=1e-4, atol=1e-5)


def test_with_a_window_of_all_frames_groups_of_four_hang_together() -> None:
    ALL_FRAMES.load_state_dict(STE_NVAN.state_dict())  # the same weights serve both windows
    clips = small_clips(ALL_FRAMES, 1, 8)
    with torch.no_grad():
        whole = ALL_FRAMES.embed(clips)
        halves = (ALL_FRAMES.embed(clips[:, :4]) + ALL_FRAMES.embed(clips[:, 4:])) / 2
        assert not torch.allclose(whole, halves, rtol=1e-3, atol=1e-3)
        assert not torch.allclose(whole, STE_NVAN.embed(clips), rtol=1e-3, atol=1e-3)
    with pytest.raises(ValueError, match="no blocks"):
        ALL_FRAMES.blocks(clips)


def test_ste_nvan_depends_on_the_pairing_only() -> None:
    clips = small_clips(STE_NVAN, 1, 8)
    with torch.no_grad():
        vector = STE_NVAN.embed(clips)
        swapped = STE_NVAN.embed(clips[:, [3, 2, 0, 1, 4, 5, 7, 6]])  # inside pairs, and the pairs of a group
        torch.testing.assert_close(swapped, vector, rtol=1e-4, atol=1e-5)
        assert not torch.allclose(STE_NVAN.embed(clips[:, [2, 1, 0, 3, 4, 5, 6, 7]]), vector, rtol=1e-3, atol=1e-3)


def test_nvan_does_not_care_for_the_order_of_frames() -> None:
    model = small_model("nvan")
    clips = small_clips(model, 1, 5)
    with torch.no_grad():
        torch.testing.assert_close(model.embed(clips[:, [4, 2, 0, 1, 3]]), model.embed(clips), rtol=1e-4, atol=1e-5)


def test_attention_is_unscaled_softmax() -> None:
    torch.manual_seed(0)
    block = NonLocal(6).eval()
    torch.nn.init.ones_(block.bn.weight)
    tokens = torch.randn(2, 5, 6)
    with torch.no_grad():
        scores = torch.einsum("nsc,ntc->nst", block.theta(tokens), block.phi(tokens)).softmax(dim=2)
        expected = block.bn(block.out(scores @ block.g(tokens)).transpose(1, 2)).transpose(1, 2)
        torch.testing.assert_close(block(tokens), expected)


def test_a_fresh_block_changes_nothing() -> None:
    torch.manual_seed(0)
    assert not NonLocal(6)(torch.randn(2, 5, 6)).any()


def test_a_stripe_gets_the_same_addition_over_its_width() -> None:
    model = small_model("ste_nvan", input_hw=(64, 32))
    block = model.non_local[0][0]
    maps = torch.randn(4, 512, 8, 4, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        added = model._attend(block, maps, 2, None)
    assert added.shape == (4, 512, 8, 1)
    torch.testing.assert_close(added[:, :, :4], added[:, :, :1].expand(-1, -1, 4, -1))
    assert not torch.allclose(added[:, :, 0], added[:, :, 4])


def test_logits_of_the_baseline_are_means_over_frames() -> None:
    model = small_model("ste_nvan_baseline")
    clips = small_clips(model, 2, 3)
    with torch.no_grad():
        outputs = model(clips)
        per_frame = torch.stack([model(clips[:, t : t + 1])["logits"] for t in range(3)])
        features = torch.stack([model(clips[:, t : t + 1])["feature"] for t in range(3)])
    torch.testing.assert_close(outputs["logits"], per_frame.mean(dim=0), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(outputs["feature"], features.mean(dim=0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["ste_nvan", "nvan", "ste_nvan_baseline"])
def test_losses_are_plain_cross_entropy_and_the_soft_triplet(name: str) -> None:
    outputs = {"logits": torch.tensor([[2.0, 0.0]] * 4), "feature": torch.tensor([[0.0], [1.0], [5.0], [7.0]])}
    terms = small_model(name).loss_terms(outputs, torch.tensor([0, 0, 1, 1]))
    assert set(terms) == {"id", "triplet"}
    assert float(terms["id"]) == pytest.approx((0.126928 + 2.126928) / 2, abs=1e-5)  # ln(1 + e^-2), ln(1 + e^2)
    gaps = torch.tensor([1 - 5.0, 1 - 4.0, 2 - 4.0, 2 - 6.0])
    assert float(terms["triplet"]) == pytest.approx(float(torch.log1p(gaps.exp()).mean()), rel=1e-5)
