"""Neighbour lists that are maintained give what re-ranking from scratch gives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.fusion.neighbourhoods import Neighbourhoods
from pipeline.fusion.rerank import k_reciprocal


def unit(rng: np.random.Generator, count: int) -> np.ndarray:
    vectors = rng.standard_normal((count, 12)) + 2 * rng.standard_normal((12, 12))[rng.integers(0, 12, count)]
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def from_scratch(vectors: np.ndarray, k1: int, k2: int) -> np.ndarray:
    """Jaccard similarity of the first to the rest."""
    distance = np.maximum(2 - 2 * vectors @ vectors.T, 0).astype(np.float32)
    np.fill_diagonal(distance, 0)
    return 1 - k_reciprocal(distance[:1, 1:], distance[:1, :1], distance[1:, 1:], k1, k2, lambda_value=0.0)[0]


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), k1=st.integers(1, 12), k2=st.integers(1, 6))
def test_after_any_changes_similarities_are_those_of_reranking_the_same_set(seed: int, k1: int, k2: int) -> None:
    rng = np.random.default_rng(seed)
    kept: dict[int, np.ndarray] = {}
    lists = Neighbourhoods(12, k1=k1, k2=k2)
    for name, vector in enumerate(unit(rng, 90)):
        goal = name if rng.random() < 0.8 or not kept else int(rng.choice(list(kept)))  # some are updated
        kept.pop(goal, None)
        kept[goal] = vector
        lists.put(goal, vector)
        if rng.random() < 0.3:
            gone = int(rng.choice(list(kept)))
            del kept[gone]
            lists.remove(gone)
    names = list(kept)
    assert len(lists) == len(names)
    wanted = from_scratch(np.array([kept[name] for name in names]), k1, k2)
    assert lists.similarity(names[0], names[1:]) == pytest.approx(wanted, abs=2e-3)


def test_a_smaller_depth_gives_what_reranking_with_it_gives() -> None:
    vectors = unit(np.random.default_rng(3), 40)
    lists = Neighbourhoods(12, k1=12, k2=4)
    for name, vector in enumerate(vectors):
        lists.put(name, vector)
    for k1, k2 in ((12, 4), (5, 2), (3, 1)):
        wanted = from_scratch(vectors, k1, k2)
        found = lists.similarities([0, 7], [*range(1, 40)], (k1, k2))
        assert found[0] == pytest.approx(wanted, abs=2e-3)
        assert found[1] == pytest.approx(lists.similarities([*range(1, 40)], [7], (k1, k2))[:, 0], abs=1e-6)


def test_people_are_nearer_to_themselves_than_to_others() -> None:
    rng = np.random.default_rng(0)
    people = unit(rng, 10)
    lists = Neighbourhoods(12, k1=4, k2=2)
    for name in range(50):
        vector = people[name % 10] + 0.05 * rng.standard_normal(12)
        lists.put(name, (vector / np.linalg.norm(vector)).astype(np.float32))
    found = lists.similarity(0, list(range(1, 50)))
    same = np.arange(1, 50) % 10 == 0
    assert found[same].min() > 0.5 > found[~same].max()


def test_the_oldest_makes_room() -> None:
    lists = Neighbourhoods(12, capacity=70)
    for name, vector in enumerate(unit(np.random.default_rng(0), 200)):
        lists.put(name, vector)
    assert len(lists) == 70 and 129 not in lists and 130 in lists
    assert len(lists._used) == 128
    assert lists.similarity(199, []).shape == (0,)


def test_one_alone_has_itself_and_unknown_ones_are_errors() -> None:
    lists = Neighbourhoods(12)
    lists.put(1, unit(np.random.default_rng(0), 1)[0])
    with pytest.raises(KeyError):
        lists.similarity(1, [2])
    with pytest.raises(ValueError, match="capacity"):
        Neighbourhoods(12, capacity=0)
