"""What every tracker keeps, whatever its algorithm."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.track.build import TRACKERS, build_tracker
from pipeline.track.config import TrackConfig
from pipeline.track.tracker import Tracker
from pipeline.types import Detections, Tracks

MakeTracker = Callable[[], Tracker]
FRAME_S = 0.1


@pytest.fixture(params=sorted(TRACKERS), scope="module")
def make(request: pytest.FixtureRequest) -> MakeTracker:
    kind = request.param
    return lambda: build_tracker(TrackConfig(kind=kind))


def people(*feet_xy: tuple[float, float], score: float = 0.9) -> Detections:
    """Boxes of 40 x 100 px standing at the given points."""
    feet = np.array(feet_xy, np.float32).reshape(-1, 2)
    xyxy = np.repeat(feet, 2, axis=0).reshape(-1, 4) + np.array((-20, -100, 20, 0))
    return Detections(xyxy.astype(np.float32), np.full(len(feet), score, np.float32))


def scene(seed: int, num_frames: int, max_people: int = 8) -> list[Detections]:
    """Walkers with misses, weak boxes, false alarms and shuffled rows."""
    rng = np.random.default_rng(seed)
    num = int(rng.integers(0, max_people + 1))
    start, velocity = rng.uniform(0, 400, (num, 2)), rng.normal(0, 60, (num, 2))
    frames = []
    for i in range(num_frames):
        feet = np.concatenate((start + velocity * i * FRAME_S, rng.uniform(0, 400, (int(rng.integers(0, 3)), 2))))
        feet = feet[rng.random(len(feet)) < 0.85]
        feet = feet[rng.permutation(len(feet))]
        frame = people(*(tuple(f) for f in feet.tolist()))
        frames.append(Detections(frame.xyxy, rng.uniform(0.05, 1.0, len(feet)).astype(np.float32)))
    return frames


def run(tracker: Tracker, frames: list[Detections]) -> list[Tracks]:
    return [tracker.update(frame, i * FRAME_S) for i, frame in enumerate(frames)]


def test_empty_frames_give_empty_tracks(make: MakeTracker) -> None:
    tracker = make()
    for tracks in run(tracker, [Detections.empty()] * 3):
        assert len(tracks) == 0
    assert tracker.live_ids().tolist() == []
    assert tracker.live_ids().dtype == np.int64


def test_people_of_the_first_frame_are_shown_at_once_with_ids_from_one(make: MakeTracker) -> None:
    tracks = make().update(people((100, 200), (300, 200)), 0.0)
    assert tracks.track_id.tolist() == [1, 2]


def test_instances_count_their_ids_apart(make: MakeTracker) -> None:
    first, second = make(), make()
    first.update(people((100, 200), (300, 200)), 0.0)
    assert second.update(people((100, 200)), 0.0).track_id.tolist() == [1]


def test_a_frame_of_five_hundred_follows_one_of_none(make: MakeTracker) -> None:
    tracker = make()
    crowd = people(*((60.0 * (i % 25), 120.0 * (i // 25)) for i in range(500)))
    tracker.update(Detections.empty(), 0.0)
    tracker.update(crowd, 0.1)
    assert len(tracker.update(crowd, 0.2)) == 500
    assert len(tracker.update(Detections.empty(), 0.3)) == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("column", [0, 1, 2, 3])
def test_a_box_that_is_not_finite_is_refused_by_its_row(make: MakeTracker, bad: float, column: int) -> None:
    frame = people((100, 200), (300, 200), (500, 200))
    xyxy = frame.xyxy.copy()
    xyxy[1, column] = bad
    with pytest.raises(ValueError, match="row 1"):
        make().update(Detections(xyxy, frame.score), 0.0)


def test_a_score_that_is_not_finite_is_refused_by_its_row(make: MakeTracker) -> None:
    frame = people((100, 200), (300, 200))
    with pytest.raises(ValueError, match="row 1"):
        make().update(Detections(frame.xyxy, np.array([0.9, np.nan], np.float32)), 0.0)


@pytest.mark.parametrize("order", [[2, 1, 0, 3], [0, 3, 2, 1]])
def test_an_inverted_box_is_refused_by_its_row(make: MakeTracker, order: list[int]) -> None:
    xyxy = people((100, 200), (300, 200)).xyxy.copy()
    xyxy[1] = xyxy[1, order]
    with pytest.raises(ValueError, match="row 1"):
        make().update(Detections(xyxy, np.ones(2, np.float32)), 0.0)


@pytest.mark.parametrize("time_s", [1.0, 0.9, -5.0, float("nan"), float("inf")])
def test_time_that_does_not_go_forward_is_refused(make: MakeTracker, time_s: float) -> None:
    tracker = make()
    tracker.update(people((100, 200)), 1.0)
    with pytest.raises(ValueError, match="time"):
        tracker.update(people((100, 200)), time_s)


def test_a_refused_frame_leaves_no_trace(make: MakeTracker) -> None:
    spoiled, clean = make(), make()
    bad = Detections(np.array([[0, 0, np.nan, 9]], np.float32), np.ones(1, np.float32))
    for i, frame in enumerate(scene(3, 20)):
        for refused, time_s in ((bad, (i + 0.5) * FRAME_S), (frame, (i - 1) * FRAME_S)):
            if i > 0:
                with pytest.raises(ValueError, match=r"row 0|time"):
                    spoiled.update(refused, time_s)
        got, want = spoiled.update(frame, i * FRAME_S), clean.update(frame, i * FRAME_S)
        np.testing.assert_array_equal(got.track_id, want.track_id)
        np.testing.assert_array_equal(got.xyxy, want.xyxy)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_ids_are_unique_in_a_frame_live_while_shown_and_never_come_back_once_gone(make: MakeTracker, seed: int) -> None:
    tracker = make()
    seen: set[int] = set()
    gone: set[int] = set()
    for i, frame in enumerate(scene(seed, 40)):
        xyxy, score = frame.xyxy.copy(), frame.score.copy()
        # A pause now and then lets lost tracks end.
        tracks = tracker.update(frame, i * FRAME_S + (i // 15) * 5.0)
        np.testing.assert_array_equal(frame.xyxy, xyxy)
        np.testing.assert_array_equal(frame.score, score)
        ids, live = tracks.track_id.tolist(), tracker.live_ids().tolist()
        assert len(set(ids)) == len(ids)
        assert all(track_id >= 1 for track_id in ids)
        assert live == sorted(set(live))
        assert set(ids) <= set(live)
        assert not gone & set(live)
        seen |= set(live)
        gone = seen - set(live)
        assert len(tracks) <= len(frame)
        assert np.isin(tracks.score, frame.score).all()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_the_order_of_detections_changes_nothing_but_the_names_of_ids(make: MakeTracker, seed: int) -> None:
    rng = np.random.default_rng(seed)
    frames = scene(seed, 25)
    shuffled = [frame[rng.permutation(len(frame))] for frame in frames]
    name: dict[int, int] = {}
    for a, b in zip(run(make(), frames), run(make(), shuffled), strict=True):
        order_a, order_b = np.lexsort(a.xyxy.T), np.lexsort(b.xyxy.T)
        np.testing.assert_array_equal(a.xyxy[order_a], b.xyxy[order_b])
        for id_a, id_b in zip(a.track_id[order_a].tolist(), b.track_id[order_b].tolist(), strict=True):
            assert name.setdefault(id_a, id_b) == id_b
    assert len(set(name.values())) == len(name)


def test_the_same_frames_give_the_same_tracks(make: MakeTracker) -> None:
    frames = scene(11, 40)
    for a, b in zip(run(make(), frames), run(make(), frames), strict=True):
        np.testing.assert_array_equal(a.track_id, b.track_id)
        np.testing.assert_array_equal(a.xyxy, b.xyxy)
