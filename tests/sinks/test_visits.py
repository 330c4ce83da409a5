"""Visits, walks between cameras, and how many people there were."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.sinks.visits import WHOLE_SITE, Count, Stay, counts_of, transitions_of, visits_of


def walks(*visits: Stay) -> list[tuple[str, str, float]]:
    return [(t.from_camera, t.to_camera, t.arrived_s - t.left_s) for t in transitions_of(visits)]


def test_nobody_walks_and_nobody_is_counted_without_visits() -> None:
    assert visits_of([], 3.0) == transitions_of([]) == list(counts_of([], 3.0)) == []


def test_tracklets_with_a_short_gap_are_one_visit() -> None:
    stays = [Stay(1, "a", 6.0, 9.0), Stay(1, "a", 0.0, 4.0), Stay(1, "a", 12.5, 13.0), Stay(2, "a", 4.0, 5.0)]
    assert visits_of(stays, 2.0) == [Stay(1, "a", 0.0, 9.0), Stay(1, "a", 12.5, 13.0), Stay(2, "a", 4.0, 5.0)]


def test_a_tracklet_inside_another_does_not_shorten_the_visit() -> None:
    assert visits_of([Stay(1, "a", 0.0, 9.0), Stay(1, "a", 1.0, 2.0)], 0.0) == [Stay(1, "a", 0.0, 9.0)]


def test_a_walk_takes_the_time_that_nobody_saw_the_person() -> None:
    assert walks(Stay(1, "a", 0, 10), Stay(1, "b", 14, 20), Stay(1, "c", 21, 22)) == [("a", "b", 4), ("b", "c", 1)]


def test_a_walk_between_overlapping_views_takes_negative_time() -> None:
    assert walks(Stay(1, "a", 0, 10), Stay(1, "b", 8, 20)) == [("a", "b", -2)]


def test_a_camera_that_keeps_seeing_the_person_is_not_left() -> None:
    assert walks(Stay(1, "a", 0, 30), Stay(1, "b", 8, 20)) == []
    assert walks(Stay(1, "a", 0, 30), Stay(1, "b", 8, 30)) == []


def test_who_comes_back_to_a_camera_came_from_it() -> None:
    assert walks(Stay(1, "a", 0, 10), Stay(1, "b", 12, 20), Stay(1, "b", 30, 40)) == [("a", "b", 2), ("b", "b", 10)]


def test_walks_of_different_people_do_not_mix_and_come_by_arrival() -> None:
    found = transitions_of([Stay(1, "a", 0, 1), Stay(2, "b", 2, 3), Stay(1, "b", 9, 10), Stay(2, "a", 5, 6)])
    assert [(t.global_id, t.arrived_s) for t in found] == [(2, 5), (1, 9)]


def test_counts_by_hand() -> None:
    visits = [Stay(1, "a", 0.5, 4.0), Stay(2, "a", 1.0, 1.5), Stay(1, "b", 3.5, 5.0), Stay(2, "a", 9.0, 9.5)]
    assert list(counts_of(visits, 3.0)) == [
        Count(0.0, "a", 2, 2, 2),
        Count(0.0, WHOLE_SITE, 2, 2, 2),
        Count(3.0, "a", 1, 0, 2),
        Count(3.0, "b", 1, 1, 1),
        Count(3.0, WHOLE_SITE, 1, 0, 2),
        Count(9.0, "a", 1, 1, 2),
        Count(9.0, WHOLE_SITE, 1, 0, 2),
    ]


def test_a_long_silence_costs_nothing() -> None:
    visits = [Stay(1, "a", 0, 1), Stay(2, "a", 3e9, 3e9 + 1)]
    assert len(list(counts_of(visits, 3.0))) == 4


STAYS = st.lists(
    st.builds(
        lambda gid, camera, first, length: Stay(gid, camera, first / 4, (first + length) / 4),
        st.integers(1, 4), st.sampled_from("abc"), st.integers(0, 120), st.integers(0, 40),
    ),
    max_size=14,
)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(stays=STAYS, window_s=st.sampled_from([0.5, 3.0, 7.0]), gap_s=st.sampled_from([0.0, 3.0]))
def test_counts_equal_a_count_window_by_window(stays: list[Stay], window_s: float, gap_s: float) -> None:
    visits = visits_of(stays, gap_s)
    wanted = []
    for window in range(math.ceil(41 / window_s) + 1):
        start, end = window * window_s, (window + 1) * window_s
        there = [v for v in visits if v.first_s < end and v.last_s >= start]
        so_far = [v for v in visits if v.first_s < end]
        wanted += [
            Count(
                start,
                camera,
                len({v.global_id for v in there if v.camera == camera}),
                sum(v.camera == camera and start <= v.first_s for v in so_far),
                len({v.global_id for v in so_far if v.camera == camera}),
            )
            for camera in sorted({v.camera for v in there})
        ]
        if there:
            new = {v.global_id for v in so_far} - {v.global_id for v in visits if v.first_s < start}
            num_new, num_so_far = len(new), len({v.global_id for v in so_far})
            wanted.append(Count(start, WHOLE_SITE, len({v.global_id for v in there}), num_new, num_so_far))
    assert list(counts_of(visits, window_s)) == wanted


@settings(max_examples=100, deadline=None)
@given(stays=STAYS)
def test_every_walk_joins_two_visits_and_each_visit_has_one_origin_at_most(stays: list[Stay]) -> None:
    visits = visits_of(stays, 1.0)
    found = transitions_of(visits)
    starts = {(v.global_id, v.camera, v.first_s) for v in visits}
    ends = {(v.global_id, v.camera, v.last_s) for v in visits}
    arrivals = [(t.global_id, t.to_camera, t.arrived_s) for t in found]
    assert set(arrivals) <= starts and len(set(arrivals)) == len(arrivals)
    assert {(t.global_id, t.from_camera, t.left_s) for t in found} <= ends
    if all(v.last_s < w.first_s or w.last_s < v.first_s for v in visits for w in visits if v is not w):
        people = {v.global_id for v in visits}
        assert len(found) == len(visits) - len(people)  # with nothing at once, every visit but the first was walked to


def test_windows_need_not_begin_with_the_run() -> None:
    assert next(counts_of([Stay(1, "a", -4.0, -3.5)], 3.0)).start_s == pytest.approx(-6.0)
