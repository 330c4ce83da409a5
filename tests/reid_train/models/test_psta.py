from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reid_train.checkpoints import convert_official
from reid_train.losses import batch_hard_triplet
from reid_train.models import build_model
from tests.reid_train.models.small import small_clips, small_model
from tests.reid_train.reference import assert_golden, golden_input, needs_reference, official_state

MODEL = small_model("psta")


@pytest.mark.slow
@needs_reference("psta")
def test_embeddings_of_8_and_of_16_frames_equal_the_reference() -> None:
    model = build_model("psta", 625).eval()
    model.load_state_dict(convert_official("psta", official_state("psta")))
    with torch.no_grad():
        blocks = model.blocks(golden_input(1, 16, 3, 256, 128))  # the same numbers as two clips of 8 frames
        assert_golden(model.combine(blocks[0]), "psta")
        of_16 = model.combine(blocks.mean(dim=1))[0]
    assert float(of_16.norm()) == pytest.approx(7.44240267, rel=1e-5)
    assert of_16[:2].tolist() == pytest.approx([-0.121052246, 0.00791321931], abs=1e-5)


@settings(max_examples=10, deadline=None)
@given(num_blocks=st.integers(1, 4), seed=st.integers(0, 2**16))
def test_the_running_mean_of_blocks_equals_the_whole_pass(num_blocks: int, seed: int) -> None:
    clips = small_clips(MODEL, 2, 8 * num_blocks, seed=seed)
    running = torch.zeros(2, MODEL.dim)
    with torch.no_grad():
        for index, block in enumerate(clips.split(8, dim=1)):
            running += (MODEL.blocks(block)[:, 0] - running) / (index + 1)
        torch.testing.assert_close(MODEL.combine(running), MODEL.embed(clips), rtol=1e-4, atol=1e-5)


def test_the_training_features_of_eval_mode_end_with_the_embedding() -> None:
    clips = small_clips(MODEL, 2, 16)
    with torch.no_grad():
        torch.testing.assert_close(MODEL(clips)["feature_3"], MODEL.embed(clips))


def test_frames_of_a_pair_may_be_swapped_but_pairs_may_not() -> None:
    clips = small_clips(MODEL, 1, 8)
    with torch.no_grad():
        vector = MODEL.embed(clips)
        torch.testing.assert_close(MODEL.embed(clips[:, [1, 0, 2, 3, 5, 4, 6, 7]]), vector, rtol=1e-4, atol=1e-5)
        assert not torch.allclose(MODEL.embed(clips[:, [2, 1, 0, 3, 4, 5, 6, 7]]), vector, rtol=1e-3, atol=1e-3)


def test_a_block_of_padding_has_no_influence_and_half_a_block_half() -> None:
    clips = small_clips(MODEL, 1, 16)
    mask = torch.ones(1, 16, dtype=torch.bool)
    mask[:, 8:] = False
    with torch.no_grad():
        torch.testing.assert_close(MODEL.embed(clips, mask), MODEL.embed(clips[:, :8]), rtol=1e-4, atol=1e-5)
        mask[:, 8:12] = True
        one, other = MODEL.blocks(clips).unbind(dim=1)
        torch.testing.assert_close(MODEL.embed(clips, mask), MODEL.combine((2 * one + other) / 3))


def test_losses_are_means_over_the_three_levels() -> None:
    outputs = {f"logits_{k}": torch.zeros(4, 625) for k in (1, 2, 3)}
    features = torch.randn(3, 4, 16, generator=torch.Generator().manual_seed(0))
    outputs |= {f"feature_{k + 1}": features[k] for k in range(3)}
    pids = torch.tensor([0, 0, 1, 1])
    terms = MODEL.loss_terms(outputs, pids)
    assert set(terms) == {"id", "triplet"}
    assert float(terms["id"]) == pytest.approx(6.437752, abs=1e-5)  # ln 625
    by_level = [float(batch_hard_triplet(level, pids, margin=0.3, distance="cosine")) for level in features]
    assert len(set(by_level)) == 3
    assert float(terms["triplet"]) == pytest.approx(sum(by_level) / 3, rel=1e-5)


def test_a_fresh_network_starts_as_published() -> None:
    model = build_model("psta", 300, input_hw=(32, 16), blocks=(1, 1, 1, 1))
    for classifier in model.classifiers:
        assert float(classifier.weight.detach().std()) == pytest.approx(0.001, rel=0.05)
        assert not classifier.bias.any()
    merge = model.stages[0].merge[3].weight.detach()  # 256 x 256 x 3 x 3, fan in 2304
    assert float(merge.std()) == pytest.approx((2 / 2304) ** 0.5, rel=0.05)
    gate = model.stages[0].temporal.gate[2]  # 128 -> 1024, fan out 1024
    assert float(gate.weight.detach().std()) == pytest.approx((2 / 1024) ** 0.5, rel=0.05)
    assert not gate.bias.any()
