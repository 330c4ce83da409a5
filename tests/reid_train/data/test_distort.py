"""What another camera makes of a clip: possible pictures, the same change for every frame, and the very same again."""

from __future__ import annotations

import numpy as np
import pytest

from reid_train.data.config import DistortionConfig, TransformConfig
from reid_train.data.distort import coarsen, distort, encoded, hide, move_box, relight, saturated
from reid_train.data.transforms import transform_clip

NOTHING = DistortionConfig(
    box_probability=0, hide_probability=0, light_probability=0, grey_probability=0, coarse_probability=0,
    blur_probability=0, noise_probability=0, jpeg_probability=0,
)  # fmt: skip
STILL = DistortionConfig(
    box_probability=1, hide_probability=1, light_probability=1, coarse_probability=1, blur_probability=1,
    noise_probability=0, jpeg_probability=1,
)  # fmt: skip


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def still(num_frames: int = 3) -> np.ndarray:
    rows = np.linspace(30, 220, 64)[:, None, None] * np.array([1.0, 0.7, 0.4]) + np.arange(32)[None, :, None]
    return np.repeat(np.clip(rows, 0, 255).astype(np.uint8)[None], num_frames, axis=0)


def test_with_no_part_chosen_nothing_changes() -> None:
    assert np.array_equal(distort(still(), NOTHING, rng()), still())


@pytest.mark.parametrize("seed", range(12))
def test_all_frames_of_a_clip_change_alike_and_the_same_draw_gives_the_same_picture(seed: int) -> None:
    changed = distort(still(), STILL, rng(seed))
    assert changed.shape == still().shape and changed.dtype == np.uint8
    assert not np.array_equal(changed, still())
    assert np.array_equal(changed[0], changed[2])
    assert np.array_equal(changed, distort(still(), STILL, rng(seed)))


def test_the_frames_that_come_in_are_left_as_they_are() -> None:
    frames = still()
    for seed in range(5):
        distort(frames, DistortionConfig(hide_probability=1), rng(seed))
    assert np.array_equal(frames, still())


def test_grey_has_three_equal_channels_and_full_saturation_changes_nothing() -> None:
    grey = saturated(still(), 0.0)
    assert np.array_equal(grey[..., 0], grey[..., 1]) and np.array_equal(grey[..., 1], grey[..., 2])
    assert np.abs(saturated(still(), 1.0).astype(int) - still()).max() <= 1


def test_a_moved_box_never_shows_a_black_border() -> None:
    for seed in range(20):
        moved = move_box(np.full((1, 64, 32, 3), 90, np.uint8), DistortionConfig(box_shift=0.4, box_scale=1), rng(seed))
        assert moved.min() == moved.max() == 90


def test_what_stands_in_front_covers_at_most_its_share() -> None:
    for seed in range(20):
        covered = (hide(still(), DistortionConfig(hide_share=0.3), rng(seed)) != still()).any(axis=(0, 3)).mean()
        assert 0.03 < covered <= 0.33


def test_more_light_makes_no_pixel_darker() -> None:
    only_exposure = DistortionConfig(white_balance=0, gamma=0, contrast=0, saturation=0)
    darker = brighter = 0
    for seed in range(10):
        change = relight(still(), only_exposure, rng(seed)).astype(int) - still()
        assert change.min() >= -1 or change.max() <= 1  # rounding
        darker, brighter = darker + (change.min() < -1), brighter + (change.max() > 1)
    assert darker and brighter


def test_fewer_pixels_and_worse_jpeg_lose_more() -> None:
    noise = rng(3).integers(0, 256, (1, 64, 32, 3), dtype=np.uint8)
    lost = [np.abs(change.astype(int) - noise).mean() for change in (coarsen(noise, 0.9), coarsen(noise, 0.3))]
    assert 0 < lost[0] < lost[1]
    lost = [np.abs(encoded(noise, quality).astype(int) - noise).mean() for quality in (95, 30)]
    assert 0 < lost[0] < lost[1]


def test_training_clips_are_distorted_and_test_clips_are_not() -> None:
    config = TransformConfig(input_hw=(64, 32), flip_probability=0.0, distortion=STILL)
    plain = transform_clip(still(), TransformConfig(input_hw=(64, 32)))
    assert (transform_clip(still(), config) - plain).abs().max() == 0
    assert (transform_clip(still(), config, rng()) - plain).abs().max() > 0.1
