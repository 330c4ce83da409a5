"""What happens at the sources: none runs far ahead of the others, and one stream of ticks is split into shards."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from pipeline.runtime.chain import END, Mark, Notice, Tick

_POLL_S = 0.1
_FOR_ALL = (Mark, Notice)


def close_source(source: Iterable[Tick]) -> None:
    """Tell a source that nobody will read on; generators end, others may offer `close`."""
    close = getattr(source, "close", None)
    if close is not None:
        close()


class Pace:
    """Keeps the sources together: the one that is furthest ahead waits for the last.

    What a merging node has to hold back is bounded by this. A source counts by the tick that it wants to send, so
    that the last one never waits, whatever the gaps between its indices.
    """

    def __init__(self, num_shards: int, max_ahead: int = 64) -> None:
        self._max_ahead = max_ahead
        self._news = threading.Condition()
        self._wanted = dict.fromkeys(range(num_shards), END)

    def wait(self, shard: int, index: int, stopped: Callable[[], bool]) -> bool:
        """Wait until tick `index` of the shard may be sent; False where `stopped()` came first."""
        with self._news:
            self._wanted[shard] = index
            self._news.notify_all()
            while index > min(self._wanted.values()) + self._max_ahead:
                if stopped():
                    return False
                self._news.wait(_POLL_S)
        return True

    def end(self, shard: int) -> None:
        """The shard has no more ticks: nobody waits for it."""
        with self._news:
            self._wanted.pop(shard, None)
            self._news.notify_all()


class Splitter:
    """One stream of ticks as several shards, read by as many threads.

    `shard_of` gives the shard of an item; what is `_FOR_ALL` goes to each. Every shard gets every tick, if need be
    without items, so that who joins them later never waits for a shard that had nothing to say. The stream is read by
    whichever thread runs out first; none is read further than `max_ticks` ahead of the slowest shard. After an error in
    the stream each shard raises it.
    """

    def __init__(
        self, ticks: Iterable[Tick], num_shards: int, shard_of: Callable[[Any], int], max_ticks: int = 4
    ) -> None:
        self._ticks = iter(ticks)
        self._shard_of = shard_of
        self._max_ticks = max_ticks
        self._news = threading.Condition()
        self._queues: list[deque[Tick]] = [deque() for _ in range(num_shards)]
        self._closed = [False] * num_shards
        self._reading = False
        self._ended = False
        self._failure: BaseException | None = None

    def sources(self) -> list[Shard]:
        return [Shard(self, shard) for shard in range(len(self._queues))]

    def next_of(self, shard: int) -> Tick | None:
        """The next tick of a shard, None at its end."""
        while True:
            with self._news:
                if self._queues[shard]:
                    self._news.notify_all()
                    return self._queues[shard].popleft()
                if self._failure is not None:
                    raise self._failure
                if self._ended or self._closed[shard]:
                    return None
                if self._reading or not self._has_room():
                    self._news.wait(_POLL_S)
                    continue
                self._reading = True
            self._read()

    def close(self, shard: int) -> None:
        """Nobody reads this shard any more: the others do not wait for it."""
        with self._news:
            self._closed[shard] = True
            self._queues[shard].clear()
            self._news.notify_all()

    def _has_room(self) -> bool:
        return all(closed or len(row) < self._max_ticks for row, closed in zip(self._queues, self._closed, strict=True))

    def _read(self) -> None:
        """Read one tick without holding the lock: a live source may wait long."""
        tick: Tick | None = None
        failure: BaseException | None = None
        try:
            tick = next(self._ticks, None)
        except BaseException as error:  # every shard raises it in its own thread
            failure = error
        with self._news:
            self._reading = False
            self._failure, self._ended = failure, tick is None
            if tick is not None:
                for shard, row in enumerate(self._queues):
                    if not self._closed[shard]:
                        items = tuple(i for i in tick.items if isinstance(i, _FOR_ALL) or self._shard_of(i) == shard)
                        row.append(Tick(shard, tick.index, items))
            self._news.notify_all()


class Shard:
    """One shard of a `Splitter`: an iterator of its ticks."""

    def __init__(self, splitter: Splitter, shard: int) -> None:
        self._splitter = splitter
        self._shard = shard

    def __iter__(self) -> Iterator[Tick]:
        return self

    def __next__(self) -> Tick:
        tick = self._splitter.next_of(self._shard)
        if tick is None:
            raise StopIteration
        return tick

    def close(self) -> None:
        self._splitter.close(self._shard)


def spread(num_items: int, num_shards: int) -> list[int]:
    """The shard of each of `num_items` items in order: neighbours together, shards of nearly equal size.

    Neighbours stay together so that shards joined one after the other keep the order of the items.
    """
    count = max(1, min(num_shards, num_items))
    return [place * count // num_items for place in range(num_items)]
