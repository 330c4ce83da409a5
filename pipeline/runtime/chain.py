"""The contract of every runner: nodes in a chain, ticks of shards, and what a stage offers.

A **node** is a stage plus a number of workers. A **shard** is a group of cameras; shard `s` always goes to worker
`s % workers`, so that the ticks of a shard stay in order without anyone sorting them. A node that `merges` has one
worker and joins the shards by tick index.
"""

from __future__ import annotations

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
