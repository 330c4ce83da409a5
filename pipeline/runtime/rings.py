"""Large arrays between processes: bounded rings of shared memory, and the messages that point into them.

A message is pickled with protocol 5. Arrays of `INLINE_BYTES` or more go into the sender's ring, smaller ones travel
inside the message. A block of the ring is free again when the last view of it in the receiver is gone.
"""

from __future__ import annotations

import io
import logging
import os
import pickle
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count
from multiprocessing import shared_memory
from typing import Any, NamedTuple

import numpy as np

log = logging.getLogger(__name__)

INLINE_BYTES = 64 << 10
_ALIGN = 64
_SEGMENT_BYTES = 16 << 20  # the least that is asked of the system at once


class Span(NamedTuple):
    """A block of shared memory: the name of its segment, and where it lies there."""

    segment: str
    offset: int
    num_bytes: int


class _Segment:
    """One piece of shared memory and its free blocks, in order."""

    def __init__(self, num_bytes: int, name: str | None = None) -> None:
        self.memory = shared_memory.SharedMemory(name, create=True, size=num_bytes)
        try:
            if hasattr(os, "posix_fallocate"):  # without it, memory that is not there is found out by a crash
                os.posix_fallocate(self.memory._fd, 0, num_bytes)  # type: ignore[attr-defined]
        except OSError:
            self.memory.close()
            self.memory.unlink()
            raise
        self.num_bytes = num_bytes
        self._free = [(0, num_bytes)]  # offset, size

    def take(self, num_bytes: int) -> int | None:
        """Offset of a block, the first that fits."""
        for place, (offset, size) in enumerate(self._free):
            if size >= num_bytes:
                rest = [(offset + num_bytes, size - num_bytes)] if size > num_bytes else []
                self._free[place : place + 1] = rest
                return offset
        return None

    def give_back(self, offset: int, num_bytes: int) -> None:
        blocks = sorted([*self._free, (offset, num_bytes)])
        self._free = blocks[:1]
        for start, size in blocks[1:]:
            last_start, last_size = self._free[-1]
            if last_start + last_size == start:
                self._free[-1] = (last_start, last_size + size)
            else:
                self._free.append((start, size))

    @property
    def is_free(self) -> bool:
        return self._free == [(0, self.num_bytes)]


class Ring:
    """What one sender has of shared memory: at most `cap_bytes`, taken from the system as it is needed. Thread-safe.

    With a `name`, its segments are `name-0`, `name-1` and so on, so that another can remove them: `unlink_ring`.
    """

    def __init__(self, cap_bytes: int, name: str | None = None) -> None:
        self._cap_bytes = cap_bytes
        self._name = name
        self._segments: dict[str, _Segment] = {}
        self._lock = threading.Lock()

    def put(self, buffers: Sequence[memoryview], patience_s: float = 0.0) -> list[Span] | None:
        """Copies of all buffers, or None where there is no room for them now, nor in `patience_s`."""
        deadline_s = time.monotonic() + patience_s
        while (spans := self._put(buffers)) is None and time.monotonic() < deadline_s:
            time.sleep(patience_s / 8)
        return spans

    def _put(self, buffers: Sequence[memoryview]) -> list[Span] | None:
        spans: list[Span] = []
        with self._lock:
            for buffer in buffers:
                span = self._take(buffer.nbytes)
                if span is None:
                    for taken in spans:
                        self._give_back(taken)
                    return None
                spans.append(span)
            segments = [self._segments[span.segment] for span in spans]
        for segment, span, buffer in zip(segments, spans, buffers, strict=True):
            target = np.ndarray((span.num_bytes,), np.uint8, buffer=segment.memory.buf, offset=span.offset)
            target[:] = np.frombuffer(buffer, np.uint8)
        return spans

    def free(self, span: Span) -> None:
        with self._lock:
            self._give_back(span)

    @property
    def num_free_segments(self) -> tuple[int, int]:
        """How many segments are wholly free, and how many there are."""
        with self._lock:
            return sum(s.is_free for s in self._segments.values()), len(self._segments)

    def unlink(self) -> None:
        """Give the memory back to the system; views that are left stay valid until they go."""
        with self._lock:
            for segment in self._segments.values():
                release(segment.memory)
            self._segments = {}

    def _take(self, num_bytes: int) -> Span | None:
        size = _aligned(num_bytes)
        for name, segment in self._segments.items():
            if (offset := segment.take(size)) is not None:
                return Span(name, offset, num_bytes)
        room = self._cap_bytes - sum(s.num_bytes for s in self._segments.values())
        if room < size:
            return None
        try:
            its_name = f"{self._name}-{len(self._segments)}" if self._name else None
            segment = _Segment(min(room, max(_SEGMENT_BYTES, 2 * size)), its_name)
        except OSError as error:
            log.warning(
                "no more shared memory (%s): large arrays are copied through pipes, which is slow; "
                "give /dev/shm more room (docker run --shm-size=2g) or set ring_mb lower",
                error.strerror,
            )
            self._cap_bytes = 0
            return None
        self._segments[segment.memory.name] = segment
        offset = segment.take(size)
        assert offset is not None
        return Span(segment.memory.name, offset, num_bytes)

    def _give_back(self, span: Span) -> None:
        segment = self._segments.get(span.segment)
        if segment is not None:
            segment.give_back(span.offset, _aligned(span.num_bytes))


class Views:
    """The receiver's side: messages back from bytes and spans, with arrays that look into the sender's memory."""

    def __init__(self, freed: Callable[[Span], None]) -> None:
        """`freed` is called, from whatever thread, when the last view of a span is gone; it must not block."""
        self._freed = freed
        self._segments: dict[str, shared_memory.SharedMemory] = {}

    def load(self, head: bytes, spans: Sequence[Span]) -> Any:
        return pickle.loads(head, buffers=[self._view(span) for span in spans])

    def close(self) -> None:
        """Load no more; views that are left stay valid until they go."""
        self._segments = {}

    def _view(self, span: Span) -> memoryview:
        memory = self._segments.get(span.segment)
        if memory is None:
            memory = self._segments[span.segment] = shared_memory.SharedMemory(span.segment)
            _let_go(memory)
        # Views of arrays that look into a memoryview keep it, and with it this array: numpy would skip an array.
        whole = np.ndarray((span.num_bytes,), np.uint8, buffer=memory.buf, offset=span.offset)
        weakref.finalize(whole, self._freed, span).atexit = False
        return whole.data.toreadonly()


def dump(value: Any) -> tuple[bytes, list[memoryview]]:
    """A value as a message and the large arrays that stand outside of it."""
    large: list[memoryview] = []

    def keep_inside(buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes < INLINE_BYTES:
            return True
        large.append(raw)
        return False

    file = io.BytesIO()
    pickler = pickle.Pickler(file, protocol=5, buffer_callback=keep_inside)
    pickler.dispatch_table = {np.ndarray: _reduce_array}
    pickler.dump(value)
    return file.getvalue(), large


def dump_whole(value: Any) -> bytes:
    """A value as one message, arrays included."""
    return pickle.dumps(value, protocol=5)


def release(memory: shared_memory.SharedMemory) -> None:
    """Remove a segment from the system."""
    with suppress(FileNotFoundError):
        memory.unlink()
    _let_go(memory)


def unlink_ring(name: str) -> None:
    """Remove the segments of a ring whose owner is gone."""
    with suppress(FileNotFoundError):
        for number in count():
            release(shared_memory.SharedMemory(f"{name}-{number}"))


def _let_go(memory: shared_memory.SharedMemory) -> None:
    """Close a segment but leave it mapped as long as a view of it lives: numpy's arrays hold it without a word."""
    descriptor = getattr(memory, "_fd", -1)
    if descriptor >= 0:
        os.close(descriptor)
        memory._fd = -1  # type: ignore[attr-defined]
    memory.close = lambda: None  # type: ignore[method-assign]  # what its destructor calls


def _reduce_array(array: np.ndarray[Any, Any]) -> Any:
    """Arrays that do not lie in one piece are made to, as only such can stay outside of a message."""
    whole = array if array.flags.c_contiguous or array.dtype.hasobject else np.ascontiguousarray(array)
    return whole.__reduce_ex__(5)


def _aligned(num_bytes: int) -> int:
    return (num_bytes + _ALIGN - 1) // _ALIGN * _ALIGN
