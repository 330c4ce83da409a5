"""Many machines: every worker is an actor of a Ray cluster (https://docs.ray.io), the driver moves references to ticks.

Ray keeps the calls of one caller to one actor in order, so one caller makes them all. What a line of stages gives goes
to the next as a reference: the values move from actor to actor, not through the driver. Failures of stages travel as
values.

Every `checkpoint_ticks` ticks all actors are asked for their state behind one and the same call, and the driver keeps
what it has sent since. Where an actor dies, or its machine, another takes its place, all go back to that state, and
the ticks since then are sent again; what had been given out by then is not given twice. That the others go back too
costs a few ticks of work, and needs no knowledge of which call of which actor was lost.

Where hosts read the sources, a machine that dies takes pictures of those ticks with it: they lead to something else the
second time. So what ticks led to is then given out when the state behind them is safe, and not before.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from pipeline.runtime.chain import END, Mark, Node, NodeTime, Notice, Restart, StageError, Tick, WorkerLost
from pipeline.runtime.config import RayConfig, RuntimeConfig
from pipeline.runtime.held import Held
from pipeline.runtime.pace import Pace, close_source
from pipeline.runtime.ray_actors import Actors, Place
from pipeline.runtime.ray_hosts import RayHosts, beside
from pipeline.runtime.ray_station import Failure, Snapshot, error_of

_POLL_S = 0.1
_SAVING_SHARE = 0.1  # of an actor's time may go into saving its state
_QUICK_S = 2e-3  # what never counts as long
_MOST_SKIPPED = 3  # savings that are left out one after the other for that reason


@dataclass(slots=True, eq=False)
class _Sent:
    """Ticks of a shard that were sent in one call. `done`: what they led to is here, or has been given out."""

    shard: int
    num_ticks: int
    ticks: Any  # reference, or the ticks themselves where they are small
    result: Any  # reference
    done: bool = False


@dataclass(slots=True, eq=False)
class _Cut:
    """A state of all actors that was asked for, right behind what was sent before."""

    states: dict[Place, Any]  # references


def imported_ray() -> Any:
    """The module. Raises ValueError where it is not installed."""
    try:
        import ray
    except ImportError:
        raise ValueError("runtime ray: Ray is not installed; pip install 'crosscam[ray]'") from None
    return ray


@contextmanager
def joined(config: RayConfig) -> Iterator[None]:
    """In the cluster at `config.address`, or a private one on this machine, unless there is one already.

    Raises ValueError where Ray is not installed.
    """
    ray = imported_ray()
    if ray.is_initialized():
        yield
        return
    own = {"include_dashboard": False, "_system_config": {"worker_niceness": 0}}
    ray.init(
        address=config.address,
        logging_level=logging.WARNING,
        log_to_driver=False,
        **({} if config.address else own),
    )
    try:
        yield
    finally:
        ray.shutdown()


class RayRunner:
    """Runs a chain of nodes over the ticks of shards, like `InlineRunner`, with a Ray actor per worker.

    Joins the cluster at `config.ray.address`, or starts a private one on this machine and stops it at the end.
    Sources are read in threads of the driver; items whose content `hosts` hold are completed by the first workers.
    Consecutive nodes of as many workers share actors where `config.together`. An actor that dies is replaced up to
    `max_restarts` times where all stages are stateless or can be saved; else the run fails with its name.
    """

    def __init__(
        self,
        nodes: Sequence[Node],
        sources: Sequence[Iterable[Tick]],
        config: RuntimeConfig,
        prepare: Callable[[], object] | None = None,
        hosts: RayHosts | None = None,
    ) -> None:
        self._ray = imported_ray()
        self._hosts = hosts
        places = [beside(group) for group in hosts.groups] if hosts else ()
        self._nodes = tuple(nodes)
        self._sources = tuple(sources)
        self._config = config
        self._actors = Actors(self._ray, nodes, len(self._sources), config, prepare, places)
        self._stop = threading.Event()
        self._pace = Pace(len(self._sources))
        self._queues: list[queue.Queue[Tick | BaseException]] = [queue.Queue(config.num_queued) for _ in self._sources]
        self._threads: list[threading.Thread] = []
        self._states: dict[Place, bytes] = {}  # as of the last cut that is whole
        self._kept: deque[_Sent] = deque()  # all that was sent behind it
        self._under_way: deque[_Sent | _Cut] = deque()
        self._ready: deque[tuple[_Sent, list[Tick]]] = deque()  # what ticks led to, and is not given out yet
        self._since_cut = self._num_skipped = 0
        self._too_long = False
        self._num_waiting = [0] * len(self._sources)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._stack.enter_context(joined(self._config.ray))
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
        self._stack.close()

    def __iter__(self) -> Iterator[Tick]:
        ended = [False] * len(self._sources)
        while not all(ended) or self._under_way:
            for shard, done in enumerate(ended):
                if done:
                    continue
                ticks = self._next_of(shard)
                ended[shard] = ticks[-1].is_end
                self._send(shard, ticks)
                while sum(self._num_waiting) >= self._config.num_queued * len(self._sources):
                    yield from self._oldest()
            if all(ended) and self._under_way:
                yield from self._oldest()
        yield from self._give()
        self.times()

    def times(self) -> tuple[NodeTime, ...]:
        """What each worker has spent so far, in the order of the nodes; of one that was lost, since it was replaced."""
        order = {node.name: place for place, node in enumerate(self._nodes)}
        return tuple(sorted(self._actors.times(), key=lambda t: order[t.name]))

    def restarts(self) -> tuple[Restart, ...]:
        """The workers that were lost and replaced so far."""
        return (*self._actors.restarts, *(self._hosts.restarts if self._hosts else ()))

    def waiting(self) -> dict[str, int]:
        """Ticks that were sent and have not come out again, by the group of cameras."""
        return {f"group-{shard}": count for shard, count in enumerate(self._num_waiting)}

    def _send(self, shard: int, ticks: list[Tick]) -> None:
        is_small = all(isinstance(item, Held | Mark | Notice) for tick in ticks for item in tick.items)
        sendable: Any = ticks if is_small else self._ray.put(ticks)
        sent = _Sent(shard, len(ticks), sendable, self._actors.work(shard, sendable))
        self._under_way.append(sent)
        self._num_waiting[shard] += len(ticks)
        if not self._actors.can_save:
            return
        self._kept.append(sent)
        self._since_cut += len(ticks)
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
            yield from self._give()
            return
        if isinstance(outcome, Failure):
            raise error_of(outcome)
        oldest.done = True
        self._num_waiting[oldest.shard] -= oldest.num_ticks
        self._ready.append((oldest, outcome))
        if not (self._hosts and self._actors.can_save):
            yield from self._give()

    def _give(self) -> Iterator[Tick]:
        """What is ready, and from now on is not to change any more."""
        while self._ready:
            _, outcome = self._ready.popleft()
            yield from (tick for tick in outcome if not tick.is_end)

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
        while self._kept and self._kept[0].done:
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
        num_ticks = sum(sent.num_ticks for sent in self._kept)
        self._actors.replace_lost(error, num_ticks)
        for gone in self._under_way:
            with suppress(self._ray.exceptions.RayError):  # else Ray warns that nobody has asked for it
                self._ray.get(gone.result if isinstance(gone, _Sent) else list(gone.states.values()))
        self._build_again(num_ticks)
        for sent in self._kept:
            sent.result = self._actors.work(sent.shard, sent.ticks)
        for sent, _ in self._ready:
            sent.done = False
            self._num_waiting[sent.shard] += sent.num_ticks
        self._ready.clear()
        self._under_way = deque(sent for sent in self._kept if not sent.done)

    def _build_again(self, num_ticks: int) -> None:
        """All stages as of the last cut. A machine that has died is believed to be there for some seconds: what was put
        there in the place of lost actors dies with it, and is replaced once more."""
        while True:
            try:
                return self._actors.build(self._states)
            except StageError as error:
                if not isinstance(error.__cause__, WorkerLost):
                    raise
                self._actors.replace_lost(error, num_ticks)

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

    def _next_of(self, shard: int) -> list[Tick]:
        """The next tick of a source, and those behind it that are there already: a call costs more than a tick."""
        ticks: list[Tick] = []
        while not ticks or (len(ticks) < self._config.num_queued and not ticks[-1].is_end):
            try:
                what = self._queues[shard].get(block=not ticks)
            except queue.Empty:
                break
            if isinstance(what, BaseException):
                raise what
            ticks.append(what)
        return ticks
