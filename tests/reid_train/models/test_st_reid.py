from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from reid_train.models import build_model
from reid_train.models.model import ReidModel
from reid_train.models.st_reid import STReID, official_key
from tests.reid_train.reference import assert_golden, golden_input, needs_reference, official_shapes, official_state

SMALL: dict[str, Any] = {"input_hw": (96, 48), "blocks": (1, 1, 1, 1)}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def small() -> STReID:
    torch.manual_seed(0)
    model = build_model("st_reid", 5, **SMALL)
    assert isinstance(model, STReID)
    return model.eval()


def clips(num: int, frames: int = 1, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((num, frames, 3, 96, 48), np.float32))


@needs_reference("st_reid")
def test_every_published_key_has_its_place_and_shape() -> None:
    own = {key: tuple(value.shape) for key, value in STReID(751).state_dict().items()}
    published = official_shapes("st_reid")
    assert len(published) == 374
    assert {official_key(key): shape for key, shape in published.items() if official_key(key)} == own
    assert [key for key in published if official_key(key) is None] == ["model.fc.weight", "model.fc.bias"]


@pytest.mark.slow
@needs_reference("st_reid")
def test_the_reference_embedding_is_reproduced() -> None:
    model = STReID(751)
    model.load_state_dict(
        {ours: value for key, value in official_state("st_reid").items() if (ours := official_key(key))}
    )
    with torch.inference_mode():
        images = golden_input(1, 2, 3, 384, 192)[0]
        embedding = model.eval().embed(images[:, None])
    assert_golden(embedding, "st_reid")
    first = [0.00285948895, 0.00366231654, 0.00368412175, 0.00362184771, 0.00376037878]
    np.testing.assert_allclose(embedding[0, :5], first, rtol=1e-4)


def test_it_is_a_reid_model_of_images(small: STReID) -> None:
    assert isinstance(small, ReidModel)
    assert (small.dim, small.clip_length, small.input_hw) == (12_288, 1, (96, 48))
    groups = small.param_groups()
    listed = [id(parameter) for group in groups.values() for parameter in group]
    assert sorted(listed) == sorted(id(parameter) for parameter in small.parameters())
    assert len(set(listed)) == len(listed)


def test_the_vector_has_unit_norm_with_all_parts_of_one_weight(small: STReID) -> None:
    with torch.inference_mode():
        vector = small.embed(clips(3))
    assert vector.shape == (3, 12_288)
    torch.testing.assert_close(vector.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(vector.reshape(3, 2048, 6).norm(dim=1), torch.full((3, 6), 6**-0.5))


def test_a_mirrored_image_is_the_same_person(small: STReID) -> None:
    with torch.inference_mode():
        torch.testing.assert_close(small.embed(clips(2)), small.embed(clips(2).flip(-1)))


def test_masked_frames_do_not_count_and_repeated_ones_change_nothing(small: STReID) -> None:
    clip = clips(1, 3)
    padded = torch.cat((clip, clips(1, 2, seed=1)), dim=1)
    mask = torch.tensor([[True, True, True, False, False]])
    with torch.inference_mode():
        torch.testing.assert_close(small.embed(padded, mask), small.embed(clip))
        torch.testing.assert_close(small.embed(clip[:, :1].repeat(1, 4, 1, 1, 1)), small.embed(clip[:, :1]))
        outputs = small(padded, mask)
        pids = torch.tensor([3])
        alone = small.loss_terms(small(clip), pids)["cross_entropy"]
        torch.testing.assert_close(small.loss_terms(outputs, pids)["cross_entropy"], alone)


def test_the_loss_is_the_sum_of_six_cross_entropies() -> None:
    model = build_model("st_reid", 5, **SMALL)
    outputs = {"logits": torch.zeros(4, 2, 6, 5), "weight": torch.ones(4, 2)}
    loss = model.loss_terms(outputs, torch.tensor([0, 1, 2, 3]))["cross_entropy"]  # type: ignore[operator]
    torch.testing.assert_close(loss, torch.tensor(6 * np.log(5), dtype=torch.float32))


def test_reduced_vectors_are_short_and_of_unit_norm() -> None:
    model = build_model("st_reid", 5, embedding="reduced", **SMALL).eval()
    with torch.inference_mode():
        vector = model.embed(clips(2))  # type: ignore[operator]
    assert vector.shape == (2, 1536)
    torch.testing.assert_close(vector.norm(dim=1), torch.ones(2))


def test_the_loss_falls_on_four_people() -> None:
    torch.manual_seed(0)
    model = STReID(4, input_hw=(96, 48), blocks=(1, 1, 1, 1)).train()
    pids = torch.arange(4).repeat(2)
    images = clips(4, seed=2).repeat(2, 1, 1, 1, 1) + 0.3 * clips(8, seed=3)
    groups = model.param_groups()
    rates = [{"params": groups["backbone"], "lr": 0.01}, {"params": groups["head"], "lr": 0.1}]
    optimiser = torch.optim.SGD(rates, momentum=0.9, nesterov=True)
    losses = []
    for _ in range(6):
        loss = torch.stack(list(model.loss_terms(model(images), pids).values())).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(6 * np.log(4), rel=0.2)
    assert losses[-1] < 0.5 * losses[0]


def test_mistakes_are_named(small: STReID) -> None:
    with pytest.raises(ValueError, match="multiples of 96 x 16 pixels"):
        build_model("st_reid", 5, input_hw=(256, 128))
    with pytest.raises(ValueError, match="embedding 'part'"):
        build_model("st_reid", 5, embedding="part")
    with pytest.raises(ValueError, match="built for 96 x 48"):
        small.embed(torch.zeros(1, 1, 3, 192, 96))
    assert official_key("classifier9.add_block.7.weight") not in small.state_dict()
