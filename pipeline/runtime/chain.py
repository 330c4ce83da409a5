"""The contract of every runner: nodes in a chain, ticks of shards, and what one worker does with one tick.

A **node** is a stage plus a number of workers. A **shard** is a group of cameras; shard `s` always goes to worker
`s % workers`, so that the ticks of a shard stay in order without anyone sorting them. A node that `merges` has one
worker and joins the shards by tick index.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

END = -1
"""Index of the tick that says that a shard has no more."""

FLUSH = 1 << 60
"""Index of the tick that carries what a stage gave at its flush; it comes after every real tick."""


class Stage(Protocol):
    """n items in, n items out, in order."""

    def __call__(self, items: Sequence[Any]) -> Sequence[Any]: ...

    def flush(self) -> Sequence[Any]:
        """What is left at the end of the run; called once, after the last items."""
        ...


@dataclass(frozen=True, slots=True)
class Node:
    """`build` is called inside the worker, so that a model is never copied from one to another."""

    name: str
    build: Callable[[], Stage]
    workers: int = 1
    merges: bool = False

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise ValueError(f"node {self.name}: workers must be at least 1, got {self.workers}")
        if self.merges and self.workers != 1:
            raise ValueError(f"node {self.name}: a node that merges shards has one worker, got {self.workers}")


@dataclass(frozen=True, slots=True)
class Tick:
    """The items of one shard in one slot of time."""

    shard: int
    index: int
    items: tuple[Any, ...]

    @property
    def is_end(self) -> bool:
        return self.index == END


@dataclass(frozen=True, slots=True)
class NodeTime:
    """Seconds that a node's stages have worked so far, by the wall and of their own thread's processor time."""

    name: str
    wall_s: float
    cpu_s: float
    num_items: int


class StageError(RuntimeError):
    """A stage raised; the message names the node, the cause is chained.

    `building` tells a stage that could not be built (a missing model, say) from one that failed at work.
    """

    def __init__(self, node: str, cause: BaseException, *, building: bool = False) -> None:
        super().__init__(f"stage {node} failed: {type(cause).__name__}: {cause}")
        self.node = node
        self.building = building


class Merger:
    """Joins the ticks of all shards by index. Holds the ticks that wait for a slower shard."""

    def __init__(self, num_shards: int) -> None:
        self._seen = dict.fromkeys(range(num_shards), END)
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

    `num_shards` is the number of shards that this worker will see end.
    """

    def __init__(self, node: Node, num_shards: int) -> None:
        self._node = node
        self._merger = Merger(num_shards) if node.merges else None
        self._num_open = 1 if node.merges else num_shards
        self._wall_s = self._cpu_s = 0.0
        self._num_items = 0
        self._stage = self._guarded(node.build, building=True)

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

    def time(self) -> NodeTime:
        return NodeTime(self._node.name, self._wall_s, self._cpu_s, self._num_items)

    def _mapped(self, items: tuple[Any, ...]) -> tuple[Any, ...]:
        result = tuple(self._guarded(lambda: self._stage(items)))
        if len(result) != len(items):
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
