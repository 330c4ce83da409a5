"""Sources that stay together, and one stream split into shards."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.runtime.chain import Tick
from pipeline.runtime.pace import Pace, Splitter, spread


def never() -> bool:
    return False


def test_the_last_source_never_waits_whatever_the_gaps() -> None:
    pace = Pace(2, max_ahead=4)
    assert pace.wait(0, 3, never) and pace.wait(1, 1000, lambda: True) is False
    assert pace.wait(0, 1002, never)


def test_a_source_that_has_ended_is_not_waited_for() -> None:
    pace = Pace(2, max_ahead=4)
    pace.end(0)
    assert pace.wait(1, 10**9, never)


def test_who_is_ahead_goes_on_when_the_other_follows() -> None:
    pace = Pace(2, max_ahead=4)
    waited = threading.Thread(target=pace.wait, args=(0, 100, never))
    waited.start()
    assert pace.wait(1, 99, never)
    waited.join(5)
    assert not waited.is_alive()


@given(st.integers(1, 60), st.integers(1, 70))
def test_shards_are_neighbours_of_nearly_equal_size(num_items: int, num_shards: int) -> None:
    shards = spread(num_items, num_shards)
    assert shards == sorted(shards) and set(shards) == set(range(min(num_items, num_shards)))
    sizes = [shards.count(s) for s in set(shards)]
    assert max(sizes) - min(sizes) <= 1


def test_every_shard_gets_every_tick_even_without_items() -> None:
    stream = [Tick(0, 4, (0, 1)), Tick(0, 9, (1,))]
    left, right = Splitter(iter(stream), 2, lambda item: item).sources()
    assert next(left) == Tick(0, 4, (0,)) and next(right) == Tick(1, 4, (1,))
    assert next(left) == Tick(0, 9, ()) and next(right) == Tick(1, 9, (1,))
    assert list(left) == list(right) == []


def test_a_shard_that_nobody_reads_any_more_holds_nobody_up() -> None:
    left, right = Splitter((Tick(0, i, ()) for i in range(50)), 2, lambda item: 0, max_ticks=2).sources()
    right.close()
    assert len(list(left)) == 50 and list(right) == []


def test_an_error_reaches_every_shard() -> None:
    def stream():
        yield Tick(0, 0, ())
        raise OSError("cable cut")

    for shard in Splitter(stream(), 2, lambda item: 0).sources():
        assert next(shard).index == 0
        with pytest.raises(OSError, match="cable cut"):
            next(shard)
