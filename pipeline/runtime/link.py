"""The parent's end of one worker process: its pipe, what it works on, and what its replacement would need."""

from __future__ import annotations

import logging
import multiprocessing
import pickle
import queue
import secrets
import signal
import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from pipeline.runtime.chain import END, Node, NodeTime, StageError, line_name, lines, shards_at
from pipeline.runtime.rings import Span, unlink_ring
from pipeline.runtime.shipping import pickled
from pipeline.runtime.worker_process import Failed, Parcel, Plan, Recovery, Work, main


@dataclass(slots=True)
class Sent:
    """A tick that a worker was given. `acked`: what it led to has been passed on."""

    parcel: Parcel
    acked: bool = False


class Link:
    """One worker. Used by the hub's thread alone, but for the writer's queue."""

    def __init__(
        self,
        nodes: Sequence[Node],
        number: int,
        shards: Sequence[int],
        *,
        ring_bytes: int,
        prepare: Callable[[], object] | None,
        context: Any,
    ) -> None:
        self.nodes = tuple(nodes)
        self.number = number
        self.shards = tuple(shards)
        self.name = line_name(nodes, number)
        self.recovery: Recovery = "none"
        self.built = False
        self.gone = False  # the pipe has ended
        self.num_restarts = 0
        self.inbox: deque[tuple[Parcel, Link]] = deque()  # each with the worker it came from
        self.owing = 0  # its results that wait in the inboxes of others
        self.working: deque[Sent] = deque()  # in the order of the answers to come
        self.kept: deque[Sent] = deque()  # what a replacement has to be given again
        self.holding: Counter[Span] = Counter()  # memory of others that it may be looking at
        self.saved: bytes | None = None
        self.since_saved = 0
        self._ended: set[int] = set()
        self._times = tuple(NodeTime(node.name, 0.0, 0.0, 0) for node in nodes)
        self._times_before = self._times
        self._ring_bytes = ring_bytes
        self._ring_names: list[str] = []  # of all its processes, at most one more than it was restarted
        self._prepare = prepare
        self._context = context
        self.process: BaseProcess
        self.connection: Connection
        self._out: queue.SimpleQueue[object | None]
        self._writer: threading.Thread

    def start(self) -> None:
        """A new process, from the last saved state if there is one. Raises ValueError where a factory can not go."""
        shards = self.shards
        if self.recovery == "resend":
            shards = tuple(shard for shard in shards if shard not in self._ended)
        level = logging.getLogger().getEffectiveLevel()
        self._ring_names.append(f"crosscam-{secrets.token_hex(6)}")
        plan = Plan(self.nodes, shards, self._ring_bytes, self._ring_names[-1], self._prepare, self.saved, level)
        self.connection, theirs = self._context.Pipe(duplex=True)
        args = theirs, pickled(plan.nodes, plan)
        self.process = self._context.Process(target=main, name=self.name, args=args, daemon=True)
        self.process.start()
        theirs.close()
        self.gone = False
        self._out = queue.SimpleQueue()
        self._writer = threading.Thread(
            name=f"to-{self.name}", target=_write, args=(self.connection, self._out), daemon=True
        )
        self._writer.start()

    def restart(self) -> list[Sent]:
        """A new process in place of a lost one, and what it was given: all that has to be done again."""
        self.close(0.0)
        self.num_restarts += 1
        self.holding.clear()
        self._times_before = _added(self._times_before, self._times)
        self._times = tuple(NodeTime(time.name, 0.0, 0.0, 0) for time in self._times)
        self.start()
        self.working = deque(self.kept)
        self.since_saved = len(self.kept)
        for sent in self.kept:
            self.send(Work(sent.parcel, emit=not sent.acked, save=False))
        return list(self.kept)

    def send(self, message: object) -> None:
        self._out.put(message)

    def give(self, parcel: Parcel, checkpoint_ticks: int) -> None:
        """Hand a tick to the worker, and ask for its state now and then."""
        self.since_saved += 1
        save = self.recovery == "checkpoint" and self.since_saved >= checkpoint_ticks
        if save:
            self.since_saved = 0
        sent = Sent(parcel)
        self.working.append(sent)
        self.kept.append(sent)
        self.send(Work(parcel, emit=True, save=save))

    def answered(self, times: tuple[NodeTime, ...], saved: bytes | None) -> list[Sent]:
        """Take in the answer to the oldest tick -> the ticks that need not be kept any longer."""
        sent = self.working.popleft()
        sent.acked = True
        self._times = times
        if sent.parcel.tick == END:
            self._ended.add(sent.parcel.shard)
        if saved is not None:
            self.saved = saved
        elif self.recovery == "checkpoint":
            return []
        dropped = []
        while self.kept:
            oldest = self.kept.popleft()
            dropped.append(oldest)
            if oldest is sent:
                break
        return dropped

    @property
    def num_waiting(self) -> int:
        """Ticks that it was given and has not answered."""
        return len(self.working)

    @property
    def times(self) -> tuple[NodeTime, ...]:
        return _added(self._times_before, self._times)

    def how_it_ended(self) -> str:
        self.process.join(1.0)
        code = self.process.exitcode
        if code is not None and code < 0:
            name = signal.Signals(-code).name if -code in signal.valid_signals() else str(-code)
            hint = "; was there memory enough?" if -code == signal.SIGKILL else ""
            return f"was ended by {name}{hint}"
        return f"ended with exit code {code}"

    def close(self, patience_s: float) -> None:
        """End the process: it may finish its tick for so long."""
        self._out.put(None)
        self._writer.join(patience_s)
        if self._writer.is_alive():  # the worker does not read
            self.process.kill()
            self._writer.join()
        self.connection.close()
        self.process.join(patience_s)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()

    def unlink(self) -> None:
        """Give back to the system the shared memory of all its processes, which are gone."""
        for name in self._ring_names:
            unlink_ring(name)

    def error_of(self, failed: Failed) -> StageError:
        """What the worker says has failed, as if it had happened here."""
        cause: BaseException = pickle.loads(failed.cause) if failed.cause else RuntimeError(failed.text)
        cause.add_note(f"In worker {self.name}:\n{failed.trace}")
        error = StageError(failed.node, cause, building=failed.building)
        error.args = (f"stage {failed.node} failed: {failed.text}",)
        error.__cause__ = cause
        return error


def build_links(
    nodes: Sequence[Node],
    num_shards: int,
    together: bool,
    ring_bytes: int,
    prepare: Callable[[], object] | None,
    context: Any,
) -> list[list[Link]]:
    """The workers, a row for each line of nodes; those that would get no shard are left out."""
    rows, place = [], 0
    for line in lines(nodes, together):
        num_workers = line[0].workers
        shards = shards_at(nodes, num_shards, place)
        place += len(line)
        of_worker = [[s for s in shards if s % num_workers == number] for number in range(num_workers)]
        rows.append(
            [
                Link(line, number, mine, ring_bytes=ring_bytes, prepare=prepare, context=context)
                for number, mine in enumerate(of_worker)
                if mine
            ]
        )
    return rows


def start_context(method: str) -> Any:
    """How processes are started: `spawn` is safe beside threads, `forkserver` quicker where many are started."""
    context = multiprocessing.get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload(["__main__", "pipeline.runtime.worker_process"])
    return context


def _write(connection: Connection, out: queue.SimpleQueue[object | None]) -> None:
    """Sends what is queued; a thread of its own, so that a worker that does not read holds nobody up."""
    lost = False
    while (message := out.get()) is not None:
        try:
            if not lost:
                connection.send_bytes(pickle.dumps(message, protocol=5))
        except OSError:  # the worker is gone, which the hub learns by itself
            lost = True


def _added(a: tuple[NodeTime, ...], b: tuple[NodeTime, ...]) -> tuple[NodeTime, ...]:
    return tuple(
        NodeTime(x.name, x.wall_s + y.wall_s, x.cpu_s + y.cpu_s, x.num_items + y.num_items, y.sizes)
        for x, y in zip(a, b, strict=True)
    )
