"""Many machines: every worker is an actor of a Ray cluster (https://docs.ray.io), the driver moves references to ticks.

Ray keeps the calls of one caller to one actor in order, so one caller makes them all. What a line of stages gives goes
to the next as a reference: the values move from actor to actor, not through the driver. Failures of stages travel as
values.

Every `checkpoint_ticks` ticks all actors are asked for their state behind one and the same call, and the driver keeps
what it has sent since. Where an actor dies, or its machine, another takes its place, all go back to that state, and
the ticks since then are sent again; what had been given out by then is not given twice. That the others go back too
costs a few ticks of work, and needs no knowledge of which call of which actor was lost.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from pipeline.runtime.chain import END, Node, NodeTime, Restart, Tick
from pipeline.runtime.config import RuntimeConfig
from pipeline.runtime.pace import Pace, close_source
from pipeline.runtime.ray_actors import Actors, Place
from pipeline.runtime.ray_station import Failure, Snapshot, error_of

_POLL_S = 0.1
_SAVING_SHARE = 0.1  # of an actor's time may go into saving its state
_QUICK_S = 2e-3  # what never counts as long
_MOST_SKIPPED = 3  # savings that are left out one after the other for that reason


@dataclass(slots=True, eq=False)
class _Sent:
    """A tick that was sent. `given`: what it led to has been given out."""

    shard: int
    ticks: Any  # reference
    result: Any  # reference
    given: bool = False


@dataclass(slots=True, eq=False)
class _Cut:
    """A state of all actors that was asked for, right behind what was sent before."""

    states: dict[Place, Any]  # references


class RayRunner:
    """Runs a chain of nodes over the ticks of shards, like `InlineRunner`, with a Ray actor per worker.

    Joins the cluster at `config.ray.address`, or starts a private one on this machine and stops it at the end.
    Sources are read in threads of the driver; consecutive nodes of as many workers share actors where
    `config.together`. An actor that dies is replaced up to `max_restarts` times where all stages are stateless or can
    be saved; else the run fails with its name.
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
        self._actors = Actors(ray, nodes, len(self._sources), config, prepare)
        self._stop = threading.Event()
        self._pace = Pace(len(self._sources))
        self._queues: list[queue.Queue[Tick | BaseException]] = [queue.Queue(config.queue_ticks) for _ in self._sources]
        self._threads: list[threading.Thread] = []
        self._states: dict[Place, bytes] = {}  # as of the last cut that is whole
        self._kept: deque[_Sent] = deque()  # all that was sent behind it
        self._under_way: deque[_Sent | _Cut] = deque()
        self._since_cut = self._num_skipped = 0
        self._too_long = False
        self._owns_cluster = False

    def __enter__(self) -> Self:
        if not self._ray.is_initialized():
            own = {"include_dashboard": False, "_system_config": {"worker_niceness": 0}}
            self._ray.init(
                address=self._config.ray.address,
                logging_level=logging.WARNING,
                log_to_driver=False,
                **({} if self._config.ray.address else own),
            )
            self._owns_cluster = True
        try:
            self._actors.start()
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
        self._actors.end()
        if self._owns_cluster:
            self._ray.shutdown()

    def __iter__(self) -> Iterator[Tick]:
        ended = [False] * len(self._sources)
        while not all(ended) or self._under_way:
            for shard, done in enumerate(ended):
                if done:
                    continue
                tick = self._next_of(shard)
                ended[shard] = tick.is_end
                self._send(tick)
                while len(self._under_way) >= self._config.queue_ticks * len(self._sources):
                    yield from self._oldest()
            if all(ended) and self._under_way:
                yield from self._oldest()
        self.times()

    def times(self) -> tuple[NodeTime, ...]:
        """What each worker has spent so far, in the order of the nodes; of one that was lost, since it was replaced."""
        order = {node.name: place for place, node in enumerate(self._nodes)}
        return tuple(sorted(self._actors.times(), key=lambda t: order[t.name]))

    def restarts(self) -> tuple[Restart, ...]:
        """The workers that were lost and replaced so far."""
        return tuple(self._actors.restarts)

    def _send(self, tick: Tick) -> None:
        ticks = self._ray.put([tick])
        sent = _Sent(tick.shard, ticks, self._actors.work(tick.shard, ticks))
        self._under_way.append(sent)
        if not self._actors.can_save:
            return
        self._kept.append(sent)
        self._since_cut += 1
        if self._since_cut < self._config.checkpoint_ticks * len(self._sources):
            return
        self._since_cut = 0
        if self._too_long and self._num_skipped < _MOST_SKIPPED:
            self._num_skipped += 1
            return
        self._num_skipped = 0
        self._under_way.append(_Cut(self._actors.save()))

    def _oldest(self) -> Iterator[Tick]:
        """What the oldest that is under way has led to."""
        oldest = self._under_way[0]
        try:
            if isinstance(oldest, _Cut):
                found = dict(zip(oldest.states, self._ray.get(list(oldest.states.values())), strict=True))
            else:
                outcome = self._ray.get(oldest.result)
        except self._ray.exceptions.RayError as error:
            if not self._is_loss(error):
                raise
            self._recover(error)
            return
        self._under_way.popleft()
        if isinstance(oldest, _Cut):
            self._settle(found)
            return
        if isinstance(outcome, Failure):
            raise error_of(outcome)
        oldest.given = True
        for tick in outcome:
            if not tick.is_end:
                yield tick

    def _settle(self, found: dict[Place, Snapshot | Failure]) -> None:
        """A cut is whole: from now on the run goes back no further."""
        states: dict[Place, bytes] = {}
        self._too_long = False
        for place, snapshot in found.items():
            if isinstance(snapshot, Failure):
                raise error_of(snapshot)
            states[place] = snapshot.state
            self._too_long |= snapshot.saving_s > max(_SAVING_SHARE * snapshot.worked_s, _QUICK_S)
        self._states = states
        while self._kept and self._kept[0].given:
            self._kept.popleft()

    def _is_loss(self, error: BaseException) -> bool:
        """Whether an actor, a machine or a value is gone, rather than that a call has failed."""
        errors = self._ray.exceptions
        losses = (
            *(errors.RayActorError, errors.NodeDiedError, errors.WorkerCrashedError, errors.OutOfMemoryError),
            *(errors.ObjectLostError, errors.ObjectFetchTimedOutError),
        )
        return isinstance(error, losses) or isinstance(getattr(error, "cause", None), losses)

    def _recover(self, error: BaseException) -> None:
        """An actor is lost: put another in its place, and go on from the last cut."""
        self._actors.replace_lost(error, len(self._kept))
        for gone in self._under_way:
            with suppress(self._ray.exceptions.RayError):  # else Ray warns that nobody has asked for it
                self._ray.get(gone.result if isinstance(gone, _Sent) else list(gone.states.values()))
        self._actors.build(self._states)
        for sent in self._kept:
            sent.result = self._actors.work(sent.shard, sent.ticks)
        self._under_way = deque(sent for sent in self._kept if not sent.given)

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
