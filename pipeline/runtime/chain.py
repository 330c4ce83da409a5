"""The contract of every runner: nodes in a chain, ticks of shards, and what one worker does with one tick.

A **node** is a stage plus a number of workers. A **shard** is a group of cameras; shard `s` always goes to worker
`s % workers`, so that the ticks of a shard stay in order without anyone sorting them. A node that `merges` has one
worker and joins the shards by tick index.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

END = -1
"""Index of the tick that says that a shard has no more."""

FLUSH = 1 << 60
"""Index of the tick that carries what a stage gave at its flush; it comes after every real tick."""


class Stage(Protocol):
    """n items in, n items out, in order; of a node that `holds`, over the whole run."""

    def __call__(self, items: Sequence[Any]) -> Sequence[Any]: ...

    def flush(self) -> Sequence[Any]:
        """What is left at the end of the run; called once, after the last items."""
        ...


@runtime_checkable
class Recoverable(Protocol):
    """What a stage that remembers something offers so that a lost worker can be replaced without a trace."""

    def state(self) -> Any:
        """All that `restore` needs, as values that can be pickled. Not changed by what the stage does next."""
        ...

    def restore(self, state: Any) -> None:
        """Called on a new stage before its first items: go on as the stage did whose `state()` this was."""
        ...


@dataclass(frozen=True, slots=True)
class Node:
    """`build` is called inside the worker, so that a model is never copied from one to another.

    `stateless` says that what the stage gives depends on the items of the call alone and that it gives nothing at its
    flush: a lost worker is then simply replaced. `holds` says that it may give items in a later call than it took
    them in, or drop some; all that it still holds comes at its flush. `saved` is the state that each worker begins
    with, of a run that is gone on with: what `Mark` has brought.
    """

    name: str
    build: Callable[[], Stage]
    workers: int = 1
    merges: bool = False
    stateless: bool = False
    holds: bool = False
    saved: tuple[Any, ...] | None = None

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise ValueError(f"node {self.name}: workers must be at least 1, got {self.workers}")
        if self.merges and self.workers != 1:
            raise ValueError(f"node {self.name}: a node that merges shards has one worker, got {self.workers}")
        if self.saved is not None and len(self.saved) != self.workers:
            raise ValueError(f"node {self.name}: {len(self.saved)} saved states for {self.workers} workers")


class Saved(NamedTuple):
    """The state of worker `number` of a node."""

    node: str
    number: int
    state: Any


@dataclass(frozen=True, slots=True)
class Mark:
    """Rides behind the items of a tick and gathers the state of every worker that it passes, right after that tick.

    Given to all shards with one and the same tick, it comes out of the chain with a state of the whole that is
    consistent: all up to that tick is in it, and nothing after. Each worker may have one shard only, unless it merges.
    """

    states: tuple[Saved, ...] = ()


@dataclass(frozen=True, slots=True)
class Notice:
    """Rides behind the items of a tick to tell the stages something that holds from that tick on.

    A stage that can `follow` gets the content before the tick's items, and may give items of its own, which go on
    before them. Given to all shards, it comes out of the chain once. It is to be sent with every tick from then on: a
    worker that replaces a lost one knows nothing, and stages that know it already pass over it.
    """

    content: Any


@runtime_checkable
class Follower(Protocol):
    """A stage that notices are for."""

    def follow(self, content: Any) -> Sequence[Any]: ...


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
    """Seconds that a node's stages have worked so far, by the wall and of their own thread's processor time.

    `sizes`: how much a stage keeps at this moment, by what it is; nothing of stages that do not tell.
    """

    name: str
    wall_s: float
    cpu_s: float
    num_items: int
    sizes: tuple[tuple[str, int], ...] = ()


@runtime_checkable
class Measured(Protocol):
    """A stage that tells how much it keeps."""

    def sizes(self) -> dict[str, int]:
        """By what it is; quick, and from any thread."""
        ...


class StageError(RuntimeError):
    """A stage raised; the message names the node, the cause is chained.

    `building` tells a stage that could not be built (a missing model, say) from one that failed at work.
    """

    def __init__(self, node: str, cause: BaseException, *, building: bool = False) -> None:
        super().__init__(f"stage {node} failed: {type(cause).__name__}: {cause}")
        self.node = node
        self.building = building


@dataclass(frozen=True, slots=True)
class Restart:
    """A worker that was lost and replaced. `num_ticks` were worked on again; nothing was lost or doubled."""

    worker: str
    reason: str
    num_ticks: int


class WorkerLost(RuntimeError):
    """A worker process ended without having been asked to."""


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


def shards_at(nodes: Sequence[Node], num_shards: int, place: int) -> range:
    """The shards whose ticks reach a node: one, once a node before it has merged them."""
    merged = any(node.merges for node in nodes[:place])
    return range(min(1, num_shards)) if merged else range(num_shards)


def lines(nodes: Sequence[Node], together: bool) -> list[tuple[Node, ...]]:
    """The nodes as they share workers: consecutive ones of as many workers in one line, where they may sit together.

    A node that merges begins a line of its own: its worker is another one than those of the nodes before.
    """
    grouped: list[tuple[Node, ...]] = []
    for node in nodes:
        if together and grouped and not node.merges and grouped[-1][0].workers == node.workers:
            grouped[-1] = (*grouped[-1], node)
        else:
            grouped.append((node,))
    return grouped


def line_name(nodes: Sequence[Node], number: int) -> str:
    """How a worker is called in messages: `detect+track-1`; without the number where there is only one."""
    name = "+".join(node.name for node in nodes)
    return name if nodes[0].workers == 1 else f"{name}-{number}"
