"""One process: every node in a thread of its own, so that decoding, detection and embedding overlap.

The libraries that do the work (FFmpeg, ONNX Runtime, OpenCV, FAISS) release the GIL; the rest is small. Queues
between the threads are bounded, so a slow node holds up the ones before it, and in the end the sources.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Self

from pipeline.runtime.chain import END, Node, NodeTime, Restart, Tick, shards_at
from pipeline.runtime.pace import Pace, close_source
from pipeline.runtime.worker import Worker

_POLL_S = 0.1


class _Stopped(Exception):
    """The run was closed while this thread waited."""


class InlineRunner:
    """Runs a chain of nodes over the ticks of shards; a context manager and an iterator over the last node's ticks.

    `sources[s]` yields the ticks of shard `s`; it is read in a thread of its own. The order of the ticks that come
    out is that of the shard; between shards it is free unless the last node merges. Entering the context waits until
    every stage is built, and raises what building one raised. What a stage or source raises later comes out of the
    iteration; leaving the context early stops every thread and drops what is under way.
    """

    def __init__(self, nodes: Sequence[Node], sources: Sequence[Iterable[Tick]], queue_ticks: int = 2) -> None:
        self._nodes = tuple(nodes)
        self._sources = tuple(sources)
        self._stop = threading.Event()
        self._pace = Pace(len(self._sources))
        self._failure: BaseException | None = None
        self._failure_lock = threading.Lock()
        self._workers: list[Worker] = []
        self._built = threading.Semaphore(0)
        self._queues: list[list[queue.Queue[Tick]]] = [
            [queue.Queue(queue_ticks) for _ in range(node.workers)] for node in self._nodes
        ]
        self._queues.append([queue.Queue(queue_ticks)])
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        for place, node in enumerate(self._nodes):
            for number in range(node.workers):
                name = node.name if node.workers == 1 else f"{node.name}-{number}"
                self._start(name, self._work, place, number)
        for _ in list(self._threads):
            while not self._built.acquire(timeout=_POLL_S) and not self._stop.is_set():
                pass
        if self._failure is not None:
            self.__exit__(None, None, None)
            raise self._failure
        for shard, source in enumerate(self._sources):
            self._start(f"source-{shard}", self._feed, shard, source)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def __iter__(self) -> Iterator[Tick]:
        num_open = len(shards_at(self._nodes, len(self._sources), len(self._nodes)))
        while num_open:
            try:
                tick = self._get(self._queues[-1][0])
            except _Stopped:
                break
            if tick.is_end:
                num_open -= 1
            else:
                yield tick
        if self._failure is not None:
            raise self._failure

    def waiting(self) -> dict[str, int]:
        """By worker, how many ticks wait before it."""
        return {
            node.name if node.workers == 1 else f"{node.name}-{number}": inbox.qsize()
            for node, row in zip(self._nodes, self._queues, strict=False)
            for number, inbox in enumerate(row)
        }

    def times(self) -> tuple[NodeTime, ...]:
        """What each worker has spent so far, in the order of the nodes."""
        order = {node.name: place for place, node in enumerate(self._nodes)}
        return tuple(sorted((w.time() for w in list(self._workers)), key=lambda t: order[t.name]))

    def restarts(self) -> tuple[Restart, ...]:
        """None: there is no worker to be lost without the whole run."""
        return ()

    def _start(self, name: str, target: object, *args: object) -> None:
        thread = threading.Thread(name=name, target=self._guard, args=(target, *args), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _guard(self, target: object, *args: object) -> None:
        assert callable(target)
        try:
            with contextlib.suppress(_Stopped):
                target(*args)
        except BaseException as error:  # handed to the reader of the run, never lost
            with self._failure_lock:
                self._failure = self._failure or error
            self._stop.set()

    def _feed(self, shard: int, source: Iterable[Tick]) -> None:
        try:
            for tick in source:
                if not self._pace.wait(shard, tick.index, self._stop.is_set):
                    raise _Stopped
                self._put(0, tick)
            self._pace.end(shard)
            self._put(0, Tick(shard, END, ()))
        finally:
            close_source(source)

    def _work(self, place: int, number: int) -> None:
        node = self._nodes[place]
        shards = [
            shard for shard in shards_at(self._nodes, len(self._sources), place) if shard % node.workers == number
        ]
        num_open = len(shards)
        if not num_open:
            self._built.release()
            return
        worker = Worker(node, shards)
        self._workers.append(worker)
        self._built.release()
        while num_open:
            tick = self._get(self._queues[place][number])
            num_open -= tick.is_end
            for result in worker.handle(tick):
                self._put(place + 1, result)

    def _put(self, place: int, tick: Tick) -> None:
        row = self._queues[place]
        while not self._stop.is_set():
            with contextlib.suppress(queue.Full):
                row[tick.shard % len(row)].put(tick, timeout=_POLL_S)
                return
        raise _Stopped

    def _get(self, inbox: queue.Queue[Tick]) -> Tick:
        while True:
            try:
                return inbox.get(timeout=_POLL_S)
            except queue.Empty:
                if self._stop.is_set():
                    raise _Stopped from None
