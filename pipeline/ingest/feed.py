"""One thread per source: open, decode, crop, put on the shared clock, queue; and connect again when it breaks off."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Collection

from pipeline.ingest.build import open_source
from pipeline.ingest.clock import FileClock, LiveClock, Sampler
from pipeline.ingest.config import IngestConfig
from pipeline.ingest.crop import Cropper
from pipeline.ingest.items import Common, FeedPlan, Item
from pipeline.ingest.source import BrokenPictureError, Picture, Source, SourceError
from pipeline.ingest.urls import mask_credentials
from pipeline.types import UInt8

logger = logging.getLogger(__name__)

_DEFAULT_FPS = 25.0  # of a source that does not say; only ticks and missing timestamps rest on it


class Feed:
    """Owns a source's thread and its bounded queue."""

    def __init__(self, plan: FeedPlan, config: IngestConfig, common: Common) -> None:
        self.plan = plan
        self.queue: deque[Item] = deque()
        self.settled = False  # the first try has come to an end, well or badly
        self.opened = False  # at least one picture came
        self.connected = False
        self.finished = False  # nothing more will be queued
        self.overflowed = False  # pictures were dropped since the last one was taken
        self.interval_s = 1.0 / _DEFAULT_FPS
        self.last_time_s = plan.zero_s if not plan.live else float("-inf")
        self._config = config
        self._wall, self._board, self._news = common.wall, common.board, common.news
        self._space = threading.Condition(common.lock)
        self._stop = threading.Event()
        self._cropper = Cropper(plan.specs, common.board)
        self._num_passed = 0 if plan.realtime else min(spec.num_passed for spec in plan.specs)
        self._first_images: tuple[tuple[int, UInt8], ...] = ()
        self._next_idx = plan.first_idx
        self._read_to_s = 0.0
        self._num_measured = 0
        self._measured_from_s = 0.0
        self._file_clock = FileClock(self.interval_s)
        self._told: set[str] = set()  # kinds of warnings already given, a handful at most
        self._sampler = Sampler(config.max_fps)
        self._live_clock = LiveClock(fixed=not plan.dropping, after_s=plan.after_s - plan.zero_s)
        self._thread = threading.Thread(target=self._run, name=f"ingest-{self.plan.names}", daemon=True)

    @property
    def camids(self) -> list[int]:
        """The cameras that are still read."""
        return self._cropper.camids

    def leave_out(self, camids: Collection[int]) -> None:
        """Read these cameras no more."""
        self._cropper.camids = [camid for camid in self._cropper.camids if camid not in camids]

    def start(self) -> None:
        self._thread.start()

    def pop(self) -> Item:
        """Take the oldest picture; the caller holds the lock."""
        item = self.queue.popleft()
        self.overflowed = False
        self._space.notify()
        return item

    def stop(self) -> None:
        """Ask the thread to end; the caller holds the lock."""
        self._stop.set()
        self.queue.clear()
        self._space.notify_all()

    def join(self, timeout_s: float) -> bool:
        """True when the thread has ended. One that hangs in the network ends by itself at its read timeout."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._read_on()
        except SourceError as error:
            self._fail(str(error))
        except Exception as error:  # a thread that died unseen would leave the reader waiting
            self._fail(f"unexpected {type(error).__name__}: {error}")
        finally:
            with self._news:
                self.settled = self.finished = True
                self.connected = False
                self._news.notify_all()

    def _fail(self, message: str) -> None:
        message = mask_credentials(message)
        self._board.set(self._cropper.camids, state="failed", message=message)
        logger.error("camera %s failed: %s", self.plan.names, message)

    def _read_on(self) -> None:
        """Read to the end; a live source is connected again and again. Raises SourceError where it has failed."""
        delay_s = self._config.reconnect_first_s
        lost_s = time.monotonic()
        while not self._stop.is_set():
            start_idx = self._next_idx
            error = self._read_once()
            if self._stop.is_set() or not self._cropper.camids or error is None:
                return
            if self._next_idx > start_idx:
                delay_s = self._config.reconnect_first_s
                lost_s = time.monotonic()
            gone_s = time.monotonic() - lost_s
            give_up_s = self._config.reconnect_give_up_s
            if not self.plan.live:
                raise error
            if give_up_s is not None and gone_s + delay_s > give_up_s:
                raise SourceError(f"{error}; given up after {gone_s:.1f} s")
            self._lost(error, delay_s)
            self._stop.wait(delay_s)
            delay_s = min(2 * delay_s, self._config.reconnect_max_s)
            self._board.count(self._cropper.camids, reconnects=1)

    def _lost(self, error: SourceError, delay_s: float) -> None:
        message = mask_credentials(str(error))
        self._board.set(self._cropper.camids, state="reconnecting", message=message)
        logger.log(
            logging.WARNING if self.connected or not self.settled else logging.INFO,
            "camera %s: %s; next try in %g s",
            self.plan.names,
            message,
            delay_s,
        )
        with self._news:
            self.settled = True
            self.connected = False
            self._news.notify_all()

    def _read_once(self) -> SourceError | None:
        """Read one connection to its end: None when there is nothing more to come, else what broke it off."""
        plan = self.plan
        error: SourceError | None = None
        start_idx = self._next_idx
        try:
            source = open_source(plan.kind, plan.address, self._config, threads=plan.threads)
        except SourceError as refused:
            return refused
        try:
            self._live_clock.connect()
            self._introduce(source)
            if self._num_passed:
                source.pass_over(self._num_passed)
            self._take_all(source)
        except SourceError as broken:
            error = broken
        finally:
            source.close()
        if self._stop.is_set() or not self._cropper.camids:
            return None
        if plan.live and (error is not None or not source.is_finite):
            return error or SourceError(f"{mask_credentials(plan.address)} ended")
        if not self.opened:
            return error or SourceError(f"{mask_credentials(plan.address)} holds no picture that can be decoded")
        self._end(source, self._next_idx - start_idx, error)
        return None

    def _introduce(self, source: Source) -> None:
        spec_fps = self.plan.specs[0].fps
        if self.plan.kind == "folder" and spec_fps is None:
            name = self.plan.specs[0].name
            raise SourceError(f"camera {name}: a folder of pictures needs the key fps (pictures per second)")
        fps = spec_fps or source.nominal_fps or _DEFAULT_FPS
        taken_fps = min(fps, self._config.max_fps or fps)
        with self._news:
            self.interval_s = 1.0 / taken_fps
        self._file_clock = FileClock(1.0 / fps)
        expected = -int(-source.expected_frames * taken_fps // fps)
        self._board.set(self._cropper.camids, fps=fps, expected_frames=expected)
        if source.warning and spec_fps is None:
            self._told.add("missing")
            self._warn("source", source.warning)

    def _take_all(self, source: Source) -> None:
        for picture in source:
            frame_idx, self._next_idx = self._next_idx, self._next_idx + 1
            if picture.is_broken:
                self._leave_out(frame_idx, "a picture is damaged")
                continue
            time_s = self._time_of(picture, frame_idx)
            self._read_to_s = time_s - self.plan.zero_s
            if not self._sampler.takes(time_s):
                continue
            if frame_idx < self._num_passed and self._first_images:
                images = self._first_images
            else:
                try:
                    image = picture.load()
                except BrokenPictureError as error:
                    self._leave_out(frame_idx, str(error))
                    continue
                images = self._cropper.cut(image)
                self._first_images = images if frame_idx < self._num_passed else ()
            if not images or self._stop.is_set():
                return
            if not self.connected:
                self._announce()
            if self.plan.paced_from_s is not None:
                self._stop.wait(max(0.0, time_s - self.plan.paced_from_s - self._wall.elapsed_s()))
            if self.plan.live:
                self._measure(time_s)
            self._put(Item(frame_idx, time_s, time.monotonic(), images))

    def _leave_out(self, frame_idx: int, why: str) -> None:
        self._board.count(self._cropper.camids, broken=1)
        self._warn("broken", f"{why} (frame {frame_idx}); left out")

    def _time_of(self, picture: Picture, frame_idx: int) -> float:
        fps = self.plan.specs[0].fps
        if self.plan.live:
            return self._live_clock.time_of(picture.pts_s, self._wall.now_s()) + self.plan.zero_s
        if fps is not None:
            return frame_idx / fps + self.plan.zero_s
        clock = self._file_clock
        time_s = clock.time_of(picture.pts_s) + self.plan.zero_s
        if clock.num_missing and self.plan.kind == "file":
            self._warn("missing", f"frames without a time; taken as {1 / self.interval_s:.4g} frames/s")
        if clock.num_not_rising:
            self._warn("rising", f"times repeat or go back (first at frame {frame_idx}); moved behind the frame before")
        return time_s

    def _announce(self) -> None:
        """The first picture of a connection has come."""
        if self.opened:
            logger.info("camera %s is back", self.plan.names)
            self._board.set(self._cropper.camids, message="")
        self._board.set(self._cropper.camids, state="running")
        self._num_measured = 0
        with self._news:
            self.settled = self.opened = self.connected = True
            self._news.notify_all()

    def _measure(self, time_s: float) -> None:
        """The rate of a live camera, once a second."""
        if self._num_measured == 0:
            self._measured_from_s = time_s
        elif time_s - self._measured_from_s >= 1.0:
            fps = self._num_measured / (time_s - self._measured_from_s)
            self._board.set(self._cropper.camids, fps=fps)
            self.interval_s = 1.0 / fps
            self._num_measured, self._measured_from_s = 0, time_s
        self._num_measured += 1

    def _put(self, item: Item) -> None:
        num_dropped = 0
        with self._news:
            while len(self.queue) >= self._config.buffer_frames and not self._stop.is_set():
                if self.plan.dropping:
                    self.queue.popleft()
                    self.overflowed = True
                    num_dropped += 1
                else:
                    self._space.wait()
            if not self._stop.is_set():
                self.queue.append(item)
            self._news.notify_all()
        if num_dropped:
            self._board.count(self._cropper.camids, dropped=num_dropped)

    def _end(self, source: Source, num_frames: int, error: SourceError | None) -> None:
        expected = source.expected_frames
        # A rate that varies makes a reckoned number unsure, but not the duration.
        by_time = not source.is_exact and self._read_to_s < 0.9 * source.duration_s - 1.0
        short = by_time or (source.is_exact and num_frames < expected - 1)
        if error is not None or short:
            num_whole = num_frames - self._board[self._cropper.camids[0]].num_broken
            of_all = f" of {expected}" if expected else ""
            why = f" ({error})" if error is not None else ""
            self._warn("short", f"ended early after {num_whole}{of_all} whole frames{why}; is it cut short?")
        self._board.set(self._cropper.camids, state="ended")

    def _warn(self, kind: str, message: str) -> None:
        """Put the message on the board; log each kind once."""
        if kind in self._told:
            return
        self._told.add(kind)
        message = mask_credentials(message)
        self._board.set(self._cropper.camids, message=message)
        logger.warning("camera %s: %s", self.plan.names, message)
