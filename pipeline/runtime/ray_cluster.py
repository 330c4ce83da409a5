"""Many machines: every worker is an actor of a Ray cluster (https://docs.ray.io), the driver moves references to ticks.

Ray keeps the calls of one caller to one actor in order, so one caller makes them all. What a line of stages gives goes
to the next as a reference: the values move from actor to actor, not through the driver. Failures of stages travel as
values; an actor that dies is an error of Ray's, which is told by the worker's name.
"""

from __future__ import annotations

import logging
import pickle
import queue
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from pipeline.runtime.chain import (
    END,
    Line,
    Node,
    NodeTime,
    Restart,
    StageError,
    Tick,
    WorkerLost,
    line_name,
    lines,
    shards_at,
)
from pipeline.runtime.config import PlacementConfig, RuntimeConfig
from pipeline.runtime.pace import Pace, close_source

log = logging.getLogger(__name__)

_POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class _Failure:
    """What went wrong in a stage, on its way through the later actors."""

    node: str
    building: bool
    cause: bytes | None
    text: str
    trace: str


class _Station:
    """The actor: one worker of a line of nodes."""

    def __init__(self, nodes: bytes, shards: Sequence[int], prepare: bytes) -> None:
        self._failure: _Failure | None = None
        self._line: Line | None = None
        try:
            call = pickle.loads(prepare)
            if call is not None:
                call()
            self._line = Line(pickle.loads(nodes), shards)
        except StageError as error:
            self._failure = _failure(error)

    def built(self) -> _Failure | None:
        return self._failure

    def handle(self, ticks: Sequence[Tick] | _Failure) -> list[Tick] | _Failure:
        if isinstance(ticks, _Failure):
            return ticks
        if self._line is None or self._failure is not None:
            return self._failure or []
        try:
            return [result for tick in ticks for result in self._line.handle(tick)]
        except StageError as error:
            self._failure = _failure(error)
            return self._failure

    def times(self) -> tuple[NodeTime, ...]:
        return self._line.times() if self._line else ()


class RayRunner:
    """Runs a chain of nodes over the ticks of shards, like `InlineRunner`, with a Ray actor per worker.

    Joins the cluster at `config.ray.address`, or starts a private one on this machine and stops it at the end.
    Sources are read in threads of the driver; consecutive nodes of as many workers share actors where
    `config.together`. An actor that dies ends the run with its name: its trackers' memory is not on this machine.
    """

    def __init__(
        self,
        nodes: Sequence[Node],
        sources: Sequence[Iterable[Tick]],
        config: RuntimeConfig,
        prepare: Callable[[], object] | None = None,
    ) -> None:
        try:
            import ray
        except ImportError:
            raise ValueError("runtime ray: Ray is not installed; pip install 'crosscam[ray]'") from None
        self._ray: Any = ray
        self._nodes = tuple(nodes)
        self._sources = tuple(sources)
        self._config = config
        self._prepare = prepare
        self._stop = threading.Event()
        self._pace = Pace(len(self._sources))
        self._queues: list[queue.Queue[Tick | BaseException]] = [queue.Queue(config.queue_ticks) for _ in self._sources]
        self._threads: list[threading.Thread] = []
        self._rows: list[dict[int, Any]] = []  # of each line, the actors by number
        self._names: dict[str, str] = {}  # of actors, by Ray's id
        self._times: tuple[NodeTime, ...] = ()
        self._owns_cluster = False

    def __enter__(self) -> Self:
        if not self._ray.is_initialized():
            self._ray.init(
                address=self._config.ray.address,
                logging_level=logging.WARNING,
                log_to_driver=False,
                **({} if self._config.ray.address else {"include_dashboard": False}),
            )
            self._owns_cluster = True
        try:
            self._build()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        for shard, source in enumerate(self._sources):
            thread = threading.Thread(name=f"source-{shard}", target=self._feed, args=(shard, source), daemon=True)
            self._threads.append(thread)
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        for row in self._rows:
            for actor in row.values():
                with suppress(Exception):  # an actor that is gone already need not be ended
                    self._ray.kill(actor)
        self._rows = []
        if self._owns_cluster:
            self._ray.shutdown()

    def __iter__(self) -> Iterator[Tick]:
        ended = [False] * len(self._sources)
        under_way: deque[Any] = deque()
        while not all(ended) or under_way:
            for shard, done in enumerate(ended):
                if done:
                    continue
                tick = self._next_of(shard)
                ended[shard] = tick.is_end
                under_way.append(self._submit(tick))
                if len(under_way) >= self._config.queue_ticks * len(self._sources):
                    yield from self._result(under_way.popleft())
            if all(ended) and under_way:
                yield from self._result(under_way.popleft())
        self.times()

    def times(self) -> tuple[NodeTime, ...]:
        """What each worker has spent so far, in the order of the nodes."""
        if self._rows:
            calls = [actor.times.remote() for row in self._rows for actor in row.values()]
            with suppress(self._ray.exceptions.RayError):
                self._times = tuple(time for times in self._ray.get(calls) for time in times)
        order = {node.name: place for place, node in enumerate(self._nodes)}
        return tuple(sorted(self._times, key=lambda t: order[t.name]))

    def restarts(self) -> tuple[Restart, ...]:
        return ()

    def _build(self) -> None:
        place = 0
        for line in lines(self._nodes, self._config.together):
            shards = shards_at(self._nodes, len(self._sources), place)
            place += len(line)
            num_workers = line[0].workers
            options = _options(line, self._config.ray.placement)
            station = self._ray.remote(**options)(_Station)
            row = {}
            for number in sorted({shard % num_workers for shard in shards}):
                mine = [shard for shard in shards if shard % num_workers == number]
                row[number] = station.remote(_pickled(line), mine, pickle.dumps(self._prepare))
                self._names[row[number]._actor_id.hex()] = line_name(line, number)
            self._rows.append(row)
        for built in self._get([actor.built.remote() for row in self._rows for actor in row.values()]):
            if built is not None:
                raise _error_of(built)

    def _feed(self, shard: int, source: Iterable[Tick]) -> None:
        try:
            for tick in source:
                if not self._pace.wait(shard, tick.index, self._stop.is_set) or not self._offer(shard, tick):
                    return
            self._pace.end(shard)
            self._offer(shard, Tick(shard, END, ()))
        except BaseException as error:  # raised where the run is read
            self._offer(shard, error)
        finally:
            close_source(source)

    def _offer(self, shard: int, what: Tick | BaseException) -> bool:
        while not self._stop.is_set():
            with suppress(queue.Full):
                self._queues[shard].put(what, timeout=_POLL_S)
                return True
        return False

    def _next_of(self, shard: int) -> Tick:
        what = self._queues[shard].get()
        if isinstance(what, BaseException):
            raise what
        return what

    def _submit(self, tick: Tick) -> Any:
        """Send a tick through all lines -> the reference to what the last gives."""
        shard, result, place = tick.shard, self._ray.put([tick]), 0
        for line, row in zip(lines(self._nodes, self._config.together), self._rows, strict=True):
            shard = 0 if any(node.merges for node in self._nodes[:place]) else tick.shard
            place += len(line)
            result = row[shard % line[0].workers].handle.remote(result)
        return result

    def _result(self, reference: Any) -> Iterator[Tick]:
        outcome = self._get(reference)
        if isinstance(outcome, _Failure):
            raise _error_of(outcome)
        for tick in outcome:
            if not tick.is_end:
                yield tick

    def _get(self, reference: Any) -> Any:
        try:
            return self._ray.get(reference)
        except self._ray.exceptions.ActorDiedError as error:
            name = self._names.get(getattr(error, "actor_id", "") or "", "of unknown name")
            cause = WorkerLost(f"worker {name} died, and what it remembered with it: {str(error).splitlines()[0]}")
            lost = StageError(name.rpartition("-")[0] if name[-1:].isdigit() else name, cause)
            raise lost from cause


def _options(line: Sequence[Node], placement: dict[str, PlacementConfig]) -> dict[str, Any]:
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


def _failure(error: StageError) -> _Failure:
    cause = error.__cause__ or error
    try:
        data = pickle.dumps(cause)
        pickle.loads(data)
    except Exception:  # any class may fail in any way here; the text serves instead
        data = None
    trace = "".join(traceback.format_exception(cause))
    return _Failure(error.node, error.building, data, f"{type(cause).__name__}: {cause}", trace)


def _error_of(failure: _Failure) -> StageError:
    cause: BaseException = pickle.loads(failure.cause) if failure.cause else RuntimeError(failure.text)
    cause.add_note(f"In an actor:\n{failure.trace}")
    error = StageError(failure.node, cause, building=failure.building)
    error.args = (f"stage {failure.node} failed: {failure.text}",)
    error.__cause__ = cause
    return error


def _pickled(line: Sequence[Node]) -> bytes:
    for node in line:
        try:
            pickle.dumps(node)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise ValueError(
                f"node {node.name}: its factory can not be sent to another process ({error}); "
                "make it an importable function or class, or a functools.partial of one"
            ) from error
    return pickle.dumps(tuple(line))
