from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.optimize import linear_sum_assignment

from pipeline import assignment
from pipeline.assignment import assign
from pipeline.types import Float32, Float64, Int64

COSTS = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=9),
    elements=st.one_of(
        st.floats(-1, 2, width=32),
        st.sampled_from([0.0, 0.25, 0.5, 1.0, float("inf"), float("nan"), float("-inf")]),
    ),
)


def pairs(cost: Float32, max_cost: float) -> list[tuple[int, int]]:
    rows, cols = assign(cost, max_cost)
    return list(zip(rows.tolist(), cols.tolist(), strict=True))


def objective(cost: Float32, max_cost: float) -> float:
    rows, cols = assign(cost, max_cost)
    return float((cost.astype(np.float64)[rows, cols] - max_cost).sum())


def reference_objective(cost: Float32, max_cost: float) -> float:
    """The gated problem with scipy: an entry out of the gate costs as much as leaving the pair apart."""
    wide = cost.astype(np.float64)
    wide[~((wide <= max_cost) & (wide > -np.inf))] = max_cost
    rows, cols = linear_sum_assignment(wide)
    return float((wide[rows, cols] - max_cost).sum())


@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (5, 0)])
def test_nothing_is_assigned_where_one_side_is_empty(shape: tuple[int, int]) -> None:
    rows, cols = assign(np.zeros(shape, np.float32), 1.0)
    assert rows.shape == cols.shape == (0,)
    assert rows.dtype == cols.dtype == np.int64


def test_cheapest_total_wins_over_the_cheapest_single_pair() -> None:
    cost = np.array([[0.1, 0.2], [0.15, 0.9]], np.float32)
    assert pairs(cost, 1.0) == [(0, 1), (1, 0)]


def test_good_pair_is_not_given_up_for_a_second_poor_one() -> None:
    cost = np.array([[0.1, 0.9], [0.9, np.inf]], np.float32)
    assert pairs(cost, 1.0) == [(0, 0)]


def test_entry_at_the_gate_is_used_and_one_above_is_not() -> None:
    assert pairs(np.array([[0.5]], np.float32), 0.5) == [(0, 0)]
    assert pairs(np.array([[0.5]], np.float32), 0.49) == []
    square = np.array([[0.5, 0.6, 0.5], [0.6, 0.5, 0.6], [0.5, 0.5, 0.6]], np.float32)
    assert len(pairs(square, 0.5)) == 3


def test_ties_go_to_the_lower_index_of_a_single_row_or_column() -> None:
    assert pairs(np.array([[0.3, 0.2, 0.2]], np.float32), 1.0) == [(0, 1)]
    assert pairs(np.array([[0.3], [0.2], [0.2]], np.float32), 1.0) == [(1, 0)]


def test_rows_that_fit_nothing_stay_alone_among_rivals() -> None:
    cost = np.full((4, 3), np.nan, np.float32)
    cost[1] = [0.1, 0.3, np.inf]
    cost[3] = [0.2, 0.9, np.inf]
    assert pairs(cost, 0.5) == [(1, 1), (3, 0)]


@pytest.mark.parametrize("shape", [(3,), (2, 2, 2)])
def test_a_cost_that_is_no_matrix_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="matrix"):
        assign(np.zeros(shape, np.float32), 1.0)


def test_an_infinite_gate_is_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        assign(np.zeros((2, 2), np.float32), float("inf"))


@given(cost=COSTS, max_cost=st.sampled_from([-0.5, 0.0, 0.4, 0.5, 1.0, 3.0]))
def test_assignment_is_one_to_one_within_the_gate_and_leaves_no_allowed_pair_apart(
    cost: Float32, max_cost: float
) -> None:
    before = cost.copy()
    rows, cols = assign(cost, max_cost)
    np.testing.assert_array_equal(cost, before)
    assert np.all(np.diff(rows) > 0)
    assert len(set(cols.tolist())) == len(cols)
    chosen = cost[rows, cols]
    assert np.all(np.isfinite(chosen) & (chosen <= max_cost))
    rest = np.delete(np.delete(cost, rows, axis=0), cols, axis=1)
    assert not np.any((rest <= max_cost) & np.isfinite(rest))


@given(cost=COSTS, max_cost=st.sampled_from([-0.5, 0.0, 0.4, 0.5, 1.0, 3.0]))
def test_total_equals_the_reference_solver_on_the_gated_problem(cost: Float32, max_cost: float) -> None:
    assert objective(cost, max_cost) == pytest.approx(reference_objective(cost, max_cost), abs=1e-6)


@pytest.mark.parametrize("shape", [(40, 60), (60, 40), (120, 120)])
@pytest.mark.parametrize("allowed_share", [0.02, 0.1, 1.0])
def test_crowds_equal_the_reference_solver(shape: tuple[int, int], allowed_share: float) -> None:
    rng = np.random.default_rng(int(shape[0] * 100 * allowed_share))
    cost = rng.random(shape, np.float32)
    cost[rng.random(shape) > allowed_share] = np.inf
    assert objective(cost, 0.8) == pytest.approx(reference_objective(cost, 0.8), abs=1e-6)


# --- problems that fall apart into groups, and those that need no solver

GATES = st.sampled_from([0.3, 0.6, 1.0])


def scattered(seed: int, num_groups: int, steps: int = 0) -> tuple[Float32, Int64, Int64]:
    """A cost of many small groups, rows and columns shuffled; some stand alone and some groups lack pairs.

    `steps` > 0 rounds costs to that many values, so that many are tied.
    -> (cost (R, C), group of each row, group of each column)
    """
    rng = np.random.default_rng(seed)
    sides = rng.integers(0, 5, (num_groups, 2))
    row_group, col_group = (rng.permutation(np.repeat(np.arange(num_groups), side)) for side in sides.T)
    cost = rng.random((len(row_group), len(col_group)), np.float32)
    if steps:
        cost = (np.floor(cost * steps) / steps).astype(np.float32)
    cost[(row_group[:, None] != col_group) | (rng.random(cost.shape) < 0.2)] = np.inf
    return cost, row_group, col_group


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 1_000_000), num_groups=st.integers(45, 70), steps=st.sampled_from([0, 0, 3]), max_cost=GATES)
def test_many_small_groups_in_a_large_problem_equal_the_reference_solver(
    seed: int, num_groups: int, steps: int, max_cost: float
) -> None:
    cost, _, _ = scattered(seed, num_groups, steps)
    assert cost.size > assignment._SMALL
    rows, cols = assign(cost, max_cost)
    assert np.all(np.diff(rows) > 0)
    assert len(set(cols.tolist())) == len(cols)
    assert np.all(cost[rows, cols] <= max_cost)
    assert objective(cost, max_cost) == pytest.approx(reference_objective(cost, max_cost), abs=1e-6)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 1_000_000), max_cost=GATES)
def test_a_group_is_settled_as_if_it_were_alone(seed: int, max_cost: float) -> None:
    cost, row_group, col_group = scattered(seed, 45)
    apart: list[tuple[int, int]] = []
    for group in range(45):
        rows, cols = (np.flatnonzero(side == group) for side in (row_group, col_group))
        apart += [(int(rows[r]), int(cols[c])) for r, c in pairs(cost[rows[:, None], cols], max_cost)]
    assert pairs(cost, max_cost) == sorted(apart)


@given(cost=COSTS, max_cost=st.sampled_from([-0.5, 0.0, 0.4, 0.5, 1.0, 3.0]))
def test_taking_a_small_problem_apart_gives_the_same_total(cost: Float32, max_cost: float) -> None:
    """Small problems go to the solver whole; the other way must come to the same, whatever the numbers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assignment, "_SMALL", 0)
        assert objective(cost, max_cost) == pytest.approx(reference_objective(cost, max_cost), abs=1e-6)
        rows, cols = assign(cost, max_cost)
    assert np.all(np.diff(rows) > 0)
    assert len(set(cols.tolist())) == len(cols)
    assert np.all(np.isfinite(cost[rows, cols]) & (cost[rows, cols] <= max_cost))


def solver_that_must_not_be_called(*_: object) -> tuple[Int64, Int64]:
    raise AssertionError("the solver was called")


def test_rows_that_want_different_columns_need_no_solver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assignment, "_solve", solver_that_must_not_be_called)
    cost = np.array([[0.5, 0.2, 0.4], [0.1, 0.15, 0.9], [np.inf, np.inf, np.inf]], np.float32)
    assert pairs(cost, 1.0) == [(0, 1), (1, 0)]


def test_columns_that_want_different_rows_need_no_solver(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows 0, 1 and 3 all want column 1; but column 0 wants row 3, and column 1 row 1."""
    monkeypatch.setattr(assignment, "_solve", solver_that_must_not_be_called)
    cost = np.array([[0.9, 0.3], [0.8, 0.1], [np.inf, np.inf], [0.5, 0.4]], np.float32)
    assert pairs(cost, 1.0) == [(1, 1), (3, 0)]
    assert pairs(cost.T, 1.0) == [(0, 3), (1, 1)]


def test_only_groups_with_rivals_on_both_sides_reach_the_solver(monkeypatch: pytest.MonkeyPatch) -> None:
    """20 copies of a group that row minima settle, 20 of one that column minima do, and one that neither can."""
    by_rows = np.array([[0.1, 0.2], [0.3, 0.25]], np.float32)
    by_cols = np.array([[0.9, 0.3], [0.8, 0.1], [0.5, 0.4]], np.float32)
    rivals = np.array([[0.1, 0.2], [0.15, 0.9]], np.float32)
    blocks = [by_rows, by_cols] * 20 + [rivals]
    cost = np.full((sum(len(b) for b in blocks), 2 * len(blocks)), np.inf, np.float32)
    first, want = 0, []
    for i, block in enumerate(blocks):
        cost[first : first + len(block), 2 * i : 2 * i + 2] = block
        mine = [(0, 0), (1, 1)] if block is by_rows else [(1, 1), (2, 0)] if block is by_cols else [(0, 1), (1, 0)]
        want += [(first + row, 2 * i + col) for row, col in mine]
        first += len(block)
    solved: list[tuple[int, ...]] = []
    solve = assignment._solve

    def noted(part: Float64, gate: float) -> tuple[Int64, Int64]:
        solved.append(part.shape)
        return solve(part, gate)

    monkeypatch.setattr(assignment, "_solve", noted)
    shuffled = np.random.default_rng(0).permutation(len(cost))
    got = pairs(cost[shuffled], 1.0)
    assert sorted((int(shuffled[row]), col) for row, col in got) == want
    assert solved == [(2, 2)]


def test_one_group_of_a_whole_crowd_equals_the_reference_solver() -> None:
    """A chain: each row may have its own column or the next, so that all belong together though few pairs do."""
    rng = np.random.default_rng(3)
    num = 60
    cost = np.full((num, num), np.inf, np.float32)
    cost[np.arange(num), np.arange(num)] = rng.uniform(0.3, 0.9, num)
    cost[np.arange(num - 1), np.arange(1, num)] = rng.uniform(0.3, 0.9, num - 1)
    assert cost.size > assignment._SMALL
    assert objective(cost, 0.8) == pytest.approx(reference_objective(cost, 0.8), abs=1e-6)


def test_a_large_problem_without_any_pair_gives_none() -> None:
    rows, cols = assign(np.full((50, 60), 0.9, np.float32), 0.5)
    assert rows.shape == cols.shape == (0,)
