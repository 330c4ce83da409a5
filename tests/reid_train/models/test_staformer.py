"""STAFormer against its reference: keys, embedding, losses, and what its parts promise."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from reid_train.losses_staformer import frame_terms, temporal_nce
from reid_train.models import build_model
from reid_train.models.staformer import STAFormer, official_key
from tests.reid_train.reference import (
    assert_golden,
    golden_input,
    needs_reference,
    official_shapes,
    official_state,
)

torch.set_num_threads(1)


def small(num_pids: int = 3, **options: object) -> STAFormer:
    torch.manual_seed(0)
    return STAFormer(num_pids, blocks=(1, 1, 1, 1), num_layers=1, input_hw=(64, 64), **options)  # type: ignore[arg-type]


def clips(num_clips: int = 4, num_frames: int = 4) -> torch.Tensor:
    return torch.randn(num_clips, num_frames, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.mark.slow
@needs_reference("staformer")
def test_the_embedding_equals_the_reference() -> None:
    state = official_state("staformer")
    ours = {mine: state.pop(key) for key in list(state) if (mine := official_key(key)) is not None}
    with torch.device("meta"):
        model = build_model("staformer", num_pids=625)
    model.load_state_dict(ours, assign=True)
    with torch.inference_mode():
        embedding = model.eval().embed(golden_input()[:1])  # type: ignore[operator]
    assert_golden(embedding, "staformer", rows=[0])


@needs_reference("staformer")
def test_official_keys_and_shapes_are_ours_but_for_the_unused_token() -> None:
    with torch.device("meta"):
        model = STAFormer(625)
    official = official_shapes("staformer")
    unused = [key for key in official if official_key(key) is None]
    assert unused == ["vit.cls_token"]
    ours = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    assert {official_key(key): shape for key, shape in official.items() if key not in unused} == ours


def test_the_full_network_has_the_published_number_of_parameters_but_for_the_unused_token() -> None:
    with torch.device("meta"):
        model = STAFormer(625)
    assert sum(p.numel() for p in model.parameters()) == 73_850_069 - 768


def test_an_unknown_official_key_comes_back_unchanged() -> None:
    for key in ("custom_resnest.fc.weight", "vit.transformer.layers.0.2.norm.weight", "tsa.theta.weight"):
        ours = official_key(key)
        assert ours is not None
        with torch.device("meta"):
            assert ours not in STAFormer(2).state_dict()


def reference_outputs() -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """The draw of the reference loss values: 32 clips of 8 frames, 8 people, frames of a clip in succession."""
    rs = np.random.RandomState(3)
    shapes = {
        "feature": (32, 768),
        "logits": (32, 625),
        "projected": (32, 768, 8),
        "local_logits": (32, 8, 625),
        "global_logits": (32, 8, 625),
        "local_feature": (32, 8, 1024),
        "global_feature": (32, 8, 2048),
    }
    return {n: torch.from_numpy(rs.randn(*s)) for n, s in shapes.items()}, torch.arange(8).repeat_interleave(4)


def test_the_loss_terms_equal_the_reference_values() -> None:
    outputs, pids = reference_outputs()
    terms = small().loss_terms(outputs, pids)
    expected = {
        "cross_entropy": 6.925518,
        "triplet": 0.40152807,
        "frame_cross_entropy": 3.94928460,
        "frame_triplet": 0.20681328,
        "nce": 0.01 * 42.49021636,
    }
    assert terms.keys() == expected.keys()
    for name, value in expected.items():
        assert terms[name].item() == pytest.approx(value, abs=1e-6), name


def test_the_mean_frame_loss_weighs_both_branches_alike() -> None:
    outputs, pids = reference_outputs()
    both = {"official": frame_terms(outputs, pids), "mean": frame_terms(outputs, pids, combine="mean")}
    swapped = {
        name.replace("global", "x").replace("local", "global").replace("x", "local"): value
        for name, value in outputs.items()
    }
    torch.testing.assert_close(both["mean"], frame_terms(swapped, pids, combine="mean"))
    # official = local / 16 + global / 2, and the same with the branches swapped; their sum holds 9/16 of each.
    other = frame_terms(swapped, pids)
    for official, exchanged, mean in zip(both["official"], other, both["mean"], strict=True):
        assert (official + exchanged).item() == pytest.approx(2 * 9 / 16 * mean.item())


def test_the_frame_loss_of_the_model_is_chosen_when_it_is_built() -> None:
    outputs, pids = reference_outputs()
    terms = small(frame_loss="mean").loss_terms(outputs, pids)
    entropy, triplet = frame_terms(outputs, pids, combine="mean")
    assert terms["frame_cross_entropy"].item() == entropy.item()
    assert terms["frame_triplet"].item() == triplet.item()
    with pytest.raises(ValueError, match="'official' or 'mean'"):
        small(frame_loss="half")


def test_contrast_of_moments_that_are_alike_in_every_half_by_hand() -> None:
    """Four halves of two moments, unit vectors e0 and e1: a pair has cosine 1 and repels four of cosine 0."""
    moments = torch.eye(2).repeat(2, 1).T.expand(2, 2, 4)
    pair = 1 / 0.07 - np.log(4 * np.exp(0.0) + np.exp(1 / 0.07))
    assert temporal_nce(moments).item() == pytest.approx(-pair, abs=1e-6)


def test_contrast_is_the_sum_over_pairs_of_clips() -> None:
    projected = torch.randn(4, 6, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    alone = temporal_nce(projected[:2]) + temporal_nce(projected[2:])
    assert temporal_nce(projected).item() == pytest.approx(alone.item())


@pytest.mark.parametrize("shape", [(3, 6, 8), (4, 6, 5), (4, 6, 2)])
def test_contrast_refuses_what_it_can_not_halve(shape: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="even"):
        temporal_nce(torch.zeros(shape))


def test_the_batch_norm_is_updated_by_the_means_first_and_by_the_frames_last() -> None:
    model = small().train()
    seen: list[torch.Size] = []
    model.bn.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape))
    model(clips())
    assert seen == [(4, 768), (4, 768, 4)]
    assert int(model.bn.num_batches_tracked) == 2


def test_training_outputs_have_their_documented_shapes_and_teach_every_parameter() -> None:
    model = small().train()
    outputs = model(clips())
    assert {name: tuple(value.shape) for name, value in outputs.items()} == {
        "feature": (4, 768),
        "logits": (4, 3),
        "projected": (4, 768, 4),
        "local_feature": (4, 4, 1024),
        "global_feature": (4, 4, 2048),
        "local_logits": (4, 4, 3),
        "global_logits": (4, 4, 3),
    }
    torch.stack(list(model.loss_terms(outputs, torch.tensor([0, 0, 1, 1])).values())).sum().backward()
    untaught = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert untaught == []
    still = {n for n, p in model.named_parameters() if p.grad is not None and not p.grad.any()}
    assert {n for n in still if not n.endswith("fc1.bias")} == set(), "only a bias before a batch norm may stand still"


def test_every_parameter_is_in_one_group() -> None:
    model = small()
    groups = model.param_groups()
    assert list(groups) == ["backbone", "head"]
    ids = [id(p) for group in groups.values() for p in group]
    assert len(ids) == len(set(ids))
    assert set(ids) == {id(p) for p in model.parameters()}


def test_frame_tokens_may_be_kept_while_a_tracklet_grows() -> None:
    model = small().eval()
    x = clips(2)
    with torch.inference_mode():
        kept = torch.cat((model.frame_tokens(x[:, :3]), model.frame_tokens(x[:, 3:])), dim=1)
        torch.testing.assert_close(model.embed_tokens(kept), model.embed(x), rtol=1e-4, atol=1e-4)


def test_the_embedding_is_the_mean_over_time_of_the_normed_rows() -> None:
    model = small().eval()
    with torch.no_grad():
        model.bn.running_mean = torch.randn(768)
        z = model._over_time(model.frame_tokens(clips(2)))
        rows = functional.batch_norm(z.transpose(1, 2), model.bn.running_mean, model.bn.running_var)
        torch.testing.assert_close(model.embed(clips(2)), rows.mean(dim=2), rtol=1e-4, atol=1e-4)


def test_the_order_of_the_frames_matters() -> None:
    tokens = torch.randn(1, 4, 768, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        forth, back = (small().eval().embed_tokens(x) for x in (tokens, tokens.flip(1)))
    assert (forth - back).abs().max() > 1e-2


def test_one_frame_of_one_clip_is_enough_to_embed() -> None:
    with torch.inference_mode():
        assert small().eval().embed(clips(1, 1)).shape == (1, 768)


def test_clips_of_more_than_nine_frames_and_other_sizes_are_refused() -> None:
    model = small().eval()
    with pytest.raises(ValueError, match="9 positions"):
        model.embed(clips(1, 10))
    with pytest.raises(ValueError, match="64 x 64"):
        model.embed(torch.zeros(1, 8, 3, 128, 64))
    with pytest.raises(ValueError, match="multiples of 64"):
        STAFormer(2, input_hw=(256, 100))


def test_bfloat16_changes_the_losses_little() -> None:
    model = small().eval()
    pids = torch.tensor([0, 0, 1, 1])
    with torch.no_grad():
        full = model.loss_terms(model(clips()), pids)
        with torch.autocast("cpu", torch.bfloat16):
            half = model.loss_terms(model(clips()), pids)
    for name in full:
        assert half[name].item() == pytest.approx(full[name].item(), rel=0.1, abs=0.05), name
