"""The identity invariants: each is broken on purpose and found, and never found where it holds."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.interchange.rows import TrackRows
from pipeline.invariants import (
    Check,
    explained_by_events,
    ids_never_reused,
    once_per_frame,
    one_place_at_once,
    possible_speed,
    possible_travel,
    spans_of,
)
from pipeline.types import AnyArray, Event
from tests.interchange.test_formats import rows

APART: AnyArray = np.eye(2, dtype=bool)
TOGETHER: AnyArray = np.ones((2, 2), bool)


def walk(camera: str, frames: range, gid: int = 1, track: int = 1) -> list[tuple[str, int, int, int]]:
    return [(camera, frame, gid, track) for frame in frames]


def in_two_places(table: TrackRows, overlaps: AnyArray = APART, clock_error_s: float = 0.0) -> Check:
    return one_place_at_once(table, spans_of(table), overlaps, clock_error_s)


def test_a_tracker_may_hang_on_at_the_end_of_a_stay_for_a_while() -> None:
    table = rows(*walk("a", range(21)), *walk("b", range(16, 40)))
    spans = spans_of(table)
    common_s = float(spans.last_s[0] - spans.first_s[1])
    assert one_place_at_once(table, spans, APART, 0.0, handover_s=common_s + 0.01).holds
    assert not one_place_at_once(table, spans, APART, 0.0, handover_s=common_s).holds
    inside = rows(*walk("a", range(21)), *walk("b", range(5, 8)))
    assert not one_place_at_once(inside, spans_of(inside), APART, 0.0, handover_s=100.0).holds


def test_empty_tables_hold() -> None:
    empty = TrackRows.empty(("a", "b"))
    spans = spans_of(empty)
    checks = [
        once_per_frame(empty),
        one_place_at_once(empty, spans, APART, 0.0),
        possible_travel(empty, spans, np.zeros((2, 2)), 0.0),
        possible_speed(empty, 10.0, 3.0),
        ids_never_reused([]),
        explained_by_events(empty, [], {}),
    ]
    assert all(check.holds and check.num_checked == 0 for check in checks)


def test_an_id_twice_in_a_frame_is_found_and_named() -> None:
    table = rows(("a", 3, 1, 1), ("b", 3, 1, 1), ("a", 4, 2, 2), ("a", 3, 1, 5))
    check = once_per_frame(table)
    assert (check.num_broken, check.num_checked) == (1, 4)
    assert check.examples == ("line 3: camera a, frame 3 (0.300 s): id 1 stands there already in line 0",)


def test_rows_without_identity_can_stand_twice() -> None:
    assert once_per_frame(rows(("a", 3, 0, 1), ("a", 3, 0, 2))).holds


def test_two_cameras_at_once_are_found_unless_they_overlap() -> None:
    table = rows(*walk("a", range(20)), *walk("b", range(15, 30)))
    check = in_two_places(table)
    assert check.num_broken == 1 and "camera b, frame 15" in check.examples[0]
    assert "both for 0.400 s" in check.examples[0]
    assert in_two_places(table, TOGETHER).holds


def test_a_single_common_frame_is_enough_and_a_clock_error_forgives_it() -> None:
    table = rows(*walk("a", range(10)), *walk("b", range(9, 20)))
    assert in_two_places(table).num_broken == 1
    assert in_two_places(table, clock_error_s=0.2).holds
    assert in_two_places(rows(*walk("a", range(10)), *walk("b", range(10, 20)))).holds


def test_a_person_unseen_for_a_moment_was_still_there() -> None:
    table = rows(*walk("a", range(10)), *walk("a", range(14, 20)), *walk("b", range(11, 13)))
    assert in_two_places(table).num_broken == 1
    later = rows(*walk("a", range(10)), *walk("a", range(40, 50)), *walk("b", range(12, 38)))
    assert in_two_places(later).holds


def test_another_tracklet_of_the_person_begins_a_new_stay() -> None:
    table = rows(*walk("a", range(10)), *walk("a", range(14, 20), track=2), *walk("b", range(11, 13)))
    assert in_two_places(table).holds


def test_too_fast_a_walk_is_found_by_the_times_of_the_site() -> None:
    table = rows(*walk("a", range(10)), *walk("b", range(15, 20)))
    least_s = np.array([[0.0, 3.0], [np.nan, 0.0]])
    check = possible_travel(table, spans_of(table), least_s, 0.0)
    assert check.num_broken == 1 and "left a 0.600 s before, which takes 3 s at least" in check.examples[0]
    assert possible_travel(table, spans_of(table), least_s, 2.5).holds
    assert possible_travel(table, spans_of(table), least_s.T, 0.0).holds


def test_a_jump_over_the_floor_is_found_and_an_error_of_places_forgiven() -> None:
    table = rows(*walk("a", range(20)), *walk("b", range(20, 40)))
    assert possible_speed(table, 10.0, 3.0).holds
    far = table.with_columns(ground_xy=table.ground_xy + np.where(table.camid == 1, 30.0, 0.0)[:, None])
    check = possible_speed(far, 10.0, 3.0)
    assert check.num_broken == 1 and "camera b, frame 20" in check.examples[0]
    assert possible_speed(far, 10.0, 40.0).holds and possible_speed(far, 45.0, 3.0).holds


def test_ids_that_come_back_from_the_dead_are_found() -> None:
    def events(*told: tuple[str, int, int]) -> Check:
        kinds = [
            Event(kind, float(at), gid, 0 if kind != "merge" else -1, at + 1, other)  # type: ignore[arg-type]
            for at, (kind, gid, other) in enumerate(told)
        ]
        return ids_never_reused(kinds)

    assert events(("create", 1, 0), ("create", 2, 0), ("merge", 1, 2), ("link", 1, 0), ("close", 1, 0)).holds
    assert "given before" in events(("create", 1, 0), ("create", 1, 0)).examples[0]
    assert "was closed before" in events(("create", 1, 0), ("close", 1, 0), ("link", 1, 0)).examples[0]
    assert "was never created" in events(("link", 4, 0)).examples[0]
    merged = ("create", 1, 0), ("create", 2, 0), ("merge", 1, 2)
    assert "was merged into 1 before" in events(*merged, ("link", 2, 0)).examples[0]
    assert events(*merged, ("split", 2, 1), ("link", 2, 0)).holds  # the merge taken back


def test_rows_that_the_events_do_not_explain_are_found() -> None:
    table = rows(("a", 0, 1, 1), ("a", 1, 1, 1), ("b", 0, 2, 1), ("b", 9, 0, 2))
    founded = [Event("create", 0.0, 1, 0, 1), Event("create", 0.0, 2, 1, 1)]
    camids = {"a": 0, "b": 1}
    assert explained_by_events(table, founded, camids).holds
    silent = explained_by_events(table, founded[:1], camids)
    assert silent.num_broken == 1 and "id 2, but the events make it nobody" in silent.examples[0]
    merged = explained_by_events(table, [*founded, Event("merge", 1.0, 1, other_id=2)], camids)
    assert merged.num_broken == 1 and "id 2, but the events make it 1" in merged.examples[0]
    split = explained_by_events(table, [*founded, Event("split", 0.1, 5, 0, 1, 1)], camids)
    assert [split.num_broken, split.examples[0][:31]] == [1, "line 1: camera a, frame 1 (0.10"]


SIGHTINGS = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(0, 60), st.integers(1, 3), st.integers(1, 2)), min_size=1, max_size=40
)


@settings(max_examples=150, deadline=None)
@given(sightings=SIGHTINGS)
def test_what_is_found_equals_a_look_at_every_pair(sightings: list[tuple[str, int, int, int]]) -> None:
    table = rows(*sightings, ("a", 900, 9, 9), ("b", 900, 8, 9))  # both cameras are there, whatever comes
    doubles = len(sightings) - len({(camera, frame, gid) for camera, frame, gid, _ in sightings})
    assert once_per_frame(table).num_broken == doubles
    spans = spans_of(table)
    at_once = too_fast = 0
    for i, j in combinations(range(len(spans)), 2):
        if spans.global_id[i] == spans.global_id[j] and spans.camid[i] != spans.camid[j]:
            travel_s = spans.first_s[j] - spans.last_s[i]
            at_once += travel_s <= 1e-9
            too_fast += spans.camid[i] == 0 and travel_s < 1.5 - 1e-9
    assert one_place_at_once(table, spans, APART, 0.0).num_broken == at_once
    assert possible_travel(table, spans, np.array([[0.0, 1.5], [0.0, 0.0]]), 0.0).num_broken == too_fast


def test_stays_cover_every_named_row_once() -> None:
    table = rows(*walk("a", range(0, 50, 2)), *walk("a", range(80, 90)), *walk("b", range(3), gid=2), ("b", 7, 0, 3))
    spans = spans_of(table)
    assert spans.global_id.tolist() == [1, 1, 2]
    assert spans.first_s.tolist() == pytest.approx([0.0, 8.0, 0.0])
    assert spans.last_s.tolist() == pytest.approx([4.8, 8.9, 0.2])
