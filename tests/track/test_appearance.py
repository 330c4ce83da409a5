from __future__ import annotations

import numpy as np
import pytest

from pipeline.track.appearance import cosine_distance, fuse_appearance, update_vectors
from pipeline.types import Float32


def unit(*rows: tuple[float, ...]) -> Float32:
    return np.array(rows, np.float32)


def test_appearance_makes_a_near_pair_cheaper_and_never_a_dearer_one() -> None:
    cost = np.array([[0.4, 0.4, 0.1]])
    distance = np.array([[0.1, 0.24, 0.22]])
    np.testing.assert_allclose(fuse_appearance(cost, distance, 0.5, 0.25), [[0.05, 0.12, 0.1]])


def test_appearance_is_not_asked_beyond_either_gate() -> None:
    cost = np.array([[0.5, 0.6, 0.4, 0.4]])
    distance = np.array([[0.0, 0.0, 0.25, 0.9]])
    np.testing.assert_array_equal(fuse_appearance(cost, distance, 0.5, 0.25), cost)


def test_unknown_appearance_and_forbidden_pairs_stay_as_they_are() -> None:
    cost = np.array([[0.3, np.inf]])
    distance = np.array([[np.nan, 0.0]])
    np.testing.assert_array_equal(fuse_appearance(cost, distance, 1.0, 1.0), cost)


def test_fusion_leaves_its_inputs_alone_and_takes_empty_ones() -> None:
    cost, distance = np.full((2, 3), 0.4), np.full((2, 3), 0.1)
    fuse_appearance(cost, distance, 0.5, 0.5)
    assert (cost == 0.4).all()
    assert (distance == 0.1).all()
    assert fuse_appearance(np.zeros((0, 3)), np.zeros((0, 3)), 0.5, 0.5).shape == (0, 3)


def test_cosine_distance_is_nought_for_the_same_one_for_the_strange_and_unknown_for_zeros() -> None:
    tracks, detections = unit((1, 0), (0, 0)), unit((1, 0), (0, 1), (-1, 0), (0, 0))
    expected = [[0, 1, 2, np.nan], [np.nan] * 4]
    np.testing.assert_allclose(cosine_distance(tracks, detections), expected)
    assert cosine_distance(np.zeros((0, 2), np.float32), detections).shape == (0, 4)


def test_a_sure_detection_moves_the_vector_by_its_share() -> None:
    moved = update_vectors(unit((1, 0)), unit((0, 1)), unit((1,))[0], keep=0.75)
    expected = np.array([0.75, 0.25]) / np.hypot(0.75, 0.25)
    np.testing.assert_allclose(moved, [expected], rtol=1e-6)


def test_a_half_sure_detection_moves_it_half_as_much_and_an_unsure_one_not_at_all() -> None:
    old, seen = unit((1, 0), (1, 0)), unit((0, 1), (0, 1))
    moved = update_vectors(old, seen, np.array([0.7, 0.4], np.float32), keep=0.6, low_score=0.4)
    np.testing.assert_allclose(moved[0], np.array([0.8, 0.2]) / np.hypot(0.8, 0.2), rtol=1e-6)
    np.testing.assert_array_equal(moved[1], [1, 0])


def test_an_unknown_vector_takes_the_other_whole() -> None:
    moved = update_vectors(unit((0, 0), (1, 0), (0, 0)), unit((0, 1), (0, 0), (0, 0)), np.zeros(3, np.float32))
    np.testing.assert_array_equal(moved, [[0, 1], [1, 0], [0, 0]])


def test_vectors_stay_of_unit_norm_though_opposites_cancel() -> None:
    moved = update_vectors(unit((1, 0)), unit((-1, 0)), np.ones(1, np.float32), keep=0.5)
    np.testing.assert_array_equal(moved, [[1, 0]])
    rng = np.random.default_rng(0)
    old, seen = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in rng.normal(0, 1, (2, 50, 8)).astype(np.float32))
    moved = update_vectors(old, seen, rng.random(50).astype(np.float32))
    np.testing.assert_allclose(np.linalg.norm(moved, axis=1), 1, rtol=1e-5)
    assert moved.dtype == np.float32


def test_updating_no_tracks_and_an_impossible_score_limit() -> None:
    none = np.zeros((0, 4), np.float32)
    assert update_vectors(none, none, np.zeros(0, np.float32)).shape == (0, 4)
    with pytest.raises(ValueError, match="low_score"):
        update_vectors(none, none, np.zeros(0, np.float32), low_score=1.0)
