"""What every tracker keeps, whatever its algorithm."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.track.build import TRACKERS, build_tracker
from pipeline.track.config import TrackConfig
from pipeline.track.tracker import Tracker
from pipeline.types import Detections, Float32, Tracks
from tests.track.scenes import COMPILED, DAY_S, FRAME_S, PLAIN, crowd, day, ids, people, run, scene

MakeTracker = Callable[[], Tracker]
BIGGEST = float(np.finfo(np.float32).max)


@pytest.fixture(params=sorted(TRACKERS), scope="module")
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[COMPILED, PLAIN], scope="module")
def make(request: pytest.FixtureRequest, kind: str) -> MakeTracker:
    config = TrackConfig(kind=kind, compiled=request.param)
    return lambda: build_tracker(config)


def same(got: list[Tracks], want: list[Tracks]) -> None:
    """Raise unless both show the same, to the last bit."""
    for a, b in zip(got, want, strict=True):
        np.testing.assert_array_equal(a.track_id, b.track_id)
        np.testing.assert_array_equal(a.xyxy, b.xyxy)
        np.testing.assert_array_equal(a.score, b.score)


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
    tracker.update(Detections.empty(), 0.0)
    tracker.update(crowd(500), 0.1)
    assert tracker.update(crowd(500), 0.2).track_id.tolist() == list(range(1, 501))
    assert len(tracker.update(Detections.empty(), 0.3)) == 0
    assert tracker.update(crowd(500), 0.4).track_id.tolist() == list(range(1, 501))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("column", [0, 1, 2, 3])
def test_a_box_that_is_not_finite_is_refused_by_its_row(make: MakeTracker, bad: float, column: int) -> None:
    frame = people((100, 200), (300, 200), (500, 200))
    xyxy = frame.xyxy.copy()
    xyxy[1, column] = bad
    with pytest.raises(ValueError, match="row 1"):
        make().update(Detections(xyxy, frame.score), 0.0)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_not_finite_is_refused_by_its_row(make: MakeTracker, bad: float) -> None:
    frame = people((100, 200), (300, 200))
    with pytest.raises(ValueError, match="row 1"):
        make().update(Detections(frame.xyxy, np.array([0.9, bad], np.float32)), 0.0)


@pytest.mark.parametrize("order", [[2, 1, 0, 3], [0, 3, 2, 1]])
def test_an_inverted_box_is_refused_by_its_row(make: MakeTracker, order: list[int]) -> None:
    xyxy = people((100, 200), (300, 200)).xyxy.copy()
    xyxy[1] = xyxy[1, order]
    with pytest.raises(ValueError, match="row 1"):
        make().update(Detections(xyxy, np.ones(2, np.float32)), 0.0)


@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning", "ignore:invalid value:RuntimeWarning")
class TestHugeBoxes:
    """Boxes that are finite, though their sum is not: they are boxes like others."""

    XYXY: Float32 = (crowd(30).xyxy * np.float32(BIGGEST / 2000)).astype(np.float32)

    def test_they_are_followed_and_never_shown_as_infinite(self, make: MakeTracker) -> None:
        frame = Detections(self.XYXY, np.full(30, 0.9, np.float32))
        assert not np.isfinite(frame.xyxy.sum(where=frame.xyxy > 0))
        shown = run(make(), [frame] * 4)
        assert ids(shown) == [list(range(1, 31))] * 4
        np.testing.assert_allclose(shown[-1].xyxy, frame.xyxy, rtol=1e-5, atol=BIGGEST * 1e-6)

    def test_the_widest_box_there_is_is_followed(self, make: MakeTracker) -> None:
        all_there_is = np.array([[-BIGGEST, -BIGGEST, BIGGEST, BIGGEST]], np.float32)
        shown = run(make(), [Detections(all_there_is, np.ones(1, np.float32))] * 3)
        assert ids(shown) == [[1]] * 3
        np.testing.assert_array_equal(shown[-1].xyxy, all_there_is)

    @pytest.mark.parametrize("fault", ["nan", "inverted"])
    def test_a_bad_box_among_them_is_refused_by_its_row(self, make: MakeTracker, fault: str) -> None:
        xyxy = self.XYXY.copy()
        xyxy[17] = np.nan if fault == "nan" else xyxy[17, [2, 1, 0, 3]]
        with pytest.raises(ValueError, match="row 17"):
            make().update(Detections(xyxy, np.ones(30, np.float32)), 0.0)


@pytest.mark.parametrize("time_s", [1.0, 0.9, -5.0, float("nan"), float("inf")])
def test_time_that_does_not_go_forward_is_refused(make: MakeTracker, time_s: float) -> None:
    tracker = make()
    tracker.update(people((100, 200)), 1.0)
    with pytest.raises(ValueError, match="time"):
        tracker.update(people((100, 200)), time_s)


def test_a_refused_frame_leaves_no_trace(make: MakeTracker) -> None:
    """Neither does one for its boxes, nor one that is sound but comes too early."""
    spoiled, clean = make(), make()
    bad = Detections(np.array([[0, 0, np.nan, 9]], np.float32), np.ones(1, np.float32))
    frames = scene(3, 20)
    refused = [(bad, 0.5), (people((100, 200), (150, 210)), 0.0), (people((100, 200)), -1.0), (crowd(40), np.nan)]
    shown = []
    for i, frame in enumerate(frames):
        shown.append(spoiled.update(frame, i * FRAME_S))
        for unwanted, frames_on in refused:
            live = spoiled.live_ids()
            with pytest.raises(ValueError, match=r"row 0|time"):
                spoiled.update(unwanted, (i + frames_on) * FRAME_S)
            np.testing.assert_array_equal(spoiled.live_ids(), live)
    same(shown, run(clean, frames))


@settings(max_examples=25, deadline=None)
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
        shown, live = tracks.track_id.tolist(), tracker.live_ids().tolist()
        assert shown == sorted(set(shown))
        assert all(track_id >= 1 for track_id in shown)
        assert live == sorted(set(live))
        assert set(shown) <= set(live)
        assert not gone & set(live)
        seen |= set(live)
        gone = seen - set(live)
        # Scores are all different here: no detection is shown twice.
        assert len(set(tracks.score.tolist())) == len(tracks)
        assert np.isin(tracks.score, frame.score).all()


@settings(max_examples=15, deadline=None)
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
    same(run(make(), frames), run(make(), frames))


def test_how_the_boxes_lie_in_memory_changes_nothing(make: MakeTracker) -> None:
    """Columns first, every other row of something larger, not writeable: as detectors happen to hand them out."""
    frames = scene(7, 30)
    columns_first = [Detections(np.asfortranarray(f.xyxy), f.score) for f in frames]
    strided = [Detections(np.repeat(f.xyxy, 2, axis=0)[::2], np.repeat(f.score, 2)[::2]) for f in frames]
    want = run(make(), frames)
    same(run(make(), columns_first), want)
    same(run(make(), strided), want)


def test_tracks_once_given_out_do_not_change_with_later_frames(make: MakeTracker) -> None:
    tracker, frames = make(), scene(5, 30)
    shown = run(tracker, frames)
    live = tracker.live_ids()
    before = [(t.track_id.copy(), t.xyxy.copy(), t.score.copy()) for t in shown], live.copy()
    run(tracker, frames, start=30)
    same(shown, [Tracks(*arrays) for arrays in before[0]])
    np.testing.assert_array_equal(live, before[1])


@pytest.mark.slow
def test_a_day_at_twenty_five_frames_a_second_leaves_memory_flat(make: MakeTracker) -> None:
    """6000 frames in bursts of a second all over 24 hours. Blocks are counted from the first quarter on: one for every
    other id seen since would show. Bytes are traced in the last fifth only, as that slows Python down: an array for
    every fifth frame would show. Python's and numpy's pools take some tens of blocks and 32 kB of those until they
    are full."""
    tracker = make()
    most_live = newest = newest_then = blocks = more_blocks = 0
    for i, (time_s, frame) in enumerate(day(6_000)):
        tracker.update(frame, time_s)
        live = tracker.live_ids()
        most_live, newest = max(most_live, len(live)), max(newest, int(live.max(initial=0)))
        if i == 1_500:
            gc.collect()
            blocks, newest_then = sys.getallocatedblocks(), newest
        if i == 4_800:
            gc.collect()
            more_blocks = sys.getallocatedblocks() - blocks
            assert newest - newest_then > 250
            tracemalloc.start()
    gc.collect()
    traced_b = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert time_s > DAY_S - 5
    assert most_live <= 12
    assert more_blocks < 125
    assert traced_b < 60_000
