"""Which frames make a clip: the worked examples of the published systems' code, and what holds for any length."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reid_train.data import clips

LENGTHS = st.integers(1, 300)
T = 8


def stride(first: int, step: int, count: int = T) -> list[int]:
    return list(range(first, first + step * count, step))


@pytest.mark.parametrize(
    ("num_frames", "frames"),
    [
        (5, [0, 1, 2, 3, 4, 4, 4, 4]),
        (8, stride(0, 1)),
        (9, [0, 2, 4, 6, 8, 8, 8, 8]),
        (36, stride(0, 5)),
        (100, [0, 13, 26, 39, 52, 65, 78, 91]),
    ],
)
def test_ste_nvan_takes_the_first_frame_of_each_ceil_block(num_frames: int, frames: list[int]) -> None:
    assert clips.first_of_blocks(num_frames, T, "ceil").tolist() == [frames]


@pytest.mark.parametrize(
    ("num_frames", "frames"),
    [
        (5, [0, 1, 2, 3, 4, 4, 4, 4]),
        (8, stride(0, 1)),
        (9, stride(0, 1)),
        (36, stride(0, 4)),
        (100, stride(0, 12)),
    ],
)
def test_staformer_takes_the_first_frame_of_each_floor_block(num_frames: int, frames: list[int]) -> None:
    assert clips.first_of_blocks(num_frames, T, "floor").tolist() == [frames]


@pytest.mark.parametrize(
    ("num_frames", "frames"),
    [
        (5, [0, 1, 2, 3, 4, 0, 1, 2]),
        (8, stride(0, 1)),
        (9, stride(0, 1)),
        (17, stride(0, 2)),
        (36, stride(0, 4)),
        (56, stride(0, 4)),
        (57, stride(0, 8)),
        (100, stride(0, 8)),
    ],
)
def test_psta_begins_with_the_largest_stride_that_fits(num_frames: int, frames: list[int]) -> None:
    assert clips.begin_interval(num_frames, T).tolist() == [frames]


@pytest.mark.parametrize(
    ("num_frames", "wanted"),
    [
        (5, [[0, 1, 2, 3, 4, 0, 1, 2]]),
        (8, [stride(0, 1)]),
        (9, [stride(0, 1)]),
        (17, [stride(0, 2), stride(1, 2)]),
        (36, [stride(k, 4) for k in range(4)]),
        (100, [stride(k, 12) for k in range(12)]),
    ],
)
def test_dense_clips_are_strided_and_leave_the_tail_out(num_frames: int, wanted: list[list[int]]) -> None:
    assert clips.dense(num_frames, T).tolist() == wanted


def test_more_than_200_dense_clips_keep_the_middle_run() -> None:
    kept = clips.dense(8 * 210, T)
    assert kept.shape == (200, 8)
    assert kept[:, 0].tolist() == list(range(5, 205))
    assert kept[0].tolist() == stride(5, 210)


@pytest.mark.parametrize(
    ("num_frames", "wanted"),
    [
        (5, [[0, 1, 2, 2, 3, 3, 4, 4]]),
        (8, [stride(0, 1)]),
        (9, [[0, 2, 3, 4, 5, 6, 7, 8], [1, 2, 3, 4, 5, 6, 7, 8]]),
        (
            17,
            [[0, 3, 6, 9, 11, 12, 14, 15], [1, 4, 7, 10, 11, 13, 14, 16], [2, 5, 8, 10, 12, 13, 15, 16]],
        ),
    ],
)
def test_all_frames_are_padded_sorted_and_strided(num_frames: int, wanted: list[list[int]]) -> None:
    assert clips.all_frames(num_frames, T).tolist() == wanted


@pytest.mark.parametrize(("num_frames", "num_clips", "padded"), [(36, 5, 40), (100, 13, 104)])
def test_all_frames_of_long_tracklets_make_this_many_clips(num_frames: int, num_clips: int, padded: int) -> None:
    found = clips.all_frames(num_frames, T)
    assert found.shape == (num_clips, T)
    assert found.size == padded
    doubled = np.sort(np.append(np.arange(num_frames), np.arange(num_frames - (padded - num_frames), num_frames)))
    assert found[0].tolist() == doubled[::num_clips].tolist()


def test_evenly_takes_the_middles_of_equal_parts() -> None:
    assert clips.evenly(16, 8).tolist() == [stride(1, 2)]
    assert clips.evenly(4, 8).tolist() == [[0, 0, 1, 1, 2, 2, 3, 3]]
    assert clips.evenly(1, 4).tolist() == [[0, 0, 0, 0]]


def test_whole_is_one_clip_of_its_own_length_up_to_a_limit() -> None:
    assert clips.whole(3).tolist() == [[0, 1, 2]]
    assert clips.whole(3, 8).tolist() == [[0, 1, 2]]
    assert clips.whole(32, 8).tolist() == clips.evenly(32, 8).tolist()


def test_each_image_is_a_clip_of_itself() -> None:
    assert clips.each(2, 1).tolist() == [[0], [1]]
    assert clips.each(2, 3).tolist() == [[0, 0, 0], [1, 1, 1]]


def test_rrs_floor_gives_the_remainder_to_the_last_block() -> None:
    drawn = np.concatenate([clips.rrs(20, T, np.random.default_rng(seed), "floor") for seed in range(300)])
    assert drawn.min(axis=0).tolist() == stride(0, 2)
    assert drawn.max(axis=0).tolist() == [1, 3, 5, 7, 9, 11, 13, 19]


def test_rrs_ceil_pads_the_last_block_with_the_last_frame() -> None:
    drawn = np.concatenate([clips.rrs(20, T, np.random.default_rng(seed), "ceil") for seed in range(300)])
    assert drawn.min(axis=0).tolist() == [0, 3, 6, 9, 12, 15, 18, 19]
    assert drawn.max(axis=0).tolist() == [2, 5, 8, 11, 14, 17, 19, 19]
    assert (drawn[:, 6] == 19).mean() > 0.5  # 18, 19 and its repetition


@pytest.mark.parametrize("rule", ["floor", "ceil"])
def test_rrs_of_a_short_tracklet_is_padded_with_the_last_frame(rule: str) -> None:
    assert clips.rrs(5, T, np.random.default_rng(0), rule).tolist() == [[0, 1, 2, 3, 4, 4, 4, 4]]


@pytest.mark.parametrize(("num_frames", "step"), [(8, 1), (15, 1), (16, 2), (31, 2), (32, 4), (63, 4), (64, 8)])
def test_psta_interval_draws_one_frame_from_each_block_of_its_stride(num_frames: int, step: int) -> None:
    drawn = np.concatenate([clips.psta_interval(num_frames, T, np.random.default_rng(seed)) for seed in range(400)])
    last_begin = max(0, num_frames - 8 * step - 1)
    assert drawn.min(axis=0).tolist() == stride(0, step)
    assert drawn.max(axis=0).tolist() == stride(last_begin + step - 1, step)
    assert (np.diff(drawn, axis=1) < 2 * step).all()


def test_psta_interval_of_a_short_tracklet_repeats_sorted() -> None:
    drawn = np.concatenate([clips.psta_interval(3, T, np.random.default_rng(seed)) for seed in range(50)])
    assert set(drawn.ravel().tolist()) == {0, 1, 2}
    assert (np.diff(drawn, axis=1) >= 0).all()


def test_a_group_repeats_images_only_where_it_must() -> None:
    many = clips.group(20, T, np.random.default_rng(0))[0]
    few = clips.group(3, T, np.random.default_rng(0))[0]
    assert len(set(many.tolist())) == T
    assert set(few.tolist()) <= {0, 1, 2}
    assert (np.diff(many) > 0).all() and (np.diff(few) >= 0).all()


@given(LENGTHS, st.integers(1, 16), st.sampled_from(sorted(clips.TRAIN_RULES)), st.integers(0, 5))
def test_training_rules_give_one_ascending_clip_and_the_same_for_the_same_seed(
    num_frames: int, length: int, rule: str, seed: int
) -> None:
    drawn = clips.TRAIN_RULES[rule](num_frames, length, np.random.default_rng(seed))
    assert drawn.shape == (1, length) and drawn.dtype == np.int64
    assert (np.diff(drawn) >= 0).all() and 0 <= drawn.min() <= drawn.max() < num_frames
    assert np.array_equal(drawn, clips.TRAIN_RULES[rule](num_frames, length, np.random.default_rng(seed)))


@given(LENGTHS, st.integers(1, 16), st.sampled_from(sorted(clips.TEST_RULES)))
def test_test_rules_stay_inside_the_tracklet(num_frames: int, length: int, rule: str) -> None:
    found = clips.TEST_RULES[rule](num_frames, length)
    assert found.ndim == 2 and found.dtype == np.int64 and len(found) >= 1
    assert 0 <= found.min() <= found.max() < num_frames
    assert found.shape[1] == (min(num_frames, length) if rule == "whole" else length)


@given(LENGTHS, st.integers(1, 16))
def test_all_frames_leaves_no_frame_out(num_frames: int, length: int) -> None:
    assert set(clips.all_frames(num_frames, length).ravel().tolist()) == set(range(num_frames))


@pytest.mark.parametrize("rule", sorted(clips.TEST_RULES))
def test_an_empty_tracklet_is_refused(rule: str) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        clips.TEST_RULES[rule](0, 8)


def test_an_unknown_block_rule_is_refused() -> None:
    with pytest.raises(ValueError, match="floor or ceil"):
        clips.first_of_blocks(9, 8, "round")
    with pytest.raises(ValueError, match="floor or ceil"):
        clips.rrs(9, 8, np.random.default_rng(0), "round")
