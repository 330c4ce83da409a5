from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.fusion.transitions import (
    Transitions,
    TransitionsFileError,
    count_transits,
    estimate,
    joint_score,
    labelled_transits,
    load_transitions,
    save_transitions,
    score,
    smooth_histogram,
)

CAMERAS = [f"cam{camid}" for camid in range(8)]


def golden() -> Transitions:
    rs = np.random.RandomState(5)
    pids, camids, frames = rs.randint(0, 40, 400), rs.randint(1, 7, 400), rs.randint(0, 30000, 400)
    return estimate(pids, camids - 1, frames, num_cams=8, bin_width=100, num_bins=5000)


def test_the_papers_histogram_and_window_give_its_figures() -> None:
    transitions = golden()
    histogram = transitions.histogram
    assert histogram.count.shape == (30, 5000)
    raw = smooth_histogram(histogram, sigma_bins=0).density(1, 0)
    assert (raw.max(), raw.argmax()) == (pytest.approx(0.0833333326, abs=1e-10), 14)
    np.testing.assert_allclose(transitions.density(1, 0)[:3], [0.00333072, 0.00338569, 0.00344066], atol=5e-9)
    assert transitions.probability.max() == pytest.approx(0.0082024959, abs=1e-10)
    assert transitions.density(5, 0).argmax() == 47
    assert transitions.density(5, 0)[47] == transitions.probability.max()


@pytest.mark.parametrize(
    ("similarity", "probability", "expected"),
    [
        (0.7, 0, 0.3235625897),
        (0.7, 0.00797885, 0.3322245593),
        (1, 0, 0.3311023830),
        (0.5, 0.00797885, 0.3162938883),
    ],
)
def test_the_joint_score_has_the_papers_values(similarity: float, probability: float, expected: float) -> None:
    assert joint_score(similarity, probability) == pytest.approx(expected, abs=1e-9)


def test_a_person_counts_once_per_pair_of_cameras_towards_the_later_one() -> None:
    to_camid, from_camid, travel = labelled_transits([7, 7, 7, 7, 9, 9], [0, 0, 2, 1, 3, 3], [0, 20, 110, 4, 50, 60])
    found = sorted(zip(to_camid.tolist(), from_camid.tolist(), np.round(travel, 3).tolist(), strict=True))
    assert found == [(0, 1, 6.0), (2, 0, 100.0), (2, 1, 106.0)]  # means 10, 4 and 110; nobody else changed cameras


def test_equal_means_count_towards_the_camera_of_the_higher_number() -> None:
    to_camid, from_camid, travel = labelled_transits([1, 1], [4, 2], [30, 30])
    assert (to_camid.tolist(), from_camid.tolist(), travel.tolist()) == ([4], [2], [0.0])


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), num=st.integers(0, 60))
def test_any_sightings_are_counted_as_by_hand(seed: int, num: int) -> None:
    rng = np.random.default_rng(seed)
    pids, camids, times = rng.integers(-5, 9, num), rng.integers(0, 4, num), rng.integers(0, 900, num)
    expected = np.zeros((4, 4, 9))
    for pid in set(pids.tolist()):
        of = [times[(pids == pid) & (camids == camid)] for camid in range(4)]
        mean = [seen.sum() / (len(seen) + 1e-7) for seen in of]
        for j in range(4):
            for k in range(j + 1, 4):
                if len(of[j]) and len(of[k]):
                    later, earlier = (j, k) if mean[j] > mean[k] else (k, j)
                    expected[later, earlier, int(abs(mean[j] - mean[k]) // 100)] += 1
    histogram = count_transits(*labelled_transits(pids, camids, times), num_cams=4, bin_width=100, num_bins=9)
    counted = np.zeros_like(expected)
    counted[histogram.to_camid, histogram.from_camid] = histogram.count
    np.testing.assert_array_equal(counted, expected)
    assert (histogram.count.sum(axis=1) > 0).all()


def test_the_window_spreads_a_travel_time_as_the_convolution_by_hand() -> None:
    histogram = count_transits(
        np.array([1, 1]), np.array([0, 0]), np.array([3.0, 40.0]), num_cams=2, bin_width=1.0, num_bins=60
    )
    window = [np.exp(-0.5 * (d / 4) ** 2) / (4 * np.sqrt(2 * np.pi)) for d in range(-12, 13)]
    spread = np.convolve(np.eye(60)[3] / 2 + np.eye(60)[40] / 2, window, mode="same")
    np.testing.assert_allclose(
        smooth_histogram(histogram, sigma_bins=4).density(1, 0), spread / spread.sum(), atol=1e-7
    )
    assert not smooth_histogram(histogram, sigma_bins=4).density(0, 1).any()


def test_a_score_is_looked_up_by_order_cameras_and_bin() -> None:
    histogram = count_transits(
        np.array([1, 1, 0]), np.array([0, 0, 1]), np.array([5.0, 25.0, 12.0]), num_cams=3, bin_width=10.0, num_bins=3
    )
    transitions = smooth_histogram(histogram, sigma_bins=0)
    seen = lambda *sightings: score(transitions, *sightings).tolist()  # noqa: E731
    assert seen(1, [105.0, 125.0, 115.0, 130.0, 1e18], 0, 100.0) == pytest.approx([0.5, 0.5, 0, 0, 0], abs=1e-6)
    assert seen(0, 100.0, 1, [105.0, 125.0]) == pytest.approx([0.5, 0.5], abs=1e-6)  # the same two the other way round
    assert seen(0, [112.0, 100.0], 1, 100.0) == pytest.approx([1.0, 0.5], abs=1e-6)  # at once: as if b were the later
    assert seen([0, 2, 1], 103.0, [0, 0, 2], 100.0) == [0, 0, 0]
    assert seen(1, np.nan, 0, 100.0) == 0


def test_a_matrix_of_scores_is_that_of_its_pairs() -> None:
    transitions = golden()
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 8, 6), rng.integers(0, 8, 9)
    at_a, at_b = rng.integers(0, 30000, 6).astype(float), rng.integers(0, 30000, 9).astype(float)
    matrix = score(transitions, a[:, None], at_a[:, None], b, at_b)
    for i in range(6):
        for j in range(9):
            later, earlier = (a[i], b[j]) if at_a[i] > at_b[j] else (b[j], a[i])
            assert matrix[i, j] == transitions.density(later, earlier)[int(abs(at_a[i] - at_b[j]) // 100)]
    assert matrix.any()


def test_seconds_and_frames_are_the_same_model_in_another_unit() -> None:
    rng = np.random.default_rng(0)
    pids, camids, seconds = rng.integers(0, 20, 90), rng.integers(0, 3, 90), rng.integers(0, 9000, 90) / 2
    in_s = estimate(pids, camids, seconds, num_cams=3)
    in_frames = estimate(pids, camids, seconds * 25, num_cams=3, bin_width=100)
    np.testing.assert_allclose(in_s.probability, in_frames.probability, atol=1e-9)


def test_weighted_transits_count_their_weight() -> None:
    histogram = count_transits(
        np.array([1, 1]), np.array([0, 0]), np.array([5.0, 25.0]),
        num_cams=2, bin_width=10.0, num_bins=3, weight=np.array([3.0, 1.0]),
    )  # fmt: skip
    assert histogram.count.tolist() == [[3.0, 0.0, 1.0]]


def test_no_sightings_give_a_model_that_knows_nothing(tmp_path: Path) -> None:
    nothing = estimate([], [], [], num_cams=8)
    assert score(nothing, [0, 1], [1.0, 9.0], [1, 1], [5.0, 5.0]).tolist() == [0, 0]
    assert score(nothing, np.zeros((0, 1), int), np.zeros((0, 1)), [1], [5.0]).shape == (0, 1)
    save_transitions(nothing, tmp_path / "transitions.json", CAMERAS)
    assert load_transitions(tmp_path / "transitions.json", CAMERAS).probability.shape == (1, 5001)


def test_a_saved_model_is_the_same_again_also_with_cameras_in_another_order(tmp_path: Path) -> None:
    transitions, path = golden(), tmp_path / "transitions.json"
    save_transitions(transitions, path, CAMERAS)
    again = load_transitions(path, CAMERAS)
    np.testing.assert_array_equal(again.probability, transitions.probability)
    np.testing.assert_array_equal(again.row, transitions.row)
    assert again.histogram.bin_width == 100
    turned = load_transitions(path, [*CAMERAS[::-1], "new"])
    np.testing.assert_array_equal(turned.density(7, 2), transitions.density(0, 5))
    assert turned.density(7, 2).any()
    assert [file.name for file in tmp_path.iterdir()] == ["transitions.json"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "version 2, this program reads 1"),
        ({"pairs": [{"from": "cam1", "to": "gate", "bins": [], "counts": []}]}, "there is no camera 'gate'"),
        ({"pairs": [{"from": "cam1", "to": "cam2", "bins": [9999], "counts": [1]}]}, "not a file of transitions"),
        ({"pairs": [{"from": "cam1", "to": "cam2", "bins": [-1], "counts": [1]}]}, "a bin is negative"),
        ({"pairs": [{"from": "cam1", "to": "cam2", "bins": [1], "counts": [-1]}]}, "at least 0"),
        ({"pairs": [{"from": "cam1", "to": "cam2", "bins": [], "counts": []}] * 2}, "stands twice"),
        ({"bin_width": None}, "not a file of transitions"),
    ],
)
def test_a_file_that_can_not_be_used_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = tmp_path / "transitions.json"
    save_transitions(golden(), path, CAMERAS)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(TransitionsFileError, match=message) as caught:
        load_transitions(path, CAMERAS)
    assert str(path) in str(caught.value)


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="not aligned"):
        labelled_transits([1], [0, 1], [0.0, 1.0])
    with pytest.raises(ValueError, match="camids must be 0 to 2"):
        estimate([1, 1], [0, 3], [0.0, 1.0], num_cams=3)
    with pytest.raises(ValueError, match="camids must be 0 to 7, got 8"):
        score(golden(), 8, 1.0, 0, 1.0)
    with pytest.raises(ValueError, match="7 names for 8 cameras"):
        save_transitions(golden(), Path("never.json"), CAMERAS[:7])
