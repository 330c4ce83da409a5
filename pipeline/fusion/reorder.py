"""Frames in the order of their event time, whatever the order in which they arrive."""

from __future__ import annotations

import bisect
import hashlib
import logging
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter

import numpy as np

from pipeline.types import EmbeddedFrame

log = logging.getLogger(__name__)

_MOMENT_S = 0.2  # frames of different cameras within it make one tick, if no camera comes twice
_Key = tuple[float, int, int, bool, int, bytes]


@dataclass(frozen=True, slots=True)
class Dropped:
    """How many frames of one camera were dropped."""

    late: int = 0
    twice: int = 0


class Reorder:
    """Holds frames until the watermark has passed them, and releases them in ticks ordered by time, camera and frame.

    The watermark is the greatest event time seen so far minus `lateness_s`: what comes no later than that leaves in
    one and the same order and in the same ticks, in whatever order it came. A frame from before the watermark is too
    late: it is dropped, counted, and its camera named in a warning, once. So is an exact copy of a frame that waits.
    A late message without tracks (which tells that tracklets ended, or brings their last clips) harms no order and is
    passed on at once, as a tick of its own.

    At most `capacity` frames wait; when more come, the oldest tick leaves early and the watermark moves on with it.
    """

    def __init__(
        self,
        lateness_s: float,
        camera_names: Sequence[str] = (),
        capacity: int = 65_536,
        moment_s: float = _MOMENT_S,
    ) -> None:
        """camera_names: by camid, for warnings."""
        self._lateness_s = lateness_s
        self._names = tuple(camera_names)
        self._capacity = capacity
        self._moment_s = moment_s
        self._watermark_s = -math.inf
        self._waiting: list[tuple[_Key, EmbeddedFrame]] = []  # ascending
        self._keys: set[_Key] = set()
        self._overflowed = False
        self.dropped: dict[int, Dropped] = {}  # by camid

    def follow(self, camera_names: Sequence[str]) -> None:
        """There are more cameras; names by camid."""
        self._names = tuple(camera_names)

    def __len__(self) -> int:
        """How many frames wait."""
        return len(self._waiting)

    def add(self, items: Iterable[EmbeddedFrame]) -> list[tuple[EmbeddedFrame, ...]]:
        """Take frames in, in any order -> the ticks that are complete now."""
        ticks: list[tuple[EmbeddedFrame, ...]] = []
        for item in items:
            if item.time_s < self._watermark_s:
                if len(item.tracks):
                    self._drop(item, twice=False)
                else:
                    ticks.append((item,))
                continue
            key = _key(item)
            if key in self._keys:
                self._drop(item, twice=True)
                continue
            self._keys.add(key)
            bisect.insort(self._waiting, (key, item), key=itemgetter(0))
            self._watermark_s = max(self._watermark_s, item.time_s - self._lateness_s)
            while (tick := self._complete()) is not None:
                ticks.append(tick)
            while len(self._waiting) > self._capacity:
                ticks.append(self._make_room())
        return ticks

    def flush(self) -> list[tuple[EmbeddedFrame, ...]]:
        """All that waits, as ticks; nothing comes after it."""
        ticks = []
        while self._waiting:
            ticks.append(self._pop(self._first_tick(math.inf)[0]))
        self._watermark_s = math.inf
        return ticks

    def _complete(self) -> tuple[EmbeddedFrame, ...] | None:
        """The oldest tick, if nothing that is not too late can join it any more."""
        if not self._waiting or self._waiting[0][0][0] >= self._watermark_s:
            return None
        count, closed = self._first_tick(self._watermark_s)
        return self._pop(count) if closed else None

    def _first_tick(self, until_s: float) -> tuple[int, bool]:
        """How many of the frames before `until_s` make up the oldest tick, and whether no more can join it."""
        start_s = self._waiting[0][0][0]
        cameras: set[int] = set()
        for key, _ in self._waiting:
            if key[0] >= until_s:
                break
            if key[1] in cameras or key[0] > start_s + self._moment_s:
                return len(cameras), True
            cameras.add(key[1])
        return len(cameras), start_s + self._moment_s < until_s

    def _pop(self, count: int) -> tuple[EmbeddedFrame, ...]:
        tick, self._waiting[:count] = self._waiting[:count], []
        self._keys.difference_update(key for key, _ in tick)
        return tuple(item for _, item in tick)

    def _make_room(self) -> tuple[EmbeddedFrame, ...]:
        if not self._overflowed:
            self._overflowed = True
            log.warning("more than %d frames wait for late ones; the oldest are no longer waited for", self._capacity)
        tick = self._pop(self._first_tick(math.inf)[0])
        self._watermark_s = max(self._watermark_s, math.nextafter(tick[-1].time_s, math.inf))
        return tick

    def _drop(self, item: EmbeddedFrame, *, twice: bool) -> None:
        if item.camid not in self.dropped:
            self.dropped[item.camid] = Dropped()
            what = "twice" if twice else f"more than {self._lateness_s:g} s late"
            name = self._names[item.camid] if self._names else f"number {item.camid}"
            log.warning(
                "camera %s: frame %d (%.3f s) came %s and is dropped; more of that camera are only counted",
                name,
                item.frame_idx,
                item.time_s,
                what,
            )
        count = self.dropped[item.camid]
        self.dropped[item.camid] = replace(count, late=count.late + (not twice), twice=count.twice + twice)


def _key(item: EmbeddedFrame) -> _Key:
    """What frames are ordered by; two have the same one only if they are copies. What shows nobody comes last."""
    digest = hashlib.blake2b(digest_size=16)
    columns = (item.tracks.track_id, item.tracks.xyxy, item.embeddings.track_id, item.embeddings.vector, item.ended)
    for column in columns:
        digest.update(len(column).to_bytes(8, "little"))
        digest.update(np.ascontiguousarray(column).tobytes())
    news = len(item.ended) + len(item.embeddings)
    return item.time_s, item.camid, item.frame_idx, not len(item.tracks), news, digest.digest()
