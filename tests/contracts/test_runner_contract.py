"""What every runner promises. Each runner is one entry of RUNNERS; the stages are toys that record what they see."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

import pytest

from pipeline.runtime.chain import FLUSH, Node, StageError, Tick
from pipeline.runtime.inline import InlineRunner

RUNNERS = {"inline": InlineRunner}
Item = tuple[int, int]  # shard, number


class Add:
    """Adds a constant to the number; remembers the order in which items came."""

    def __init__(self, amount: int) -> None:
        self._amount = amount
        self._last: dict[int, int] = {}

    def __call__(self, items: Sequence[Item]) -> list[Item]:
        for shard, number in items:
            assert number > self._last.get(shard, -1), "items of a shard came out of order"
            self._last[shard] = number
        return [(shard, number + self._amount) for shard, number in items]

    def flush(self) -> list[Item]:
        return []


class Total(Add):
    """Gives the number of items it has seen at its flush."""

    def __init__(self) -> None:
        super().__init__(0)
        self._count = 0

    def __call__(self, items: Sequence[Item]) -> list[Item]:
        self._count += len(items)
        return super().__call__(items)

    def flush(self) -> list[Item]:
        return [(-1, self._count)]


class Broken(Add):
    def __init__(self) -> None:
        super().__init__(0)

    def __call__(self, items: Sequence[Item]) -> list[Item]:
        if any(number == 3 for _, number in items):
            raise ValueError("three is too much")
        return list(items)


class Loses(Add):
    def __init__(self) -> None:
        super().__init__(0)

    def __call__(self, items: Sequence[Item]) -> list[Item]:
        return list(items)[1:]


def ticks(shard: int, count: int, width: int = 2) -> Iterator[Tick]:
    for index in range(count):
        yield Tick(shard, index, tuple((shard, index * width + k) for k in range(width)))


@pytest.fixture(params=sorted(RUNNERS))
def run(request: pytest.FixtureRequest) -> Callable[[Sequence[Node], Sequence[Iterable[Tick]]], list[Tick]]:
    def collect(nodes: Sequence[Node], sources: Sequence[Iterable[Tick]]) -> list[Tick]:
        with RUNNERS[request.param](nodes, sources) as runner:
            return list(runner)

    return collect


def chain(workers: int = 1) -> list[Node]:
    return [
        Node("add", lambda: Add(100), workers),
        Node("again", lambda: Add(1000), workers),
        Node("total", Total, merges=True),
    ]


def test_no_source_gives_nothing(run) -> None:
    assert [t for t in run(chain(), []) if t.index != FLUSH] == []


def test_an_empty_source_is_flushed_all_the_same(run) -> None:
    assert run(chain(), [iter(())]) == [Tick(0, FLUSH, ((-1, 0),))]


def test_empty_ticks_pass_through(run) -> None:
    out = run(chain(), [iter([Tick(0, 0, ()), Tick(0, 5, ())])])
    assert [(t.index, t.items) for t in out[:-1]] == [(0, ()), (5, ())]


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_shards_of_unequal_length_are_joined_by_tick_in_order(run, workers: int) -> None:
    out = run(chain(workers), [ticks(0, 20), ticks(1, 20), ticks(2, 7)])
    assert [t.index for t in out] == [*range(20), FLUSH]
    for tick in out[:-1]:
        shards = [0, 1, 2] if tick.index < 7 else [0, 1]
        assert tick.items == tuple((s, 1100 + tick.index * 2 + k) for s in shards for k in range(2))


def test_flush_runs_node_by_node_after_the_last_item(run) -> None:
    nodes = [Node("first", Total), Node("second", Total, merges=True)]
    out = run(nodes, [ticks(0, 3), ticks(1, 4)])
    # the first node gives its 14 items and one more at its flush, which the second sees before its own flush
    assert [t.items for t in out if t.index == FLUSH] == [((-1, 14),), ((-1, 15),)]


def test_the_same_input_gives_the_same_output_whatever_the_number_of_workers(run) -> None:
    def sources() -> list[Iterable[Tick]]:
        return [ticks(s, 5 + s) for s in range(5)]

    assert run(chain(1), sources()) == run(chain(2), sources()) == run(chain(4), sources())


def test_a_stage_that_raises_is_reported_by_its_node(run) -> None:
    with pytest.raises(StageError, match="stage bad failed: ValueError: three is too much") as caught:
        run([Node("add", lambda: Add(0)), Node("bad", Broken), Node("total", Total, merges=True)], [ticks(0, 50)])
    assert caught.value.node == "bad" and not caught.value.building


def test_a_stage_that_can_not_be_built_is_reported_as_such(run) -> None:
    def build() -> Add:
        raise FileNotFoundError("no model")

    with pytest.raises(StageError, match="stage load failed: FileNotFoundError: no model") as caught:
        run([Node("load", build)], [ticks(0, 50)])
    assert caught.value.building


def test_no_source_is_read_before_every_stage_is_built() -> None:
    read = []

    def source() -> Iterator[Tick]:
        read.append(True)
        yield Tick(0, 0, ())

    def build() -> Add:
        time.sleep(0.05)
        raise ValueError("no such model")

    with pytest.raises(StageError, match="no such model"), InlineRunner([Node("load", build)], [source()]):
        pytest.fail("the context was entered")
    assert not read


def test_a_stage_that_loses_an_item_is_reported(run) -> None:
    with pytest.raises(StageError, match="2 items in, 1 items out"):
        run([Node("loses", Loses)], [ticks(0, 3)])


def test_a_source_that_raises_ends_the_run_with_its_error(run) -> None:
    def source() -> Iterator[Tick]:
        yield Tick(0, 0, ())
        raise OSError("cable cut")

    with pytest.raises(OSError, match="cable cut"):
        run(chain(), [source()])


def test_a_slow_node_holds_the_sources_back() -> None:
    taken = []

    def source() -> Iterator[Tick]:
        for tick in ticks(0, 1000):
            taken.append(tick.index)
            yield tick

    with InlineRunner(chain(), [source()], queue_ticks=2) as runner:
        out = iter(runner)
        next(out)
        time.sleep(0.3)
        assert len(taken) < 40


def test_leaving_early_stops_every_thread() -> None:
    before = threading.active_count()
    with InlineRunner(chain(), [ticks(s, 100_000) for s in range(3)]) as runner:
        next(iter(runner))
    assert threading.active_count() == before


def test_times_name_every_node_in_order() -> None:
    with InlineRunner(chain(), [ticks(0, 4)]) as runner:
        list(runner)
    times = runner.times()
    assert [(t.name, t.num_items) for t in times] == [("add", 8), ("again", 8), ("total", 8)]
    assert all(t.wall_s > 0 for t in times)
