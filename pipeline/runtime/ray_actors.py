"""The actors of a run on a Ray cluster: where they are, what they are called, and how a lost one is replaced."""

from __future__ import annotations

import logging
import pickle
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from pipeline.runtime.chain import Node, NodeTime, Restart, StageError, WorkerLost, line_name, lines, shards_at
from pipeline.runtime.config import PlacementConfig, RuntimeConfig
from pipeline.runtime.ray_station import Failure, Station, error_of
from pipeline.runtime.shipping import pickled

log = logging.getLogger(__name__)


class Place(NamedTuple):
    """An actor's part: worker `number` of line `row`."""

    row: int
    number: int


class Actors:
    """One actor per worker of each line of nodes. Used by one thread, but for `times`."""

    def __init__(
        self,
        ray: Any,
        nodes: Sequence[Node],
        num_shards: int,
        config: RuntimeConfig,
        prepare: Callable[[], object] | None,
        places: Sequence[Any] = (),
    ) -> None:
        """places: for each worker of the first line the scheduling strategy that says where it is to be."""
        self._ray = ray
        self._at = tuple(places)
        self._lines = lines(nodes, config.together)
        starts = [sum(len(line) for line in self._lines[:row]) for row in range(len(self._lines))]
        self._shards = [shards_at(nodes, num_shards, start) for start in starts]
        self._config = config
        self._prepare = prepare
        self._actors: dict[Place, Any] = {}
        self._times: dict[Place, tuple[NodeTime, ...]] = {}
        self._num_restarts: Counter[Place] = Counter()
        self.restarts: list[Restart] = []
        self.can_save = False
        """Whether the state of all stages can be saved, and a lost actor be replaced."""

    def start(self) -> None:
        """Raises StageError where a stage can not be built, ValueError where a factory can not be sent."""
        for place in self._places():
            self._actors[place] = self._actor(place)
        self.build({})

    def build(self, states: Mapping[Place, bytes]) -> None:
        """All stages anew, with what they remembered. Raises StageError."""
        calls = {place: actor.build.remote(states.get(place)) for place, actor in self._actors.items()}
        self.can_save = True
        for place, call in calls.items():
            try:
                built = self._ray.get(call)
            except self._ray.exceptions.RayError as error:
                lost = self._lost(place, f"died while its stages were built: {reason_of(error)}", error, True)
                raise lost from lost.__cause__
            if isinstance(built, Failure):
                raise error_of(built)
            self.can_save &= built

    def end(self) -> None:
        for actor in self._actors.values():
            with suppress(Exception):  # an actor that is gone already need not be ended
                self._ray.kill(actor)
        self._actors = {}

    def work(self, shard: int, ticks: Any) -> Any:
        """Send ticks (by reference) through all lines -> the reference to what the last gives."""
        for row, line in enumerate(self._lines):
            number = shard % line[0].workers if len(self._shards[row]) > 1 else 0
            ticks = self._actors[Place(row, number)].handle.remote(ticks)
        return ticks

    def save(self) -> dict[Place, Any]:
        """References to the state of all actors, right behind what was sent before."""
        return {place: actor.save.remote() for place, actor in self._actors.items()}

    def times(self) -> list[NodeTime]:
        """As far as they can be asked; of an actor that was lost, since it was replaced."""
        with suppress(self._ray.exceptions.RayError):
            calls = {place: actor.times.remote() for place, actor in list(self._actors.items())}
            self._times |= dict(zip(calls, self._ray.get(list(calls.values())), strict=True))
        return [time for times in self._times.values() for time in times]

    def replace_lost(self, error: BaseException, num_ticks: int) -> None:
        """Put others, not built yet, in the place of those that are lost; `num_ticks` will be worked on again.

        Raises StageError where that can not be done, or was done too often.
        """
        lost = {place: reason for place, actor in self._actors.items() if (reason := self._how_it_ended(actor))}
        if not lost:  # all are there, so what is lost are values on their way; they will be sent again
            lost = {next(iter(self._actors)): reason_of(error)}
        for place, reason in lost.items():
            if not self.can_save:
                raise self._lost(place, f"died, and what it remembered with it: {reason}", error)
            if self._num_restarts[place] >= self._config.max_restarts:
                raise self._lost(place, f"died for the {self._num_restarts[place] + 1}. time in this run", error)
            self._num_restarts[place] += 1
            with suppress(Exception):  # it is gone already
                self._ray.kill(self._actors[place])
            self._actors[place] = self._actor(place)
            name = self._name(place)
            self.restarts.append(Restart(name, reason, num_ticks))
            log.warning("worker %s died (%s); another does its last %d ticks again", name, reason, num_ticks)

    def _places(self) -> Iterator[Place]:
        for row, line in enumerate(self._lines):
            for number in sorted({shard % line[0].workers for shard in self._shards[row]}):
                yield Place(row, number)

    def _name(self, place: Place) -> str:
        return line_name(self._lines[place.row], place.number)

    def _actor(self, place: Place) -> Any:
        line = self._lines[place.row]
        mine = [shard for shard in self._shards[place.row] if shard % line[0].workers == place.number]
        options = options_of(line, self._config.ray.placement)
        if place.row == 0 and self._at:
            options["scheduling_strategy"] = self._at[place.number]
        station = self._ray.remote(**options)(Station)
        return station.remote(pickled(line, tuple(line)), mine, pickle.dumps(self._prepare))

    def _how_it_ended(self, actor: Any) -> str:
        """Why an actor is gone, nothing where it is not."""
        try:
            self._ray.get(actor.times.remote())
        except self._ray.exceptions.RayError as error:
            return reason_of(error)
        return ""

    def _lost(self, place: Place, text: str, reason: BaseException, building: bool = False) -> StageError:
        cause = WorkerLost(f"worker {self._name(place)} {text}")
        cause.__cause__ = reason
        error = StageError("+".join(node.name for node in self._lines[place.row]), cause, building=building)
        error.__cause__ = cause
        return error


def options_of(line: Sequence[Node], placement: Mapping[str, PlacementConfig]) -> dict[str, Any]:
    """What an actor asks of the cluster: the sum of what its stages do."""
    parts = [placement.get(node.name, PlacementConfig(num_cpus=0)) for node in line]
    resources: dict[str, float] = {}
    for part in parts:
        for name, amount in part.resources.items():
            resources[name] = max(resources.get(name, 0.0), amount)
    return {
        "num_cpus": sum(part.num_cpus for part in parts),
        "num_gpus": sum(part.num_gpus for part in parts),
        "resources": resources,
    }


def reason_of(error: BaseException) -> str:
    """The first line of what Ray tells, which goes on for long."""
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
