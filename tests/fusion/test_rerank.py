from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.fusion import rerank as rerank_module
from pipeline.fusion.distances import CosineDistances, MatrixDistances
from pipeline.fusion.rerank import (
    average_rows,
    jaccard_distance,
    k_reciprocal,
    k_reciprocal_features,
    nearest,
    reciprocal,
    reciprocal_weights,
    rerank,
    rerank_top,
    smallest,
)


def unit(values: Any) -> Any:
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def blocks(whole: Any, num_queries: int) -> tuple[Any, Any, Any]:
    """(query_gallery, query_query, gallery_gallery) of an (N, N) matrix."""
    n = num_queries
    return whole[:n, n:], whole[:n, :n], whole[n:, n:]


def clustered(seed: int, num_items: int, num_people: int = 12, noise: float = 0.8) -> Any:
    rng = np.random.default_rng(seed)
    people = rng.standard_normal((num_people, 16))
    return unit(people[rng.integers(0, num_people, num_items)] + noise * rng.standard_normal((num_items, 16)))


def by_hand(whole: Any, num_queries: int, k1: int, k2: int, share: float, square: bool) -> Any:
    """The equations of the paper word for word, with sets and dictionaries."""
    d = whole.astype(np.float64) ** 2 if square else whole.astype(np.float64)
    d = (d / d.max(axis=0)).T
    total = len(d)
    ranking = [sorted(range(total), key=lambda j, i=i: (d[i, j], j)) for i in range(total)]  # type: ignore[misc]

    def mutual(i: int, k: int) -> set[int]:
        return {j for j in ranking[i][: k + 1] if i in ranking[j][: k + 1]}

    described: list[dict[int, float]] = []
    for i in range(total):
        core = mutual(i, k1)
        members = set(core)
        for c in core:
            more = mutual(c, int(np.around(k1 / 2)))
            if len(more & core) > 2 / 3 * len(more):
                members |= more
        weights = {j: float(np.exp(-d[i, j])) for j in members}
        described.append({j: w / sum(weights.values()) for j, w in weights.items()})
    if k2 > 1:
        averaged = []
        for i in range(total):
            near = ranking[i][:k2]
            keys = {j for n in near for j in described[n]}
            averaged.append({j: sum(described[n].get(j, 0.0) for n in near) / len(near) for j in keys})
        described = averaged
    out = np.empty((num_queries, total - num_queries))
    for q in range(num_queries):
        for g in range(num_queries, total):
            shared = sum(min(w, described[g].get(j, 0.0)) for j, w in described[q].items())
            out[q, g - num_queries] = (1 - share) * (1 - shared / (2 - shared)) + share * d[q, g]
    return out


@pytest.mark.parametrize(
    ("share", "total", "first"),
    [
        (0.3, 268.750488, [0.532831, 0.658462, 0.445517, 0.312005]),
        (0.9, 221.992767, [0.422559, 0.698169, 0.329463, 0.124257]),
    ],
)
def test_squared_distances_give_the_published_codes_figures(share: float, total: float, first: list[float]) -> None:
    rs = np.random.RandomState(42)
    rs.randint(-1, 6, 200), rs.randint(0, 3, 200), rs.randint(1, 6, 8), rs.randint(0, 3, 8), rs.rand(8, 200)
    x = unit(np.concatenate((rs.randn(8, 16), rs.randn(60, 16))))
    for result in (
        k_reciprocal(*blocks(2 - 2 * x @ x.T, 8), lambda_value=share),
        k_reciprocal_features(x[:8], x[8:], lambda_value=share),
    ):
        assert (result.shape, result.dtype) == ((8, 60), np.float32)
        assert result.sum(dtype=np.float64) == pytest.approx(total, abs=1e-4)
        np.testing.assert_allclose(result[0, :4], first, atol=1e-6)


def test_plain_joint_scores_give_st_reids_figures() -> None:
    x = unit(np.random.RandomState(11).randn(68, 16))
    similarity = 1 / (1 + np.exp(-5 * x @ x.T)) / 3
    result = k_reciprocal(*blocks(2 - 2 * similarity, 8), square=False)
    assert result.sum(dtype=np.float64) == pytest.approx(326.848645, abs=1e-4)
    np.testing.assert_allclose(result[0, :4], [0.464216, 0.773484, 0.696700, 0.759868], atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    num_queries=st.integers(1, 9),
    num_gallery=st.integers(1, 30),
    k1=st.integers(1, 12),
    k2=st.integers(1, 6),
    share=st.sampled_from([0.0, 0.3, 1.0]),
    square=st.booleans(),
)
def test_any_distances_are_reranked_as_by_hand(
    seed: int, num_queries: int, num_gallery: int, k1: int, k2: int, share: float, square: bool
) -> None:
    rng = np.random.default_rng(seed)
    whole = rng.random((num_queries + num_gallery,) * 2)  # not symmetric, an item need not be its own nearest
    whole[num_queries:, :num_queries] = whole[:num_queries, num_queries:].T
    expected = by_hand(whole, num_queries, k1, k2, share, square)
    result = k_reciprocal(*blocks(whole, num_queries), k1, k2, lambda_value=share, square=square)
    np.testing.assert_allclose(result, expected, atol=1e-5)


def test_small_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x = clustered(0, 500)
    expected = by_hand(2 - 2 * x @ x.T, 60, 20, 6, 0.3, True)
    monkeypatch.setattr(rerank_module, "_BLOCK_CELLS", 500 * 7)
    monkeypatch.setattr(rerank_module, "_SET_ROWS", 64)
    np.testing.assert_allclose(k_reciprocal(*blocks(2 - 2 * x @ x.T, 60)), expected, atol=1e-5)
    np.testing.assert_allclose(k_reciprocal_features(3 * x[:60], x[60:]), expected, atol=1e-5)


def test_people_lost_among_others_are_found_again() -> None:
    rng = np.random.default_rng(0)
    people = rng.standard_normal((30, 32))
    pid = np.repeat(np.arange(30), 12)
    x = unit(people[pid] + 1.3 * rng.standard_normal((360, 32)))
    order = np.argsort(np.arange(360) % 12 > 0, kind="stable")  # the first of each person asks
    x, pid = x[order], pid[order]
    same = pid[:30, None] == pid[None, 30:]
    rank = lambda d: np.take_along_axis(same, np.argsort(d, axis=1), axis=1)[:, :11].mean()  # noqa: E731
    assert rank(k_reciprocal_features(x[:30], x[30:], 10, 3)) > rank(2 - 2 * x[:30] @ x[30:].T) + 0.05


def test_the_best_alone_are_the_head_of_the_whole_ranking() -> None:
    x = clustered(1, 420)
    distances = CosineDistances.of(x[:20], x[20:])
    whole = rerank(distances, 20)
    index, best = rerank_top(distances, 20, 15)
    np.testing.assert_allclose(best, np.sort(whole, axis=1)[:, :15], atol=1e-6)
    np.testing.assert_allclose(np.take_along_axis(whole, index, axis=1), best, atol=1e-6)
    assert rerank_top(distances, 20, 10**6)[0].shape == (20, 400)


def test_nothing_to_rank_is_an_empty_result() -> None:
    assert k_reciprocal_features(np.zeros((0, 4)), np.zeros((0, 4))).shape == (0, 0)
    assert k_reciprocal_features(np.zeros((0, 4)), np.ones((3, 4))).shape == (0, 3)
    assert k_reciprocal_features(np.ones((2, 4)), np.zeros((0, 4))).shape == (2, 0)
    assert k_reciprocal(np.zeros((2, 0)), np.ones((2, 2)), np.zeros((0, 0))).shape == (2, 0)
    assert rerank_top(CosineDistances.of(np.ones((2, 4)), np.zeros((0, 4))), 2, 5)[0].shape == (2, 0)


def test_items_that_are_all_alike_stay_equal() -> None:
    result = k_reciprocal(np.zeros((2, 40)), np.zeros((2, 2)), np.zeros((40, 40)))
    assert np.isfinite(result).all()
    np.testing.assert_allclose(result[:, 25:], result[0, 25])


def test_a_few_items_described_alone_are_as_in_the_whole() -> None:
    x = clustered(2, 300)
    distances = CosineDistances.of(x[:5], x[5:])
    table = nearest(distances, 21)
    scaled = lambda i, j: distances.pairs(i, j) ** 2 / table.largest[i]  # noqa: E731
    every = reciprocal_weights(table.index, np.arange(300), scaled)
    some = np.array([290, 3, 77])
    np.testing.assert_allclose(
        reciprocal_weights(table.index, some, scaled).toarray(), every.toarray()[some], atol=1e-7
    )
    np.testing.assert_allclose(every.sum(axis=1), 1, atol=1e-5)
    near = table.index[some, :6]
    np.testing.assert_allclose(average_rows(every, near).toarray(), every.toarray()[near].mean(axis=1), atol=1e-7)


def test_a_table_with_room_left_counts_only_the_neighbours_it_has() -> None:
    index = np.array([[0, 1, -1], [1, 0, -1], [2, -1, -1], [-1, -1, -1]])
    place, member = reciprocal(index, np.array([0, 2, 3, 1]), 2)
    assert list(zip(place, member, strict=True)) == [(0, 0), (0, 1), (1, 2), (3, 1), (3, 0)]
    weights = reciprocal_weights(index, np.arange(4), lambda i, j: np.abs(i - j).astype(np.float32), 2)
    close, far = 1 / (1 + np.exp(-1)), np.exp(-1) / (1 + np.exp(-1))
    expected = [[close, far, 0, 0], [far, close, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    np.testing.assert_allclose(weights.toarray(), expected, rtol=1e-6)
    averaged = average_rows(weights, index[:, :2]).toarray()
    np.testing.assert_allclose(averaged, [[0.5, 0.5, 0, 0], [0.5, 0.5, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]], rtol=1e-6)
    np.testing.assert_allclose(jaccard_distance(weights[:1], weights)[0], [0, 1 - far / (1 - far), 1, 1], atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    num_columns=st.integers(1, 500),
    k=st.integers(1, 9),
    num_values=st.sampled_from([2, 40, 10**6]),
)
def test_the_smallest_of_each_row_are_those_of_a_stable_sort(
    seed: int, num_columns: int, k: int, num_values: int
) -> None:
    rng = np.random.default_rng(seed)
    values = (rng.integers(-num_values, num_values, (4, num_columns)) / 7).astype(np.float32)
    values[values == 0] = rng.choice(np.array([-0.0, 0.0], np.float32), int((values == 0).sum()))
    np.testing.assert_array_equal(smallest(values, k), np.argsort(values, axis=1, kind="stable")[:, :k])


def test_single_pairs_are_the_cells_of_the_blocks() -> None:
    rng = np.random.default_rng(0)
    whole = rng.random((90, 90))
    whole[70:, :70] = whole[:70, 70:].T
    x = rng.standard_normal((90, 8))
    rows, columns = rng.integers(0, 90, 200), rng.integers(0, 90, 200)
    for distances in (MatrixDistances(*blocks(whole, 70)), CosineDistances.of(x[:70], x[70:])):
        together = np.concatenate([distances.block(0, 40), distances.block(40, 85), distances.block(85, 90)])
        np.testing.assert_allclose(distances.pairs(rows, columns), together[rows, columns], atol=1e-5)
    np.testing.assert_allclose(MatrixDistances(*blocks(whole, 70)).block(0, 90), whole.T, atol=1e-6)


def test_mistakes_are_named() -> None:
    x = clustered(0, 10)
    with pytest.raises(ValueError, match=r"query_gallery \(2, 8\) does not fit query_query \(3, 3\)"):
        k_reciprocal(np.zeros((2, 8)), np.zeros((3, 3)), np.zeros((8, 8)))
    with pytest.raises(ValueError, match="item 1 hold NaN"):
        k_reciprocal(np.array([[0.1], [np.nan]]), np.zeros((2, 2)), np.zeros((1, 1)))
    with pytest.raises(ValueError, match="k1 is 0"):
        k_reciprocal_features(x[:2], x[2:], 0)
    with pytest.raises(ValueError, match="lambda_value is 3"):
        k_reciprocal_features(x[:2], x[2:], lambda_value=3)
    with pytest.raises(ValueError, match=r"got \(2, 16\) and \(8, 15\)"):
        k_reciprocal_features(x[:2], x[2:, :15])
