from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

import pipeline.track
from pipeline.track import kernels
from pipeline.track.box_tracker import BoxTracker
from pipeline.track.config import TrackConfig
from pipeline.track.costs import FORBIDDEN, Fit, weigh
from pipeline.track.cues import NO_CUES, Cues
from pipeline.track.kalman import MotionNoise, initiate
from pipeline.track.kernels import NUMPY, Filters, Kernels, load_kernels
from pipeline.types import Detections, Float64, Int64
from tests.track.scenes import COMPILED, FRAME_S, PLAIN, ids, needs_numba, people, run, scene

SEEDS = st.integers(0, 1_000_000)
SIZES = st.integers(0, 12)
NOISE = MotionNoise(0.08, 0.06, 0.4, 0.2, 1.0, 0.3)


@pytest.fixture(scope="module")
def numba() -> Kernels:
    return load_kernels(True)


@pytest.fixture(params=[COMPILED, PLAIN], scope="module")
def any_kernels(request: pytest.FixtureRequest) -> Kernels:
    return load_kernels(request.param)


def random_boxes(rng: np.random.Generator, num: int) -> Float64:
    """Boxes of 1 to 120 px in 300 x 300 px, so that many overlap."""
    low = rng.uniform(0, 300, (num, 2))
    return np.concatenate((low, low + rng.uniform(1, 120, (num, 2))), axis=1)


def random_filters(rng: np.random.Generator, num: int) -> Filters:
    """Filters that have lived for a while; sizes that shrank below nothing and filters at rest among them."""
    mean, cov = initiate(random_boxes(rng, num), NOISE)
    mean[:, 1] = rng.normal(0, 80, (num, 4)) * (rng.random((num, 1)) < 0.8)
    mean[:, 0, 2:] -= 150 * (rng.random((num, 1)) < 0.1)
    for _ in range(2):
        mean, cov = NUMPY.correct(*NUMPY.predict(mean, cov, rng.uniform(0.01, 2, num), NOISE), mean[:, 0], NOISE)
    return mean, cov


def close(got: Float64 | Filters, want: Float64 | Filters) -> None:
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


def test_numpy_is_taken_where_nothing_compiled_is_wanted() -> None:
    assert load_kernels(False) is NUMPY
    assert NUMPY.name == "numpy"


@needs_numba
def test_compiled_kernels_are_loaded_once_where_numba_works() -> None:
    assert load_kernels(True).name == "numba"
    assert load_kernels(True) is load_kernels(True)


@needs_numba
class TestCompiledEqualsNumpy:
    @settings(max_examples=60, deadline=None)
    @given(seed=SEEDS, num=SIZES)
    @example(seed=0, num=0)
    @example(seed=0, num=1)
    def test_prediction(self, numba: Kernels, seed: int, num: int) -> None:
        rng = np.random.default_rng(seed)
        mean, cov = random_filters(rng, num)
        dt_s = rng.uniform(0, 5, num)
        close(numba.predict(mean, cov, dt_s, NOISE), NUMPY.predict(mean, cov, dt_s, NOISE))

    @settings(max_examples=60, deadline=None)
    @given(seed=SEEDS, num=SIZES)
    @example(seed=0, num=0)
    @example(seed=0, num=1)
    def test_correction(self, numba: Kernels, seed: int, num: int) -> None:
        rng = np.random.default_rng(seed)
        mean, cov = random_filters(rng, num)
        xyxy = random_boxes(rng, num)
        close(numba.correct(mean, cov, xyxy, NOISE), NUMPY.correct(mean, cov, xyxy, NOISE))

    @settings(max_examples=60, deadline=None)
    @given(
        seed=SEEDS,
        num_tracks=SIZES,
        num_found=SIZES,
        fit=st.builds(Fit, st.floats(0, 2), st.sampled_from([0.0, 0.07, 1.0]), st.floats(0.01, 3)),
    )
    @example(seed=0, num_tracks=0, num_found=0, fit=Fit())
    @example(seed=0, num_tracks=0, num_found=3, fit=Fit())
    @example(seed=0, num_tracks=3, num_found=0, fit=Fit())
    @example(seed=0, num_tracks=1, num_found=1, fit=Fit())
    def test_cost_of_pairs(self, numba: Kernels, seed: int, num_tracks: int, num_found: int, fit: Fit) -> None:
        rng = np.random.default_rng(seed)
        mean, cov = random_filters(rng, num_tracks)
        last_xy = mean[:, 0, :2] + rng.normal(0, 10, (num_tracks, 2))
        xyxy = random_boxes(rng, num_found)
        got, want = (k.pair_cost(mean, cov, last_xy, xyxy, fit) for k in (numba, NUMPY))
        assert got.shape == (num_tracks, num_found)
        np.testing.assert_array_equal(np.isinf(got), np.isinf(want))
        close(got, want)

    def test_cost_of_identical_boxes_and_of_boxes_that_just_touch(self, numba: Kernels) -> None:
        xyxy = np.array([[0.0, 0, 40, 100], [0, 0, 40, 100], [40, 0, 80, 100], [0, 100, 40, 200]])
        mean, cov = initiate(xyxy, NOISE)
        for fit in (Fit(buffer=0.0), Fit(buffer=0.5)):
            got, want = (k.pair_cost(mean, cov, mean[:, 0, :2].copy(), xyxy, fit) for k in (numba, NUMPY))
            np.testing.assert_array_equal(np.isinf(got), np.isinf(want))
            close(got, want)
            np.testing.assert_allclose(got[:2, :2], 0, atol=1e-12)
            np.testing.assert_array_equal(np.isinf(got[0, 2:]), fit.buffer == 0)

    @settings(max_examples=20, deadline=None)
    @given(seed=SEEDS)
    def test_the_whole_tracker(self, seed: int) -> None:
        frames = scene(seed, 40, max_people=15)
        plain, compiled = (run(BoxTracker(TrackConfig(compiled=c)), frames) for c in (False, True))
        assert ids(compiled) == ids(plain)
        for a, b in zip(compiled, plain, strict=True):
            np.testing.assert_allclose(a.xyxy, b.xyxy, rtol=0, atol=1e-3)
            np.testing.assert_array_equal(a.score, b.score)

    def test_the_whole_tracker_in_a_crowd_with_cues(self) -> None:
        rng = np.random.default_rng(5)
        feet, velocity = rng.uniform(0, 900, (120, 2)), rng.normal(0, 40, (120, 2))
        look = rng.normal(0, 1, (120, 6)).astype(np.float32)
        look /= np.linalg.norm(look, axis=1, keepdims=True)
        plain, compiled = (BoxTracker(TrackConfig(compiled=c)) for c in (False, True))
        for i in range(20):
            here = feet + velocity * i * FRAME_S + rng.normal(0, 2, feet.shape) + (5.0 * i, 0)
            seen = (rng.random(120) < 0.9).nonzero()[0]
            ground = np.concatenate((here[seen] / 50, np.full((len(seen), 1), 0.2)), axis=1)
            cues = Cues(look[seen], np.array([[1, 0, 5.0], [0, 1, 0]]), ground)
            frame = people(*(tuple(f) for f in here[seen].tolist()))
            a, b = (tracker.update(frame, i * FRAME_S, cues) for tracker in (plain, compiled))
            assert len(a) > 60
            np.testing.assert_array_equal(a.track_id, b.track_id)
            np.testing.assert_allclose(a.xyxy, b.xyxy, rtol=0, atol=1e-3)


@dataclass(frozen=True)
class Problem:
    """What `match` is asked."""

    cost: Float64  # (T, N)
    weight: Float64  # (N,)
    rows: Int64
    cols: Int64
    max_cost: float

    def weighed(self) -> Float64:
        """(R, C) with inf where a pair is not allowed."""
        weighed = weigh(self.cost, self.weight)[self.rows[:, None], self.cols]
        return np.where(weighed <= self.max_cost, weighed, np.inf)

    def objective(self, pairs: tuple[Int64, Int64]) -> float:
        """Cost of the pairs less the gate for each. Raises unless every row and column is asked for and used once."""
        tracks, found = pairs
        assert tracks.dtype == found.dtype == np.int64
        assert np.isin(tracks, self.rows).all()
        assert np.isin(found, self.cols).all()
        assert np.all(np.diff(tracks) > 0)
        assert len(set(found.tolist())) == len(found)
        chosen = weigh(self.cost, self.weight)[tracks, found]
        assert np.all(chosen <= self.max_cost)
        return float((chosen - self.max_cost).sum())

    def best_objective(self) -> float:
        """By scipy's solver: a pair out of the gate costs as much as leaving the two apart."""
        wide = np.minimum(self.weighed(), self.max_cost)
        rows, cols = linear_sum_assignment(wide)
        return float((wide[rows, cols] - self.max_cost).sum())


def problem(seed: int, num_tracks: int, num_found: int, allowed_share: float, steps: int = 0) -> Problem:
    """A random one; `steps` > 0 rounds costs to that many values, so that many are tied."""
    rng = np.random.default_rng(seed)
    cost = rng.random((num_tracks, num_found))
    cost = np.floor(cost * steps) / steps if steps else cost
    cost[rng.random(cost.shape) > allowed_share] = FORBIDDEN
    weight = np.ones(num_found) if seed % 2 else rng.choice([0.5, 0.75, 1.0], num_found)
    rows = (rng.random(num_tracks) < 0.8).nonzero()[0]
    cols = (rng.random(num_found) < 0.8).nonzero()[0]
    return Problem(cost, weight, rows, cols, float(rng.choice([0.4, 0.8, 1.0])))


PROBLEMS = st.builds(problem, SEEDS, st.integers(0, 60), st.integers(0, 60), st.sampled_from([0.02, 0.05, 0.3, 1.0]))
TIED = st.builds(problem, SEEDS, SIZES, SIZES, st.sampled_from([0.1, 0.5, 1.0]), st.integers(1, 4))


def matched(by: Kernels, asked: Problem) -> tuple[Int64, Int64]:
    return by.match(asked.cost, asked.weight, asked.rows, asked.cols, asked.max_cost)


@settings(max_examples=60, deadline=None)
@given(asked=PROBLEMS)
def test_matching_is_one_to_one_within_the_gate_and_as_good_as_the_reference_solver(
    any_kernels: Kernels, asked: Problem
) -> None:
    before = asked.cost.copy()
    assert asked.objective(matched(any_kernels, asked)) == pytest.approx(asked.best_objective(), abs=1e-6)
    np.testing.assert_array_equal(asked.cost, before)


@settings(max_examples=60, deadline=None)
@given(asked=TIED)
def test_matching_among_ties_is_as_good_as_the_reference_solver_and_always_the_same(
    any_kernels: Kernels, asked: Problem
) -> None:
    pairs = matched(any_kernels, asked)
    assert asked.objective(pairs) == pytest.approx(asked.best_objective(), abs=1e-6)
    np.testing.assert_array_equal(pairs, matched(any_kernels, asked))


@needs_numba
@settings(max_examples=60, deadline=None)
@given(asked=PROBLEMS)
def test_compiled_matching_takes_the_same_pairs_where_nothing_is_tied(numba: Kernels, asked: Problem) -> None:
    asked = replace(asked, weight=np.ones(len(asked.weight)))
    np.testing.assert_array_equal(matched(numba, asked), matched(NUMPY, asked))


def test_matching_by_hand(any_kernels: Kernels) -> None:
    """Two rivals for one detection, a pair of their own, and rows and columns nobody asked for."""
    cost = np.full((5, 4), np.inf)
    cost[0, 0], cost[2, 0], cost[2, 1] = 0.2, 0.1, 0.3  # 0.2 + 0.3 beats 0.1
    cost[4, 3], cost[1, 2], cost[4, 2] = 0.5, 0.0, 0.0  # track 1 and detection 2 are not asked for
    asked = Problem(cost, np.ones(4), np.array([0, 2, 3, 4]), np.array([0, 1, 3]), 0.6)
    tracks, found = matched(any_kernels, asked)
    assert (tracks.tolist(), found.tolist()) == ([0, 2, 4], [0, 1, 3])
    tracks, found = matched(any_kernels, replace(asked, max_cost=0.25))
    assert (tracks.tolist(), found.tolist()) == ([2], [0])


def test_weights_turn_the_choice_between_equally_near_boxes(any_kernels: Kernels) -> None:
    asked = Problem(np.full((1, 3), 0.2), np.array([0.5, 0.9, 0.7]), np.array([0]), np.arange(3), 0.9)
    assert [a.tolist() for a in matched(any_kernels, asked)] == [[0], [1]]


def test_kernels_leave_their_inputs_alone(any_kernels: Kernels) -> None:
    rng = np.random.default_rng(1)
    mean, cov = random_filters(rng, 5)
    dt_s, xyxy, last_xy = rng.uniform(0, 1, 5), random_boxes(rng, 5), rng.uniform(0, 300, (5, 2))
    arrays = mean, cov, dt_s, xyxy, last_xy
    before = [array.copy() for array in arrays]
    any_kernels.predict(mean, cov, dt_s, NOISE)
    any_kernels.correct(mean, cov, xyxy, NOISE)
    any_kernels.pair_cost(mean, cov, last_xy, xyxy, Fit())
    for array, was in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, was)


@needs_numba
def test_nothing_is_compiled_in_the_middle_of_a_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever memory layout boxes and cues come in: any but that of the warm-up would cost a second of compiling."""
    from numba import typeof

    from pipeline.track import compiled

    kinds: dict[str, set[tuple[str, ...]]] = {}

    def note_kinds(name: str) -> None:
        function = getattr(compiled, name)

        def noting(*arguments: object) -> object:
            kinds.setdefault(name, set()).add(tuple(str(typeof(a)) for a in arguments))  # type: ignore[no-untyped-call]
            return function(*arguments)

        monkeypatch.setattr(compiled, name, noting)

    for name in ("predict", "correct", "pair_cost", "easy_match"):
        note_kinds(name)
    kernels._compiled_kernels.cache_clear()
    load_kernels(True)
    warm = {name: set(seen) for name, seen in kinds.items()}
    assert {name: len(seen) for name, seen in warm.items()} == dict.fromkeys(warm, 1)
    assert len(warm) == 4

    tracker = BoxTracker(TrackConfig())
    shaking = np.asfortranarray([[1.0, 0, 1], [0, 1, 0]])
    looks = np.asfortranarray(np.eye(3, 5, dtype=np.float32))
    ground = np.asfortranarray(np.ones((3, 3)))
    frame = people((100, 200), (300, 200), (500, 200))
    for i, cues in enumerate([NO_CUES, Cues(), Cues(vector=looks), Cues(ground=ground), Cues(camera_motion=shaking)]):
        tracker.update(frame, 4.0 * i, cues)
        tracker.update(Detections(np.asfortranarray(frame.xyxy), frame.score), 4.0 * i + 1, cues)
        tracker.update(Detections(frame.xyxy[::-1], frame.score[::-1]), 4.0 * i + 2, cues)
        tracker.update(frame[:1], 4.0 * i + 2.5, NO_CUES)
        tracker = BoxTracker.from_state(TrackConfig(), tracker.state())
    assert kinds == warm


@pytest.fixture
def numba_can_not_be_imported(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(sys.modules, "numba", None)
    monkeypatch.delitem(sys.modules, "pipeline.track.compiled", raising=False)
    monkeypatch.delattr(pipeline.track, "compiled", raising=False)
    kernels._compiled_kernels.cache_clear()
    yield
    kernels._compiled_kernels.cache_clear()


@pytest.mark.usefixtures("numba_can_not_be_imported")
def test_without_numba_the_tracker_runs_on_numpy_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    frames = scene(2, 20)
    with caplog.at_level(logging.INFO, logger="pipeline.track.kernels"):
        assert load_kernels(True) is NUMPY
        shown = run(BoxTracker(TrackConfig(compiled=True)), frames)
    assert [record.getMessage() for record in caplog.records if "numba" in record.getMessage()] == [
        record.getMessage() for record in caplog.records
    ]
    assert len(caplog.records) == 1
    assert ids(shown) == ids(run(BoxTracker(TrackConfig(compiled=False)), frames))


@needs_numba
def test_without_a_folder_for_its_cache_the_tracker_runs_on_numpy(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As numba has it: a decorated function raises RuntimeError where no folder takes what was compiled."""
    import numba

    def no_folder(*_: object, **__: object) -> object:
        raise RuntimeError("cannot cache function: no locator available")

    monkeypatch.setattr(numba, "njit", no_folder)
    monkeypatch.delitem(sys.modules, "pipeline.track.compiled", raising=False)
    monkeypatch.delattr(pipeline.track, "compiled", raising=False)
    kernels._compiled_kernels.cache_clear()
    try:
        with caplog.at_level(logging.INFO, logger="pipeline.track.kernels"):
            assert load_kernels(True) is NUMPY
    finally:
        kernels._compiled_kernels.cache_clear()
    assert "no locator" in caplog.text
