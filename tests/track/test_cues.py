from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.track.box_tracker import BoxTracker
from pipeline.track.config import TrackConfig
from pipeline.track.cues import NO_CUES, Cues, too_far_on_ground
from pipeline.types import Float32, Float64
from tests.track.scenes import COMPILED, FRAME_S, PLAIN, ids, people, run, scene, standing

STILL = np.eye(2, 3)


@pytest.fixture(params=[COMPILED, PLAIN], scope="module")
def config(request: pytest.FixtureRequest) -> TrackConfig:
    return TrackConfig(compiled=request.param)


def looks(*rows: tuple[float, ...]) -> Float32:
    vectors = np.array(rows, np.float64)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    return vectors.astype(np.float32)


def shifted(x_px: float, y_px: float, zoom: float = 1.0) -> Float64:
    return np.array([[zoom, 0, x_px], [0, zoom, y_px]])


# --- looks


def meeting(config: TrackConfig, look_of: Float32 | None, num_hidden: int = 0) -> list[float]:
    """Two walkers come together at 40 px/s each, turn round when 8 px apart, and go back where they came from.

    Of the one from the right nothing is seen for `num_hidden` frames around that. look_of: (2, D).
    -> x px where the one from the left and the one from the right are shown in the end, by the ids of the first frame.
    """
    tracker = BoxTracker(config)
    for i in range(31):
        away = 4 + 4.0 * abs(i - 15)
        seen = np.array([0] if abs(i - 15) * 2 < num_hidden else [0, 1])
        feet = np.array([[300 - away, 200], [300 + away, 200]])[seen]
        cues = NO_CUES if look_of is None else Cues(look_of[seen])
        tracks = tracker.update(standing(feet, np.full(len(seen), 0.9)), i * FRAME_S, cues)
        assert set(tracks.track_id.tolist()) <= {1, 2}
    centre: list[float] = tracks.xyxy[:, [0, 2]].mean(axis=1).tolist()
    return centre


@pytest.mark.parametrize("num_hidden", [0, 3, 5])
def test_looks_keep_ids_apart_where_people_turn_round_and_boxes_alone_are_wrong(
    config: TrackConfig, num_hidden: int
) -> None:
    start, swapped = pytest.approx([236, 364], abs=10), pytest.approx([364, 236], abs=10)
    assert meeting(config, None, num_hidden) == swapped
    assert meeting(config, looks((1, 0, 0), (0, 1, 0)), num_hidden) == start


def test_looks_that_do_not_tell_people_apart_change_nothing(config: TrackConfig) -> None:
    alone = meeting(config, None)
    assert meeting(config, looks((1, 0, 0), (1, 0, 0))) == alone
    assert meeting(config, looks((0, 0), (0, 0))) == alone  # unknown
    strict = config.model_copy(update={"appearance_max_distance": 0.0})
    assert meeting(strict, looks((1, 0, 0), (0, 1, 0))) == alone
    strict = config.model_copy(update={"appearance_max_cost": 0.0})
    assert meeting(strict, looks((1, 0, 0), (0, 1, 0))) == alone


def test_looks_may_begin_and_pause_at_any_time(config: TrackConfig) -> None:
    tracker = BoxTracker(config)
    frame = people((100, 200), (300, 200))
    given = [NO_CUES, Cues(looks((1, 0), (0, 1))), NO_CUES, Cues(np.zeros((0, 0), np.float32)), Cues(looks((1, 0)))]
    for i, cues in enumerate(given[:4]):
        assert tracker.update(frame, i * FRAME_S, cues).track_id.tolist() == [1, 2]
        assert tracker.state()["vector"].shape == (2, 2 if i else 0)
    assert tracker.update(frame[:1], 1.0, given[4]).track_id.tolist() == [1]
    np.testing.assert_array_equal(tracker.state()["vector"], looks((1, 0), (0, 1)))


def test_looks_of_a_frame_without_boxes_are_taken(config: TrackConfig) -> None:
    tracker = BoxTracker(config)
    assert len(tracker.update(people(), 0.0, Cues(np.zeros((0, 4), np.float32)))) == 0
    tracker.update(people((100, 200)), 0.1, Cues(looks((1, 0, 0, 0))))
    assert tracker.update(people((100, 200)), 0.2, Cues(looks((1, 0, 0, 0)))).track_id.tolist() == [1]


def test_looks_given_in_double_precision_leave_a_state_that_can_be_restored(config: TrackConfig) -> None:
    tracker = BoxTracker(config)
    tracker.update(people((100, 200)), 0.0, Cues(np.eye(1, 4)))  # type: ignore[arg-type]
    assert BoxTracker.from_state(config, tracker.state()).live_ids().tolist() == [1]


# --- moving cameras


@pytest.mark.parametrize("walk_px_s", [0.0, 40.0])
def test_a_shaken_camera_costs_ids_unless_its_motion_is_told(config: TrackConfig, walk_px_s: float) -> None:
    rng = np.random.default_rng(0)
    feet = np.array([[100.0, 200], [160, 210], [220, 190], [400, 220]])
    offset = np.concatenate((np.zeros((1, 2)), rng.uniform(-60, 60, (19, 2))))
    told, untold = BoxTracker(config), BoxTracker(config)
    for i in range(20):
        here = feet + (walk_px_s * i * FRAME_S, 0) + offset[i]
        frame = standing(here, np.full(4, 0.9))
        motion = shifted(*(offset[i] - offset[i - 1]) if i else (0, 0))
        tracks = told.update(frame, i * FRAME_S, Cues(camera_motion=motion))
        assert tracks.track_id.tolist() == [1, 2, 3, 4]
        np.testing.assert_allclose(tracks.xyxy, frame.xyxy, atol=4)
        untold.update(frame, i * FRAME_S)
    assert untold.live_ids().max(initial=0) > 6


def test_a_lost_track_goes_along_with_the_camera_until_it_is_found_again(config: TrackConfig) -> None:
    """Five frames without a box while the camera turns by 30 px a frame and comes 5 % closer."""
    tracker = BoxTracker(config)
    for i in range(4):
        tracker.update(people((300, 200)), i * FRAME_S)
    feet, motion = np.array([300.0, 200.0]), shifted(30, -4, 1.05)
    for i in range(4, 9):
        tracker.update(people(), i * FRAME_S, Cues(camera_motion=motion))
        feet = motion[:, :2] @ feet + motion[:, 2]
    assert feet[0] > 500
    assert tracker.update(people((feet[0], feet[1])), 0.9).track_id.tolist() == [1]


def test_all_that_is_known_of_an_unseen_track_is_moved_along(config: TrackConfig) -> None:
    """Its filter, and the place of its last detection that directions are seen from."""
    tracker = BoxTracker(config)
    run(tracker, [people((300 + 5 * i, 200)) for i in range(4)])
    before = tracker.state()
    tracker.update(people(), 0.4, Cues(camera_motion=np.array([[0, -1.1, 400], [1.1, 0, 7]])))  # turned and nearer
    after = tracker.state()
    np.testing.assert_allclose(before["last_xy"], [[315, 150]])
    np.testing.assert_allclose(after["last_xy"], [[400 - 1.1 * 150, 7 + 1.1 * 315]])
    (x, y, width, height), (speed_x, speed_y) = before["mean"][0, 0], before["mean"][0, 1, :2]
    assert speed_x > 20
    np.testing.assert_allclose(after["mean"][0, 0], [400 - 1.1 * y, 7 + 1.1 * x, 1.1 * width, 1.1 * height])
    np.testing.assert_allclose(after["mean"][0, 1, :2], [-1.1 * speed_y, 1.1 * speed_x])


# --- the floor


def test_a_jump_on_the_floor_that_nobody_can_make_is_forbidden_though_the_boxes_overlap(config: TrackConfig) -> None:
    """12 px apart in the picture; on the floor that is 30 m in a tenth of a second, as it may be near the horizon."""
    before, after = people((300, 200)), people((312, 200))

    def shown(first: Float64, second: Float64) -> list[list[int]]:
        tracker = BoxTracker(config)
        frames = [(before, first), (after, second), (after, second)]
        return ids([tracker.update(frame, i * FRAME_S, Cues(ground=at)) for i, (frame, at) in enumerate(frames)])

    here, there = np.array([[10.0, 5.0, 0.2]]), np.array([[40.0, 5.0, 0.2]])
    unsure, unknown = np.array([[40.0, 5.0, 12.0]]), np.full((1, 3), np.nan)
    assert shown(here, there) == [[1], [], [2]]
    assert shown(here, here) == [[1], [1], [1]]
    assert shown(here, unsure) == [[1], [1], [1]]
    assert shown(here, unknown) == [[1], [1], [1]]
    assert shown(unknown, there) == [[1], [1], [1]]
    assert ids(run(BoxTracker(config), [before, after, after])) == [[1], [1], [1]]


def test_who_walks_on_is_measured_from_where_he_was_seen_last(config: TrackConfig) -> None:
    """2 m/s for three seconds: six metres from where he began, a fifth of one from where he was."""
    tracker = BoxTracker(config)
    for i in range(30):
        cues = Cues(ground=np.array([[2.0 * i * FRAME_S, 5.0, 0.05]]))
        assert tracker.update(people((300 + i, 200)), i * FRAME_S, cues).track_id.tolist() == [1]


def test_the_longer_a_track_is_lost_the_further_it_may_have_gone() -> None:
    track = np.array([[0.0, 0, 0.1], [0, 0, 0.1], [np.nan, np.nan, np.nan]])
    found = np.array([[3.0, 4, 0], [np.nan, 4, 0.1]])  # 5 m away, of which 3 x 0.1 are granted
    far = too_far_on_ground(track, found, np.array([1.0, 0.9, 0.0]), 5.0)
    assert far.tolist() == [[False, False], [True, False], [False, False]]
    assert too_far_on_ground(track, found, np.array([0.95, 0.93, 0.0]), 5.0)[:, 0].tolist() == [False, True, False]


def test_three_deviations_of_both_places_are_granted() -> None:
    track, dt_s = np.array([[0.0, 0.0, 0.3]]), np.zeros(1)
    for way_m, far in ((1.49, False), (1.51, True)):  # 3 x hypot(0.3, 0.4)
        assert too_far_on_ground(track, np.array([[0.0, way_m, 0.4]]), dt_s, 5.0).tolist() == [[far]]
    assert too_far_on_ground(np.zeros((0, 3)), np.zeros((2, 3)), np.zeros(0), 5.0).shape == (0, 2)


# --- cues that say nothing, and cues that do not fit


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_empty_cues_equal_none(config: TrackConfig, seed: int) -> None:
    silent, told = BoxTracker(config), BoxTracker(config)
    for i, frame in enumerate(scene(seed, 25)):
        unknown = Cues(np.zeros((len(frame), 0), np.float32), STILL, np.full((len(frame), 3), np.nan))
        want = silent.update(frame, i * FRAME_S)
        got = told.update(frame, i * FRAME_S, unknown if i % 2 else Cues())
        np.testing.assert_array_equal(got.track_id, want.track_id)
        np.testing.assert_array_equal(got.xyxy, want.xyxy)
    for name, array in silent.state().items():
        np.testing.assert_array_equal(told.state()[name], array)


def test_vectors_without_columns_say_nothing_after_some_that_had(config: TrackConfig) -> None:
    tracker = BoxTracker(config)
    tracker.update(people((100, 200)), 0.0, Cues(looks((1, 0))))
    tracker.update(people((100, 200)), 0.1, Cues(np.zeros((1, 0), np.float32)))
    np.testing.assert_array_equal(tracker.state()["vector"], looks((1, 0)))


@pytest.mark.parametrize(
    ("cues", "message"),
    [
        (Cues(looks((1, 0), (0, 1), (1, 1))), "Cues.vector: 3 rows for 2 detections"),
        (Cues(looks((1, 0))), "Cues.vector: 1 rows for 2 detections"),
        (Cues(looks((1, 0, 0), (0, 1, 0))), "Cues.vector: length 3, but 2 before"),
        (Cues(ground=np.zeros((1, 3))), "Cues.ground: 1 rows for 2 detections"),
        (Cues(ground=np.zeros((3, 3))), "Cues.ground: 3 rows for 2 detections"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_cues_that_do_not_fit_are_refused_and_leave_no_trace(config: TrackConfig, cues: Cues, message: str) -> None:
    tracker = BoxTracker(config)
    frame = people((100, 200), (300, 200))
    tracker.update(frame, 0.0, Cues(looks((1, 0), (0, 1)), STILL, np.zeros((2, 3))))
    before = tracker.state()
    with pytest.raises(ValueError, match=message):
        tracker.update(frame, 3.0, Cues(cues.vector, shifted(50, 50), cues.ground))
    for name, array in tracker.state().items():
        np.testing.assert_array_equal(array, before[name])
    assert tracker.update(frame, 0.1).track_id.tolist() == [1, 2]


def test_cues_of_a_refused_frame_leave_no_trace(config: TrackConfig) -> None:
    tracker = BoxTracker(config)
    frame = people((100, 200), (300, 200))
    tracker.update(frame, 1.0)
    before = tracker.state()
    with pytest.raises(ValueError, match="time"):
        tracker.update(frame, 0.5, Cues(looks((1, 0), (0, 1)), shifted(50, 50), np.zeros((2, 3))))
    for name, array in tracker.state().items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"vector": np.zeros(3, np.float32)}, r"Cues\.vector: want \(N, D\), got shape \(3,\)"),
        ({"vector": np.array([[0, 1], [np.nan, 0]], np.float32)}, r"Cues\.vector: .*row 1"),
        ({"vector": np.array([[np.inf, 0]], np.float32)}, r"Cues\.vector: .*row 0"),
        ({"camera_motion": np.eye(3)}, r"Cues\.camera_motion: want a finite \(2, 3\)"),
        ({"camera_motion": np.array([[1, 0, np.nan], [0, 1, 0]])}, r"Cues\.camera_motion: want a finite \(2, 3\)"),
        ({"ground": np.zeros((4, 2))}, r"Cues\.ground: want \(N, 3\), got shape \(4, 2\)"),
        ({"ground": np.zeros(3)}, r"Cues\.ground: want \(N, 3\), got shape \(3,\)"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_cues_of_another_shape_or_not_finite_can_not_be_made(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Cues(**given)


def test_cues_are_left_as_they_were(config: TrackConfig) -> None:
    vector, motion, ground = looks((1, 0), (0, 1)), shifted(1, 1), np.ones((2, 3))
    before = vector.copy(), motion.copy(), ground.copy()
    tracker = BoxTracker(config)
    for i in range(3):
        tracker.update(people((100 + i, 200), (300, 200)), i * FRAME_S, Cues(vector, motion, ground))
    vector[0] = 7.0  # nor does the tracker keep hold of them
    np.testing.assert_allclose(tracker.state()["vector"], before[0], atol=1e-6)
    np.testing.assert_array_equal(motion, before[1])
    np.testing.assert_array_equal(ground, before[2])
