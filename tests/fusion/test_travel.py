"""Travel times that learn themselves, and the zones between which they are."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.fusion.travel import NUM_BINS, GivenTravel, TransitCounts, TravelModel, warped
from pipeline.fusion.zones import NUM_ZONES, ZONES, Zones

DOOR, HALL, YARD = (camid * NUM_ZONES + 2 for camid in range(3))
LOWEST = math.log(0.05)  # what is unforeseen proves no more than that


def odds(model: TravelModel, start: int, goal: int, *travel_s: float) -> np.ndarray:
    return model.log_odds(np.full(len(travel_s), start), np.full(len(travel_s), goal), np.array(travel_s))


def walks(model: TravelModel, start: int, goal: int, times_s: np.ndarray, probability: float = 1.0) -> None:
    for travel_s in times_s.tolist():
        model.arrive(goal)
        model.learn(np.array([start]), goal, np.array([travel_s]), np.array([probability]))


def about(mean_s: float, std_s: float, number: int, seed: int = 0) -> np.ndarray:
    return np.maximum(np.random.default_rng(seed).normal(mean_s, std_s, number), 0.0)


def test_nothing_is_said_at_the_start() -> None:
    said = odds(TravelModel(3, 200.0), DOOR, HALL, 0.0, 0.1, 5.0, 60.0, 3600.0, 1e6)
    np.testing.assert_allclose(said, 0.0, atol=1e-9)
    assert odds(TravelModel(3, 200.0), DOOR, HALL).shape == (0,)


def test_thirty_transits_of_five_seconds_speak_for_five_and_against_sixty() -> None:
    model = TravelModel(2, 200.0)
    walks(model, DOOR, HALL, about(5.0, 0.5, 30))
    five, sixty = odds(model, DOOR, HALL, 5.0, 60.0)
    assert five > sixty + 2
    assert five > 1 and sixty < -1


def test_one_transit_says_little() -> None:
    model = TravelModel(2, 200.0)
    walks(model, DOOR, HALL, np.array([5.0]))
    five, sixty = odds(model, DOOR, HALL, 5.0, 60.0)
    assert 0.2 < five < 1.5
    assert -0.7 < sixty < 0.7


def test_a_pair_of_zones_never_seen_borrows_from_its_cameras() -> None:
    model = TravelModel(2, 200.0)
    walks(model, DOOR, HALL, about(5.0, 0.5, 30))
    five, sixty = odds(model, DOOR + 1, HALL + 1, 5.0, 60.0)
    assert five > sixty + 1.5


def test_a_route_that_closes_fades_and_a_new_one_takes_over() -> None:
    model = TravelModel(2, 40.0)
    walks(model, DOOR, HALL, about(5.0, 0.5, 60))
    before = odds(model, DOOR, HALL, 5.0, 40.0)
    walks(model, DOOR, HALL, about(40.0, 4.0, 60, seed=1))
    after = odds(model, DOOR, HALL, 5.0, 40.0)
    assert before[0] > before[1] + 2
    assert after[1] > after[0] + 0.5
    walks(model, DOOR, HALL, about(40.0, 4.0, 150, seed=2))
    later = odds(model, DOOR, HALL, 5.0, 40.0)
    assert later[1] > later[0] + 2


def test_regular_arrivals_of_different_people_prove_nothing() -> None:
    """A train every minute: somebody always left the platform 60 s before, and it is never the one who comes."""
    model = TravelModel(2, 200.0)
    for travel_s in about(60.0, 1.0, 200).tolist():
        model.arrive(HALL)
        model.learn(np.array([DOOR]), HALL, np.array([travel_s]), np.array([0.0]))
    assert (odds(model, DOOR, HALL, 5.0, 60.0, 300.0) < 0.3).all()


def test_a_peak_of_chance_takes_away_from_the_evidence_of_the_same_peak() -> None:
    alone, crowded = TravelModel(2, 200.0), TravelModel(2, 200.0)
    for travel_s in about(60.0, 2.0, 60).tolist():
        alone.learn(np.array([DOOR]), HALL, np.array([travel_s]), np.ones(1))
        crowded.learn(np.array([DOOR] * 4), HALL, np.full(4, travel_s), np.array([1.0, 0, 0, 0]))
    assert odds(alone, DOOR, HALL, 60.0)[0] > 1.5
    assert odds(crowded, DOOR, HALL, 60.0)[0] < odds(alone, DOOR, HALL, 60.0)[0] - 1


def test_where_nobody_goes_to_is_unlikely() -> None:
    model = TravelModel(3, 200.0)
    for _ in range(60):
        model.arrive(YARD)  # people do come there, but not from the door
    walks(model, DOOR, HALL, about(5.0, 0.5, 60))
    assert odds(model, DOOR, YARD, 5.0)[0] < -1
    assert odds(model, DOOR, HALL, 5.0)[0] > 1


def test_half_a_chance_teaches_half_as_much() -> None:
    sure, unsure = TravelModel(2, 200.0), TravelModel(2, 200.0)
    walks(sure, DOOR, HALL, np.full(10, 5.0))
    walks(unsure, DOOR, HALL, np.full(20, 5.0), probability=0.5)
    counts = [sum(count.sum() for _, _, count in model.zones.pairs()) for model in (sure, unsure)]
    assert counts[1] == pytest.approx(counts[0], rel=0.05)
    chances = [sum(count.sum() for _, _, count in model.by_chance.pairs()) for model in (sure, unsure)]
    assert chances[0] == 0 and chances[1] == pytest.approx(10, rel=0.05)


def test_rows_are_bounded_and_the_least_used_makes_room() -> None:
    counts = TransitCounts(100, 50.0, capacity=8)
    for place in range(100):
        counts.add(np.array([place]), 0, np.array([5.0]), np.array([1.0 if place else 0.5]))
        counts.add(np.array([1]), 0, np.array([5.0]), np.ones(1))
    kept = [start for start, _, _ in counts.pairs()]
    assert len(kept) == 8 and 1 in kept and 0 not in kept
    assert (counts.rows(np.array([0, 99]), np.array([0, 0])) >= 0).tolist() == [False, True]


def test_counts_forget_beyond_their_memory() -> None:
    counts = TransitCounts(2, 50.0)
    for _ in range(1000):
        counts.add(np.array([0]), 1, np.array([5.0]), np.ones(1))
    ((_, _, count),) = counts.pairs()
    assert count.sum() == pytest.approx(50.0, rel=0.01)
    assert counts.departures[0] == pytest.approx(50.0, rel=0.01)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.integers(0, 9), st.floats(0, 2e4), st.floats(0, 1)), min_size=1, max_size=60
    ),
    st.floats(0, 2e4),
)
def test_the_odds_are_never_below_the_bound(lessons: list[tuple[int, int, float, float]], travel_s: float) -> None:
    model = TravelModel(2, 20.0)
    for start, goal, seconds, probability in lessons:
        model.arrive(goal)
        model.learn(np.array([start]), goal, np.array([seconds]), np.array([probability]))
    said = model.log_odds(np.arange(10).repeat(10), np.tile(np.arange(10), 10), np.full(100, travel_s))
    assert np.isfinite(said).all()
    assert (said >= LOWEST - 1e-9).all()


def test_times_beyond_the_longest_count_as_that() -> None:
    assert warped(1e9) == warped(4 * 3600.0)
    model = TravelModel(2, 200.0)
    walks(model, DOOR, HALL, np.full(5, 1e9))
    assert odds(model, DOOR, HALL, 5e4)[0] > odds(model, DOOR, HALL, 5.0)[0]


# What is given by hand


def test_a_given_travel_time_counts_as_thirty_people() -> None:
    model = TravelModel(2, 200.0, given=[GivenTravel(0, 1, 10.0, 20.0, 60.0)])
    five, twenty, hour = odds(model, DOOR, HALL, 5.0, 20.0, 3600.0)
    assert twenty > 1 and five < -0.5 and hour < -1
    np.testing.assert_allclose(odds(model, HALL, DOOR, 5.0, 20.0, 3600.0), 0.0, atol=1e-9)
    ((_, _, count),) = model.cameras.pairs()
    assert count.sum() == pytest.approx(30.0)


def test_what_is_learned_overrules_a_wrong_guess() -> None:
    model = TravelModel(2, 100.0, given=[GivenTravel(0, 1, mean_s=20.0)])
    walks(model, DOOR, HALL, about(200.0, 10.0, 150))
    twenty, later = odds(model, DOOR, HALL, 20.0, 200.0)
    assert later > twenty + 2


@pytest.mark.parametrize(
    ("way", "likely_s", "unlikely_s"),
    [
        (GivenTravel(0, 1, mean_s=20.0), 20.0, 600.0),
        (GivenTravel(0, 1, min_s=10.0, mean_s=20.0), 20.0, 600.0),
        (GivenTravel(0, 1, mean_s=20.0, max_s=30.0), 20.0, 60.0),
        (GivenTravel(0, 1, min_s=10.0, max_s=30.0), 18.0, 120.0),
        (GivenTravel(0, 1, max_s=30.0), 8.0, 600.0),
        (GivenTravel(0, 1, 20.0, 20.0, 20.0), 20.0, 60.0),
    ],
)
def test_parts_of_a_given_travel_time_are_enough(way: GivenTravel, likely_s: float, unlikely_s: float) -> None:
    likely, unlikely = odds(TravelModel(2, 200.0, given=[way]), DOOR, HALL, likely_s, unlikely_s)
    assert likely > 0.5 and unlikely < -0.5


def test_a_least_time_alone_says_nothing_of_the_others() -> None:
    way = GivenTravel(0, 1, min_s=10.0)
    assert way.count().shape == (NUM_BINS,) and not way.count().any()
    np.testing.assert_allclose(odds(TravelModel(2, 200.0, given=[way]), DOOR, HALL, 3.0, 20.0), 0.0, atol=1e-9)


def test_a_least_time_bars_who_is_faster_in_that_direction_only() -> None:
    model = TravelModel(2, 200.0, given=[GivenTravel(0, 1, min_s=10.0)])

    def barred(cam_a: int, first_a: float, last_a: float, cam_b: int, first_b: float, last_b: float) -> bool:
        one = np.array([cam_a]), np.array([first_a]), np.array([last_a])
        other = np.array([cam_b]), np.array([first_b]), np.array([last_b])
        both = bool(model.too_fast(one, other)[0]), bool(model.too_fast(other, one)[0])
        assert both[0] == both[1]
        return both[0]

    assert model.has_least and not TravelModel(2, 200.0).has_least
    assert barred(0, 0, 5, 1, 14.9, 20)
    assert not barred(0, 0, 5, 1, 15.0, 20)
    assert not barred(1, 0, 5, 0, 6.0, 20)
    assert barred(0, 0, 5, 1, 4.0, 20)
    assert not barred(0, 0, 5, 0, 6.0, 20)


# Zones


def boxes(*rows: tuple[float, float, float, float]) -> np.ndarray:
    return np.array(rows, np.float64).reshape(-1, 4)


def test_boxes_at_the_borders_of_what_was_seen_are_there_and_others_inside() -> None:
    zones = Zones(2)
    zones.see(1, boxes((0, 0, 40, 100), (600, 380, 640, 480)).astype(np.float32))
    found = zones.zone(
        np.full(5, 1),
        boxes((5, 200, 45, 300), (590, 200, 630, 300), (300, 10, 340, 110), (300, 375, 340, 475), (300, 200, 340, 300)),
    )
    assert [ZONES[zone - NUM_ZONES] for zone in found] == ["left", "right", "top", "bottom", "inside"]


def test_in_a_camera_that_has_shown_nothing_everything_is_inside() -> None:
    assert Zones(1).zone(np.zeros(1, np.int64), boxes((0, 0, 40, 100))).tolist() == [0]
    zones = Zones(1)
    zones.see(0, boxes().astype(np.float32))
    assert zones.borders(0) == (math.inf, math.inf, -math.inf, -math.inf)


def test_in_a_corner_the_nearer_border_counts() -> None:
    zones = Zones(1)
    zones.see(0, boxes((0, 0, 640, 480)).astype(np.float32))
    found = zones.zone(np.zeros(2, np.int64), boxes((4, 30, 44, 130), (14, 5, 54, 105)))
    assert [ZONES[zone] for zone in found] == ["left", "top"]


def test_zones_are_numbered_over_all_cameras_and_cameras_have_borders_of_their_own() -> None:
    zones = Zones(2)
    zones.see(0, boxes((0, 0, 640, 480)).astype(np.float32))
    zones.see(1, boxes((100, 100, 300, 300)).astype(np.float32))
    same = boxes((105, 150, 145, 250), (105, 150, 145, 250))
    assert zones.zone(np.array([0, 1]), same).tolist() == [0, NUM_ZONES + ZONES.index("left")]
