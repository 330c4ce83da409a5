"""Runners by configuration."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

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


def build_runner(
    config: RuntimeConfig, nodes: Sequence[Node], sources: Sequence[Iterable[Tick]], prepare: Prepare | None = None
) -> Runner:
    """The runner that `config` names, not started yet; `prepare` is called first in each process that has stages.

    Raises ValueError where what it needs is not installed.
    """
    return RUNNERS[config.kind](config, nodes, sources, prepare)


def _inline(
    config: RuntimeConfig, nodes: Sequence[Node], sources: Sequence[Iterable[Tick]], prepare: Prepare | None
) -> Runner:
    if prepare is not None:
        prepare()
    return InlineRunner(nodes, sources, config.queue_ticks)


def _processes(
    config: RuntimeConfig, nodes: Sequence[Node], sources: Sequence[Iterable[Tick]], prepare: Prepare | None
) -> Runner:
    return ProcessRunner(
        nodes,
        sources,
        config.queue_ticks,
        together=config.together,
        ring_mb=config.ring_mb,
        checkpoint_ticks=config.checkpoint_ticks,
        max_restarts=config.max_restarts,
        prepare=prepare,
    )


def _ray(
    config: RuntimeConfig, nodes: Sequence[Node], sources: Sequence[Iterable[Tick]], prepare: Prepare | None
) -> Runner:
    from pipeline.runtime.ray_cluster import RayRunner

    return RayRunner(nodes, sources, config, prepare)


RUNNERS: dict[str, Callable[..., Runner]] = {"inline": _inline, "processes": _processes, "ray": _ray}
