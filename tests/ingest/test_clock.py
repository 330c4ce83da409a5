from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.ingest.clock import FileClock, LiveClock, Sampler

_pts = st.lists(st.one_of(st.none(), st.floats(-1e4, 1e4, allow_nan=False)), max_size=50)


@given(_pts)
def test_times_of_a_recording_strictly_rise_whatever_the_container_says(pts: list[float | None]) -> None:
    clock = FileClock(0.04)
    times = [clock.time_of(p) for p in pts]
    assert all(a < b for a, b in pairwise(times))


def test_missing_times_are_filled_in_at_the_nominal_interval() -> None:
    clock = FileClock(0.5)
    assert [clock.time_of(p) for p in (None, None, 1.0, None)] == [0.0, 0.5, 1.0, 1.5]
    assert clock.num_missing == 3


def test_a_recording_whose_times_begin_anew_goes_on_behind_its_first_part() -> None:
    clock = FileClock(0.5)
    assert [clock.time_of(p) for p in (0.0, 0.5, 90.0, 0.0, 0.5)] == [0.0, 0.5, 90.0, 90.5, 91.0]


def test_a_repeated_time_moves_behind_the_last_and_the_next_is_true_again() -> None:
    clock = FileClock(0.1)
    times = [clock.time_of(p) for p in (0.0, 0.1, 0.1, 0.2)]
    assert times[1] < times[2] < times[3] == 0.2
    assert clock.num_not_rising == 1


@given(st.lists(st.tuples(st.floats(-50, 50), st.floats(0, 5)), max_size=60), st.booleans())
def test_live_times_strictly_rise_and_unless_fixed_never_lie_behind_the_arrival(
    steps: list[tuple[float, float]], fixed: bool
) -> None:
    clock, arrival_s, last_s = LiveClock(fixed=fixed), 1000.0, float("-inf")
    for pts_s, pause_s in steps:
        arrival_s += pause_s + 0.002
        time_s = clock.time_of(pts_s, arrival_s)
        assert time_s > last_s
        assert fixed or time_s <= arrival_s + 1e-9
        last_s = time_s


def test_live_times_go_on_behind_what_was_read_before() -> None:
    clock = LiveClock(fixed=False, after_s=100.5)
    first_s, second_s = clock.time_of(0.0, 100.0), clock.time_of(0.1, 100.1)
    assert 100.5 < first_s < second_s < 100.6
    assert clock.time_of(0.7, 100.7) == pytest.approx(100.7)


def test_a_burst_at_the_start_does_not_put_live_frames_into_the_future() -> None:
    clock = LiveClock(fixed=False)
    for i in range(20):  # two seconds of pictures in 20 ms
        clock.time_of(i * 0.1, 100.0 + i * 0.001)
    assert clock.time_of(2.0, 100.12) == pytest.approx(100.119, abs=1e-6)


def test_a_late_frame_keeps_the_time_its_stream_gives_it() -> None:
    clock = LiveClock(fixed=False)
    assert clock.time_of(0.0, 100.0) == 100.0
    assert clock.time_of(0.1, 100.9) == pytest.approx(100.1)  # arrived 0.8 s late
    assert clock.time_of(0.2, 100.95) == pytest.approx(100.2)


def test_an_outage_counts_with_its_true_length() -> None:
    clock = LiveClock(fixed=False)
    clock.time_of(5.0, 100.0)
    clock.connect()
    assert clock.time_of(0.0, 130.0) == 130.0


def test_a_camera_clock_that_runs_slow_is_followed_within_the_window() -> None:
    clock = LiveClock(fixed=False)
    for i in range(1000):
        time_s = clock.time_of(i * 0.04, 100.0 + i * 0.1)  # says 25 frames/s, sends 10
    assert 100.0 + 999 * 0.1 - time_s < 15


@given(st.floats(0.5, 60), st.floats(0.5, 60))
def test_the_sampler_takes_the_wanted_rate_on_average_and_never_more(fps: float, max_fps: float) -> None:
    sampler = Sampler(max_fps)
    num_taken = sum(sampler.takes(i / fps) for i in range(400))
    wanted = min(400.0, 400 * max_fps / fps)
    assert wanted - 2 <= num_taken <= wanted + 1
