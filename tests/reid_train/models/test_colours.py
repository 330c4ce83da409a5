"""The colours beside the backbone: by hand, and what light and background do to them."""

from __future__ import annotations

import numpy as np
import torch

from reid_train.data.config import IMAGENET_MEAN, IMAGENET_STD
from reid_train.models.colours import NUM_COLOURS, TONES, Colours
from reid_train.models.light import Light
from tests.reid_train.models.small import small_clips, small_model

ACROSS = torch.softmax(-8.0 * torch.linspace(-0.5, 0.5, 8).square(), dim=0)


def _crop(*rgb: float) -> torch.Tensor:
    """(1, 3, 32, 16) of one colour, normalised."""
    pixels = (torch.tensor(rgb) - torch.tensor(IMAGENET_MEAN)) / torch.tensor(IMAGENET_STD)
    return pixels.view(1, 3, 1, 1).expand(1, 3, 32, 16).clone()


def _parts(crop: torch.Tensor) -> dict[str, torch.Tensor]:
    """Numbers of each kind, (colours or tones, 2 stripes)."""
    values = Colours(2)(crop, ACROSS)[0].reshape(NUM_COLOURS, 2)
    return dict(
        zip(("mean", "spread", "sides", "largest", "tones"), values.split([3, 3, 3, 3, len(TONES)]), strict=True)
    )


def test_an_even_colour_is_its_logarithms_and_has_no_spread() -> None:
    parts = _parts(_crop(0.8, 0.2, 0.4))
    red, green, blue = np.log([0.83, 0.23, 0.43])
    expected = [0.2 * (red + green + blue), red - green, blue - (red + green) / 2]
    for kind in ("mean", "sides", "largest"):
        np.testing.assert_allclose(parts[kind].numpy(), np.repeat(expected, 2).reshape(3, 2), atol=1e-5)
    assert float(parts["spread"].max()) < 2e-3


def test_tones_are_a_normal_curve_of_the_distance_over_their_sum() -> None:
    colour = np.array(TONES[4]) + np.array([0.0, 0.1, 0.0])
    found = Colours(2).tones(torch.tensor(colour, dtype=torch.float32).view(1, 3, 1, 1))[0, :, 0, 0].numpy()
    kernel = np.exp(-np.square(colour - np.array(TONES)).sum(axis=1) / (2 * 0.25**2))
    np.testing.assert_allclose(found, kernel / (kernel.sum() + 0.05), atol=1e-5)
    assert found.argmax() in {4, 3} and found.sum() < 1


def test_a_brighter_light_moves_all_colours_by_the_same_offset() -> None:
    colours = Colours(2)
    dim, other = colours.opponents(_crop(0.2, 0.3, 0.4)), colours.opponents(_crop(0.4, 0.1, 0.3))
    brighter, brighter_other = (
        colours.opponents(_crop(*(2 * v + 0.03 for v in c))) for c in ((0.2, 0.3, 0.4), (0.4, 0.1, 0.3))
    )
    torch.testing.assert_close(brighter - dim, brighter_other - other, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close((brighter - dim)[:, 1:], torch.zeros(1, 2, 16, 8), rtol=0, atol=1e-4)


def test_the_background_is_told_at_the_sides_and_hardly_in_the_middle() -> None:
    crop = _crop(0.6, 0.1, 0.1)
    crop[..., :4] = crop[..., 12:] = _crop(0.1, 0.1, 0.6)[..., :4]
    parts, person, place = _parts(crop), _parts(_crop(0.6, 0.1, 0.1)), _parts(_crop(0.1, 0.1, 0.6))
    assert (parts["mean"] - person["mean"]).abs().sum() < (parts["mean"] - place["mean"]).abs().sum()
    assert (parts["sides"] - place["sides"]).abs().sum() < (parts["sides"] - person["sides"]).abs().sum()


def test_they_stand_behind_what_the_backbone_sees_and_need_no_half_digits() -> None:
    with_colours, without = small_model("light", colours=2.0), small_model("light")
    assert isinstance(with_colours, Light) and isinstance(without, Light)
    with_colours.backbone.load_state_dict(without.backbone.state_dict())
    images = small_clips(without, 1, 2)[0]
    with torch.no_grad():
        both, seen = with_colours.stripe_features(images), without.stripe_features(images)
        assert both.shape[1] - seen.shape[1] == 4 * NUM_COLOURS
        torch.testing.assert_close(both[:, : seen.shape[1]], seen)
        with torch.autocast("cpu", torch.bfloat16):
            coarse = with_colours.stripe_features(images)
    assert coarse.dtype == torch.float32
    torch.testing.assert_close(coarse[:, seen.shape[1] :], both[:, seen.shape[1] :])
    assert with_colours.weights.tolist() == [1.0] * seen.shape[1] + [2.0] * (4 * NUM_COLOURS)
