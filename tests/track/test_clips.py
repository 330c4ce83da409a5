from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.track.build import build_clip_collector
from pipeline.track.clips import ClipCollector, join_clips, promise, sharpness
from pipeline.track.config import ClipConfig
from pipeline.types import Clips, Float32, Tracks, UInt8

HW = (64, 32)
SIZE = (360, 640)
NOBODY = np.zeros(0, np.int64)


def picture(shade: int = 128, seed: int = 0, noise: float = 40.0) -> UInt8:
    """A textured grey picture whose mean tells the shade."""
    rng = np.random.default_rng(seed)
    return np.clip(rng.normal(shade, noise, (*SIZE, 3)), 0, 255).astype(np.uint8)


def people(*boxes: tuple[float, float, float, float], score: float = 0.9, first_id: int = 1) -> Tracks:
    xyxy = np.array(boxes, np.float32).reshape(-1, 4)
    return Tracks(np.arange(first_id, first_id + len(xyxy)), xyxy, np.full(len(xyxy), score, np.float32))


STANDING = (100.0, 100.0, 180.0, 280.0)


def collector(clip_length: int = 4, **config: float) -> ClipCollector:
    return ClipCollector(ClipConfig(**{"first_clip_crops": clip_length, **config}), clip_length, HW)  # type: ignore[arg-type]


def test_no_tracks_and_no_ids_give_empty_clips() -> None:
    c = collector()
    for clips in (c.update(picture(), Tracks.empty(), 0.0), c.finish(NOBODY), c.finish(np.array([7]))):
        assert len(clips) == 0
        assert clips.image.shape == (0, 4, 64, 32, 3)


def test_clip_comes_when_enough_spans_have_a_crop() -> None:
    c = collector(4, spacing_s=0.25)
    ready = [(i * 0.1, c.update(picture(seed=i), people(STANDING), i * 0.1)) for i in range(14)]
    times = [t for t, clips in ready if len(clips)]
    assert times == [pytest.approx(1.2)]  # spans end at 0.3, 0.6, 0.9, 1.2
    (clips,) = [clips for _, clips in ready if len(clips)]
    assert clips.track_id.tolist() == [1]
    assert clips.num_crops.tolist() == [4]
    assert clips.image.shape == (1, 4, 64, 32, 3)
    assert 0 < clips.quality[0] <= 1


def test_first_clip_comes_early_and_repeats_its_crops_in_turn() -> None:
    c = ClipCollector(ClipConfig(first_clip_crops=3, spacing_s=0.2), 8, HW)
    for i in range(20):
        clips = c.update(picture(40 + 5 * i), people(STANDING), i * 0.1)
        if len(clips):
            break
    assert i == 6
    assert clips.num_crops.tolist() == [3]
    for k in range(3, 8):
        np.testing.assert_array_equal(clips.image[0, k], clips.image[0, k - 3])
    assert len({crop.tobytes() for crop in clips.image[0]}) == 3


def test_span_grows_with_every_clip_up_to_its_limit() -> None:
    c = collector(2, spacing_s=0.5, spacing_growth=2.0, max_spacing_s=2.0)
    times = [i * 0.1 for i in range(200) if len(c.update(picture(seed=i % 7), people(STANDING), i * 0.1))]
    assert np.diff([0.0, *times]) == pytest.approx([1.0, 2.0, 4.0, 4.0, 4.0, 4.0], abs=0.3)


def test_best_crop_of_a_span_wins_by_height_and_by_score() -> None:
    for low, high in (
        (people((100, 100, 140, 180)), people(STANDING)),
        (people(STANDING, score=0.5), people(STANDING, score=0.95)),
    ):
        for order in ((low, high), (high, low)):
            c = collector(1, spacing_s=1.0, min_quality=0.0)
            for i, tracks in enumerate(order):
                c.update(picture(200 if tracks is high else 60), tracks, i * 0.5)
            assert c.finish(np.array([1])).image.mean() > 150


def test_sharp_crop_wins_over_a_blurred_one() -> None:
    sharp = picture(200, noise=40)
    blurred = np.repeat(np.repeat(picture(60, noise=40)[::40, ::40], 40, axis=0), 40, axis=1)
    assert sharpness(sharp) > 2 * sharpness(blurred)
    for order in ((sharp, blurred), (blurred, sharp)):
        c = collector(1, spacing_s=1.0)
        for i, image in enumerate(order):
            c.update(image, people(STANDING), i * 0.5)
        assert c.finish(np.array([1])).image.mean() > 150


def test_hidden_person_gives_low_quality_and_the_one_in_front_does_not() -> None:
    behind, front = (100.0, 100.0, 180.0, 280.0), (110.0, 110.0, 190.0, 300.0)
    alone = promise(people(behind), 640, 360, 160.0)[0]
    hidden, clear = promise(people(behind, front), 640, 360, 160.0)
    assert hidden < 0.1 * alone
    assert clear == pytest.approx(alone)


@pytest.mark.parametrize("box", [(0, 100, 60, 250), (600, 100, 640, 250), (300, 0, 360, 150), (300, 210, 360, 360)])
def test_box_cut_by_the_border_is_worth_half(box: tuple[float, float, float, float]) -> None:
    inside = (450.0, 100.0, 510.0, 250.0)
    cut, whole = promise(people(box, inside), 640, 360, 100.0)
    assert cut == pytest.approx(0.5 * whole)


def test_span_waits_for_a_good_crop_while_the_person_is_hidden() -> None:
    hidden = people(STANDING, (100, 105, 180, 300))
    c = collector(2, spacing_s=0.2)
    for i in range(10):
        clips = c.update(picture(60, i), hidden, i * 0.1)
        assert 1 not in clips.track_id.tolist()
    for i in range(10, 16):
        clips = c.update(picture(200, i), people(STANDING), i * 0.1)
        if 1 in clips.track_id.tolist():
            break
    row = clips.track_id.tolist().index(1)
    assert clips.num_crops[row] == 2
    assert clips.image[row].mean(axis=(1, 2, 3)).min() > 150


def test_short_track_yields_one_padded_clip_when_it_ends() -> None:
    c = collector(4)
    for i in range(4):
        assert len(c.update(picture(seed=i), people(STANDING), i * 0.1)) == 0
    clips = c.finish(np.array([1]))
    assert clips.track_id.tolist() == [1]
    assert clips.num_crops.tolist() == [2]
    np.testing.assert_array_equal(clips.image[0, 2], clips.image[0, 0])
    assert len(c.finish(np.array([1]))) == 0


def test_track_that_was_never_seen_well_yields_its_best_crop_once() -> None:
    c = collector(4, min_quality=0.9)
    for i in range(20):
        c.update(picture(seed=i), people(STANDING, score=0.2), i * 0.1)
    clips = c.finish(np.array([1]))
    assert clips.num_crops.tolist() == [1]
    assert 0 < clips.quality[0] < 0.9


def test_track_whose_later_crops_are_poor_yields_no_second_clip() -> None:
    c = collector(1, spacing_s=0.1)
    c.update(picture(), people(STANDING), 0.0)
    assert len(c.update(picture(), people(STANDING, score=0.01), 0.2)) == 1
    c.update(picture(), people(STANDING, score=0.01), 0.6)
    assert len(c.finish(np.array([1]))) == 0


def test_last_clips_come_in_the_order_asked_for_and_once_for_a_repeated_id() -> None:
    c = collector(2)
    c.update(picture(), people(STANDING, (300, 100, 380, 280)), 0.0)
    assert c.finish(np.array([2, 9, 1, 2])).track_id.tolist() == [2, 1]


def test_crop_shows_the_box_stretched_to_the_input() -> None:
    image = np.zeros((*SIZE, 3), np.uint8)
    image[100:190, 100:180] = (255, 0, 0)
    image[190:280, 100:180] = (0, 0, 255)
    c = collector(1, min_quality=0.0)
    c.update(image, people(STANDING), 0.0)
    crop = c.finish(np.array([1])).image[0, 0]
    assert crop[:30].reshape(-1, 3).mean(axis=0).tolist() == pytest.approx([255, 0, 0], abs=3)
    assert crop[34:].reshape(-1, 3).mean(axis=0).tolist() == pytest.approx([0, 0, 255], abs=3)


def test_box_that_reaches_out_of_the_picture_is_cut_and_one_outside_is_skipped() -> None:
    c = collector(1)
    c.update(picture(), people((-50.5, -20, 60, 900), (700, 100, 760, 300), (-90, 10, -5, 200)), 0.0)
    assert c.finish(np.array([1, 2, 3])).track_id.tolist() == [1]


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), clip_length=st.integers(1, 5))
def test_memory_is_bounded_by_the_clip_length_and_dies_with_the_track(seed: int, clip_length: int) -> None:
    rng = np.random.default_rng(seed)
    c = collector(clip_length, first_clip_crops=2)
    image = picture()
    yielded: list[Clips] = []
    for i in range(60):
        low = rng.uniform(-20, 500, (4, 2))
        xyxy = np.concatenate((low, low + rng.uniform(5, 200, (4, 2))), axis=1).astype(np.float32)
        score: Float32 = rng.uniform(0, 1, 4).astype(np.float32)
        tracks = Tracks(np.arange(1, 5), xyxy, score)[rng.random(4) < 0.8]
        yielded.append(c.update(image, tracks, i * 0.2))
        assert c.num_crops() <= 4 * clip_length
    yielded.append(c.finish(np.arange(1, 5)))
    assert c.num_crops() == 0
    for clips in yielded:
        assert np.all((clips.quality > 0) & (clips.quality <= 1))
        assert np.all((clips.num_crops >= 1) & (clips.num_crops <= clip_length))


def test_the_picture_is_neither_changed_nor_kept() -> None:
    image = picture(200)
    before = image.copy()
    c = collector(1)
    c.update(image, people(STANDING), 0.0)
    np.testing.assert_array_equal(image, before)
    image[:] = 0
    assert c.finish(np.array([1])).image.mean() > 150


def test_crop_of_the_inputs_own_size_is_a_copy_as_well() -> None:
    image = picture(200)
    c = collector(1, min_quality=0.0)
    c.update(image, people((100, 100, 132, 164)), 0.0)
    image[:] = 0
    assert c.finish(np.array([1])).image.mean() > 150


@pytest.mark.parametrize(("clip_length", "input_hw"), [(0, HW), (4, (0, 32))])
def test_clips_without_crops_or_pixels_are_refused(clip_length: int, input_hw: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="at least one"):
        build_clip_collector(ClipConfig(), clip_length, input_hw)


def test_spans_out_of_order_are_refused() -> None:
    with pytest.raises(ValueError, match="spacing_s <= max_spacing_s"):
        ClipConfig(spacing_s=5.0, max_spacing_s=1.0)


def test_joined_clips_keep_their_order() -> None:
    def one(track_id: int) -> Clips:
        return Clips(np.array([track_id]), np.zeros((1, 4, 8, 4, 3), np.uint8), np.array([2]), np.array([0.5]))

    none = Clips.empty(4, 8, 4)
    assert join_clips(none, one(3), none, one(1)).track_id.tolist() == [3, 1]
    assert len(join_clips(none, none)) == 0
