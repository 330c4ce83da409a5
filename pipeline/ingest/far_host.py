"""Feeds that read on another machine: the pictures stay there, and what is told of them travels.

A `FeedHost` stands where the pictures are to be worked on. Whoever makes ticks of them, the driver, has a `FarFeed` for
each of its feeds (`far_feed`) and asks for `News`, over and over.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from pipeline.ingest.clock import WallClock
from pipeline.ingest.config import IngestConfig
from pipeline.ingest.feed import Feed
from pipeline.ingest.items import Common, FeedPlan, Item
from pipeline.ingest.status import CameraStatus, StatusBoard
from pipeline.types import UInt8

Pictures = tuple[UInt8, ...]

_SHORT_S = 0.02  # the longest wait where some queue of the driver is full, and may have room any moment


class Head(NamedTuple):
    """What is told of an item: all but its pictures."""

    feed: int
    frame_idx: int
    time_s: float
    age_s: float  # for how long it has been ready
    sizes: tuple[tuple[int, int, int], ...]  # camid, height and width of each picture


@dataclass(frozen=True, slots=True)
class FeedState:
    """How a feed is doing; the fields are those of `Feed`."""

    settled: bool
    opened: bool
    connected: bool
    finished: bool
    overflowed: bool
    interval_s: float
    camids: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class News:
    """What has happened since the news before: states of feeds and cameras that have changed, and items in order."""

    states: Mapping[int, FeedState]
    cameras: tuple[CameraStatus, ...]
    heads: tuple[Head, ...]


class FeedHost:
    """Owns feeds and their threads; `poll` is called by one thread, all else by any."""

    def __init__(self, config: IngestConfig) -> None:
        self._config = config
        self._board = StatusBoard(())
        self._lock = threading.Lock()
        self._news = threading.Condition(self._lock)
        self._feeds: dict[int, Feed] = {}
        self._after: dict[int, int] = {}
        self._told_states: dict[int, FeedState] = {}
        self._told_cameras: dict[int, CameraStatus] = {}

    def open(self, number: int, plan: FeedPlan, after_idx: int, elapsed_s: float) -> None:
        """Read a source. Pictures up to number `after_idx` are known already; the driver's clock is at `elapsed_s`."""
        for spec in plan.specs:
            self._board.add(spec)
        feed = Feed(plan, self._config, Common(WallClock(elapsed_s), self._board, self._lock, self._news))
        with self._news:
            self._feeds[number], self._after[number] = feed, after_idx
        feed.start()

    def leave_out(self, number: int, camids: Collection[int]) -> None:
        """Read these cameras of a feed no more."""
        self._feeds[number].leave_out(camids)

    def stop(self, number: int) -> None:
        """End a feed; it is not spoken of any more."""
        with self._news:
            self._feeds.pop(number).stop()
            self._told_states.pop(number, None)

    def poll(self, room: Mapping[int, int], wait_s: float) -> tuple[News, list[Pictures]]:
        """News, and the pictures of each head. Of each feed at most `room` items; waits up to `wait_s` for any news.

        Where one of the feeds has no room it waits less, for it may have some at any time.
        """
        if any(room.get(number, 0) <= 0 for number in self._feeds):
            wait_s = min(wait_s, _SHORT_S)
        with self._news:
            states = self._states()
            if states == self._told_states and not self._has_items(room):
                self._news.wait(wait_s)
                states = self._states()
            changed = {n: state for n, state in states.items() if self._told_states.get(n) != state}
            self._told_states = states
            taken = [(n, item) for n, feed in self._feeds.items() for item in self._take(n, feed, room.get(n, 0))]
        # What is on the board by now is of these items and of earlier ones at least.
        cameras = tuple(one for one in self._board.snapshot() if self._told_cameras.get(one.camid) != one)
        self._told_cameras |= {one.camid: one for one in cameras}
        now_s = time.monotonic()
        heads = tuple(_head(number, item, now_s) for number, item in taken)
        return News(changed, cameras, heads), [tuple(_images(item).values()) for _, item in taken]

    def close(self) -> None:
        """End all feeds."""
        with self._news:
            for feed in self._feeds.values():
                feed.stop()
            self._news.notify_all()

    def _states(self) -> dict[int, FeedState]:
        return {number: _state(feed) for number, feed in self._feeds.items()}

    def _has_items(self, room: Mapping[int, int]) -> bool:
        return any(feed.queue and room.get(number, 0) > 0 for number, feed in self._feeds.items())

    def _take(self, number: int, feed: Feed, room: int) -> list[Item]:
        items: list[Item] = []
        while feed.queue and len(items) < room:
            item = feed.pop()
            if item.frame_idx > self._after[number]:
                items.append(item)
        return items


def _state(feed: Feed) -> FeedState:
    return FeedState(
        settled=feed.settled,
        opened=feed.opened,
        connected=feed.connected,
        finished=feed.finished and not feed.queue,
        overflowed=feed.overflowed,
        interval_s=feed.interval_s,
        camids=tuple(feed.camids),
    )


def _images(item: Item) -> dict[int, UInt8]:
    return {camid: image for camid, image in item.images if isinstance(image, np.ndarray)}


def _head(number: int, item: Item, now_s: float) -> Head:
    sizes = tuple((camid, image.shape[0], image.shape[1]) for camid, image in _images(item).items())
    return Head(number, item.frame_idx, item.time_s, now_s - item.queued_s, sizes)
