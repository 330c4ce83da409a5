"""The tick reader: all cameras on one clock, one tick after the other. The only place that drops frames:
`slots.py` says which, and a feed whose queue is full its oldest.

Time is cut into slots of `tick_s`. A frame's slot is the one its capture time lies in, or the next one after the
slot of the camera's last frame; a tick is a slot in which at least one camera has a frame.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from pipeline.ingest.clock import WallClock
from pipeline.ingest.config import IngestConfig
from pipeline.ingest.feed import Feed
from pipeline.ingest.items import AnyFeed, Common, FeedPlan, Item, OpenFeed
from pipeline.ingest.plans import ChangeError, Playback, clock_zero_of, group_by_source, plan_of_added, plans_at_start
from pipeline.ingest.slots import Slots
from pipeline.ingest.spec import CameraSpec
from pipeline.ingest.status import CameraStatus, StatusBoard
from pipeline.types import Frame, HeldFrame

logger = logging.getLogger(__name__)

_JOIN_S: Final = 2.0  # how long `close` waits for its threads, all together
_POLL_S: Final = 0.5  # the longest sleep of a reader that counts on nobody


class NoCameraError(RuntimeError):
    """Not one camera could be read. The message lists each with its reason, free of credentials."""


@dataclass(frozen=True, slots=True, eq=False)
class Tick:
    """At most one frame per camera, by camid. `index` is the slot on the shared clock: it rises, with gaps where no
    camera had a frame, and is the same in every reader of the same `tick_s` and clock zero."""

    index: int
    frames: tuple[Frame | HeldFrame, ...]


class TickReader:
    """Reads all cameras and yields `Tick`s in order: a context manager, and an iterable that is read once.

    `clock_zero_s` (seconds since 1970) is where `Frame.time_s` is 0: the earliest `start_time_s` of the recordings
    that have one, else the moment of the start if a camera is live, else None (every recording starts at 0).
    Readers of a part of the cameras are given the whole's `config.tick_s` and `clock_zero_s`.

    Recordings alone are read as fast as ticks are taken, nothing is lost and the ticks depend on the files only.
    As soon as one camera is live, or with the policy `drop_oldest`, recordings are played in real time.
    """

    def __init__(
        self,
        specs: Sequence[CameraSpec],
        config: IngestConfig | None = None,
        *,
        max_seconds: float | None = None,
        clock_zero_s: float | None = None,
        open_feed: OpenFeed = Feed,
    ) -> None:
        """open_feed: makes what reads a source; `far_feed.FarFeeds` has it read on other machines."""
        camids = [s.camid for s in specs]
        if len(set(camids)) < len(camids):
            raise ValueError(f"camids must differ, got {sorted(camids)}")
        self._config = config or IngestConfig()
        self._max_seconds = max_seconds
        self._open_feed = open_feed
        self._wall = WallClock()
        self._board = StatusBoard(specs)
        self._lock = threading.Lock()
        self._news = threading.Condition(self._lock)
        self._feeds: list[AnyFeed] = []
        self._groups = group_by_source(specs)
        self.clock_zero_s = clock_zero_of(self._groups, self._wall) if clock_zero_s is None else clock_zero_s
        self.tick_s = self._config.tick_s or 0.0  # known once open
        self._slots = Slots(self.tick_s, self._board)
        self._last_index: int | None = None
        self._first_s: float | None = None  # capture time of the first tick
        self._first_taken_s = 0.0  # time.monotonic() of the first tick
        self._last: dict[int, tuple[int, float]] = {}  # camid -> frame_idx and time_s of its last frame
        self._playback = Playback()
        self._next_notice: object = None
        self.notice: object = None
        self._state = "new"

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def open(self) -> None:
        """Start reading and wait until each camera has given a picture or failed to. With `tick_s` given, the first
        live camera is enough. Raises NoCameraError where none can be read."""
        if self._state != "new":
            return
        self._state = "opening"
        self._playback, plans = plans_at_start(self._groups, self._config, self.clock_zero_s or 0.0)
        for plan in plans:
            self._feeds.append(self._feed(plan))
        try:
            for feed in self._feeds:
                feed.start()
            with self._news:
                while self._state == "opening" and not self._settled():
                    self._news.wait()
                opened = [f for f in self._feeds if f.opened]
        except BaseException:
            self.close()
            raise
        if not opened:
            reasons = "\n".join(f"  {s.name}: {s.message}" for s in self.status())
            self.close()
            raise NoCameraError(f"no camera could be read:\n{reasons}")
        if self._config.tick_s is None:
            self.tick_s = min(f.interval_s for f in opened)
            self._slots = Slots(self.tick_s, self._board)
        self._warn_of_long_ticks(opened)
        with self._news:
            if self._state == "opening":
                self._state = "open"

    def change(self, add: Sequence[CameraSpec], remove: Collection[int], notice: object = None) -> None:
        """Read these cameras from now on, and those no more; from any thread. A camid that is both is begun anew.

        From the first tick on for which this counts, `notice` is what was given here: read it where ticks are taken. A
        recording that is added begins now, whatever its start_time. Raises ChangeError, and nothing has changed.
        """
        with self._news:
            if self._state != "open" or not self._feeds:
                raise ChangeError("the cameras are not being read: it is too early, or too late")
            plans = [self._added(spec) for spec in add]
            for feed in list(self._feeds):
                feed.leave_out(remove)
                if not feed.camids:
                    feed.stop()
                    self._feeds.remove(feed)
                    self._slots.forget(feed)
            self._board.remove(remove)
            for plan in plans:
                self._board.add(plan.specs[0])
                feed = self._feed(plan)
                self._feeds.append(feed)
                feed.start()
            self._next_notice = notice
            self._news.notify_all()

    def now_s(self) -> float:
        """The present on the shared clock; where recordings are read as fast as can be, behind all ticks so far."""
        with self._lock:
            return self._now_s()

    def mention(self, specs: Sequence[CameraSpec]) -> None:
        """Cameras that were removed in an earlier part of the run: they have a status, and are not read."""
        for spec in specs:
            self._board.add(spec)
        self._board.remove([spec.camid for spec in specs])

    def _added(self, spec: CameraSpec) -> FeedPlan:
        """How a camera is read that comes later; the caller holds the lock."""
        return plan_of_added(
            spec,
            self._config,
            self._playback,
            clock_zero_s=self.clock_zero_s or 0.0,
            now_s=self._now_s(),
            elapsed_s=self._wall.elapsed_s(),
            num_others=len(self._feeds),
            last=self._last.get(spec.camid),
        )

    def _now_s(self) -> float:
        if self._playback.any_live:
            return self._wall.now_s() - (self.clock_zero_s or 0.0)
        if self._playback.paced_from_s is not None:
            return self._playback.paced_from_s + self._wall.elapsed_s()
        return 0.0 if self._last_index is None else (self._last_index + 1) * self.tick_s

    def close(self) -> None:
        """Stop all threads and give up what is queued. Waits 2 s at most: a thread that hangs in a silent network
        connection ends at its timeout by itself."""
        self._state = "closed"
        with self._news:
            for feed in self._feeds:
                feed.stop()
            self._news.notify_all()
        deadline_s = time.monotonic() + _JOIN_S
        for feed in self._feeds:
            if not feed.join(max(0.0, deadline_s - time.monotonic())):
                logger.debug("a thread still waits for the network; it ends at its timeout")
        self._board.stop()

    def status(self) -> tuple[CameraStatus, ...]:
        """How each camera is doing, by camid; from any thread, at any time."""
        return self._board.snapshot()

    def waiting(self) -> dict[int, int]:
        """By camid, how many of its frames are read and not yet in a tick."""
        with self._lock:
            return {camid: len(feed.queue) for feed in self._feeds for camid in feed.camids}

    def __iter__(self) -> Iterator[Tick]:
        self.open()
        while (tick := self._next_tick()) is not None:
            yield tick

    def _feed(self, plan: FeedPlan) -> AnyFeed:
        return self._open_feed(plan, self._config, Common(self._wall, self._board, self._lock, self._news))

    def _settled(self) -> bool:
        """Enough is known to start; the caller holds the lock."""
        if all(f.settled for f in self._feeds):
            return True
        opened = any(f.opened for f in self._feeds)
        return self._config.tick_s is not None and opened and all(f.settled or f.plan.live for f in self._feeds)

    def _warn_of_long_ticks(self, feeds: Sequence[AnyFeed]) -> None:
        for feed in feeds:
            if feed.interval_s < self.tick_s * 0.98 and not feed.plan.dropping:
                logger.warning(
                    "camera %s has a frame each %.4g s, but a tick is %.4g s: its frames come in ever later ticks; "
                    "set max_fps to %.4g or less, or a shorter tick_s",
                    feed.plan.names,
                    feed.interval_s,
                    self.tick_s,
                    1 / self.tick_s,
                )

    def _next_tick(self) -> Tick | None:
        with self._news:
            while self._state == "open":
                active = [f for f in self._feeds if f.queue or not f.finished]
                if not active or self._time_is_up(active):
                    self._state = "ended"  # from now on a change would come too late
                    return None
                self._slots.drop_together(active)
                slots = {f: slot for f in active if (slot := self._slots.of_next(f, self._last_index)) is not None}
                index = min(slots.values(), default=None)
                wait_s = _POLL_S if index is None else self._wait_s(active, slots, index)
                if index is not None and wait_s <= 0:
                    taken = [(f, self._slots.take(f)) for f, slot in slots.items() if slot == index]
                    self.notice = self._next_notice
                    break
                self._news.wait(wait_s)
            else:
                return None
        return self._tick(index, taken)

    def _time_is_up(self, active: Sequence[AnyFeed]) -> bool:
        """With `max_seconds`, live cameras that stay away must not hold the end up."""
        return (
            self._max_seconds is not None
            and self._first_s is not None
            and all(f.plan.realtime and not f.queue for f in active)
            and time.monotonic() > self._first_taken_s + self._max_seconds + self._config.max_wait_s
        )

    def _wait_s(self, active: Sequence[AnyFeed], slots: dict[AnyFeed, int], index: int) -> float:
        """How long to wait for the cameras that have no frame yet but may still have one for slot `index`."""
        missing = [f for f in active if f not in slots]
        if any(not f.plan.realtime for f in missing):
            return _POLL_S
        end_s = (index + 1) * self.tick_s
        if not any(f.connected and f.last_time_s + f.interval_s / 2 < end_s for f in missing):
            return 0.0
        oldest_s = min(f.queue[0].queued_s for f, slot in slots.items() if slot == index)
        return oldest_s + self._config.max_wait_s - time.monotonic()

    def _tick(self, index: int, taken: Sequence[tuple[AnyFeed, Item]]) -> Tick | None:
        self._last_index = index
        start_s = min(item.time_s for _, item in taken)
        if self._first_s is None:
            self._first_s, self._first_taken_s = start_s, time.monotonic()
        if self._max_seconds is not None and start_s >= self._first_s + self._max_seconds - 1e-9:
            self._state = "ended"
            return None
        now_s = self._wall.now_s() - (self.clock_zero_s or 0.0)
        frames: list[Frame | HeldFrame] = []
        for feed, item in taken:
            lag_s = now_s - item.time_s if feed.plan.live else 0.0
            for frame in item.frames():
                if frame.camid not in feed.camids:
                    continue  # it was removed while the picture waited
                self._last[frame.camid] = frame.frame_idx, frame.time_s
                frames.append(frame)
                height, width = frame.size_hw
                self._board.delivered(frame.camid, time_s=frame.time_s, lag_s=lag_s, width=width, height=height)
        return Tick(index, tuple(sorted(frames, key=lambda f: f.camid)))
