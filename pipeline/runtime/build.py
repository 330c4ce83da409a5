"""Runners by configuration."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Protocol, Self, runtime_checkable

from pipeline.runtime.chain import Node, NodeTime, Restart, Tick
from pipeline.runtime.config import RuntimeConfig
from pipeline.runtime.inline import InlineRunner
from pipeline.runtime.processes import ProcessRunner

Prepare = Callable[[], object]


class Runner(Protocol):
    """A context manager that builds the stages, and an iterator of the last node's ticks; see `InlineRunner`."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def __iter__(self) -> Iterator[Tick]: ...

    def times(self) -> tuple[NodeTime, ...]:
        """What each worker has spent so far, in the order of the nodes."""
        ...

    def restarts(self) -> tuple[Restart, ...]:
        """The workers that were lost and replaced so far."""
        ...


@runtime_checkable
class Queued(Protocol):
    """A runner that tells how much waits before its workers."""

    def waiting(self) -> dict[str, int]:
        """Ticks by worker; from any thread."""
        ...


class Hosts(Protocol):
    """Something of the run's own beside each group's first workers, wherever those are."""

    @property
    def ways(self) -> Sequence[Any]:
        """How each is reached: `call` and `fetch`, which raise ConnectionError where it is lost, and `renew`."""
        ...


@contextmanager
def open_hosts(
    config: RuntimeConfig, nodes: Sequence[Node], num_shards: int, make: Callable[[], object]
) -> Iterator[Hosts | None]:
    """What `make` gives, made beside the first workers of each shard; None where those are on this machine anyhow.

    Raises ValueError where what it needs is not installed or the cluster has no room.
    """
    if config.kind != "ray" or config.ray.read == "driver":
        yield None
        return
    from pipeline.runtime.ray_cluster import joined
    from pipeline.runtime.ray_hosts import RayHosts

    with joined(config.ray), RayHosts(nodes, num_shards, config, make) as hosts:
        yield hosts


def build_runner(
    config: RuntimeConfig,
    nodes: Sequence[Node],
    sources: Sequence[Iterable[Tick]],
    prepare: Prepare | None = None,
    hosts: Hosts | None = None,
) -> Runner:
    """The runner that `config` names, not started yet; `prepare` is called first in each process that has stages.

    hosts: of `open_hosts`, where the sources' items are held by them. Raises ValueError where what it needs is not
    installed.
    """
    return RUNNERS[config.kind](config, nodes, sources, prepare, hosts)


def _inline(
    config: RuntimeConfig, nodes: Sequence[Node], sources: Sequence[Iterable[Tick]], prepare: Prepare | None, _: Any
) -> Runner:
    if prepare is not None:
        prepare()
    return InlineRunner(nodes, sources, config.num_queued)


def _processes(
    config: RuntimeConfig, nodes: Sequence[Node], sources: Sequence[Iterable[Tick]], prepare: Prepare | None, _: Any
) -> Runner:
    return ProcessRunner(
        nodes,
        sources,
        config.num_queued,
        together=config.together,
        ring_mb=config.ring_mb,
        checkpoint_ticks=config.checkpoint_ticks,
        max_restarts=config.max_restarts,
        prepare=prepare,
    )


def _ray(
    config: RuntimeConfig, nodes: Sequence[Node], sources: Sequence[Iterable[Tick]], prepare: Prepare | None, hosts: Any
) -> Runner:
    from pipeline.runtime.ray_cluster import RayRunner

    return RayRunner(nodes, sources, config, prepare, hosts)


RUNNERS: dict[str, Callable[..., Runner]] = {"inline": _inline, "processes": _processes, "ray": _ray}
