"""What one worker does with one tick, the same in every runner: join shards, call the stage, gather its state."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from pipeline.runtime.chain import (
    END,
    FLUSH,
    Follower,
    Mark,
    Measured,
    Node,
    NodeTime,
    Notice,
    Recoverable,
    Saved,
    StageError,
    Tick,
)


class Merger:
    """Joins the ticks of all shards by index. Holds the ticks that wait for a slower shard."""

    def __init__(self, shards: Sequence[int]) -> None:
        self._seen = dict.fromkeys(shards, END)
        self._waiting: dict[int, list[Tick]] = {}

    def add(self, tick: Tick) -> list[Tick]:
        """The joined ticks, shard 0, that are complete now."""
        if tick.is_end:
            self._seen.pop(tick.shard)
        else:
            self._seen[tick.shard] = tick.index
            self._waiting.setdefault(tick.index, []).append(tick)
        complete_up_to = min(self._seen.values(), default=FLUSH)
        joined = []
        for index in sorted(i for i in self._waiting if i <= complete_up_to):
            parts = sorted(self._waiting.pop(index), key=lambda t: t.shard)
            joined.append(Tick(0, index, tuple(item for part in parts for item in part.items)))
        if not self._seen:
            joined.append(Tick(0, END, ()))
        return joined


class Worker:
    """One stage of one node and, where the node merges, the merger. The same class serves every runner.

    `shards` are those that this worker will see end.
    """

    def __init__(self, node: Node, shards: Sequence[int]) -> None:
        num_shards = len(shards)
        self._node = node
        self._number = shards[0] % node.workers if shards else 0
        self._can_mark = node.merges or num_shards <= 1
        self._merger = Merger(shards) if node.merges else None
        self._num_open = 1 if node.merges else num_shards
        self._wall_s = self._cpu_s = 0.0
        self._num_items = 0
        self._stage = self._guarded(node.build, building=True)
        if node.saved is not None:
            self._restore(node.saved[self._number])

    def handle(self, tick: Tick) -> list[Tick]:
        """Ticks for the next node. The stage is flushed before the last of the worker's shards ends."""
        out: list[Tick] = []
        for one in self._merger.add(tick) if self._merger else [tick]:
            if one.is_end:
                self._num_open -= 1
                if self._num_open == 0:
                    rest = tuple(self._guarded(self._stage.flush))
                    if rest:
                        out.append(Tick(one.shard, FLUSH, rest))
                out.append(one)
            else:
                out.append(Tick(one.shard, one.index, self._mapped(one.items)))
        return out

    @property
    def can_save(self) -> bool:
        """Whether `state` gives all that a replacement needs."""
        return self._node.stateless or isinstance(self._stage, Recoverable)

    def state(self) -> Any:
        """What `restore` needs, free of the stage itself. Only where `can_save`."""
        inner = self._guarded(self._stage.state) if isinstance(self._stage, Recoverable) else None
        return self._num_open, self._merger, inner

    def restore(self, state: Any) -> None:
        self._num_open, self._merger, inner = state
        self._restore(inner)

    def time(self) -> NodeTime:
        sizes = tuple(self._stage.sizes().items()) if isinstance(self._stage, Measured) else ()
        return NodeTime(self._node.name, self._wall_s, self._cpu_s, self._num_items, sizes)

    def _restore(self, state: Any) -> None:
        if isinstance(self._stage, Recoverable):
            stage = self._stage
            self._guarded(lambda: stage.restore(state))

    def _mapped(self, items: tuple[Any, ...]) -> tuple[Any, ...]:
        marks = [item for item in items if isinstance(item, Mark)]
        notices = [item for item in items if isinstance(item, Notice)][:1]
        if not (marks or notices):
            return self._worked(items)
        more = [item for notice in notices for item in self._told(notice)]
        plain = tuple(item for item in items if not isinstance(item, Mark | Notice))
        return (*more, *self._worked(plain), *notices, *([self._marked(marks)] if marks else []))

    def _told(self, notice: Notice) -> Sequence[Any]:
        stage = self._stage
        return self._guarded(lambda: stage.follow(notice.content)) if isinstance(stage, Follower) else ()

    def _marked(self, marks: Sequence[Mark]) -> Mark:
        """The marks of all shards as one, with the state of this worker."""
        states = tuple(saved for mark in marks for saved in mark.states)
        if self._node.stateless:
            return Mark(states)
        if not self._can_mark or not isinstance(self._stage, Recoverable):
            why = "has several shards" if not self._can_mark else "can not be saved"
            raise StageError(self._node.name, ValueError(f"worker {self._number} {why}, so no state can be gathered"))
        return Mark((*states, Saved(self._node.name, self._number, self._guarded(self._stage.state))))

    def _worked(self, items: tuple[Any, ...]) -> tuple[Any, ...]:
        result = tuple(self._guarded(lambda: self._stage(items)))
        if len(result) != len(items) and not self._node.holds:
            raise StageError(self._node.name, ValueError(f"{len(items)} items in, {len(result)} items out"))
        self._num_items += len(items)
        return result

    def _guarded(self, call: Callable[[], Any], *, building: bool = False) -> Any:
        wall, cpu = time.perf_counter(), time.thread_time()
        try:
            return call()
        except Exception as error:
            raise StageError(self._node.name, error, building=building) from error
        finally:
            self._wall_s += time.perf_counter() - wall
            self._cpu_s += time.thread_time() - cpu


class Line:
    """Worker `number` of consecutive nodes, one after the other in one thread: a tick passes all of them at once."""

    def __init__(self, nodes: Sequence[Node], shards: Sequence[int]) -> None:
        self._workers = []
        for node in nodes:
            self._workers.append(Worker(node, shards))
            shards = shards[:1] if node.merges else shards

    def handle(self, tick: Tick) -> list[Tick]:
        """Ticks for whatever comes behind the last node."""
        ticks = [tick]
        for worker in self._workers:
            ticks = [result for one in ticks for result in worker.handle(one)]
        return ticks

    def times(self) -> tuple[NodeTime, ...]:
        return tuple(worker.time() for worker in self._workers)

    @property
    def can_save(self) -> bool:
        return all(worker.can_save for worker in self._workers)

    def state(self) -> Any:
        return [worker.state() for worker in self._workers]

    def restore(self, state: Any) -> None:
        for worker, part in zip(self._workers, state, strict=True):
            worker.restore(part)
