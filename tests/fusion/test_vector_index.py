"""The approximate index against looking at everything."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.fusion import vector_index
from pipeline.fusion.vector_index import VectorIndex

DIM = 64

pytestmark = pytest.mark.skipif(not VectorIndex(DIM).usable, reason="numba does not work here")


def people(rng: np.random.Generator, num: int, dim: int = DIM) -> np.ndarray:
    """Unit vectors about 0.5 similar to each other, as networks have it."""
    own = rng.standard_normal((num, dim)).astype(np.float32)
    vectors = own / np.linalg.norm(own, axis=1, keepdims=True) + 1 / np.sqrt(dim)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def seen_again(rng: np.random.Generator, vectors: np.ndarray, noise: float = 0.4) -> np.ndarray:
    added = rng.standard_normal(vectors.shape)
    again = vectors + noise * added / np.linalg.norm(added, axis=1, keepdims=True)
    return np.asarray(again / np.linalg.norm(again, axis=1, keepdims=True), np.float32)


def check_books(index: VectorIndex, rows: dict[int, np.ndarray]) -> None:
    """Every row lies at exactly one place, near where its vector is, and places know their rows."""
    _, scale, row_at, _, size, _, _, _, bias = index._cells
    codes, cell_rows = index._cells[0], index._cell_rows
    assert len(index) == len(rows) == int(size.sum())
    found = {}
    for cell, count in enumerate(size.tolist()):
        assert 0 <= count <= cell_rows
        assert not count or not cell or np.isfinite(bias[cell])
        for place in range(cell * cell_rows, cell * cell_rows + count):
            assert index._place_of[row_at[place]] == place
            found[int(row_at[place])] = codes[place] * scale[place]
    assert found.keys() == rows.keys()
    for row, vector in rows.items():
        assert np.abs(found[row] - vector @ index._turn).max() < 0.01
    assert sorted(index._free) == [c for c in range(1, index._num_cells) if np.isinf(bias[c])]
    assert index._num_used == index._num_cells - 1 - len(index._free)


def test_empty_index_finds_nothing_and_forgets_nothing() -> None:
    index = VectorIndex(DIM)
    row, score = index.nearest(people(np.random.default_rng(0), 2), 3)
    assert row.tolist() == [[-1] * 3] * 2 and np.isneginf(score).all()
    assert index.nearest(np.zeros((0, DIM), np.float32), 3)[0].shape == (0, 3)
    index.drop(5)
    assert len(index) == 0


def test_few_rows_are_found_in_the_order_of_their_cosines() -> None:
    rng = np.random.default_rng(1)
    index, vectors = VectorIndex(DIM), people(rng, 400)
    for row, vector in enumerate(vectors):
        index.put(3 * row, vector)
    queries = people(rng, 4)
    row, score = index.nearest(queries, 60)
    true = np.take_along_axis(queries @ vectors.T, row // 3, axis=1)
    assert np.abs(score - true).max() < 5e-3
    best = np.sort(queries @ vectors.T, axis=1)[:, ::-1]
    assert np.abs(true - best[:, :60]).max() < 5e-3


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_rows_that_come_change_and_go_are_each_at_one_place(seed: int) -> None:
    rng = np.random.default_rng(seed)
    index, rows = VectorIndex(16, cell_rows=16), {}
    looks = people(rng, 12, 16)
    for _ in range(1500):
        row = int(rng.integers(300))
        if rng.random() < (0.3 if rng.random() < 0.5 else 0.55):
            index.drop(row)
            rows.pop(row, None)
        else:
            rows[row] = seen_again(rng, looks[[row % 12]], 0.2)[0]
            index.put(row, rows[row])
    check_books(index, rows)
    for row in list(rows):
        index.drop(row)
    check_books(index, {})
    assert index._num_used <= 1


def test_person_seen_again_is_found_among_twenty_thousand_though_a_tenth_is_looked_at() -> None:
    rng = np.random.default_rng(2)
    index, vectors = VectorIndex(DIM, cell_rows=128, budget=2000), people(rng, 20_000)
    for row, vector in enumerate(vectors):
        index.put(row, vector)
    sought = rng.choice(20_000, 200, replace=False)
    row, _ = index.nearest(seen_again(rng, vectors[sought]), 32)
    assert (row == sought[:, None]).any(axis=1).mean() > 0.75
    index._budget = 20_000
    row, _ = index.nearest(seen_again(rng, vectors[sought]), 32)
    assert (row == sought[:, None]).any(axis=1).mean() > 0.97


def test_changed_row_is_found_where_it_is_now() -> None:
    rng = np.random.default_rng(3)
    index, vectors = VectorIndex(DIM, cell_rows=32, budget=400), people(rng, 4000)
    for row, vector in enumerate(vectors):
        index.put(row, vector)
    after = people(rng, 1)
    index.put(17, after[0])
    assert index.nearest(after, 1)[0].tolist() == [[17]]
    for row, vector in enumerate(vectors[1000:2000]):
        index.put(2000 + row, vector)  # so that 17 goes into a cell
    assert index.nearest(after, 1)[0].tolist() == [[17]]
    index.drop(17)
    assert index.nearest(after, 1)[0].tolist() != [[17]]


def test_a_thousand_equal_vectors_do_no_harm() -> None:
    vector = people(np.random.default_rng(4), 1)
    index = VectorIndex(DIM, cell_rows=32, budget=200)
    for row in range(1000):
        index.put(row, vector[0])
    check_books(index, dict.fromkeys(range(1000), vector[0]))
    row, score = index.nearest(vector, 5)
    assert (row >= 0).all() and np.allclose(score, 1.0, atol=5e-3)
    index._budget = 10_000
    assert index.nearest(vector, 5)[0].tolist() == [[0, 1, 2, 3, 4]]


def test_origin_of_the_sketches_follows_vectors_that_drift() -> None:
    rng = np.random.default_rng(5)
    index = VectorIndex(DIM, cell_rows=64)
    for turn, shift in enumerate((0.0, 3.0)):
        for place in range(4000):
            row = place % 1000
            vector = rng.standard_normal(DIM).astype(np.float32) / 8
            vector[0] += shift
            index.put(row, vector / np.linalg.norm(vector))
        origin = index._origins[index._version] @ index._turn.T
        assert abs(float(origin[0]) - turn * 0.94) < 0.15
    assert set(index._cells[5][: index._num_cells].tolist()) == {index._version}


def test_same_calls_give_the_same_answers() -> None:
    def answers() -> list[np.ndarray]:
        rng = np.random.default_rng(6)
        index = VectorIndex(DIM, cell_rows=64, budget=500)
        for vector in people(rng, 3000):
            index.put(int(rng.integers(2000)), vector)
            index.drop(int(rng.integers(4000)))
        return list(index.nearest(people(rng, 20), 10))

    one, other = answers(), answers()
    assert np.array_equal(one[0], other[0]) and np.array_equal(one[1], other[1])


def test_products_of_vectors_survive_the_turn_in_any_dimension() -> None:
    for dim in (1, 8, 256, 300):
        turn = vector_index._isometry(dim, 64 * (max(256, dim + 63) // 64))
        assert turn.shape[1] % 64 == 0 and turn.shape[1] >= max(dim, 256)
        assert np.allclose(turn @ turn.T, np.eye(dim), atol=1e-5)
