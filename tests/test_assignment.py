from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.optimize import linear_sum_assignment

from pipeline.assignment import assign
from pipeline.types import Float32

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
