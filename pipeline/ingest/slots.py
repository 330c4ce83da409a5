"""Which slot of time a source's next picture comes in, and which pictures are given up so that it comes in time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from pipeline.ingest.items import AnyFeed, Item
from pipeline.ingest.status import StatusBoard

_SLOT_EPS: Final = 0.05  # of a tick: timestamps are rounded, in some containers to milliseconds


class Slots:
    """Owns the slot of each feed's last picture, by the feed's own time. Whoever calls holds the reader's lock.

    A picture's slot is the one its capture time lies in, or the next one after the slot of the feed's last picture.
    """

    def __init__(self, tick_s: float, board: StatusBoard) -> None:
        """board: where pictures that are given up are counted."""
        self._tick_s = tick_s
        self._board = board
        self._last: dict[AnyFeed, int] = {}

    def drop_together(self, active: Sequence[AnyFeed]) -> None:
        """When the pipeline is too slow and a camera has lost frames, the others give up theirs of that time too:
        whole ticks cost less than the same frames one by one."""
        behind = [f.queue[0].time_s for f in active if f.overflowed and f.queue]
        if not behind:
            return
        until_s = max(behind) + self._tick_s / 2
        for feed in active:
            while feed.plan.dropping and len(feed.queue) > 1 and feed.queue[1].time_s < until_s:
                self._drop(feed)

    def of_next(self, feed: AnyFeed, last_index: int | None) -> int | None:
        """Slot of the feed's next frame, None where it has none; `last_index` is the slot of the last tick. A dropping
        feed that runs ahead of its clock by more than one slot, because it is faster than the ticks, gives up frames.
        """
        while feed.queue:
            by_time = self._by_time(feed.queue[0])
            slot = max(by_time, self._last[feed] + 1) if feed in self._last else by_time
            if not feed.plan.dropping or slot <= by_time + 1:
                late = feed.plan.realtime and last_index is not None and slot <= last_index
                return last_index + 1 if late and last_index is not None else slot
            self._drop(feed)
        return None

    def take(self, feed: AnyFeed) -> Item:
        """The feed's next picture, which comes in the tick."""
        item = feed.queue[0]
        by_time = self._by_time(item)
        self._last[feed] = max(by_time, self._last.get(feed, by_time - 1) + 1)
        feed.last_time_s = item.time_s
        return feed.pop()

    def forget(self, feed: AnyFeed) -> None:
        """The feed is no longer read."""
        self._last.pop(feed, None)

    def _by_time(self, item: Item) -> int:
        return math.floor(item.time_s / self._tick_s + _SLOT_EPS)

    def _drop(self, feed: AnyFeed) -> None:
        self._board.count((camid for camid, _ in feed.pop().images), dropped=1)
