"""A table by rising numbers against a dictionary."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.fusion.number_table import NumberTable


def test_a_number_that_was_never_set_has_a_row_of_minus_one() -> None:
    table = NumberTable(2)
    assert len(table) == 0 and list(table) == []
    assert table.get(7).tolist() == [-1, -1]
    assert table.of_all(np.array([3, 700])).tolist() == [[-1, -1]] * 2
    assert table.of_all(np.zeros(0, np.int64)).shape == (0, 2)
    table.drop(7)


@pytest.mark.parametrize("seed", range(4))
def test_table_holds_what_a_dictionary_would(seed: int) -> None:
    rng = np.random.default_rng(seed)
    table, true, newest = NumberTable(2), dict[int, list[int]](), 0
    for step in range(3000):
        if rng.random() < 0.6 or not true:
            newest += int(rng.integers(1, 3))
            number = newest if rng.random() < 0.9 else int(rng.integers(1, newest + 1))
            column, value = int(rng.integers(2)), int(rng.integers(1000))
            true.setdefault(number, [-1, -1])[column] = value
            table.put(number, column, value)
        else:
            number = min(true) if rng.random() < 0.5 else int(rng.choice(list(true)))
            true.pop(number)
            table.drop(number)
        if step % 100 == 0:
            some = rng.integers(1, newest + 600, 50)
            assert table.of_all(some).tolist() == [true.get(n, [-1, -1]) for n in some.tolist()]
            assert [table.get(n).tolist() for n in some.tolist()] == table.of_all(some).tolist()
            assert list(table) == sorted(true) and len(table) == len(true)
    assert len(table._page_of) <= len({n // 256 for n in true})
