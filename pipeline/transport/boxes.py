"""The ticks of all edge boxes as one stream: what a tick reader is to cameras, this is to boxes."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from pipeline.ingest.spec import CameraSpec
from pipeline.ingest.status import CameraStatus, StatusBoard
from pipeline.transport.config import TransportConfig, box_of
from pipeline.transport.messages import Clock, TickMessage
from pipeline.transport.redis_streams import TickSource, connect
from pipeline.types import EmbeddedFrame

_MAX_AHEAD = 64  # ticks of a box that wait here; more wait in Redis
_POLL_S = 0.2
_JOIN_S = 2.0


@dataclass(eq=False)
class _Box:
    """One edge box as the central fuser knows it; guarded by the reader's lock."""

    name: str
    camids: tuple[int, ...]
    source: TickSource
    waiting: deque[tuple[TickMessage, float]] = field(default_factory=deque)  # with the moment of arrival
    flushed: tuple[EmbeddedFrame, ...] = ()
    ended: bool = False
    silent: bool = False
    failure: BaseException | None = None


class BoxReader:
    """Joins the ticks of all boxes by index: a context manager, and an iterable that is read once.

    A tick leaves when every box has sent it or a later one, or has ended. With `max_wait_s` a box that is silent is
    waited for only so long; what it sends later for ticks that have left is dropped and counted with its cameras. What
    boxes gave at their end comes last, as one tick of index `flush_index`; with `follow`, as soon as it is there.
    The `source` of each camera names its box.
    """

    def __init__(
        self,
        config: TransportConfig,
        specs: Sequence[CameraSpec],
        *,
        dim: int,
        tick_s: float,
        flush_index: int,
        max_seconds: float | None = None,
    ) -> None:
        """Raises ValueError where redis-py is missing, or the server's address is none."""
        self.tick_s = tick_s
        self.clock_zero_s = config.clock_zero_s
        self._config = config
        self._flush_index = flush_index
        self._max_seconds = max_seconds
        self._board = StatusBoard(specs)
        self._news = threading.Condition()
        self._closed = False
        self._last_index = -1
        self._first_s: float | None = None
        self._flushed = False
        self.num_late = 0
        self._threads: list[threading.Thread] = []
        self._boxes = [self._box(name, camids, dim) for name, camids in _by_box(specs).items()]

    def _box(self, name: str, camids: Mapping[str, int], dim: int) -> _Box:
        redis, clock = self._config.redis, Clock(self.tick_s, self.clock_zero_s)
        source = TickSource(
            connect(redis),
            name,
            redis,
            camids,
            dim=dim,
            stopped=lambda: self._closed,
            clock=clock,
            follow=self._config.follow,
        )
        return _Box(name, tuple(camids.values()), source)

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def open(self) -> None:
        """Begin to listen. Does not wait for a box, nor for the server."""
        if self._threads or self._closed:
            return
        for box in self._boxes:
            thread = threading.Thread(name=f"box-{box.name}", target=self._listen, args=(box,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def close(self) -> None:
        """Stop listening; what was not taken stays in Redis."""
        with self._news:
            self._closed = True
            self._news.notify_all()
        deadline_s = time.monotonic() + _JOIN_S
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline_s - time.monotonic()))
        self._board.stop()

    def status(self) -> tuple[CameraStatus, ...]:
        """How each camera is doing, by camid; from any thread, at any time."""
        return self._board.snapshot()

    def done(self, index: int) -> None:
        """All ticks up to `index` have been worked on and written: they do not come again after a restart.

        Raises TransportError.
        """
        for box in self._boxes:
            box.source.ack(index)

    def refused(self) -> dict[str, dict[str, int]]:
        """By box, how many messages were refused, by reason."""
        return {box.name: dict(box.source.refused) for box in self._boxes}

    def waiting(self) -> dict[str, int]:
        """By box, ticks that are here and not taken yet."""
        with self._news:
            return {box.name: len(box.waiting) for box in self._boxes}

    def __iter__(self) -> Iterator[TickMessage]:
        self.open()
        while (tick := self._next()) is not None:
            yield tick

    def _listen(self, box: _Box) -> None:
        """What the thread of a box does."""
        try:
            for message in box.source:
                with self._news:
                    self._wait_while(lambda: len(box.waiting) >= _MAX_AHEAD)
                    if message.kind == "flush" and not self._config.follow:
                        box.flushed += message.frames
                    else:
                        box.waiting.append((message, time.monotonic()))
                    self._news.notify_all()
        except BaseException as error:  # raised where ticks are taken
            box.failure = error
        finally:
            with self._news:
                box.ended = True
                if not self._closed and not box.failure:
                    self._board.set(box.camids, state="ended")
                self._news.notify_all()

    def _wait_while(self, full: Callable[[], bool]) -> None:
        """The caller holds the lock."""
        while full() and not self._closed:
            self._news.wait(_POLL_S)

    def _next(self) -> TickMessage | None:
        with self._news:
            while not self._closed:
                for box in self._boxes:
                    if box.failure is not None:
                        raise box.failure
                heads = {box.name: box.waiting[0] for box in self._boxes if box.waiting}
                if not heads and all(box.ended for box in self._boxes):
                    return self._flush()
                wait_s = self._wait_s(heads)
                if wait_s <= 0:
                    tick = self._take(min(message.index for message, _ in heads.values()))
                    self._news.notify_all()
                    if tick is not None:
                        return None if self._is_over(tick) else tick
                    continue
                self._news.wait(min(wait_s, _POLL_S))
        return None

    def _wait_s(self, heads: Mapping[str, tuple[TickMessage, float]]) -> float:
        """How long the earliest tick waits on for boxes that are silent; 0: it may leave. The caller holds the lock."""
        if not heads:
            return _POLL_S
        silent = [box for box in self._boxes if not box.waiting and not box.ended]
        if not silent:
            return 0.0
        if self._config.max_wait_s is None:
            return _POLL_S
        arrived_s = min(heads.values(), key=lambda head: head[0].index)[1]
        wait_s = arrived_s + self._config.max_wait_s - time.monotonic()
        if wait_s <= 0:
            for box in silent:
                if not box.silent:
                    box.silent = True
                    message = f"box {box.name} is silent; the others are no longer kept waiting"
                    self._board.set(box.camids, state="reconnecting", message=message)
        return wait_s

    def _take(self, index: int) -> TickMessage | None:
        """The tick of all boxes that have it; None where it comes too late. The caller holds the lock."""
        frames: list[EmbeddedFrame] = []
        leaves = index
        for box in self._boxes:
            if not box.waiting or box.waiting[0][0].index != index:
                continue
            message, _ = box.waiting.popleft()
            if message.kind == "flush":  # of a box that may come back: it shows nobody, and is welcome at any time
                leaves = max(leaves, self._last_index + 1)
            elif index <= self._last_index:
                self.num_late += 1
                self._board.count((frame.camid for frame in message.frames), dropped=1)
                continue
            frames += message.frames
            self._seen(box, message)
        if leaves <= self._last_index:
            return None
        self._last_index = leaves
        return TickMessage(leaves, tuple(sorted(frames, key=lambda frame: frame.camid)))

    def _seen(self, box: _Box, message: TickMessage) -> None:
        if box.silent:
            box.silent = False
            self._board.set(box.camids, state="running", message=f"box {box.name} is back")
        now_s = time.time() - (self.clock_zero_s or 0.0)
        for frame in message.frames:
            lag_s = 0.0 if self.clock_zero_s is None else now_s - frame.time_s
            if self._board[frame.camid].state == "connecting":
                self._board.set([frame.camid], state="running")
            self._board.delivered(frame.camid, time_s=frame.time_s, lag_s=lag_s, width=0, height=0)

    def _is_over(self, tick: TickMessage) -> bool:
        """Whether `max_seconds` are over before this tick."""
        start_s = min((frame.time_s for frame in tick.frames), default=None)
        if self._first_s is None:
            self._first_s = start_s
        if self._max_seconds is None or start_s is None or self._first_s is None:
            return False
        return start_s >= self._first_s + self._max_seconds - 1e-9

    def _flush(self) -> TickMessage | None:
        """All that boxes gave at their ends, once."""
        frames = sorted((frame for box in self._boxes for frame in box.flushed), key=lambda frame: frame.camid)
        if self._flushed or not frames:
            return None
        self._flushed = True
        return TickMessage(self._flush_index, tuple(frames), "flush")


def _by_box(specs: Sequence[CameraSpec]) -> dict[str, dict[str, int]]:
    """The cameras of each box, camid by name. Raises ValueError for a camera of none."""
    boxes: dict[str, dict[str, int]] = {}
    for spec in specs:
        box = box_of(spec.source)
        if not box:
            raise ValueError(
                f"camera {spec.name}: source: with transport.sources: redis it names the box of the camera, box:NAME"
            )
        boxes.setdefault(box, {})[spec.name] = spec.camid
    return boxes
