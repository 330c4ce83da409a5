"""Redis Streams (https://redis.io/docs/latest/develop/data-types/streams/) as the way between machines.

An entry's id is `<event time in ms>-<number>` and set by the sender: the server refuses an id that is not above the
last, so that what is sent again after a broken connection is there once. Streams are trimmed by event time. A reader
belongs to a consumer group: what it was given and has not acknowledged is given again, to it or to who takes over.
"""

from __future__ import annotations

import logging
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from pipeline.ingest.urls import expand_environment
from pipeline.transport.config import RedisConfig
from pipeline.transport.messages import Clock, MessageError, TickMessage, decode_tick

log = logging.getLogger(__name__)

_FIELD = b"m"
_ALREADY_THERE = "equal or smaller"
_BATCH = 64
_BLOCK_MS = 200
_BACKOFF_FIRST_S = 0.05
_BACKOFF_MAX_S = 2.0


class TransportError(RuntimeError):
    """The server can not be used; the message names no password."""


def connect(config: RedisConfig, environ: Mapping[str, str] = os.environ) -> Any:
    """A client of the server; connects at its first command.

    Raises ValueError where redis-py is missing, the address is none, or a variable in it is not set.
    """
    try:
        import redis
    except ImportError:
        raise ValueError("transport: redis-py is not installed; pip install 'crosscam[redis]'") from None
    url = expand_environment(config.url, environ)
    try:
        return redis.Redis.from_url(url, socket_timeout=config.timeout_s, socket_connect_timeout=config.timeout_s)
    except ValueError:
        raise ValueError("transport.url: want redis://, rediss:// or unix://") from None


class StreamWriter:
    """Adds messages to one stream, in order, each once. Keeps them while the server is away.

    Not thread-safe. `num_sent`, `num_repeated` (were there already) and `num_dropped` (the spool was full) only rise.
    """

    def __init__(self, client: Any, stream: str, config: RedisConfig) -> None:
        import redis

        self._away = (redis.ConnectionError, redis.TimeoutError, redis.BusyLoadingError)
        self._denied = (redis.AuthenticationError,)
        self._refused = redis.ResponseError
        self._client = client
        self._stream = stream
        self._config = config
        self._spool: deque[tuple[int, int, bytes]] = deque()
        self._next_try_s = 0.0
        self._backoff_s = _BACKOFF_FIRST_S
        self.num_sent = self.num_repeated = self.num_dropped = 0

    @property
    def num_waiting(self) -> int:
        return len(self._spool)

    def send(self, event_ms: int, number: int, message: bytes) -> None:
        """Add a message with the id `event_ms-number`, which must be above the one before; numbers count from 1."""
        if len(self._spool) >= self._config.spool_messages:
            self._spool.popleft()
            self.num_dropped += 1
        self._spool.append((event_ms, number, message))
        self.tend()

    def tend(self) -> None:
        """Send what waits, if it is time to try."""
        if self._spool and time.monotonic() >= self._next_try_s:
            self._flush()

    def close(self) -> bool:
        """Send what waits, for at most `close_wait_s` -> whether all has been sent."""
        deadline_s = time.monotonic() + self._config.close_wait_s
        while self._spool and not self._flush() and time.monotonic() < deadline_s:
            time.sleep(min(self._backoff_s, max(0.0, deadline_s - time.monotonic())))
        if self._spool:
            log.warning("%s: %d messages could not be sent: the server is away", self._stream, len(self._spool))
        if self.num_repeated:
            log.info("%s: %d messages were there already", self._stream, self.num_repeated)
        return not self._spool

    def _flush(self) -> bool:
        """Send what waits; False where the server is away."""
        try:
            while self._spool:
                batch = [self._spool[i] for i in range(min(_BATCH, len(self._spool)))]
                pipe = self._client.pipeline(transaction=False)
                for event_ms, number, message in batch:
                    oldest_ms = max(0, event_ms - int(self._config.retention_s * 1000))
                    pipe.xadd(self._stream, {_FIELD: message}, id=f"{event_ms}-{number}", minid=f"{oldest_ms}-0")
                for answer in pipe.execute(raise_on_error=False):
                    self._take(answer)
                    self._spool.popleft()
        except self._denied as error:
            raise _denied(self._stream) from error
        except self._away as error:
            if self._backoff_s == _BACKOFF_FIRST_S:
                log.warning("%s: the server is away (%s); messages wait", self._stream, type(error).__name__)
            self._next_try_s = time.monotonic() + self._backoff_s
            self._backoff_s = min(2 * self._backoff_s, _BACKOFF_MAX_S)
            return False
        self._backoff_s = _BACKOFF_FIRST_S
        return True

    def _take(self, answer: Any) -> None:
        if isinstance(answer, self._denied):
            raise answer
        if isinstance(answer, self._refused) and _ALREADY_THERE in str(answer):
            self.num_repeated += 1
        elif isinstance(answer, self._away):
            raise answer
        elif isinstance(answer, Exception):
            raise TransportError(f"{self._stream}: the server refuses messages: {answer}") from answer
        else:
            self.num_sent += 1


def _denied(stream: str) -> TransportError:
    return TransportError(f"{stream}: the server refuses the user or the password of transport.redis.url")


class TickSource:
    """The ticks of one edge box, in order, from the last one that was acknowledged on: an iterator.

    Ends with the box's end message, unless it is to `follow`, or when `stopped()`. A message that is no tick is
    refused: counted in `refused` by reason, acknowledged and passed over (`trimmed`: it was gone before it could be
    given again). `ack(index)` says that all ticks up to `index` are done with for good; what is not acknowledged comes
    again in the next run, and after `takeover_s` to any other reader.
    """

    def __init__(
        self,
        client: Any,
        edge: str,
        config: RedisConfig,
        camids: Mapping[str, int],
        *,
        dim: int,
        stopped: Callable[[], bool],
        clock: Clock | None = None,
        follow: bool = False,
        group: str = "fuser",
        consumer: str = "main",
    ) -> None:
        """camids: of the box's cameras, by name; messages about others are refused. clock: what the box must have."""
        import redis

        self._away = (redis.ConnectionError, redis.TimeoutError, redis.BusyLoadingError)
        self._denied = (redis.AuthenticationError,)
        self._refusal = redis.ResponseError
        self._client = client
        self._stream = config.tracklet_stream(edge)
        self._config = config
        self._camids = dict(camids)
        self._dim = dim
        self._stopped = stopped
        self._clock = clock
        self._follow = follow
        self._group = group
        self._consumer = consumer
        self._open: deque[tuple[int, bytes]] = deque()  # index and id of what was given and not acknowledged
        self._last_index = -1
        self.refused: Counter[str] = Counter()

    def __iter__(self) -> Iterator[TickMessage]:
        for entry_id, fields in self._entries():
            tick = self._decoded(entry_id, fields)
            if tick is None:
                continue
            self._open.append((tick.index, entry_id))
            if tick.kind == "end":
                if not self._follow:
                    return
                continue
            self._last_index = tick.index
            yield tick

    def ack(self, index: int) -> None:
        """All ticks up to `index` are done with. Raises TransportError where the server stays away."""
        ids = []
        while self._open and self._open[0][0] <= index:
            ids.append(self._open.popleft()[1])
        for start in range(0, len(ids), _BATCH):
            self._ack_ids(ids[start : start + _BATCH])

    def _decoded(self, entry_id: bytes, fields: Mapping[bytes, bytes]) -> TickMessage | None:
        try:
            if set(fields) != {_FIELD}:
                raise MessageError("bad_field", "the entry has other fields than m")
            limit = self._config.max_message_bytes
            tick = decode_tick(fields[_FIELD], self._camids, dim=self._dim, max_bytes=limit, clock=self._clock)
            if tick.index <= self._last_index:
                raise MessageError("bad_field", "tick: not after the one before")
        except MessageError as error:
            if not self.refused[error.reason]:
                log.warning("%s: a message is refused, and all like it: %s", self._stream, error)
            self.refused[error.reason] += 1
            self._ack_ids([entry_id])
            return None
        return tick

    def _entries(self) -> Iterator[tuple[bytes, Mapping[bytes, bytes]]]:
        """All entries that are ours: first what was given before and not acknowledged, then what comes."""
        self._patiently(self._make_group)
        self._patiently(self._take_over)
        for entries in self._own_pending():
            yield from entries
        while not self._stopped():
            yield from self._patiently(partial(self._read, b">", block=_BLOCK_MS))

    def _own_pending(self) -> Iterator[list[tuple[bytes, Mapping[bytes, bytes]]]]:
        after = b"0"
        while entries := self._patiently(partial(self._read, after)):
            after = entries[-1][0]
            trimmed = [entry_id for entry_id, fields in entries if not fields]
            self.refused["trimmed"] += len(trimmed)
            self._ack_ids(trimmed)
            yield [(entry_id, fields) for entry_id, fields in entries if fields]

    def _take_over(self) -> None:
        """Make ours what other readers of the group have held for too long; it comes with our own pending entries."""
        start: Any = b"0-0"
        idle_ms = int(self._config.takeover_s * 1000)
        while True:
            start = self._client.xautoclaim(
                self._stream, self._group, self._consumer, idle_ms, start_id=start, count=_BATCH
            )[0]
            if start == b"0-0":
                return

    def _read(self, after: bytes, block: int | None = None) -> list[tuple[bytes, Mapping[bytes, bytes]]]:
        streams = {self._stream: after}
        answer = self._client.xreadgroup(self._group, self._consumer, streams, count=_BATCH, block=block)
        if not answer:
            return []
        return list(answer[0][1])

    def _make_group(self) -> None:
        try:
            self._client.xgroup_create(self._stream, self._group, id="0", mkstream=True)
        except self._refusal as error:
            if "BUSYGROUP" not in str(error):
                raise

    def _ack_ids(self, ids: Sequence[bytes]) -> None:
        if ids:
            self._patiently(lambda: self._client.xack(self._stream, self._group, *ids))

    def _patiently(self, call: Callable[[], Any]) -> Any:
        """Call until the server is there, or the run is stopped."""
        backoff_s = _BACKOFF_FIRST_S
        while True:
            try:
                return call()
            except self._denied as error:
                raise _denied(self._stream) from error
            except self._away as error:
                if self._stopped():
                    return []
                if backoff_s == _BACKOFF_FIRST_S:
                    log.warning("%s: the server is away (%s); waiting for it", self._stream, type(error).__name__)
                time.sleep(backoff_s)
                backoff_s = min(2 * backoff_s, _BACKOFF_MAX_S)
            except self._refusal as error:
                if "NOGROUP" in str(error):  # the server has come back without its memory
                    self._make_group()
                    continue
                raise TransportError(f"{self._stream}: {error}") from error
