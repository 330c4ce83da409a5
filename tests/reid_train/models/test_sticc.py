"""STICC: its sizes, its losses by hand, and that padding and the order of the frames change nothing."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from reid_train.losses_sticc import memory_usage, slot_diversity
from reid_train.models.attention import frame_mean, frame_softmax
from reid_train.models.sticc import STICC

torch.set_num_threads(1)

PIDS = torch.tensor([0, 0, 1, 1])


def small(num_pids: int = 3, **options: Any) -> STICC:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"channels": 32, "num_slots": 4, "num_items": 6, "num_heads": 4, "input_hw": (64, 32)}
    return STICC(num_pids, backbone="light", **{**sizes, **options})


def clips(num_clips: int = 4, num_frames: int = 3) -> torch.Tensor:
    return torch.randn(num_clips, num_frames, 3, 64, 32, generator=torch.Generator().manual_seed(1))


def close(one: torch.Tensor, other: torch.Tensor) -> None:
    torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def model() -> STICC:
    """With slots and memories that are far from even, so that attention has something to say."""
    network = small().eval()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith(("slots", "keys", "values")):
                parameter.mul_(50)
    return network


def test_the_parameters_number_30_27_million_with_702_people() -> None:
    with torch.device("meta"):
        network = STICC(702)
    total = sum(p.numel() for p in network.parameters())
    assert round(total / 1e6, 2) == 30.27
    assert round((total - 702 * 2048) / 1e6, 2) == 28.83
    assert network.dim == 1536


def test_a_clip_costs_35_9_giga_multiplications() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        STICC(702).eval()(torch.empty(1, 8, 3, 256, 128))
    assert counter.get_total_flops() / 2e9 == pytest.approx(35.9, abs=0.05)


@pytest.mark.parametrize("filler", [0.0, math.nan])
def test_padding_changes_nothing_whatever_it_holds(model: STICC, filler: float) -> None:
    x = clips(2)
    padded = torch.cat((x, torch.full_like(x[:, :2], filler)), dim=1)
    mask = torch.tensor([[True] * 3 + [False] * 2] * 2)
    with torch.inference_mode():
        close(model.embed(padded, mask), model.embed(x))


def test_a_clip_does_not_feel_how_far_its_neighbours_are_padded(model: STICC) -> None:
    x = clips(2)
    mask = torch.tensor([[True, True, True], [True, False, False]])
    with torch.inference_mode():
        together = model.embed(x, mask)
        close(together[:1], model.embed(x[:1]))
        close(together[1:], model.embed(x[1:, :1]))


def test_padding_between_frames_is_as_inert_as_behind_them(model: STICC) -> None:
    x = clips(1, 4)
    with torch.inference_mode():
        close(model.embed(x, torch.tensor([[True, False, True, True]])), model.embed(x[:, [0, 2, 3]]))


def test_padding_does_not_reach_losses_or_running_statistics() -> None:
    x = clips()
    padded = torch.cat((x, torch.full_like(x[:, :1], 1e3)), dim=1)
    mask = torch.tensor([[True] * 3 + [False]] * 4)
    plain, masked = small().train(), small().train()
    for network in (plain, masked):
        network.encoder.common.dropout.p = 0.0  # type: ignore[union-attr]
    terms, same = (plain.loss_terms(plain(x), PIDS), masked.loss_terms(masked(padded, mask), PIDS))
    for name in terms:
        close(same[name], terms[name])
    for name, value in plain.named_buffers():
        torch.testing.assert_close(masked.get_buffer(name), value, rtol=1e-4, atol=1e-4)


def test_the_order_of_the_frames_changes_nothing(model: STICC) -> None:
    x = clips(2, 4)
    with torch.inference_mode():
        close(model.embed(x[:, [2, 0, 3, 1]]), model.embed(x))


def test_which_frames_there_are_does_change_the_vector(model: STICC) -> None:
    x = clips(1, 4)
    with torch.inference_mode():
        assert (model.embed(x) - model.embed(x[:, :3])).abs().max() > 1e-2


def test_a_still_image_repeated_is_the_image(model: STICC) -> None:
    x = clips(2, 1)
    with torch.inference_mode():
        close(model.embed(x.expand(-1, 4, -1, -1, -1)), model.embed(x))


def test_readouts_may_be_kept_while_a_tracklet_grows(model: STICC) -> None:
    x = clips(2)
    with torch.inference_mode():
        kept = torch.cat((model.readouts(x[:, :2]), model.readouts(x[:, 2:])), dim=1)
        assert kept.shape == (2, 3, 4, 32)
        close(model.embed_readouts(kept), model.embed(x))


@pytest.mark.parametrize(
    "mask", [torch.ones(2, 2, dtype=torch.bool), torch.tensor([[True, True, True], [False, False, False]])]
)
def test_a_mask_of_another_shape_or_without_any_frame_is_refused(model: STICC, mask: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="a real frame in every clip"):
        model.embed(clips(2), mask)


ABLATIONS: dict[str, tuple[dict[str, Any], int]] = {
    "whole": ({}, 96),
    "sequential": ({"kv_source": "self"}, 96),
    "no self branch": ({"use_common": False}, 96),
    "no cross memory": ({"use_memory": False}, 96),
    "no self branch, no cross memory": ({"use_common": False, "use_memory": False}, 96),
    "detail only": ({"use_abstraction": False}, 32),
    "abstraction only": ({"use_detail": False}, 64),
    "other sizes": ({"num_slots": 5, "num_items": 3, "channels": 16}, 48),
}


@pytest.mark.parametrize("name", ABLATIONS)
def test_every_parameter_of_every_ablation_is_taught(name: str) -> None:
    options, dim = ABLATIONS[name]
    network = small(**options).train()
    terms = network.loss_terms(network(clips()), PIDS)
    torch.stack(list(terms.values())).sum().backward()
    trained = {n: p for n, p in network.named_parameters() if p.requires_grad}
    assert [n for n, p in trained.items() if p.grad is None or not p.grad.any()] == []
    assert network.dim == dim
    assert network.eval().embed(clips(2)).shape == (2, dim)
    groups = network.param_groups()
    assert list(groups) == ["backbone", "head"]
    assert sorted(id(p) for group in groups.values() for p in group) == sorted(id(p) for p in trained.values())


def test_only_the_biases_of_the_necks_are_frozen() -> None:
    frozen = [n for n, p in small().named_parameters() if not p.requires_grad]
    assert frozen == ["necks.detail.bias", "necks.abstraction.bias", "necks.common.bias"]


@pytest.mark.parametrize(
    "options",
    [
        {"use_detail": False, "use_abstraction": False},
        {"use_common": False, "kv_source": "self"},
        {"kv_source": "both"},
        {"channels": 30},
    ],
)
def test_switches_that_leave_nothing_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"sticc: .*"):
        small(**options)


def test_training_outputs_and_terms_have_their_documented_names_and_shapes() -> None:
    network = small().train()
    outputs = network(clips(), torch.tensor([[True, True, True]] * 3 + [[True, False, False]]))
    assert {name: tuple(value.shape) for name, value in outputs.items()} == {
        "feature_detail": (4, 32),
        "feature_abstraction": (4, 64),
        "feature_common": (4, 32),
        "logits_detail": (4, 3),
        "logits_abstraction": (4, 3),
        "logits_common": (4, 3),
        "attention": (10, 4, 8),
        "structure_weights": (40, 6),
        "temporal_weights": (10, 6),
    }
    assert set(network.loss_terms(outputs, PIDS)) == {
        *(f"{head}_{kind}" for head in ("detail", "abstraction", "common") for kind in ("cross_entropy", "triplet")),
        "slot_diversity",
        "structure_usage",
        "temporal_usage",
    }


def test_terms_are_weighted_as_the_design_says() -> None:
    network = small()
    outputs = {
        **{f"logits_{head}": torch.zeros(4, 3) for head in network.necks},
        **{f"feature_{head}": torch.zeros(4, 8) for head in network.necks},
        "attention": torch.ones(2, 4, 8),
        "structure_weights": torch.eye(6)[:1],
        "temporal_weights": torch.eye(6)[:1],
    }
    terms = {name: value.item() for name, value in network.loss_terms(outputs, PIDS).items()}
    entropy, triplet = math.log(3), 0.3
    assert terms == pytest.approx(
        {
            "detail_cross_entropy": entropy,
            "detail_triplet": triplet,
            "abstraction_cross_entropy": entropy,
            "abstraction_triplet": triplet,
            "common_cross_entropy": entropy / 2,
            "common_triplet": triplet / 2,
            "slot_diversity": 0.1,
            "structure_usage": 0.01 * math.log(6),
            "temporal_usage": 0.01 * math.log(6),
        }
    )


def test_diversity_of_slots_by_hand() -> None:
    apart = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    assert slot_diversity(apart).item() == 0
    assert slot_diversity(torch.ones(3, 4, 5)).item() == pytest.approx(1)
    half = torch.tensor([[[1.0, 0.0], [1.0, 1.0]]])
    assert slot_diversity(torch.cat((apart, half))).item() == pytest.approx(math.sqrt(0.5) / 2)
    assert slot_diversity(torch.ones(3, 1, 5)).item() == 0


def test_usage_of_a_memory_by_hand() -> None:
    assert memory_usage(torch.full((5, 4), 0.25)).item() == pytest.approx(0, abs=1e-7)
    assert memory_usage(torch.eye(4)).item() == pytest.approx(0, abs=1e-7), "each row uses another item"
    assert memory_usage(torch.eye(4)[:1].repeat(3, 1)).item() == pytest.approx(math.log(4))
    assert memory_usage(torch.eye(4)[:2]).item() == pytest.approx(math.log(2))


def test_slots_look_everywhere_alike_at_first_unless_told_to_begin_apart() -> None:
    feature_map = torch.randn(4, 32, 8, 4)
    alike, apart = (
        slot_diversity(small(memory_std=std).encoder(feature_map).attention).item()  # type: ignore[arg-type]
        for std in (0.02, 1.0)
    )
    assert alike > 0.999
    assert apart < 0.99


def test_masked_frames_weigh_exactly_nothing() -> None:
    mask = torch.tensor([[True, False, True]])
    weights = frame_softmax(torch.tensor([[1.0, 99.0, 1.0]]), mask)
    assert weights.tolist() == [[0.5, 0.0, 0.5]]
    assert frame_mean(torch.tensor([[[1.0], [99.0], [3.0]]]), mask).tolist() == [[2.0]]


def test_without_the_cross_memory_a_slot_is_a_stripe() -> None:
    """Changing the lower half of the map leaves the slots of the upper half as they are."""
    network = small(use_memory=False, use_common=False).eval()
    feature_map = torch.randn(1, 32, 4, 2)
    changed = feature_map.clone()
    changed[:, :16, 2:] += 1
    with torch.inference_mode():
        before, after = (network.encoder(x).readouts for x in (feature_map, changed))
    assert torch.equal(before[:, :2], after[:, :2])
    assert not torch.isclose(before[:, 2:], after[:, 2:]).all(dim=-1).any()


def test_bfloat16_changes_the_vector_little(model: STICC) -> None:
    with torch.inference_mode():
        full = model.embed(clips(2))
        with torch.autocast("cpu", torch.bfloat16):
            half = model.embed(clips(2))
    assert torch.cosine_similarity(full, half.float()).min() > 0.99
