"""What happens to the images of a clip: the same for all of its frames, and what the published systems did."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from reid_train.data.config import (
    CIFAR_MEAN,
    IMAGENET_MEAN,
    IMAGENET_STD,
    TRAIN_TRANSFORMS,
    ErasingConfig,
    TransformConfig,
)
from reid_train.data.transforms import draw_rectangle, flip, normalise, pad_and_crop, transform_clip

HW = (32, 16)
PLAIN = TransformConfig(input_hw=HW, flip_probability=0.0)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def noise(num_frames: int = 4, hw: tuple[int, int] = HW) -> np.ndarray:
    return rng(5).integers(0, 256, (num_frames, *hw, 3), dtype=np.uint8)


def still(num_frames: int = 4) -> np.ndarray:
    return np.repeat(noise(1), num_frames, axis=0)


def test_normalise_is_scale_mean_and_std_by_channel() -> None:
    frames = noise()
    clip = normalise(frames, IMAGENET_MEAN, IMAGENET_STD)
    wanted = (frames.astype(np.float64) / 255 - np.array(IMAGENET_MEAN)) / np.array(IMAGENET_STD)
    assert clip.shape == (4, 3, *HW) and clip.dtype == torch.float32 and clip.is_contiguous()
    np.testing.assert_allclose(clip.numpy(), wanted.transpose(0, 3, 1, 2), atol=1e-6)


def test_normalise_equals_torchvision() -> None:
    functional = pytest.importorskip("torchvision.transforms.functional")
    frames = noise(1)
    theirs = functional.normalize(functional.to_tensor(frames[0]), IMAGENET_MEAN, IMAGENET_STD)
    assert torch.equal(normalise(frames, IMAGENET_MEAN, IMAGENET_STD)[0], theirs)


def test_flip_mirrors_left_to_right() -> None:
    frames = noise()
    assert np.array_equal(flip(frames), frames[:, :, ::-1])


def test_a_clip_without_a_generator_is_only_normalised() -> None:
    frames = noise()
    busy = TRAIN_TRANSFORMS["sticc"].model_copy(update={"input_hw": HW})
    assert torch.equal(transform_clip(frames, busy), normalise(frames, IMAGENET_MEAN, IMAGENET_STD))


def test_half_of_the_clips_are_mirrored_and_always_whole() -> None:
    frames = noise()
    config = TransformConfig(input_hw=HW, flip_probability=0.5)
    as_is, mirrored = (normalise(f, IMAGENET_MEAN, IMAGENET_STD) for f in (frames, flip(frames)))
    clips = [transform_clip(frames, config, rng(seed)) for seed in range(200)]
    num_mirrored = sum(torch.equal(c, mirrored) for c in clips)
    assert num_mirrored + sum(torch.equal(c, as_is) for c in clips) == 200
    assert 70 < num_mirrored < 130


@given(st.integers(1, 20), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_pad_and_crop_is_a_window_of_the_padded_frames(pad_px: int, seed: int) -> None:
    frames = noise()
    padded = np.pad(frames, ((0, 0), (pad_px, pad_px), (pad_px, pad_px), (0, 0)))
    top, left = rng(seed).integers(0, 2 * pad_px + 1, 2)
    found = pad_and_crop(frames, pad_px, rng(seed))
    assert np.array_equal(found, padded[:, top : top + HW[0], left : left + HW[1]])


def erased_boxes(clip: torch.Tensor, plain: torch.Tensor) -> list[tuple[int, int, int, int] | None]:
    """The bounding box of what changed in each frame, which must be changed all over."""
    boxes: list[tuple[int, int, int, int] | None] = []
    for changed in (clip != plain).any(dim=1):
        rows, columns = (torch.nonzero(changed.any(dim=d)).ravel().tolist() for d in (1, 0))
        if not rows:
            boxes.append(None)
            continue
        assert bool(changed[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all())
        boxes.append((rows[0], columns[0], rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1))
    return boxes


def erased(erasing: ErasingConfig, seed: int, frames: np.ndarray) -> list[tuple[int, int, int, int] | None]:
    config = PLAIN.model_copy(update={"erasing": erasing})
    return erased_boxes(transform_clip(frames, config, rng(seed)), transform_clip(frames, PLAIN, rng(seed)))


def test_psta_erases_the_same_rectangle_in_every_frame() -> None:
    frames = noise()
    boxes = [erased(ErasingConfig(probability=1.0), seed, frames) for seed in range(30)]
    assert all(len(set(b)) == 1 and b[0] is not None for b in boxes)
    assert len({b[0] for b in boxes}) > 20


def test_staformer_draws_area_and_aspect_for_each_frame_but_shares_the_corner() -> None:
    frames = noise(8, (64, 32))
    plain = TransformConfig(input_hw=(64, 32), flip_probability=0.0)
    erasing = ErasingConfig(probability=1.0, rectangles="per_frame", fill=CIFAR_MEAN)
    config = plain.model_copy(update={"erasing": erasing})
    for seed in range(20):
        boxes = erased_boxes(transform_clip(frames, config, rng(seed)), transform_clip(frames, plain))
        found = [b for b in boxes if b is not None]
        assert len(found) == 8 and len({b[2:] for b in found}) > 4
        corners = np.array([(b[0] / (64 - b[2] + 1), b[1] / (32 - b[3] + 1)) for b in found])
        rooms = np.array([(64 - b[2] + 1, 32 - b[3] + 1) for b in found])
        # top = floor(u * room): one u lies in all of the intervals [top / room, (top + 1) / room)
        assert (corners.max(axis=0) < (corners + 1 / rooms).min(axis=0) + 1e-9).all()


def test_erasing_decides_once_for_the_clip() -> None:
    frames = noise()
    for rectangles in ("same", "per_frame"):
        erasing = ErasingConfig.model_validate({"rectangles": rectangles})
        whole = [erased(erasing, seed, frames) for seed in range(200)]
        assert all(all(b is None for b in boxes) or all(b is not None for b in boxes) for boxes in whole)
        assert 70 < sum(boxes[0] is not None for boxes in whole) < 130


@pytest.mark.parametrize(
    ("system", "value"),
    [("staformer", CIFAR_MEAN), ("psta", IMAGENET_MEAN), ("st_reid", (0.0, 0.0, 0.0)), ("sticc", (0.0, 0.0, 0.0))],
)
def test_the_published_fill_is_what_the_network_sees(system: str, value: tuple[float, float, float]) -> None:
    config = TRAIN_TRANSFORMS[system]
    assert config.erasing is not None
    always = config.erasing.model_copy(update={"probability": 1.0})
    config = config.model_copy(update={"erasing": always, "flip_probability": 0.0, "pad_px": 0})
    frames = noise(2, config.input_hw)
    clip = transform_clip(frames, config, rng(1))
    changed = (clip != transform_clip(frames, config)).any(dim=1)
    for frame, mask in zip(clip, changed, strict=True):
        assert bool(mask.any())
        torch.testing.assert_close(
            frame[:, mask], torch.tensor(value)[:, None].expand(3, int(mask.sum())), atol=1e-6, rtol=0)  # fmt: skip


def test_the_recipes_are_those_of_the_papers() -> None:
    assert {n: c.input_hw for n, c in TRAIN_TRANSFORMS.items() if c.input_hw != (256, 128)} == {"st_reid": (384, 192)}
    assert {n for n, c in TRAIN_TRANSFORMS.items() if c.interpolation == "bicubic"} == {"staformer", "psta", "st_reid"}
    assert {n for n, c in TRAIN_TRANSFORMS.items() if c.erasing is None} == {"ste_nvan"}
    assert {n for n, c in TRAIN_TRANSFORMS.items() if c.pad_px} == {"sticc"}
    assert {c.flip_probability for c in TRAIN_TRANSFORMS.values()} == {0.5}


@given(st.integers(0, 2000), st.floats(0, 0.999), st.floats(0, 0.999))
@settings(max_examples=60, deadline=None)
def test_rectangles_lie_in_the_frame_and_have_the_drawn_area(seed: int, u: float, v: float) -> None:
    drawn = draw_rectangle(256, 128, (u, v), ErasingConfig(), rng(seed))
    assert drawn is not None
    top, left, tall, wide = drawn
    assert top >= 0 and top + tall <= 256 and left >= 0 and left + wide <= 128
    assert 0.018 < tall * wide / (256 * 128) < 0.41
    assert 0.28 < tall / wide < 3.5


def test_a_frame_in_which_nothing_fits_stays_as_it_is() -> None:
    huge = ErasingConfig(area_min=0.98, area_max=0.99, attempts=5)
    assert draw_rectangle(256, 128, (0.0, 0.0), huge, rng()) is None


def test_all_frames_of_a_still_stay_equal_under_every_recipe_with_one_rectangle() -> None:
    for name, config in TRAIN_TRANSFORMS.items():
        small = config.model_copy(update={"input_hw": HW})
        for seed in range(20):
            clip = transform_clip(still(), small, rng(seed))
            assert bool((clip == clip[:1]).all()) or name == "staformer"


def test_frames_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match="want frames"):
        transform_clip(noise(2, (16, 16)), PLAIN)


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"input_hw": (0, 128)}, "input_hw"),
        ({"std": (0.0, 1.0, 1.0)}, "std must be positive"),
        ({"erasing": {"area_min": 0.5, "area_max": 0.1}}, "area_min"),
    ],
)
def test_impossible_settings_are_refused(settings_: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TransformConfig.model_validate(settings_)
