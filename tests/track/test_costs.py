from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.track.costs import FORBIDDEN, Fit, weigh
from pipeline.track.kalman import MotionNoise, boxes_of, initiate
from pipeline.track.kernels import Kernels, load_kernels
from pipeline.types import Float64
from tests.track.scenes import COMPILED, PLAIN

PERSON = (0.0, 0.0, 40.0, 100.0)
OVERLAP = Fit(buffer=0.0, direction=0.0)


@pytest.fixture(params=[COMPILED, PLAIN], scope="module")
def kernels(request: pytest.FixtureRequest) -> Kernels:
    return load_kernels(request.param)


def cost_of(
    kernels: Kernels,
    track: tuple[float, ...],
    *found: tuple[float, ...],
    fit: Fit = OVERLAP,
    velocity: tuple[float, float] = (0.0, 0.0),
    last_xy: tuple[float, float] | None = None,
) -> list[float]:
    """Costs of one track predicted on the box `track`; its velocity is known to 20 px/s."""
    mean, cov = initiate(np.array([track]), MotionNoise())
    mean[0, 1, :2] = velocity
    cov[0, 2, 0] = 20.0**2
    last = mean[:, 0, :2].copy() if last_xy is None else np.array([last_xy])
    cost: list[float] = kernels.pair_cost(mean, cov, last, np.array(found), fit)[0].tolist()
    return cost


def test_the_same_box_costs_nothing(kernels: Kernels) -> None:
    assert cost_of(kernels, PERSON, PERSON) == [0]
    assert cost_of(kernels, PERSON, PERSON, fit=Fit()) == pytest.approx([0], abs=1e-12)


def test_a_box_beside_costs_what_the_overlap_lacks(kernels: Kernels) -> None:
    """Half a width beside: 20 of 60 px shared, and the whole height."""
    assert cost_of(kernels, PERSON, (20, 0, 60, 100)) == pytest.approx([1 - 1 / 3])


def test_a_box_below_costs_more_as_its_height_does_not_fit_either(kernels: Kernels) -> None:
    """Half a height below: 50 of 150 px shared, once for the area and once for the height."""
    assert cost_of(kernels, PERSON, (0, 50, 40, 150)) == pytest.approx([1 - 1 / 3 * 1 / 3])


def test_a_box_of_half_the_height_costs_more_than_one_of_half_the_width(kernels: Kernels) -> None:
    short, thin = cost_of(kernels, PERSON, (0, 50, 40, 100), (10, 0, 30, 100))
    assert (short, thin) == pytest.approx((1 - 1 / 2 * 1 / 2, 1 - 1 / 2))


def test_boxes_that_touch_or_lie_apart_are_forbidden(kernels: Kernels) -> None:
    apart = [(40, 0, 80, 100), (0, 100, 40, 200), (-40, -100, 0, 0), (500, 500, 540, 600), (10, 40, 10, 60)]
    assert cost_of(kernels, PERSON, *apart) == [FORBIDDEN] * len(apart)


def test_a_buffer_lets_boxes_apart_meet(kernels: Kernels) -> None:
    """4 px apart; with 8 px more on either side 12 of 100 px are shared."""
    beside = (44.0, 0.0, 84.0, 100.0)
    assert cost_of(kernels, PERSON, beside) == [FORBIDDEN]
    assert cost_of(kernels, PERSON, beside, fit=Fit(0.2, 0.0)) == pytest.approx([1 - 12 / 100])


def test_a_buffer_is_a_share_of_each_box(kernels: Kernels) -> None:
    """The small box gains 5 px a side in width, 10 in height, the large one 20 and 50: 40 x 100 grow to 80 x 200."""
    small = (20.0, 40.0, 30.0, 60.0)
    want = 1 - (20 * 40) / (80 * 200) * (40 / 200)
    assert cost_of(kernels, PERSON, small, fit=Fit(0.5, 0.0)) == pytest.approx([want])


def test_a_detection_ahead_of_a_track_costs_less_than_one_behind_or_beside(kernels: Kernels) -> None:
    """Heading right at 30 px/s, half of 20 px/s unsure: 30 / 40 counts. 20 px away, where 5 say nothing: 20 / 25."""
    ahead, behind, aside = (20, 0, 60, 100), (-20, 0, 20, 100), (0, 20, 40, 120)
    still = cost_of(kernels, PERSON, ahead, behind, aside)
    fit = Fit(0.0, 0.07, 0.5)
    moving = cost_of(kernels, PERSON, ahead, behind, aside, fit=fit, velocity=(30, 0))
    gain = 0.07 * 30 / 40 * 20 / 25
    assert moving == pytest.approx([still[0] - gain, still[1] + gain, still[2]])


def test_direction_is_seen_from_the_last_detection_and_not_from_the_prediction(kernels: Kernels) -> None:
    """Last seen 20 px to the left of where it is expected, and where it is expected it is: that is ahead."""
    cost = cost_of(kernels, PERSON, PERSON, fit=Fit(0.0, 0.07, 0.5), velocity=(30, 0), last_xy=(0, 50))
    assert cost == pytest.approx([-0.07 * 30 / 40 * 20 / 25])


def test_a_track_at_rest_has_no_direction(kernels: Kernels) -> None:
    assert cost_of(kernels, PERSON, (20, 0, 60, 100), fit=Fit(0.0, 1.0)) == pytest.approx([1 - 1 / 3])


def test_forbidden_pairs_stay_so_however_well_the_direction_fits(kernels: Kernels) -> None:
    assert cost_of(kernels, PERSON, (60, 0, 100, 100), fit=Fit(0.0, 1.0), velocity=(900, 0)) == [FORBIDDEN]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 100_000), direction=st.sampled_from([0.0, 0.07, 0.5]))
def test_costs_lie_within_what_direction_adds_or_takes_and_do_not_change_with_the_camera(
    kernels: Kernels, seed: int, direction: float
) -> None:
    """A picture shifted or twice as large gives the same costs; boxes stay above the sizes where pixels matter."""
    rng = np.random.default_rng(seed)
    fit = Fit(0.2, direction)
    low = rng.uniform(0, 200, (6, 2))
    boxes = np.concatenate((low, low + rng.uniform(5, 100, (6, 2))), axis=1)
    velocity = rng.normal(0, 50, (6, 2))

    def costs(zoom: float, shift: float) -> Float64:
        seen = boxes * zoom + shift
        mean, cov = initiate(seen, MotionNoise())
        mean[:, 1, :2] = velocity * zoom
        last_xy = (seen[::-1, :2] + seen[::-1, 2:]) / 2
        return kernels.pair_cost(mean, cov, last_xy, seen, fit)

    cost = costs(1.0, 0.0)
    allowed = cost[np.isfinite(cost)]
    assert len(allowed) >= 6
    assert allowed.min() >= -direction - 1e-12
    assert allowed.max() <= 1 + direction + 1e-12
    np.testing.assert_allclose(costs(2.0, 0.0), cost, atol=1e-9)
    np.testing.assert_allclose(costs(1.0, -1000.0), cost, atol=1e-9)


def test_a_track_that_shrank_below_a_pixel_is_compared_as_one_pixel(kernels: Kernels) -> None:
    mean, cov = initiate(np.array([[10.0, 10.0, 10.2, 10.4]]), MotionNoise())
    mean[0, 0, 2:] = -5.0
    cost = kernels.pair_cost(mean, cov, mean[:, 0, :2].copy(), boxes_of(mean), OVERLAP)
    np.testing.assert_allclose(cost, [[0.0]], atol=1e-9)


def test_weights_by_hand() -> None:
    cost = np.array([[0.0, 2 / 3, 1.0, np.inf]])
    weighed = weigh(cost, np.array([0.5, 0.9, 1.0, 0.5]))
    np.testing.assert_allclose(weighed, [[0.5, 0.7, 1.0, np.inf]])
