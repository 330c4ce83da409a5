"""Many cores of one machine: every worker is a process, and one thread of the parent passes ticks from each to each.

All messages go through the parent, the large arrays in them stay in shared memory. So a worker that dies can neither
hold a lock nor garble a queue that others need, and the parent knows at any time who works on what.

How many ticks are under way is bounded: a worker has at most `queue_ticks` to work on, and gets no more while as many
of its results wait for the worker behind it.
"""

from __future__ import annotations

import logging
import os
import pickle
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any, Self

from pipeline.runtime.chain import END, Node, NodeTime, Restart, StageError, Tick, WorkerLost, shards_at
from pipeline.runtime.feeds import Feeds
from pipeline.runtime.ledger import Ledger, taken_from
from pipeline.runtime.link import Link, Sent, build_links, start_context
from pipeline.runtime.rings import Span, Views
from pipeline.runtime.worker_process import Built, Done, Failed, Freed, Logged, Parcel

log = logging.getLogger(__name__)

_POLL_S = 0.1
_PATIENCE_S = 1.0


class ProcessRunner:
    """Runs a chain of nodes over the ticks of shards, like `InlineRunner`, with a process per worker.

    Sources are read in threads of this process. Consecutive nodes of as many workers share processes (`together`), so
    that a frame hops once. Factories must be picklable; `prepare` is called first in each worker. `ring_mb` bounds
    the shared memory of each source and worker. A lost worker is replaced up to `max_restarts` times where its
    stages are stateless or can be saved, which is done every `checkpoint_ticks` ticks; else the run fails.
    """

    def __init__(
        self,
        nodes: Sequence[Node],
        sources: Sequence[Iterable[Tick]],
        queue_ticks: int = 2,
        *,
        together: bool = True,
        ring_mb: int = 256,
        checkpoint_ticks: int = 8,
        max_restarts: int = 3,
        prepare: Callable[[], object] | None = None,
        start_method: str = "spawn",
    ) -> None:
        self._nodes = tuple(nodes)
        self._sources = tuple(sources)
        self._queue_ticks = queue_ticks
        self._checkpoint_ticks = checkpoint_ticks
        self._max_restarts = max_restarts
        self._ring_bytes = ring_mb << 20
        self._rows = build_links(
            nodes, len(self._sources), together, self._ring_bytes, prepare, start_context(start_method)
        )
        self._links = [link for row in self._rows for link in row]
        self._stop = threading.Event()
        self._news = threading.Condition()  # guards what the reader of the run and the hub share
        self._results: deque[tuple[Parcel, Link | None]] = deque()
        self._failure: BaseException | None = None
        self._restarts: list[Restart] = []
        self._freed: deque[Span] = deque()  # filled by finalizers in this process
        self._views = Views(self._freed.append)
        self._ledger = Ledger()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._threads: list[threading.Thread] = []
        self._feeds = Feeds(self._sources, queue_ticks, self._ring_bytes, stopped=self._stop.is_set, news=self._poke)

    def __enter__(self) -> Self:
        try:
            for link in self._links:
                link.start()
            self._start("hub", self._serve)
            with self._news:
                while self._failure is None and not all(link.built for link in self._links):
                    self._news.wait(_POLL_S)
            if self._failure is not None:
                raise self._failure
        except BaseException:
            self.__exit__(None, None, None)
            raise
        for shard in range(len(self._sources)):
            self._start(f"source-{shard}", self._feeds.read, shard)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._poke()
        for thread in self._threads:
            thread.join()
        deadline_s = time.monotonic() + _PATIENCE_S
        for link in self._links:
            if hasattr(link, "process"):
                link.close(max(0.0, deadline_s - time.monotonic()))
                link.unlink()
        self._feeds.unlink()
        self._views.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def __iter__(self) -> Iterator[Tick]:
        num_open = len(shards_at(self._nodes, len(self._sources), len(self._nodes)))
        while num_open:
            with self._news:
                while not self._results and not self._stop.is_set():
                    self._news.wait(_POLL_S)
                if not self._results:
                    break
                parcel, origin = self._results.popleft()
                if origin is not None:
                    origin.owing -= 1
            self._poke()
            if parcel.tick == END:
                num_open -= 1
            else:
                yield Tick(parcel.shard, parcel.tick, self._views.load(parcel.head, parcel.spans))
        if self._failure is not None:
            raise self._failure

    def waiting(self) -> dict[str, int]:
        """By worker, how many ticks it was given and has not finished."""
        return {link.name: link.num_waiting for link in self._links}

    def times(self) -> tuple[NodeTime, ...]:
        """What each worker has spent so far, in the order of the nodes."""
        order = {node.name: place for place, node in enumerate(self._nodes)}
        return tuple(sorted((t for link in self._links for t in link.times), key=lambda t: order[t.name]))

    def restarts(self) -> tuple[Restart, ...]:
        """The workers that were lost and replaced so far."""
        return tuple(self._restarts)

    def worker_ids(self) -> dict[str, int]:
        """The process id of each worker by its name; one that is being started has none yet."""
        return {link.name: link.process.pid for link in self._links if link.process.pid is not None}

    # -- the hub, one thread

    def _serve(self) -> None:
        while not self._stop.is_set():
            self._ledger.drop(taken_from(self._freed))
            self._dispatch()
            waits: dict[Any, Link | None] = {self._wake_read: None}
            for link in self._links:
                if not link.gone:
                    waits[link.connection] = link
                waits[link.process.sentinel] = link
            ready = wait(list(waits))
            with suppress(BlockingIOError):
                os.read(self._wake_read, 4096)
            for what in ready:
                if isinstance(what, Connection) and (link_with_news := waits[what]) is not None:
                    self._receive(link_with_news)
            for link in {id(found): found for what in ready if (found := waits[what]) is not None}.values():
                if not self._stop.is_set() and not link.process.is_alive():
                    self._replace(link)

    def _dispatch(self) -> None:
        """Give ticks to every worker that may have more."""
        for link in self._links:
            while link.inbox and self._has_room(link):
                parcel, origin = link.inbox.popleft()
                with self._news:
                    origin.owing -= 1
                self._give(link, parcel)
        for link in self._rows[0] if self._rows else ():
            took = True
            while took:
                took = False
                for shard in link.shards:
                    if self._has_room(link) and (first := self._feeds.take(shard)) is not None:
                        self._ledger.note(first, self._feeds.rings[shard])
                        self._give(link, first)
                        took = True
        if not self._rows:  # no stage at all: the sources are the results
            for shard in range(len(self._sources)):
                if (untouched := self._feeds.take(shard)) is not None:
                    self._ledger.note(untouched, self._feeds.rings[shard])
                    self._pass_on(untouched, None)

    def _has_room(self, link: Link) -> bool:
        return link.built and len(link.working) < self._queue_ticks and link.owing < self._queue_ticks

    def _give(self, link: Link, parcel: Parcel) -> None:
        self._ledger.hold(parcel.spans, 2)  # the worker, and what is kept for its replacement
        link.holding.update(parcel.spans)
        link.give(parcel, self._checkpoint_ticks)

    def _receive(self, link: Link) -> None:
        try:
            message: Any = pickle.loads(link.connection.recv_bytes())
        except (EOFError, OSError):
            link.gone = True
            return
        if isinstance(message, Done):
            for sent in link.answered(message.times, message.saved):
                self._ledger.drop(sent.parcel.spans)
            for parcel in message.out:
                self._ledger.note(parcel, link)
                self._pass_on(parcel, link)
        elif isinstance(message, Freed):
            for span in message.spans:
                link.holding[span] -= 1
                if not link.holding[span]:
                    del link.holding[span]
            self._ledger.drop(message.spans)
        elif isinstance(message, Built):
            link.recovery = message.recovery
            with self._news:
                link.built = True
                self._news.notify_all()
        elif isinstance(message, Logged):
            logging.getLogger(message.record.name).handle(message.record)
        elif isinstance(message, Failed):
            self._fail(link.error_of(message))

    def _pass_on(self, parcel: Parcel, link: Link | None) -> None:
        place = self._place_of(link) + 1
        with self._news:
            if link is not None:
                link.owing += 1
            if place == len(self._rows):
                self._ledger.hold(parcel.spans)
                self._results.append((parcel, link))
                self._news.notify_all()
                return
        assert link is not None
        row = self._rows[place]
        row[parcel.shard % len(row)].inbox.append((parcel, link))

    def _place_of(self, link: Link | None) -> int:
        return -1 if link is None else next(place for place, row in enumerate(self._rows) if link in row)

    def _replace(self, link: Link) -> None:
        """A worker has died: take what it still sent, and put another in its place or fail."""
        while not link.gone and self._failure is None and link.connection.poll(_PATIENCE_S):
            self._receive(link)
        if self._failure is not None:
            return
        reason = link.how_it_ended()
        if not link.built:
            self._fail(_lost(link, f"{reason} while its stages were built", building=True))
        elif link.recovery == "none":
            self._fail(_lost(link, f"{reason}; what it remembered is lost with it"))
        elif link.num_restarts >= self._max_restarts:
            self._fail(_lost(link, f"{reason}, for the {link.num_restarts + 1}. time in this run"))
        else:
            self._ledger.drop(list(link.holding.elements()))
            again: list[Sent] = link.restart()
            for sent in again:
                self._ledger.hold(sent.parcel.spans)
                link.holding.update(sent.parcel.spans)
            self._restarts.append(Restart(link.name, reason, len(again)))
            log.warning("worker %s %s; another does its last %d ticks again", link.name, reason, len(again))

    # -- threads

    def _start(self, name: str, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(name=name, target=self._guard, args=(target, *args), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _guard(self, target: Callable[..., None], *args: object) -> None:
        try:
            target(*args)
        except BaseException as error:  # handed to the reader of the run, never lost
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        with self._news:
            self._failure = self._failure or error
            self._stop.set()
            self._news.notify_all()
        self._poke()

    def _poke(self) -> None:
        """Wake the hub."""
        with suppress(BlockingIOError):
            os.write(self._wake_write, b".")


def _lost(link: Link, text: str, *, building: bool = False) -> StageError:
    cause = WorkerLost(f"worker {link.name} {text}")
    error = StageError("+".join(node.name for node in link.nodes), cause, building=building)
    error.__cause__ = cause
    return error
