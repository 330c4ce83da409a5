"""What reads for a run on a Ray cluster, each host beside the worker that its pictures are for.

A host and the first worker of its shard are given one bundle of a placement group, so that both are on one machine.
What the host gives goes into that machine's object store and stays there: only references travel, and the worker takes
the contents from its own memory.
"""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, NamedTuple, Self

from pipeline.runtime.chain import Node, Restart, lines
from pipeline.runtime.config import RuntimeConfig
from pipeline.runtime.ray_actors import options_of, reason_of

log = logging.getLogger(__name__)

_LEAST_CPUS = 1e-3  # of a bundle: Ray wants it to ask for something
_PATIENCE_S = 10.0  # until it is said that the cluster has no room
_ROOM_WAIT_S = 300.0  # a cluster may first have to start machines


class Spot(NamedTuple):
    """Where one content is: in a list that is kept as one object, for an object costs more than a content."""

    reference: Any
    place: int


class _Host:
    """The actor: calls methods of what it holds, and keeps what they give."""

    def __init__(self, make: bytes) -> None:
        self._held = pickle.loads(make)()

    def call(self, method: str, args: tuple[Any, ...]) -> None:
        getattr(self._held, method)(*args)

    def fetch(self, method: str, args: tuple[Any, ...]) -> tuple[Any, list[Any], int]:
        """The value, the reference to all contents (in a list, so that it travels as such), and how many they are."""
        import ray

        value, contents = getattr(self._held, method)(*args)
        return value, [ray.put(contents)] if contents else [], len(contents)


class RayWay:
    """How one host is reached, by one thread. Calls raise ConnectionError where the host is lost."""

    def __init__(self, ray: Any, name: str, start: Callable[[], Any], max_restarts: int) -> None:
        self._ray, self._name, self._start, self._max_restarts = ray, name, start, max_restarts
        self._actor = start()
        self.restarts: list[Restart] = []

    def call(self, method: str, *args: Any) -> None:
        self._get(self._actor.call.remote(method, args))

    def fetch(self, method: str, *args: Any) -> tuple[Any, list[Spot]]:
        value, references, count = self._get(self._actor.fetch.remote(method, args))
        return value, [Spot(references[0], place) for place in range(count)]

    def renew(self, reason: str) -> None:
        """Another host in the place of the lost one. Raises ConnectionError where that was done too often."""
        if len(self.restarts) >= self._max_restarts:
            raise ConnectionError(f"{self._name} was lost for the {len(self.restarts) + 1}. time: {reason}")
        self.end()
        self.restarts.append(Restart(self._name, reason, 0))
        self._actor = self._start()

    def end(self) -> None:
        with suppress(Exception):  # it may be gone already
            self._ray.kill(self._actor)

    def _get(self, reference: Any) -> Any:
        try:
            return self._ray.get(reference)
        except self._ray.exceptions.RayTaskError:
            raise  # the host is well, what it holds has failed
        except self._ray.exceptions.RayError as error:
            raise ConnectionError(reason_of(error)) from error


class RayHosts:
    """A host for each shard, and the bundles in which hosts and first workers are; a context manager.

    `make` gives what a host holds, built where the host is. Needs a cluster that has been joined.
    """

    def __init__(
        self, nodes: Sequence[Node], num_shards: int, config: RuntimeConfig, make: Callable[[], object]
    ) -> None:
        import ray

        self._ray: Any = ray
        self._bundle = _bundle(options_of(lines(nodes, config.together)[0], config.ray.placement))
        self._num_shards, self._max_restarts, self._make = num_shards, config.max_restarts, pickle.dumps(make)
        self.groups: list[Any] = []
        self.ways: list[RayWay] = []

    def __enter__(self) -> Self:
        """Raises ValueError where the cluster has no room."""
        try:
            self.groups = [self._ray.util.placement_group([self._bundle]) for _ in range(self._num_shards)]
            for number, group in enumerate(self.groups):
                self._wait_for(group)
                self.ways.append(RayWay(self._ray, f"read-{number}", self._starter(group), self._max_restarts))
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for way in self.ways:
            way.end()
        for group in self.groups:
            with suppress(Exception):  # the cluster may be gone
                self._ray.util.remove_placement_group(group)
        self.groups = []  # the ways stay, with what they tell of restarts

    @property
    def restarts(self) -> list[Restart]:
        """The hosts that were lost and replaced so far."""
        return [restart for way in self.ways for restart in way.restarts]

    def _starter(self, group: Any) -> Callable[[], Any]:
        host = self._ray.remote(num_cpus=0, scheduling_strategy=beside(group))(_Host)
        return lambda: host.remote(self._make)

    def _wait_for(self, group: Any) -> None:
        if group.wait(_PATIENCE_S):
            return
        log.warning("the cluster has no room yet for a worker with %s; waiting for it", self._bundle)
        if not group.wait(_ROOM_WAIT_S):
            raise ValueError(
                f"ray.placement: no machine of the cluster has {self._bundle} to spare, which detect, track and embed "
                "of one group of cameras ask for together; ask for less, or say fewer workers"
            )


def beside(group: Any) -> Any:
    """The scheduling strategy of an actor that goes into the bundle of a group."""
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    return PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=0)


def _bundle(options: dict[str, Any]) -> dict[str, float]:
    """What an actor asks for, as a bundle of a placement group."""
    bundle = {"CPU": max(options["num_cpus"], _LEAST_CPUS), **options["resources"]}
    return bundle | ({"GPU": options["num_gpus"]} if options["num_gpus"] else {})
