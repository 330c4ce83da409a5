from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.track.box_tracker import BoxTracker
from pipeline.track.config import TrackConfig
from pipeline.track.cues import NO_CUES, Cues
from pipeline.track.kalman import MotionNoise
from pipeline.track.table import COLUMNS, Table
from pipeline.types import AnyArray, Float32, Tracks
from tests.track.scenes import COMPILED, FRAME_S, PLAIN, day, people, scene

State = dict[str, AnyArray]
NOISE = MotionNoise()


@pytest.fixture(params=[COMPILED, PLAIN], scope="module")
def config(request: pytest.FixtureRequest) -> TrackConfig:
    return TrackConfig(compiled=request.param)


def through_a_file(state: State) -> State:
    """Saved and loaded with numpy alone: nothing in the state may need pickle."""
    file = io.BytesIO()
    np.savez(file, **state)  # type: ignore[arg-type]
    file.seek(0)
    with np.load(file, allow_pickle=False) as loaded:
        return {name: loaded[name] for name in loaded.files}


def equal(a: State, b: State) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert a[name].dtype == b[name].dtype, name
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def same(a: Tracks, b: Tracks) -> None:
    np.testing.assert_array_equal(a.track_id, b.track_id)
    np.testing.assert_array_equal(a.xyxy, b.xyxy)
    np.testing.assert_array_equal(a.score, b.score)


def busy_state() -> State:
    """Two confirmed tracks, ids 1 and 2, and one that is not confirmed yet; the next id is 3."""
    tracker = BoxTracker(TrackConfig(compiled=False))
    tracker.update(people((100, 200), (300, 200)), 0.0)
    tracker.update(people((100, 200), (300, 200), (500, 200)), 0.1)
    return tracker.state()


def with_looks_of(frame_xyxy: Float32) -> Float32:
    """(N, 3) some unit vectors that depend on where a box stands."""
    angle = frame_xyxy[:, 0] / 200
    return np.stack((np.cos(angle), np.sin(angle), 0 * angle), axis=1).astype(np.float32)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), cut=st.integers(0, 40), use_cues=st.booleans())
def test_a_tracker_restored_in_the_middle_goes_on_as_if_nothing_had_happened(
    config: TrackConfig, seed: int, cut: int, use_cues: bool
) -> None:
    frames = scene(seed, 40)
    resumed, straight = BoxTracker(config), BoxTracker(config)
    for i, frame in enumerate(frames):
        if i == cut:
            resumed = BoxTracker.from_state(config, through_a_file(resumed.state()))
        cues = NO_CUES
        if use_cues:
            shake = np.array([[1, 0, 3 * (-1) ** i], [0, 1, 0]], np.float64)
            ground = np.concatenate((frame.xyxy[:, 2:] / 50, np.full((len(frame), 1), 0.3)), axis=1)
            cues = Cues(with_looks_of(frame.xyxy), shake, ground.astype(np.float64))
        same(resumed.update(frame, i * FRAME_S, cues), straight.update(frame, i * FRAME_S, cues))
        np.testing.assert_array_equal(resumed.live_ids(), straight.live_ids())
    equal(resumed.state(), straight.state())


def test_a_fresh_tracker_can_be_restored_and_still_shows_its_first_frame_at_once(config: TrackConfig) -> None:
    tracker = BoxTracker.from_state(config, through_a_file(BoxTracker(config).state()))
    assert tracker.update(people((100, 200)), 0.0).track_id.tolist() == [1]


def test_a_restored_tracker_refuses_frames_before_the_last_one_and_gives_no_id_twice(config: TrackConfig) -> None:
    tracker = BoxTracker(config)
    tracker.update(people((100, 200), (300, 200)), 5.0)
    tracker.update(people(), 60.0)  # both have ended
    restored = BoxTracker.from_state(config, through_a_file(tracker.state()))
    with pytest.raises(ValueError, match="time"):
        restored.update(people((100, 200)), 60.0)
    restored.update(people((100, 200)), 60.1)
    assert restored.update(people((100, 200)), 60.2).track_id.tolist() == [3]


def test_a_state_once_taken_is_not_changed_by_later_frames_nor_by_a_tracker_restored_from_it(
    config: TrackConfig,
) -> None:
    tracker = BoxTracker(config)
    frames = scene(4, 20)
    for i, frame in enumerate(frames[:10]):
        tracker.update(frame, i * FRAME_S)
    state = tracker.state()
    before = {name: array.copy() for name, array in state.items()}
    restored = BoxTracker.from_state(config, state)
    for i, frame in enumerate(frames[10:], 10):
        tracker.update(frame, i * FRAME_S)
        restored.update(frame, i * FRAME_S)
    equal(state, before)
    equal(tracker.state(), restored.state())


def test_the_state_of_a_day_is_never_larger_than_those_who_may_come_back(config: TrackConfig) -> None:
    """1500 frames over 24 hours; at most 4 walk at a time and nobody is kept for longer than a moment."""
    tracker = BoxTracker(config)
    for time_s, frame in day(1_500):
        tracker.update(frame, time_s)
        state = tracker.state()
        assert len(state["track_id"]) <= 12
        assert sum(array.nbytes for array in state.values()) <= 24 + 250 * len(state["track_id"])
    assert state["next_id"] > 80


@pytest.mark.parametrize("name", [*COLUMNS, "next_id", "time_s", "step_s"])
def test_a_state_without_one_of_its_arrays_is_refused_by_its_name(name: str) -> None:
    state = busy_state()
    del state[name]
    with pytest.raises(ValueError, match=rf"tracker state: .*{name}"):
        BoxTracker.from_state(TrackConfig(), state)


def test_no_state_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="tracker state"):
        BoxTracker.from_state(TrackConfig(), {})


@pytest.mark.parametrize("name", [name for name in COLUMNS if name != "track_id"])
def test_a_column_with_a_row_too_few_is_refused_by_its_name(name: str) -> None:
    state = busy_state()
    state[name] = state[name][:-1]
    with pytest.raises(ValueError, match=f"tracker state: {name} must be"):
        BoxTracker.from_state(TrackConfig(), state)


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_of_another_type_is_refused_by_its_name(name: str) -> None:
    state = busy_state()
    state[name] = state[name].astype(np.float16)
    with pytest.raises(ValueError, match=rf"tracker state: {name} must be (int64|float64|float32) .* float16"):
        BoxTracker.from_state(TrackConfig(), state)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mean", np.zeros((3, 2, 3))),
        ("mean", np.zeros((3, 8))),
        ("cov", np.zeros((3, 2, 4))),
        ("last_xy", np.zeros((3, 3))),
        ("ground", np.zeros((3, 2))),
        ("vector", np.zeros(3, np.float32)),
        ("track_id", np.zeros((3, 1), np.int64)),
        ("track_id", np.array(3)),
        ("hits", np.array(1)),
        ("next_id", np.array([3, 4])),
        ("next_id", np.array("three")),
        ("next_id", np.array(np.inf)),
        ("time_s", np.array([0.1, 0.2])),
        ("step_s", np.array([0.1, 0.2])),
    ],
    ids=str,
)
def test_an_array_of_another_shape_is_refused_by_its_name(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"tracker state: .*{name}"):
        BoxTracker.from_state(TrackConfig(), busy_state() | {name: value})


@pytest.mark.parametrize("next_id", [-1, 0, 1, 2])
def test_a_next_id_that_was_given_out_already_is_refused(next_id: int) -> None:
    with pytest.raises(ValueError, match="next_id"):
        BoxTracker.from_state(TrackConfig(), busy_state() | {"next_id": np.array(next_id)})


@pytest.mark.parametrize("track_id", [[1, 1, 0], [2, 1, 2], [-1, 2, 0]])
def test_ids_shared_by_tracks_or_below_nought_are_refused(track_id: list[int]) -> None:
    with pytest.raises(ValueError, match="tracker state: track_id"):
        BoxTracker.from_state(TrackConfig(), busy_state() | {"track_id": np.array(track_id)})


def test_several_unconfirmed_tracks_are_no_shared_id() -> None:
    state = busy_state() | {"track_id": np.array([0, 2, 0])}
    assert BoxTracker.from_state(TrackConfig(), state).live_ids().tolist() == [2]


@pytest.mark.parametrize("name", ["seen_s", "mean", "cov", "last_xy", "vector"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_column_that_is_not_finite_is_refused_by_its_name(name: str, bad: float) -> None:
    state = busy_state()
    state["vector"] = np.ones((3, 2), np.float32)
    state[name][1] = bad
    with pytest.raises(ValueError, match=f"tracker state: {name}"):
        BoxTracker.from_state(TrackConfig(), state)


@pytest.mark.parametrize("time_s", [np.nan, np.inf, 0.05, -np.inf])
def test_a_time_that_is_none_or_lies_before_a_detection_is_refused(time_s: float) -> None:
    with pytest.raises(ValueError, match=r"tracker state: .*time_s"):
        BoxTracker.from_state(TrackConfig(), busy_state() | {"time_s": np.array(time_s)})


@pytest.mark.parametrize("step_s", [np.nan, np.inf, -0.1])
def test_a_time_between_frames_that_is_none_is_refused(step_s: float) -> None:
    with pytest.raises(ValueError, match=r"tracker state: step_s"):
        BoxTracker.from_state(TrackConfig(), busy_state() | {"step_s": np.array(step_s)})


def test_unknown_places_on_the_ground_are_a_sound_state() -> None:
    state = busy_state()
    assert np.isnan(state["ground"]).all()
    equal(BoxTracker.from_state(TrackConfig(), state).state(), state)


def test_a_new_table_has_one_row_for_each_box() -> None:
    xyxy = np.array([[0.0, 0, 40, 100], [10, 20, 30, 80]])
    table = Table.of(xyxy, 7.0, NOISE, np.zeros((2, 5), np.float32), np.full((2, 3), np.nan))
    assert len(table) == 2
    assert table.track_id.tolist() == [0, 0]
    assert table.hits.tolist() == [1, 1]
    assert table.seen_s.tolist() == [7.0, 7.0]
    assert table.last_xy.tolist() == [[20, 50], [20, 50]]
    assert table.vector.shape == (2, 5)
    assert len(Table.empty()) == 0
    equal(Table.from_arrays(Table.empty().to_arrays()).to_arrays(), Table.empty().to_arrays())


def test_rows_of_a_table_are_picked_and_joined_in_order_without_touching_it() -> None:
    xyxy = np.array([[0.0, 0, 40, 100], [10, 20, 30, 80], [5, 5, 9, 9]])
    table = Table.of(xyxy, 1.0, NOISE, np.zeros((3, 0), np.float32), np.zeros((3, 3)))
    before = table.to_arrays()
    picked = table.copy_of(np.array([True, False, True]))
    joined = picked.joined(table.copy_of(np.array([1])))
    assert joined.last_xy.tolist() == [[20, 50], [7, 7], [20, 50]]
    picked.note_seen(np.array([1]), np.array([[100.0, 100, 120, 140]]), 2.0)
    assert picked.last_xy.tolist() == [[20, 50], [110, 120]]
    assert picked.hits.tolist() == [1, 2]
    assert picked.seen_s.tolist() == [1.0, 2.0]
    equal(table.to_arrays(), before)
    assert joined.hits.tolist() == [1, 1, 1]
