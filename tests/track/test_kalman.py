from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.track.kalman import MotionNoise, boxes_of, correct, initiate, predict, xyxy_to_cxcywh
from pipeline.types import Float64

NOISE = MotionNoise()


class DenseFilter:
    """The same filter for one box as textbooks write it: an 8-vector, 8x8 matrices and an inverse."""

    def __init__(self, xyxy: Float64) -> None:
        z = xyxy_to_cxcywh(xyxy[None])[0]
        self.x = np.concatenate((z, np.zeros(4)))
        start = np.array([NOISE.start_velocity] * 2 + [NOISE.start_growth] * 2) * z[3]
        self.p = np.diag(np.concatenate((np.diag(self.measured(z[3])), start**2)))

    @staticmethod
    def measured(height: float) -> Float64:
        return np.diag((np.array([NOISE.measured_position] * 2 + [NOISE.measured_size] * 2) * height) ** 2)

    def predict(self, dt: float) -> None:
        f = np.eye(8)
        f[:4, 4:] = np.eye(4) * dt
        drift = (np.array([NOISE.drift_position] * 2 + [NOISE.drift_size] * 2) * max(self.x[3], 1.0)) ** 2
        one = np.array([[dt**3 / 3, dt**2 / 2], [dt**2 / 2, dt]])
        self.p = f @ self.p @ f.T + np.kron(one, np.diag(drift))
        self.x = f @ self.x

    def correct(self, xyxy: Float64) -> None:
        h = np.eye(4, 8)
        s = h @ self.p @ h.T + self.measured(max(self.x[3], 1.0))
        k = self.p @ h.T @ np.linalg.inv(s)
        self.x = self.x + k @ (xyxy_to_cxcywh(xyxy[None])[0] - h @ self.x)
        self.p = (np.eye(8) - k @ h) @ self.p


def random_boxes(rng: np.random.Generator, num: int) -> Float64:
    low = rng.uniform(0, 500, (num, 2))
    return np.concatenate((low, low + rng.uniform(20, 200, (num, 2))), axis=1)


def test_no_boxes_stay_no_boxes() -> None:
    mean, cov = initiate(np.zeros((0, 4)), NOISE)
    mean, cov = predict(mean, cov, np.zeros(0), NOISE)
    mean, cov = correct(mean, cov, np.zeros((0, 4)), NOISE)
    assert mean.shape == (0, 2, 4)
    assert cov.shape == (0, 3, 4)
    assert boxes_of(mean).shape == (0, 4)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_batched_filter_equals_a_dense_one_per_box(seed: int) -> None:
    rng = np.random.default_rng(seed)
    boxes = random_boxes(rng, 5)
    mean, cov = initiate(boxes, NOISE)
    dense = [DenseFilter(box) for box in boxes]
    for _ in range(6):
        dt_s = rng.uniform(0.01, 1.0, 5)
        boxes = boxes + rng.normal(0, 3, boxes.shape)
        mean, cov = correct(*predict(mean, cov, dt_s, NOISE), boxes, NOISE)
        for row, filter_ in enumerate(dense):
            filter_.predict(dt_s[row])
            filter_.correct(boxes[row])
            np.testing.assert_allclose(mean[row].ravel(), filter_.x, rtol=1e-9, atol=1e-7)
            np.testing.assert_allclose(cov[row, 0], np.diag(filter_.p)[:4], rtol=1e-8)
            np.testing.assert_allclose(cov[row, 1], np.diag(filter_.p[:4, 4:]), rtol=1e-7, atol=1e-9)
            np.testing.assert_allclose(cov[row, 2], np.diag(filter_.p)[4:], rtol=1e-8)


@given(a=st.floats(0.001, 2), b=st.floats(0.001, 2))
def test_two_short_steps_equal_one_long_step_while_the_size_stands(a: float, b: float) -> None:
    mean, cov = initiate(np.array([[10.0, 20.0, 50.0, 120.0]]), NOISE)
    mean[0, 1, :2] = 30.0, -12.0
    once = predict(mean, cov, np.array([a + b]), NOISE)
    twice = predict(*predict(mean, cov, np.array([a]), NOISE), np.array([b]), NOISE)
    np.testing.assert_allclose(once[0], twice[0], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(once[1], twice[1], rtol=1e-9, atol=1e-9)


def test_velocity_of_a_steady_walker_is_found_at_irregular_times() -> None:
    times = np.cumsum([0.0, 0.1, 0.05, 0.3, 0.1, 0.2, 0.04, 0.1, 0.25, 0.1, 0.1, 0.3])
    box = np.array([[0.0, 0.0, 40.0, 100.0]])
    mean, cov = initiate(box, NOISE)
    for dt, time_s in zip(np.diff(times), times[1:], strict=True):
        mean, cov = correct(*predict(mean, cov, np.array([dt]), NOISE), box + np.array([80, 0, 80, 0]) * time_s, NOISE)
    assert mean[0, 1, 0] == pytest.approx(80, abs=4)
    assert abs(mean[0, 1, 1:]).max() < 1e-9


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), zoom=st.sampled_from([0.5, 3.0]))
def test_people_near_and_far_are_filtered_alike(seed: int, zoom: float) -> None:
    """The same walk seen `zoom` times as large, elsewhere in the picture: all pixels grow by that, variances by its
    square. (Boxes of less than a pixel are another matter.)"""
    rng = np.random.default_rng(seed)
    boxes = random_boxes(rng, 4) + np.array((0, 0, 60, 60))
    steps = [(rng.uniform(0.01, 0.4, 4), boxes + rng.normal(0, 3, boxes.shape)) for _ in range(5)]
    plain, zoomed = initiate(boxes, NOISE), initiate(boxes * zoom + 700, NOISE)
    for dt_s, found in steps:
        plain = correct(*predict(*plain, dt_s, NOISE), found, NOISE)
        zoomed = correct(*predict(*zoomed, dt_s, NOISE), found * zoom + 700, NOISE)
    np.testing.assert_allclose(boxes_of(zoomed[0]), boxes_of(plain[0]) * zoom + 700, rtol=1e-9)
    np.testing.assert_allclose(zoomed[1], plain[1] * zoom**2, rtol=1e-6)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_uncertainty_stays_positive_through_a_long_life(seed: int) -> None:
    """200 frames from a millisecond to two seconds apart, unsteady detections: variances stay variances."""
    rng = np.random.default_rng(seed)
    boxes = random_boxes(rng, 6)
    mean, cov = initiate(boxes, NOISE)
    for _ in range(200):
        dt_s = 10 ** rng.uniform(-3, 0.3, 6)
        mean, cov = predict(mean, cov, dt_s, NOISE)
        mean, cov = correct(mean, cov, boxes + rng.normal(0, 4, boxes.shape), NOISE)
        assert cov[:, 0].min() > 0
        assert cov[:, 2].min() > 0
        assert np.all(cov[:, 1] ** 2 <= cov[:, 0] * cov[:, 2] * (1 + 1e-9))
    assert np.isfinite(mean).all()


def test_box_never_turns_inside_out_however_fast_it_shrank() -> None:
    mean, cov = initiate(np.array([[0.0, 0.0, 40.0, 100.0]]), NOISE)
    mean[0, 1, 2:] = -1000.0
    box = boxes_of(predict(mean, cov, np.array([3.0]), NOISE)[0])[0]
    assert box[2] > box[0]
    assert box[3] > box[1]


def test_inputs_stay_as_they_were() -> None:
    mean, cov = initiate(random_boxes(np.random.default_rng(0), 3), NOISE)
    before = mean.copy(), cov.copy()
    predict(mean, cov, np.full(3, 0.5), NOISE)
    correct(mean, cov, random_boxes(np.random.default_rng(1), 3), NOISE)
    np.testing.assert_array_equal(mean, before[0])
    np.testing.assert_array_equal(cov, before[1])
