"""Sources of ticks, each read by a thread of its own into shared memory and a short queue."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from pipeline.runtime.chain import END, Tick
from pipeline.runtime.pace import Pace, close_source
from pipeline.runtime.rings import Ring, dump, dump_whole
from pipeline.runtime.worker_process import Parcel

_POLL_S = 0.1
_ROOM_WAIT_S = 0.02  # for shared memory; then arrays go through the pipe, so that nobody waits for ever


class Feeds:
    """The sources of a run. `stopped()` ends all waiting, `news()` is called whenever a tick can be taken."""

    def __init__(
        self,
        sources: Sequence[Iterable[Tick]],
        queue_ticks: int,
        ring_bytes: int,
        *,
        stopped: Callable[[], bool],
        news: Callable[[], None],
    ) -> None:
        self.rings = tuple(Ring(ring_bytes) for _ in sources)
        self._sources = tuple(sources)
        self._queues: tuple[queue.Queue[Parcel], ...] = tuple(queue.Queue(queue_ticks) for _ in sources)
        self._pace = Pace(len(self._sources))
        self._stopped = stopped
        self._news = news

    def read(self, shard: int) -> None:
        """Read a source to its end; what a thread does."""
        source = self._sources[shard]
        try:
            for tick in source:
                if not self._pace.wait(shard, tick.index, self._stopped) or not self._offer(shard, tick):
                    return
            self._pace.end(shard)
            self._offer(shard, Tick(shard, END, ()))
        finally:
            close_source(source)

    def take(self, shard: int) -> Parcel | None:
        """The next tick of a source, if it is there."""
        with suppress(queue.Empty):
            return self._queues[shard].get_nowait()
        return None

    def unlink(self) -> None:
        """Give the shared memory back to the system."""
        for ring in self.rings:
            ring.unlink()

    def _offer(self, shard: int, tick: Tick) -> bool:
        """Queue a tick; False where the run was closed first."""
        head, large = dump(tick.items)
        spans = self.rings[shard].put(large, _ROOM_WAIT_S)
        if spans is None:
            head, spans = dump_whole(tick.items), []
        parcel = Parcel(shard, tick.index, head, tuple(spans))
        while not self._stopped():
            with suppress(queue.Full):
                self._queues[shard].put(parcel, timeout=_POLL_S)
                self._news()
                return True
        return False
