"""The driver's end of feeds that read elsewhere: queues of pictures that it knows of and does not have.

One thread for each host asks it for news and gives it its orders. Where a host is lost with its machine, its sources
are opened anew by another one: recordings are read on behind the last picture that was taken, live cameras are
numbered on. What the lost one had read is lost with it; its cameras are told of as with any lost connection.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import fields, replace
from types import TracebackType
from typing import Any, Protocol, Self

from pipeline.ingest.config import IngestConfig
from pipeline.ingest.far_host import FeedState, Head, News
from pipeline.ingest.items import Common, FeedPlan, HeldPicture, Item
from pipeline.ingest.status import CameraStatus
from pipeline.ingest.urls import mask_credentials

logger = logging.getLogger(__name__)

_WAIT_S = 0.25  # the longest that a host keeps an answer back
_END_S = 2.0  # how long the end of a run waits for a host that is busy
_DEFAULT_INTERVAL_S = 1 / 25
_COPIED = ("state", "message", "fps", "expected_frames", "width", "height")
_FLAGS = tuple(field.name for field in fields(FeedState) if field.name not in ("camids", "overflowed"))


class Way(Protocol):
    """How a `FeedHost` is reached. Both calls wait for their answer and raise ConnectionError where it is lost."""

    def call(self, method: str, *args: Any) -> None:
        """Call a method of the host."""
        ...

    def fetch(self, method: str, *args: Any) -> tuple[Any, list[Any]]:
        """Call a method that gives a value and a list of pictures: the value, and where each of the list stays."""
        ...

    def renew(self, reason: str) -> None:
        """Put another host in the place of the lost one. Raises ConnectionError where that can not be done."""
        ...


class FarFeed:
    """A source that a host reads; the fields are those of `AnyFeed`."""

    def __init__(self, plan: FeedPlan, desk: _Desk, number: int) -> None:
        self.plan = plan
        self.queue: deque[Item] = deque()
        self.settled = self.opened = self.connected = self.finished = self.overflowed = False
        self.interval_s = _DEFAULT_INTERVAL_S
        self.last_time_s = plan.zero_s if not plan.live else float("-inf")
        self.number = number
        self.camids = [spec.camid for spec in plan.specs]
        self.taken_idx = -1
        self.ended = threading.Event()
        self._desk = desk

    def leave_out(self, camids: Collection[int]) -> None:
        self.camids = [camid for camid in self.camids if camid not in camids]
        self._desk.leave_out(self, camids)

    def start(self) -> None:
        self._desk.begin(self)

    def pop(self) -> Item:
        item = self.queue.popleft()
        self.taken_idx, self.overflowed = item.frame_idx, False
        self._desk.nudge()
        return item

    def stop(self) -> None:
        self.queue.clear()
        self._desk.end(self)

    def join(self, timeout_s: float) -> bool:
        return self.finished or self.ended.wait(timeout_s)

    def rest(self) -> tuple[FeedPlan, int]:
        """How what has not been taken yet is read by another host, and the last picture that it need not give."""
        specs = tuple(spec for spec in self.plan.specs if spec.camid in self.camids)
        if self.plan.live:
            first_idx, after_s = max(self.plan.first_idx, self.taken_idx + 1), max(self.plan.after_s, self.last_time_s)
            return replace(self.plan, specs=specs, first_idx=first_idx, after_s=after_s), -1
        return replace(self.plan, specs=tuple(replace(s, num_passed=self.taken_idx + 1) for s in specs)), self.taken_idx


class _Desk:
    """All feeds of one host, and the thread that talks with it. Its own lock is taken last and for moments only, so
    that who calls may hold the reader's."""

    def __init__(self, way: Way, name: str, config: IngestConfig, common: Common) -> None:
        self._way, self._config = way, config
        self._wall, self._board, self._news = common.wall, common.board, common.news
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._feeds: dict[int, FarFeed] = {}
        self._stopping: dict[int, FarFeed] = {}
        self._orders: deque[tuple[str, tuple[Any, ...]]] = deque()
        self._told: dict[int, CameraStatus] = {}
        self._closing = False
        self._failure = ""  # why nothing will be read any more
        self._thread = threading.Thread(target=self._run, name=f"ingest-far-{name}", daemon=True)

    def begin(self, feed: FarFeed) -> None:
        """Have a feed read."""
        with self._lock:
            failure = self._failure
            if not failure:
                self._feeds[feed.number] = feed
                self._orders.append(("open", (feed.number, feed.plan, -1, self._wall.elapsed_s())))
        if failure:
            self._give_up([feed], failure)
            return
        self._wake.set()
        if self._thread.ident is None:
            self._thread.start()

    def leave_out(self, feed: FarFeed, camids: Collection[int]) -> None:
        """Some of a feed's cameras are not to be read any more."""
        with self._lock:
            if feed.number in self._feeds:
                self._orders.append(("leave_out", (feed.number, tuple(camids))))

    def end(self, feed: FarFeed) -> None:
        """Have a feed read no more."""
        with self._lock:
            if self._feeds.pop(feed.number, None) is None or self._thread.ident is None:
                feed.ended.set()
            else:
                self._stopping[feed.number] = feed
                self._orders.append(("stop", (feed.number,)))
        self._wake.set()

    def nudge(self) -> None:
        """There is room in a queue."""
        self._wake.set()

    def close(self) -> None:
        """End the thread."""
        self._closing = True
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join(_END_S)

    def _run(self) -> None:
        try:
            while not self._closing:
                try:
                    self._turn()
                except ConnectionError as error:
                    self._begin_anew(str(error))
        except Exception as error:  # a thread that died unseen would leave the reader waiting
            self._fail(f"unexpected {type(error).__name__}: {error}")

    def _turn(self) -> None:
        """Give orders, take news."""
        while self._orders:
            method, args = self._orders[0]
            self._way.call(method, *args)
            self._orders.popleft()
            if method == "stop":
                self._stopping.pop(args[0]).ended.set()
        with self._lock:
            feeds = dict(self._feeds)
        room = {number: self._config.buffer_frames - len(feed.queue) for number, feed in feeds.items()}
        if not any(n > 0 and not feeds[number].finished for number, n in room.items()):
            self._wake.wait(_WAIT_S)
            self._wake.clear()
            return
        self._wake.clear()
        news, places = self._way.fetch("poll", room, _WAIT_S)
        self._take_in(feeds, news, places)

    def _take_in(self, feeds: Mapping[int, FarFeed], news: News, places: Sequence[Any]) -> None:
        for status in news.cameras:
            self._note(status)
        now_s = time.monotonic()
        with self._news:
            for head, where in zip(news.heads, places, strict=True):
                feed = feeds.get(head.feed)
                if feed is not None and not feed.ended.is_set():
                    feed.queue.append(_item(head, where, now_s))
            for number, state in news.states.items():
                if (feed := feeds.get(number)) is not None:
                    for flag in _FLAGS:
                        setattr(feed, flag, getattr(state, flag))
                    feed.overflowed |= state.overflowed
                    feed.camids = [camid for camid in feed.camids if camid in state.camids]
            self._news.notify_all()

    def _note(self, status: CameraStatus) -> None:
        """What a host says of a camera, onto the board."""
        before = self._told.get(status.camid, CameraStatus(status.camid, status.name))
        self._told[status.camid] = status
        changes = {name: value for name in _COPIED if (value := getattr(status, name)) != getattr(before, name)}
        if changes:
            self._board.set([status.camid], **changes)
        self._board.count(
            [status.camid],
            dropped=status.num_dropped - before.num_dropped,
            broken=status.num_broken - before.num_broken,
            reconnects=status.num_reconnects - before.num_reconnects,
        )
        if changes.get("message"):
            level = logging.ERROR if status.state == "failed" else logging.WARNING
            logger.log(level, "camera %s: %s", status.name, status.message)

    def _begin_anew(self, reason: str) -> None:
        """The host is lost: have another one read what has not been taken yet."""
        reason = mask_credentials(reason)
        with self._lock:
            feeds = [feed for feed in self._feeds.values() if not (feed.finished and not feed.queue)]
            self._orders.clear()
            for stopped in self._stopping.values():
                stopped.ended.set()
            self._stopping.clear()
        if self._closing:
            return
        self._told = {}
        for feed in feeds:
            with self._news:
                num_lost = len(feed.queue)
                feed.queue.clear()
                feed.connected = feed.finished = False
                self._news.notify_all()
            self._board.count(feed.camids, dropped=num_lost if feed.plan.live else 0, reconnects=1)
            self._board.set(feed.camids, state="reconnecting", message=f"the worker that read it was lost: {reason}")
        logger.warning("a worker that read %d sources was lost (%s); another reads on", len(feeds), reason)
        try:
            self._way.renew(reason)
        except ConnectionError as error:
            self._fail(str(error))
            return
        with self._lock:
            for feed in feeds:
                if feed.number in self._feeds:
                    self._orders.append(("open", (feed.number, *feed.rest(), self._wall.elapsed_s())))

    def _fail(self, message: str) -> None:
        """Nothing will be read any more."""
        message = mask_credentials(message)
        with self._lock:
            feeds = list(self._feeds.values())
            self._closing, self._failure = True, message
        with self._news:
            self._give_up(feeds, message)
            self._news.notify_all()

    def _give_up(self, feeds: Sequence[FarFeed], message: str) -> None:
        for feed in feeds:
            self._board.set(feed.camids, state="failed", message=message)
            logger.error("camera %s failed: %s", feed.plan.names, message)
            feed.settled = feed.finished = True
            feed.connected = False
            feed.ended.set()


class FarFeeds:
    """Makes feeds that hosts read, for `TickReader(open_feed=...)`; a context manager that ends their threads.

    `host_of` gives the host of a camera, by camid; a source that several cameras share is read by the first one's.
    """

    def __init__(self, ways: Sequence[Way], host_of: Callable[[int], int]) -> None:
        self._ways, self._host_of = tuple(ways), host_of
        self._desks: dict[int, _Desk] = {}
        self._num_feeds = 0

    def __call__(self, plan: FeedPlan, config: IngestConfig, common: Common) -> FarFeed:
        host = self._host_of(plan.specs[0].camid)
        if host not in self._desks:
            self._desks[host] = _Desk(self._ways[host], str(host), config, common)
        self._num_feeds += 1
        return FarFeed(plan, self._desks[host], self._num_feeds - 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for desk in self._desks.values():
            desk.close()


def _item(head: Head, where: Any, now_s: float) -> Item:
    images = tuple(
        (camid, HeldPicture((height, width), where, place)) for place, (camid, height, width) in enumerate(head.sizes)
    )
    return Item(head.frame_idx, head.time_s, now_s - head.age_s, images)
