"""What runs inside a worker process: a line of stages, fed through a pipe, that answers each tick with one message.

The process belongs to its parent: it ignores SIGINT, SIGTERM and SIGHUP, which the parent answers for all, and ends
when the pipe does. One message per tick makes a crash clean: either all that a tick led to has left the process, or
nothing.
"""

from __future__ import annotations

import logging
import pickle
import signal
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Literal, NamedTuple, TypeAlias

from pipeline.runtime.chain import Node, NodeTime, StageError, Tick
from pipeline.runtime.rings import Ring, Span, Views, dump, dump_whole
from pipeline.runtime.worker import Line

_SAVING_SHARE = 0.1  # of a worker's time may go into saving its state
_QUICK_S = 2e-3  # what never counts as long
_MOST_SKIPPED = 3  # savings that are left out one after the other for that reason
_ROOM_WAIT_S = 0.05  # for shared memory; then arrays go through the pipe, so that nobody waits for ever

Recovery: TypeAlias = Literal["resend", "checkpoint", "none"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a worker has to be. `saved` is the state of the one that it replaces, `shards` those it will see end."""

    nodes: tuple[Node, ...]
    shards: tuple[int, ...]
    ring_bytes: int
    ring_name: str
    prepare: Callable[[], object] | None
    saved: bytes | None
    log_level: int


class Parcel(NamedTuple):
    """A tick on its way: enough to route it, and its items as a message."""

    shard: int
    tick: int
    head: bytes
    spans: tuple[Span, ...]


# To the worker
class Work(NamedTuple):
    """`emit` False: what the tick gives has been passed on before the last worker was lost. `save`: send the state,
    unless that takes too long for the work that it would spare."""

    parcel: Parcel
    emit: bool
    save: bool


class Freed(NamedTuple):
    """Blocks that nobody looks at any more; to a worker: of its own ring, from one: of others' rings."""

    spans: tuple[Span, ...]


# From the worker
class Built(NamedTuple):
    recovery: Recovery


class Done(NamedTuple):
    """The answer to one `Work`: what it led to and, where asked for, the state after it."""

    out: tuple[Parcel, ...]
    times: tuple[NodeTime, ...]
    saved: bytes | None


class Failed(NamedTuple):
    node: str
    building: bool
    cause: bytes | None  # the pickled exception, None where it can not be
    text: str  # type and message
    trace: str


class Logged(NamedTuple):
    record: logging.LogRecord


def main(connection: Connection, plan_bytes: bytes) -> None:
    """The process's whole life."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    plan: Plan = pickle.loads(plan_bytes)
    post = _Post(connection)
    logging.basicConfig(level=plan.log_level, handlers=[_Forward(post)], force=True)
    try:
        _Worker(connection, post, plan).run()
    except StageError as error:
        cause = error.__cause__ or error
        trace = "".join(traceback.format_exception(cause))
        text = f"{type(cause).__name__}: {cause}"
        post.send(Failed(error.node, error.building, _pickled(cause), text, trace))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass  # the parent is gone, or has no more use for us


class _Post:
    """The way to the parent, for all threads of the process."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.RLock()  # a finalizer may log in the middle of a message

    def send(self, message: object) -> None:
        data = pickle.dumps(message, protocol=5)
        with self._lock:
            self._connection.send_bytes(data)


class _Worker:
    def __init__(self, connection: Connection, post: _Post, plan: Plan) -> None:
        self._connection = connection
        self._post = post
        self._ring = Ring(plan.ring_bytes, plan.ring_name)
        self._freed: deque[Span] = deque()  # filled by finalizers, which may run at any moment
        self._views = Views(self._freed.append)
        self._work: deque[Work] = deque()
        self._worked_s = self._saving_s = 0.0  # since the state was saved, and what that took
        self._num_skipped = 0
        if plan.prepare is not None:
            plan.prepare()
        self._line = Line(plan.nodes, plan.shards)
        self._recovery: Recovery = "none"
        if all(node.stateless and not node.merges for node in plan.nodes):
            self._recovery = "resend"
        elif self._line.can_save:
            self._recovery = "checkpoint"
        if plan.saved is not None:
            self._line.restore(pickle.loads(plan.saved))

    def run(self) -> None:
        self._post.send(Built(self._recovery))
        while True:
            while not self._work:
                self._receive()
            work = self._work.popleft()
            done = self._do(work)
            del work
            self._post.send(done)
            self._report_freed()

    def _do(self, work: Work) -> Done:
        parcel = work.parcel
        tick = Tick(parcel.shard, parcel.tick, self._views.load(parcel.head, parcel.spans))
        started_s = time.thread_time()
        results = self._line.handle(tick)
        out = tuple(self._pack(result) for result in results) if work.emit else ()
        self._worked_s += time.thread_time() - started_s
        return Done(out, self._line.times(), self._saved() if work.save else None)

    def _saved(self) -> bytes | None:
        """The state; None where it is so large that it has to be saved less often."""
        too_long = self._saving_s > max(_SAVING_SHARE * self._worked_s, _QUICK_S)
        if too_long and self._num_skipped < _MOST_SKIPPED:
            self._num_skipped += 1
            return None
        started_s = time.thread_time()
        saved = dump_whole(self._line.state())
        self._saving_s, self._worked_s, self._num_skipped = time.thread_time() - started_s, 0.0, 0
        return saved

    def _pack(self, tick: Tick) -> Parcel:
        head, large = dump(tick.items)
        if not large:
            return Parcel(tick.shard, tick.index, head, ())
        spans = self._ring.put(large)
        if spans is None:
            self._report_freed()
            while spans is None and self._connection.poll(_ROOM_WAIT_S):
                self._receive()
                spans = self._ring.put(large)
        if spans is None:
            return Parcel(tick.shard, tick.index, dump_whole(tick.items), ())
        return Parcel(tick.shard, tick.index, head, tuple(spans))

    def _receive(self) -> None:
        message: Any = pickle.loads(self._connection.recv_bytes())
        if isinstance(message, Freed):
            for span in message.spans:
                self._ring.free(span)
        else:
            self._work.append(message)

    def _report_freed(self) -> None:
        spans = []
        while self._freed:
            spans.append(self._freed.popleft())
        if spans:
            self._post.send(Freed(tuple(spans)))


class _Forward(logging.Handler):
    """Log records go to the parent, which knows what to show and what to mask."""

    def __init__(self, post: _Post) -> None:
        super().__init__()
        self._post = post

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            record.exc_text = "".join(traceback.format_exception(*record.exc_info))
        record.msg, record.args, record.exc_info = record.getMessage(), (), None
        try:
            self._post.send(Logged(record))
        except Exception:  # as handlers do: who logs must not fail for it
            self.handleError(record)


def _pickled(error: BaseException) -> bytes | None:
    """The exception as bytes, if it comes back from them."""
    try:
        data = pickle.dumps(error)
        pickle.loads(data)
    except Exception:  # any class may fail in any way here; the text serves instead
        return None
    return data
