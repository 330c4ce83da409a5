from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.track.merging import Merged, merge_tracklets
from pipeline.track.smoothing import fill_gaps, mend, smooth_boxes
from pipeline.track.smoothing_config import SmoothingConfig
from pipeline.track.track_rows import TrackRows
from pipeline.types import Float32, Float64, Int64

CONFIG = SmoothingConfig()
BLIND = SmoothingConfig(blind_share=0.5)
FPS = 10.0
FRAMES = np.arange(200)
TIMES = FRAMES / FPS


def walk(
    track_id: int, frames: Int64, start: tuple[float, float], speed: tuple[float, float] = (0, 0), height: float = 100
) -> TrackRows:
    """A person who would stand at `start` in frame 0 and moves `speed` px a frame."""
    centre = np.array(start) + frames[:, None] * np.array(speed)
    half = np.array([height / 5, height / 2])
    num = len(frames)
    xyxy = np.concatenate((centre - half, centre + half), axis=1)
    return TrackRows(
        frames, frames / FPS, np.full(num, track_id), xyxy, np.full(num, 0.8, np.float32), np.zeros(num, np.bool_)
    )


def together(*tables: TrackRows) -> TrackRows:
    return TrackRows(
        np.concatenate([t.frame_idx for t in tables]),
        np.concatenate([t.time_s for t in tables]),
        np.concatenate([t.track_id for t in tables]),
        np.concatenate([t.xyxy for t in tables]),
        np.concatenate([t.score for t in tables]),
        np.concatenate([t.interpolated for t in tables]),
    )


def span(start: int, stop: int) -> Int64:
    return np.arange(start, stop, dtype=np.int64)


def looks(*angles_deg: float) -> Float32:
    angles = np.deg2rad(np.array(angles_deg))
    return np.stack((np.cos(angles), np.sin(angles)), axis=1).astype(np.float32)


def mapping(merged: Merged) -> dict[int, int]:
    return dict(zip(merged.old_id.tolist(), merged.new_id.tolist(), strict=True))


def crowd(rng: np.random.Generator, num_tracks: int) -> tuple[TrackRows, Float32]:
    """Random walks, with holes, close enough to each other in space and time that many pairs may be joined."""
    tables = []
    for track_id in rng.permutation(np.arange(1, 2 * num_tracks))[:num_tracks].tolist():
        frames = np.flatnonzero(rng.random(int(rng.integers(1, 25))) < 0.8) + int(rng.integers(0, 150))
        if len(frames) == 0:
            frames = span(0, 1)
        table = walk(track_id, frames, (float(rng.uniform(0, 300)), 200.0), (float(rng.uniform(-2, 2)), 0))
        tables.append(table.with_boxes(table.xyxy + rng.normal(0, 3, table.xyxy.shape)))
    vector = rng.normal(0, 0.3, (num_tracks, 4)) + np.array([1, 0, 0, 0])
    vector /= np.linalg.norm(vector, axis=1, keepdims=True)
    vector[rng.random(num_tracks) < 0.2] = 0
    return together(*tables), vector.astype(np.float32)


def columns(rows: TrackRows) -> tuple[object, ...]:
    return tuple(
        getattr(rows, name).tolist() for name in ("frame_idx", "time_s", "track_id", "xyxy", "score", "interpolated")
    )


def test_no_rows_stay_no_rows() -> None:
    none = np.zeros(0)
    rows, merged = mend(TrackRows.empty(), none.astype(np.int64), none, CONFIG)
    assert len(rows) == len(merged.old_id) == len(merged.vector) == 0
    assert len(fill_gaps(TrackRows.empty(), FRAMES, TIMES, CONFIG)) == 0


def test_rows_are_put_in_order_of_track_then_time_and_keep_their_own_copy() -> None:
    mixed = walk(2, span(0, 3), (50, 50))[np.array([2, 0, 1])]
    assert mixed.frame_idx.tolist() == [0, 1, 2]
    xyxy = np.array([[0.0, 0, 10, 20]])
    rows = TrackRows(np.array([0]), np.zeros(1), np.array([1]), xyxy, np.ones(1, np.float32), np.zeros(1, np.bool_))
    xyxy[:] = 7
    assert rows.xyxy.tolist() == [[0, 0, 10, 20]]
    with pytest.raises(ValueError, match="read-only"):
        rows.xyxy[0] = 1


def test_a_track_with_two_boxes_at_one_time_is_refused() -> None:
    with pytest.raises(ValueError, match=r"track 3 has two boxes at 0\.5 s"):
        together(walk(3, span(0, 10), (0, 0)), walk(3, span(5, 6), (9, 9)))


def test_rows_that_are_not_aligned_or_not_finite_are_refused() -> None:
    rows = walk(1, span(0, 3), (50, 50))
    with pytest.raises(ValueError, match="xyxy: want shape"):
        rows.with_boxes(np.zeros((2, 4)))
    broken = rows.xyxy.copy()
    broken[1, 2] = np.nan
    with pytest.raises(ValueError, match="xyxy: not finite in row 1"):
        rows.with_boxes(broken)


def test_a_gap_is_filled_on_the_straight_line_at_every_frame_and_marked() -> None:
    rows = walk(1, np.r_[span(0, 10), span(14, 24)], (100, 100), (4, 0))
    filled = fill_gaps(rows, FRAMES, TIMES, CONFIG)
    assert filled.frame_idx.tolist() == list(range(24))
    assert filled.frame_idx[filled.interpolated].tolist() == [10, 11, 12, 13]
    np.testing.assert_allclose(filled.xyxy, walk(1, span(0, 24), (100, 100), (4, 0)).xyxy)
    np.testing.assert_allclose(filled.score, 0.8)


def test_only_frames_that_were_looked_at_are_filled() -> None:
    rows = walk(1, np.array([0, 5, 10, 20, 25, 30]), (100, 100), (4, 0))
    looked = np.arange(0, 40, 5)
    filled = fill_gaps(rows, looked, looked / FPS, SmoothingConfig(fill_presence=0.5))
    assert filled.frame_idx.tolist() == [0, 5, 10, 15, 20, 25, 30]


def test_a_gap_longer_than_the_limit_stays_open() -> None:
    rows = walk(1, np.r_[span(0, 10), span(20, 30)], (100, 100))  # unseen for 1.1 s between two boxes
    assert len(fill_gaps(rows, FRAMES, TIMES, SmoothingConfig(max_gap_s=1.0))) == 20
    assert len(fill_gaps(rows, FRAMES, TIMES, SmoothingConfig(max_gap_s=1.2))) == 30


def test_a_flickering_path_is_not_filled() -> None:
    rows = walk(1, np.arange(0, 40, 3), (100, 100))
    assert len(fill_gaps(rows, FRAMES, TIMES, CONFIG)) == len(rows)
    assert len(fill_gaps(rows, FRAMES, TIMES, SmoothingConfig(fill_presence=0.0))) == 40


def test_a_box_at_a_time_without_a_frame_is_refused() -> None:
    rows = walk(1, span(0, 10), (100, 100))
    with pytest.raises(ValueError, match="no frame"):
        fill_gaps(rows, FRAMES[:5], TIMES[:5], CONFIG)
    with pytest.raises(ValueError, match="no frame"):
        fill_gaps(rows, FRAMES, TIMES + 0.01, CONFIG)
    with pytest.raises(ValueError, match="ascend"):
        fill_gaps(rows, FRAMES, TIMES[::-1], CONFIG)


def test_smoothing_leaves_an_even_movement_as_it_is_up_to_its_ends() -> None:
    rows = walk(1, np.r_[span(0, 20), span(23, 40)], (100, 100), (5, -2))
    np.testing.assert_allclose(smooth_boxes(rows, CONFIG).xyxy, rows.xyxy, atol=1e-9)


def test_smoothing_equals_a_weighted_straight_line_fitted_per_row() -> None:
    rng = np.random.default_rng(3)
    rows = walk(1, np.flatnonzero(rng.random(40) < 0.7), (100, 100), (3, 1))
    rows = rows.with_boxes(rows.xyxy + rng.normal(0, 5, rows.xyxy.shape))
    config = SmoothingConfig(centre_sigma_s=0.3, size_sigma_s=0.0)
    found = smooth_boxes(rows, config).xyxy
    for row in range(len(rows)):
        t = rows.time_s - rows.time_s[row]
        near = np.abs(t) <= 3 * 0.3
        root = np.sqrt(np.exp(-0.5 * (t[near] / 0.3) ** 2))
        design = np.stack((root, root * t[near]), axis=1)
        for axis in range(2):
            centre = (rows.xyxy[near, axis] + rows.xyxy[near, axis + 2]) / 2
            expected = np.linalg.lstsq(design, root * centre, rcond=None)[0][0]
            assert (found[row, axis] + found[row, axis + 2]) / 2 == pytest.approx(expected, abs=1e-6)
    np.testing.assert_allclose(found[:, 2:] - found[:, :2], rows.xyxy[:, 2:] - rows.xyxy[:, :2])


def test_smoothing_takes_out_jitter_and_mixes_no_two_tracks() -> None:
    rng = np.random.default_rng(0)
    true = together(walk(1, span(0, 60), (100, 100), (3, 0)), walk(2, span(0, 60), (100, 110), (3, 0)))
    noisy = true.with_boxes(true.xyxy + rng.normal(0, 4, true.xyxy.shape))
    smooth = smooth_boxes(noisy, CONFIG)
    assert np.abs(smooth.xyxy - true.xyxy).mean() < 0.6 * np.abs(noisy.xyxy - true.xyxy).mean()
    alone = smooth_boxes(noisy[noisy.track_id == 2], CONFIG)
    np.testing.assert_array_equal(alone.xyxy, smooth.xyxy[smooth.track_id == 2])


def test_two_halves_of_one_walk_are_joined_when_they_look_alike() -> None:
    rows = together(walk(4, span(0, 20), (100, 100), (5, 0)), walk(9, span(30, 50), (100, 100), (5, 0)))
    assert mapping(merge_tracklets(rows, CONFIG, looks(0, 10))) == {4: 4, 9: 4}
    assert mapping(merge_tracklets(rows, CONFIG, looks(0, 60))) == {4: 4, 9: 9}


def test_without_appearance_nothing_is_joined_unless_asked_for() -> None:
    rows = together(walk(4, span(0, 20), (100, 100), (5, 0)), walk(9, span(30, 50), (100, 100), (5, 0)))
    unknown = np.full((2, 2), np.nan, np.float32)
    assert mapping(merge_tracklets(rows, CONFIG)) == {4: 4, 9: 9}
    assert mapping(merge_tracklets(rows, CONFIG, unknown)) == {4: 4, 9: 9}
    assert mapping(merge_tracklets(rows, BLIND)) == {4: 4, 9: 4}
    assert mapping(merge_tracklets(rows, BLIND, unknown)) == {4: 4, 9: 4}


def test_a_person_elsewhere_or_much_larger_or_much_later_is_not_joined() -> None:
    before = walk(1, span(0, 20), (100, 100), (5, 0))
    alike = looks(0, 0)
    for after in (
        walk(2, span(30, 50), (700, 100), (5, 0)),
        walk(2, span(30, 50), (100, 100), (5, 0), height=200),
        walk(2, span(100, 120), (100, 100), (5, 0)),
    ):
        assert mapping(merge_tracklets(together(before, after), CONFIG, alike)) == {1: 1, 2: 2}


def test_the_gate_grows_with_the_gap() -> None:
    def joined(first_frame: int) -> bool:
        after = walk(2, span(first_frame, first_frame + 20), (240, 100))
        rows = together(walk(1, span(0, 20), (100, 100)), after)
        return len(np.unique(merge_tracklets(rows, CONFIG, looks(0, 0)).new_id)) == 1

    assert not joined(22)  # 140 px, 1.4 heights: more than 1 + 0.5 * 0.3
    assert joined(40)  # less than 1 + 0.5 * 2.1


def test_tracklets_that_share_a_moment_are_never_joined() -> None:
    rows = together(walk(1, span(0, 21), (100, 100)), walk(2, span(20, 40), (100, 100)))
    assert mapping(merge_tracklets(rows, CONFIG, looks(0, 0))) == {1: 1, 2: 2}
    inside = together(walk(1, np.r_[span(0, 10), span(30, 40)], (100, 100)), walk(2, span(15, 25), (100, 100)))
    assert mapping(merge_tracklets(inside, CONFIG, looks(0, 0))) == {1: 1, 2: 2}


def test_a_chain_gets_the_id_of_its_first_tracklet_though_that_is_not_the_lowest() -> None:
    rows = together(
        walk(7, span(0, 20), (100, 100), (5, 0)),
        walk(3, span(25, 40), (100, 100), (5, 0)),
        walk(5, span(45, 60), (100, 100), (5, 0)),
    )
    merged = merge_tracklets(rows, CONFIG, looks(0, 4, 8))
    assert mapping(merged) == {3: 7, 5: 7, 7: 7}
    assert merged.vector.shape == (1, 2)
    assert np.linalg.norm(merged.vector) == pytest.approx(1)


def test_the_vector_of_a_chain_is_the_mean_by_number_of_boxes() -> None:
    rows = together(walk(1, span(0, 30), (100, 100)), walk(2, span(35, 45), (100, 100)))
    vector = merge_tracklets(rows, CONFIG, looks(0, 20)).vector
    expected = 3 * looks(0) + looks(20)
    np.testing.assert_allclose(vector, expected / np.linalg.norm(expected), rtol=1e-6)


def test_interpolated_boxes_say_nothing_about_motion() -> None:
    """The boxes in the gap pretend that the person ran off."""
    detected = walk(1, np.r_[span(0, 5), span(9, 10)], (100, 100))
    guessed = walk(1, span(5, 9), (-1400, 100), (300, 0))
    marked = TrackRows(
        guessed.frame_idx, guessed.time_s, guessed.track_id, guessed.xyxy, guessed.score, np.ones(4, np.bool_)
    )
    rows = together(detected, marked, walk(2, span(15, 30), (100, 100)))
    assert mapping(merge_tracklets(rows, CONFIG, looks(0, 0))) == {1: 1, 2: 1}


def test_rivals_for_one_beginning_are_settled_globally() -> None:
    """Both ends could go on in 3; only the farther one also could in 4, so each gets its own."""
    rows = together(
        walk(1, span(0, 20), (100, 100)),
        walk(2, span(0, 20), (200, 100)),
        walk(3, span(25, 45), (140, 100)),
        walk(4, span(25, 45), (300, 100)),
    )
    assert mapping(merge_tracklets(rows, CONFIG, looks(0, 0, 0, 0))) == {1: 1, 2: 2, 3: 1, 4: 2}


def test_people_who_cross_behind_each_other_keep_their_direction() -> None:
    rows = together(
        walk(1, span(0, 20), (0, 100), (6, 0)),
        walk(2, span(0, 20), (300, 100), (-6, 0)),
        walk(3, span(30, 50), (0, 100), (6, 0)),
        walk(4, span(30, 50), (300, 100), (-6, 0)),
    )
    assert mapping(merge_tracklets(rows, BLIND)) == {1: 1, 2: 2, 3: 1, 4: 2}


def test_vectors_that_do_not_fit_the_tracks_are_refused() -> None:
    with pytest.raises(ValueError, match="one row for each of 1 tracks"):
        merge_tracklets(walk(1, span(0, 5), (0, 0)), CONFIG, looks(0, 1))


def test_mending_joins_fills_and_smooths() -> None:
    rows = together(walk(4, span(0, 20), (100, 100), (5, 0)), walk(9, span(25, 50), (100, 100), (5, 0)))
    mended, merged = mend(rows, FRAMES, TIMES, CONFIG, looks(0, 10))
    assert mapping(merged) == {4: 4, 9: 4}
    assert mended.frame_idx.tolist() == list(range(50))
    np.testing.assert_allclose(mended.xyxy, walk(4, span(0, 50), (100, 100), (5, 0)).xyxy, atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 100_000), num_tracks=st.integers(1, 25), blind=st.booleans())
def test_joining_only_merges_ids_and_nothing_is_left_for_a_second_time(seed: int, num_tracks: int, blind: bool) -> None:
    rng = np.random.default_rng(seed)
    rows, vector = crowd(rng, num_tracks)
    config = SmoothingConfig(blind_share=0.6 if blind else 0.0, merge_distance=0.5)
    before, kept = columns(rows), vector.copy()
    merged = merge_tracklets(rows, config, vector)
    assert columns(rows) == before
    np.testing.assert_array_equal(vector, kept)

    # Making the TrackRows refuses two rows of one id at one time. The boxes are the same, each under its id's new one.
    assert merged.old_id.tolist() == np.unique(rows.track_id).tolist()
    assert set(merged.new_id.tolist()) <= set(merged.old_id.tolist())
    renamed = rows.with_ids(merged.new_id[np.searchsorted(merged.old_id, rows.track_id)])
    assert columns(renamed) == columns(merged.rows)
    for new in np.unique(merged.new_id).tolist():
        members = merged.old_id[merged.new_id == new]
        spans = sorted((rows.time_s[rows.track_id == m].min(), rows.time_s[rows.track_id == m].max()) for m in members)
        assert all(first[1] < then[0] for first, then in pairwise(spans))
        assert spans[0][0] == rows.time_s[rows.track_id == new].min()

    again = merge_tracklets(merged.rows, config, merged.vector)
    assert (again.old_id == again.new_id).all()
    assert columns(again.rows) == columns(merged.rows)
    np.testing.assert_array_equal(again.vector, merged.vector)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 100_000), num_tracks=st.integers(1, 12))
def test_filling_keeps_every_row_and_adds_only_inside_tracks(seed: int, num_tracks: int) -> None:
    rows, _ = crowd(np.random.default_rng(seed), num_tracks)
    before = columns(rows)
    filled = fill_gaps(rows, FRAMES, TIMES, CONFIG)
    assert columns(rows) == before
    assert columns(filled[~filled.interpolated]) == before
    for track_id in np.unique(rows.track_id).tolist():
        times: Float64 = rows.time_s[rows.track_id == track_id]
        added = filled.time_s[(filled.track_id == track_id) & filled.interpolated]
        assert ((added > times.min()) & (added < times.max())).all()
    assert columns(fill_gaps(filled, FRAMES, TIMES, CONFIG)) == columns(filled)
    smooth = smooth_boxes(filled, CONFIG)
    assert columns(smooth)[:3] == columns(filled)[:3]
    assert (smooth.xyxy[:, 2:] >= smooth.xyxy[:, :2]).all()


def test_joining_after_filling_joins_what_joining_before_would() -> None:
    rng = np.random.default_rng(11)
    rows, vector = crowd(rng, 25)
    config = SmoothingConfig(merge_distance=0.5)
    filled = fill_gaps(rows, FRAMES, TIMES, config)
    assert mapping(merge_tracklets(filled, config, vector)) == mapping(merge_tracklets(rows, config, vector))
