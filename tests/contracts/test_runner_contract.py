"""What every runner promises. Each runner is one entry of RUNNERS; the stages are toys that record what they see."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial

import pytest

from pipeline.runtime.chain import FLUSH, Node, StageError, Tick
from pipeline.runtime.inline import InlineRunner
from pipeline.runtime.pace import Splitter
from pipeline.runtime.processes import ProcessRunner
from tests.runtime.toys import Add, Broken, Late, Loses, Total, chain, ticks

RUNNERS: dict[str, Callable[..., AbstractContextManager]] = {
    "inline": InlineRunner,
    "processes": partial(ProcessRunner, start_method="forkserver", ring_mb=16),
    "processes, one a node": partial(ProcessRunner, start_method="forkserver", ring_mb=16, together=False),
}


@pytest.fixture(params=sorted(RUNNERS))
def runner_of(request: pytest.FixtureRequest) -> Callable[..., AbstractContextManager]:
    return RUNNERS[request.param]


@pytest.fixture
def run(runner_of) -> Callable[[Sequence[Node], Sequence[Iterable[Tick]]], list[Tick]]:
    def collect(nodes: Sequence[Node], sources: Sequence[Iterable[Tick]]) -> list[Tick]:
        with runner_of(nodes, sources) as runner:
            return list(runner)

    return collect


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
        run([Node("add", partial(Add, 0)), Node("bad", Broken), Node("total", Total, merges=True)], [ticks(0, 50)])
    assert caught.value.node == "bad" and not caught.value.building


def test_a_stage_that_can_not_be_built_is_reported_as_such(run) -> None:
    with pytest.raises(StageError, match="stage load failed: FileNotFoundError: no model") as caught:
        run([Node("load", Late)], [ticks(0, 50)])
    assert caught.value.building and isinstance(caught.value.__cause__, FileNotFoundError)


def test_no_source_is_read_before_every_stage_is_built(runner_of) -> None:
    read = []

    def source() -> Iterator[Tick]:
        read.append(True)
        yield Tick(0, 0, ())

    with pytest.raises(StageError, match="no model"), runner_of([Node("load", Late)], [source()]):
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


def test_a_slow_node_holds_the_sources_back(runner_of) -> None:
    taken = []

    def source() -> Iterator[Tick]:
        for tick in ticks(0, 1000):
            taken.append(tick.index)
            yield tick

    with runner_of(chain(), [source()], queue_ticks=2) as runner:
        out = iter(runner)
        next(out)
        time.sleep(0.3)
        assert len(taken) < 40


def test_leaving_early_stops_every_thread(runner_of) -> None:
    before = threading.active_count()
    with runner_of(chain(), [ticks(s, 100_000) for s in range(3)]) as runner:
        next(iter(runner))
    assert threading.active_count() == before


def test_times_name_every_node_in_order(runner_of) -> None:
    with runner_of(chain(), [ticks(0, 4)]) as runner:
        list(runner)
    times = runner.times()
    assert [(t.name, t.num_items) for t in times] == [("add", 8), ("again", 8), ("total", 8)]
    assert all(t.wall_s > 0 for t in times)


def test_a_source_does_not_run_far_ahead_of_the_others(runner_of) -> None:
    go_on, taken = threading.Event(), []

    def slow() -> Iterator[Tick]:
        yield Tick(0, 0, ())
        go_on.wait(10)
        yield Tick(0, 499, ())

    def quick() -> Iterator[Tick]:
        for tick in ticks(1, 500):
            taken.append(tick.index)
            yield tick

    with runner_of(chain(2), [slow(), quick()]) as runner:
        out = iter(runner)
        first = next(out)
        time.sleep(0.3)
        assert len(taken) < 120  # all of them would have to wait in the merging node
        go_on.set()
        assert [first.index, *(t.index for t in out)] == [*range(500), FLUSH]


def test_a_stream_split_into_shards_gives_what_it_gives_in_one(run) -> None:
    def stream() -> Iterator[Tick]:
        for index in range(30):
            yield Tick(0, index, tuple((shard, index) for shard in range(4) if (index + shard) % 3))

    whole = run([Node("add", partial(Add, 1)), Node("total", Total, merges=True)], [stream()])
    split = Splitter(stream(), 2, lambda item: item[0] // 2).sources()
    assert run([Node("add", partial(Add, 1), 2), Node("total", Total, merges=True)], split) == whole


def test_an_error_in_a_split_stream_ends_the_run(run) -> None:
    def stream() -> Iterator[Tick]:
        yield from ticks(0, 3)
        raise OSError("cable cut")

    with pytest.raises(OSError, match="cable cut"):
        run(chain(2), Splitter(stream(), 2, lambda item: item[1] % 2).sources())
