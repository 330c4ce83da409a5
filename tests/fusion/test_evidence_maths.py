"""The pure parts: affinities, constraints, calibration."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.fusion.affinity import (
    floor_log_odds,
    motion_log_odds,
    posterior,
    return_log_odds,
)
from pipeline.fusion.calibration import RunningNormal, SimilarityCalibration, normal_log_odds
from pipeline.fusion.config import FusionConfig
from pipeline.fusion.constraints import Presence, cannot_be_one

NOBODY: frozenset[tuple[int, int]] = frozenset()


def test_floor_log_odds_equal_the_ratio_of_the_two_densities() -> None:
    distance, sigma, area = 0.5, 0.4, 30.0
    same = math.exp(-0.5 * distance**2 / sigma**2) / (2 * math.pi * sigma**2)
    got = floor_log_odds(np.array([distance]), np.array([sigma]), area)
    assert got[0] == pytest.approx(math.log(same / (1 / area)))


def test_uncertain_feet_prove_less_and_unknown_feet_nothing() -> None:
    near, far = floor_log_odds(np.array([0.1, 0.1]), np.array([0.2, 1.5]), 30.0)
    apart_near, apart_far = floor_log_odds(np.array([3.0, 3.0]), np.array([0.2, 1.5]), 30.0)
    assert near > far > 0 and apart_near < apart_far
    assert floor_log_odds(np.array([np.nan, 1.0]), np.array([0.2, np.nan]), 30.0).tolist() == [0, 0]


def test_motion_prefers_the_predicted_place_and_the_same_height() -> None:
    offset, ratio = np.array([0.1, 2.0, 0.1]), np.array([0.0, 0.0, 1.0])
    here, there, grown = motion_log_odds(offset, np.full(3, 0.5), ratio)
    assert here > 1 and here > grown and there < 0


def test_return_odds_fall_with_the_gap() -> None:
    odds = return_log_odds(np.array([0.0, 30.0, 3600.0]), -0.5, 10.0, 0.5)
    assert odds[0] == -0.5 and odds[1] == pytest.approx(-0.5 - 0.5 * math.log(4)) and odds[2] < odds[1]


@given(st.lists(st.floats(-50, 50), max_size=6))
def test_posterior_sums_to_one(values: list[float]) -> None:
    chances, none = posterior(np.array(values))
    assert chances.sum() + none == pytest.approx(1.0) and (chances >= 0).all() and none >= 0


def test_posterior_of_one_candidate_is_the_logistic_of_its_log_odds() -> None:
    chances, none = posterior(np.array([1.2]))
    assert chances[0] == pytest.approx(1 / (1 + math.exp(-1.2))) and none == pytest.approx(1 - chances[0])


def test_one_frame_together_in_a_camera_is_too_much() -> None:
    one, other = [Presence(0, 0.0, 2.0)], [Presence(0, 2.0, 5.0)]
    assert cannot_be_one(one, other, NOBODY, 1.0)
    assert not cannot_be_one(one, [Presence(0, 2.01, 5.0)], NOBODY, 1.0)


def test_clock_error_is_forgiven_between_cameras_and_overlap_allows_all() -> None:
    one = [Presence(0, 0.0, 2.0)]
    assert not cannot_be_one(one, [Presence(1, 1.9, 5.0)], NOBODY, 0.2)
    assert cannot_be_one(one, [Presence(1, 1.7, 5.0)], NOBODY, 0.2)
    for pair in ((0, 1), (1, 0)):
        assert not cannot_be_one(one, [Presence(1, 0.5, 5.0)], frozenset({pair}), 0.2)


def test_glimpse_in_the_middle_of_a_long_stay_elsewhere_is_no_clock_error() -> None:
    assert cannot_be_one([Presence(0, 0.0, 9.0)], [Presence(1, 5.0, 5.0)], NOBODY, 0.2)


def test_without_clock_error_one_moment_in_two_places_is_too_much() -> None:
    assert cannot_be_one([Presence(0, 1.0, 2.0)], [Presence(1, 2.0, 5.0)], NOBODY, 0.0)


def test_open_tracklet_bars_all_that_comes_later_in_its_camera() -> None:
    assert cannot_be_one([Presence(0, 0.0, math.inf)], [Presence(0, 99.0, 100.0)], NOBODY, 0.2)


def test_nobody_clashes_with_nobody() -> None:
    assert not cannot_be_one([], [], NOBODY, 0.2) and not cannot_be_one([Presence(0, 0, 1)], [], NOBODY, 0.2)


def test_running_normal_forgets_its_prior_and_withstands_outliers() -> None:
    rng = np.random.default_rng(0)
    running = RunningNormal(0.5, 0.1, 30.0)
    for _ in range(600):
        sample = rng.normal(0.62, 0.05) if rng.random() > 0.03 else 1.0
        running.update(np.array([sample]), 1.0)
    assert running.mean == pytest.approx(0.63, abs=0.02) and running.std == pytest.approx(0.06, abs=0.02)
    running.update(np.zeros(0), 1.0)


def test_log_odds_of_a_similarity_rise_and_are_bounded_at_both_ends() -> None:
    odds = normal_log_odds(np.linspace(-1, 1, 201), (0.8, 0.1), (0.45, 0.1), 0.8, 0.02)
    assert (np.diff(odds) >= -1e-12).all() and odds[0] < -3 and odds[-1] > 3
    assert odds[-1] == odds[180] and odds[0] == odds[145 - 1]


def test_more_similar_than_a_change_of_camera_lets_expect_speaks_against_somebody_else() -> None:
    at = np.array([0.7, 0.75, 0.8, 0.9])
    odds = normal_log_odds(at, (0.7, 0.1), (0.45, 0.1), 0.8, 0.02)
    assert odds[0] + 0.5 < odds[1] < odds[2] == odds[3]
    assert (normal_log_odds(at, (0.7, 0.1), (0.45, 0.1), 0.7, 0.02) == odds[0]).all()


def test_change_of_camera_lowers_what_is_expected_of_one_person() -> None:
    calibration = SimilarityCalibration(FusionConfig())
    within, across = (calibration.log_odds(np.array([0.75]), across=across)[0] for across in (False, True))
    assert across > within
