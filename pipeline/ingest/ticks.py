"""The tick reader: all cameras on one clock, one tick after the other. The only place that drops frames.

Time is cut into slots of `tick_s`. A frame's slot is the one its capture time lies in, or the next one after the
slot of the camera's last frame; a tick is a slot in which at least one camera has a frame.
"""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from pipeline.ingest.build import LIVE, locate
from pipeline.ingest.clock import WallClock
from pipeline.ingest.config import IngestConfig
from pipeline.ingest.feed import Feed
from pipeline.ingest.items import AnyFeed, Common, FeedPlan, Item, OpenFeed
from pipeline.ingest.spec import CameraSpec
from pipeline.ingest.status import CameraStatus, StatusBoard
from pipeline.types import Frame, HeldFrame

logger = logging.getLogger(__name__)

_SLOT_EPS: Final = 0.05  # of a tick: timestamps are rounded, in some containers to milliseconds
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


class ChangeError(ValueError):
    """Cameras that can not be added while others are being read. The message names the camera and why."""


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
        self._names = {s.camid: s.name for s in specs}
        self._lock = threading.Lock()
        self._news = threading.Condition(self._lock)
        self._feeds: list[AnyFeed] = []
        self._slots: dict[AnyFeed, int] = {}  # of each feed's last frame, by its own time
        self._groups = _group_by_source(specs)
        self.clock_zero_s = _clock_zero_s(self._groups, self._wall) if clock_zero_s is None else clock_zero_s
        self.tick_s = self._config.tick_s or 0.0  # known once open
        self._last_index: int | None = None
        self._first_s: float | None = None  # capture time of the first tick
        self._first_taken_s = 0.0  # time.monotonic() of the first tick
        self._last_idx: dict[int, int] = {}  # camid -> number of its last frame
        self._last_s: dict[int, float] = {}  # camid -> its time
        self._any_live = False
        self._paced_from_s: float | None = None  # time on the shared clock at which recordings began to be played
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
        for plan in self._plans():
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
                    self._slots.pop(feed, None)
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
        kind, address = locate(spec.source)
        is_live, again = kind in LIVE, spec.camid in self._last_idx
        any_live, any_realtime = self._any_live, self._paced_from_s is not None
        if is_live and not any_live:
            raise ChangeError(
                f"camera {spec.name}: it is live, but this run reads recordings; start another run for live cameras"
            )
        if not is_live and again:
            raise ChangeError(
                f"camera {spec.name}: there was a camera of that id; a recording that is added needs a new one"
            )
        now_s = self._now_s()
        dropping = self._config.policy == "drop_oldest"
        return FeedPlan(
            kind=kind,
            address=address,
            specs=(spec,),
            zero_s=spec.offset_s - (self.clock_zero_s or 0.0) if is_live else now_s,
            paced_from_s=now_s - self._wall.elapsed_s() if any_realtime and not is_live else None,
            dropping=dropping or (is_live and self._config.policy == "auto"),
            threads=self._config.decode_threads or max(1, (os.cpu_count() or 1) // (len(self._feeds) + 1)),
            first_idx=self._last_idx[spec.camid] + 1 if again else 0,
            after_s=self._last_s[spec.camid] if again else float("-inf"),
        )

    def _now_s(self) -> float:
        if self._any_live:
            return self._wall.now_s() - (self.clock_zero_s or 0.0)
        if self._paced_from_s is not None:
            return self._paced_from_s + self._wall.elapsed_s()
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

    def _plans(self) -> list[FeedPlan]:
        kinds = [locate(group[0].source) for group in self._groups]
        any_live = any(kind in LIVE for kind, _ in kinds)
        dropping = self._config.policy == "drop_oldest"
        clock_zero_s = self.clock_zero_s or 0.0
        zeros_s = [
            group[0].offset_s - clock_zero_s
            if kind in LIVE
            else group[0].offset_s + (0.0 if group[0].start_time_s is None else group[0].start_time_s - clock_zero_s)
            for group, (kind, _) in zip(self._groups, kinds, strict=True)
        ]
        recorded_s = [z for z, (kind, _) in zip(zeros_s, kinds, strict=True) if kind not in LIVE]
        paced_from_s = min(recorded_s, default=0.0) if any_live or dropping else None
        self._any_live, self._paced_from_s = any_live, paced_from_s
        threads = self._config.decode_threads or max(1, (os.cpu_count() or 1) // max(1, len(self._groups)))
        return [
            FeedPlan(
                kind=kind,
                address=address,
                specs=group,
                zero_s=zero_s,
                paced_from_s=None if kind in LIVE else paced_from_s,
                dropping=dropping or (kind in LIVE and self._config.policy == "auto"),
                threads=threads,
            )
            for group, (kind, address), zero_s in zip(self._groups, kinds, zeros_s, strict=True)
        ]

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
                    return None
                self._drop_together(active)
                slots = {f: slot for f in active if (slot := self._slot_of(f)) is not None}
                index = min(slots.values(), default=None)
                wait_s = _POLL_S if index is None else self._wait_s(active, slots, index)
                if index is not None and wait_s <= 0:
                    taken = [(f, self._take(f)) for f, slot in slots.items() if slot == index]
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

    def _drop_together(self, active: Sequence[AnyFeed]) -> None:
        """When the pipeline is too slow and a camera has lost frames, the others give up theirs of that time too:
        whole ticks cost less than the same frames one by one."""
        behind = [f.queue[0].time_s for f in active if f.overflowed and f.queue]
        if not behind:
            return
        until_s = max(behind) + self.tick_s / 2
        for feed in active:
            while feed.plan.dropping and len(feed.queue) > 1 and feed.queue[1].time_s < until_s:
                self._board.count((camid for camid, _ in feed.pop().images), dropped=1)

    def _slot_of(self, feed: AnyFeed) -> int | None:
        """Slot of the feed's next frame, None where it has none. A dropping feed that runs ahead of its clock by
        more than one slot, because it is faster than the ticks, gives up frames."""
        while feed.queue:
            by_time = math.floor(feed.queue[0].time_s / self.tick_s + _SLOT_EPS)
            slot = max(by_time, self._slots[feed] + 1) if feed in self._slots else by_time
            if not feed.plan.dropping or slot <= by_time + 1:
                late = feed.plan.realtime and self._last_index is not None and slot <= self._last_index
                return self._last_index + 1 if late and self._last_index is not None else slot
            self._board.count((camid for camid, _ in feed.pop().images), dropped=1)
        return None

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

    def _take(self, feed: AnyFeed) -> Item:
        item = feed.queue[0]
        by_time = math.floor(item.time_s / self.tick_s + _SLOT_EPS)
        self._slots[feed] = max(by_time, self._slots.get(feed, by_time - 1) + 1)
        feed.last_time_s = item.time_s
        return feed.pop()

    def _tick(self, index: int, taken: Sequence[tuple[AnyFeed, Item]]) -> Tick | None:
        self._last_index = index
        start_s = min(item.time_s for _, item in taken)
        if self._first_s is None:
            self._first_s, self._first_taken_s = start_s, time.monotonic()
        if self._max_seconds is not None and start_s >= self._first_s + self._max_seconds - 1e-9:
            return None
        now_s = self._wall.now_s() - (self.clock_zero_s or 0.0)
        frames: list[Frame | HeldFrame] = []
        for feed, item in taken:
            lag_s = now_s - item.time_s if feed.plan.live else 0.0
            for frame in item.frames():
                if frame.camid not in feed.camids:
                    continue  # it was removed while the picture waited
                self._last_idx[frame.camid], self._last_s[frame.camid] = frame.frame_idx, frame.time_s
                frames.append(frame)
                height, width = frame.size_hw
                self._board.delivered(frame.camid, time_s=frame.time_s, lag_s=lag_s, width=width, height=height)
        return Tick(index, tuple(sorted(frames, key=lambda f: f.camid)))


def _group_by_source(specs: Sequence[CameraSpec]) -> list[tuple[CameraSpec, ...]]:
    """Cameras that share a decoder: the same source, and the same times. In the order of their first camid."""
    groups: dict[object, list[CameraSpec]] = {}
    for spec in sorted(specs, key=lambda s: s.camid):
        key = (locate(spec.source), spec.fps, spec.start_time_s, spec.offset_s)
        groups.setdefault(key, []).append(spec)
    return [tuple(group) for group in groups.values()]


def _clock_zero_s(groups: Sequence[tuple[CameraSpec, ...]], wall: WallClock) -> float | None:
    recorded = [g[0] for g in groups if locate(g[0].source)[0] not in LIVE]
    starts_s = [s.start_time_s for s in recorded if s.start_time_s is not None]
    for spec in recorded if starts_s else ():
        if spec.start_time_s is None:
            logger.warning("camera %s has no start_time; taken as the earliest of the others", spec.name)
    if starts_s:
        return min(starts_s)
    return wall.now_s() if len(recorded) < len(groups) else None
