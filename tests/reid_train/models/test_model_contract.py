"""What every network of `ReidModel` promises, on small forms of them."""

from __future__ import annotations

import pytest
import torch

from reid_train.models import build_model
from reid_train.models.model import ReidModel, block_weights, check_clips, masked_mean
from tests.reid_train.models.small import OPTIONS, small_clips, small_model

NUM_PIDS = 4


@pytest.mark.parametrize("name", OPTIONS)
def test_a_network_keeps_the_interface(name: str) -> None:
    model = small_model(name)
    assert isinstance(model, ReidModel)
    assert model.name == name
    assert model.clip_length % model.frame_multiple == 0
    clips = small_clips(model, 2, model.clip_length)
    with torch.no_grad():
        assert model.embed(clips).shape == (2, model.dim)
        outputs = model(clips)
    logits = [value for key, value in outputs.items() if key.startswith("logits")]
    assert logits and all(value.shape[0] in (2, 2 * model.clip_length) for value in logits)
    assert all(value.shape[-1] == NUM_PIDS for value in logits)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", OPTIONS)
def test_no_clips_give_no_vectors(name: str, masked: bool) -> None:
    model = small_model(name)
    mask = torch.zeros(0, 8, dtype=torch.bool) if masked else None
    with torch.no_grad():
        assert model.embed(small_clips(model, 0, 8), mask).shape == (0, model.dim)


@pytest.mark.parametrize("name", OPTIONS)
def test_parameter_groups_hold_every_trainable_parameter_once(name: str) -> None:
    model = small_model(name)
    grouped = [id(parameter) for group in model.param_groups().values() for parameter in group]
    assert sorted(grouped) == sorted(id(p) for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize("name", OPTIONS)
def test_a_vector_does_not_depend_on_the_other_clips_of_the_batch(name: str) -> None:
    model = small_model(name)
    clips = small_clips(model, 3, model.clip_length)
    with torch.no_grad():
        torch.testing.assert_close(model.embed(clips)[1:2], model.embed(clips[1:2]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", OPTIONS)
def test_a_full_mask_changes_nothing(name: str) -> None:
    model = small_model(name)
    clips = small_clips(model, 2, 8)
    with torch.no_grad():
        masked = model.embed(clips, torch.ones(2, 8, dtype=torch.bool))
        torch.testing.assert_close(masked, model.embed(clips), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [name for name in OPTIONS if small_model(name).uses_mask])
def test_frames_outside_the_mask_have_no_influence(name: str) -> None:
    model = small_model(name)
    clips = small_clips(model, 2, 6)
    mask = torch.tensor([[True] * 4 + [False] * 2, [True, False, True, True, True, False]])
    with torch.no_grad():
        together = model.embed(clips, mask)
        alone = torch.cat([model.embed(clip[keep][None]) for clip, keep in zip(clips, mask, strict=True)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [name for name in OPTIONS if name != "sticc"])  # sticc refuses it
def test_a_clip_without_a_real_frame_gives_finite_numbers(name: str) -> None:
    model = small_model(name)
    with torch.no_grad():
        assert model.embed(small_clips(model, 1, 8), torch.zeros(1, 8, dtype=torch.bool)).isfinite().all()


@pytest.mark.parametrize("name", OPTIONS)
def test_one_step_gives_finite_losses_and_a_gradient_for_every_parameter(name: str) -> None:
    model = small_model(name).train()
    clips = small_clips(model, 4, model.clip_length)
    pids = torch.tensor([0, 0, 1, 1])
    terms = model.loss_terms(model(clips), pids)
    assert all(term.shape == () and term.isfinite() for term in terms.values())
    torch.stack(list(terms.values())).sum().backward()
    for key, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None and parameter.grad.isfinite().all(), key
            # softmax ignores what is the same for all keys, and with it the bias of phi
            assert key.endswith("phi.bias") or parameter.grad.abs().sum() > 0, key


@pytest.mark.parametrize("name", [name for name in OPTIONS if name != "st_reid"])  # its own tests show it
def test_a_few_steps_on_one_batch_lower_the_loss(name: str) -> None:
    model = small_model(name).train()
    clips = small_clips(model, 4, model.clip_length)
    pids = torch.tensor([0, 0, 1, 1])
    optimiser = torch.optim.Adam([p for group in model.param_groups().values() for p in group], lr=1e-3)
    losses = []
    for _ in range(5):
        loss = torch.stack(list(model.loss_terms(model(clips), pids).values())).sum()
        losses.append(float(loss.detach()))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert losses[-1] < 0.9 * losses[0], losses


@pytest.mark.parametrize("name", ["psta", "ste_nvan", "nvan", "ste_nvan_baseline", "sticc", "light"])
def test_the_bias_of_the_necks_stays_zero(name: str) -> None:
    model = build_model(name, NUM_PIDS, **OPTIONS[name])
    necks = [(key, p) for key, p in model.named_parameters() if key.startswith("neck") and key.endswith("bias")]
    assert necks
    assert all(not p.requires_grad and not p.any() for _, p in necks)


@pytest.mark.parametrize("name", OPTIONS)
def test_crops_of_another_size_are_refused(name: str) -> None:
    model = small_model(name)
    height, width = model.input_hw
    with pytest.raises(ValueError, match=f"built for {height} x {width}"):
        model.embed(torch.zeros(1, 8, 3, height + 16, width))


@pytest.mark.parametrize("name", ["psta", "ste_nvan"])
@pytest.mark.parametrize("num_frames", [0, 1, 6, 9])
def test_a_wrong_number_of_frames_is_refused(name: str, num_frames: int) -> None:
    model = small_model(name)
    with pytest.raises(ValueError, match=f"{num_frames} frames"):
        model.embed(small_clips(model, 1, num_frames))


def test_clips_of_another_shape_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"\(N, T, 3, H, W\)"):
        check_clips(torch.zeros(2, 3, 8, 16, 16), 1)
    with pytest.raises(ValueError, match="64 x 32"):
        check_clips(torch.zeros(2, 8, 3, 64, 32), 1, (32, 64))


def test_masked_mean_by_hand() -> None:
    rows = torch.tensor([[[1.0], [3.0], [8.0]], [[1.0], [3.0], [8.0]]])
    mask = torch.tensor([[True, True, False], [False, False, False]])
    assert masked_mean(rows, mask).tolist() == [[2.0], [0.0]]
    assert masked_mean(rows, None).tolist() == [[4.0], [4.0]]
    assert masked_mean(rows, torch.tensor([[1.0, 0.0, 0.25], [0.0, 1.0, 0.0]])).flatten().tolist() == pytest.approx(
        [2.4, 3]
    )


def test_blocks_weigh_as_much_as_their_share_of_real_frames() -> None:
    mask = torch.tensor([[True] * 4 + [True, False, False, False]])
    weights = block_weights(mask, 4)
    assert weights is not None and weights.tolist() == [[1.0, 0.25]]
    assert block_weights(None, 4) is None
