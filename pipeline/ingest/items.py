"""What the tick reader knows of a source: how it is to be read, what comes of it, and what every feed offers."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Protocol

from pipeline.ingest.build import LIVE, SourceKind
from pipeline.ingest.clock import WallClock
from pipeline.ingest.config import IngestConfig
from pipeline.ingest.spec import CameraSpec
from pipeline.ingest.status import StatusBoard
from pipeline.types import Frame, HeldFrame, UInt8


@dataclass(frozen=True, slots=True)
class HeldPicture:
    """A picture that stays on the machine that read it, see `HeldFrame`."""

    size_hw: tuple[int, int]
    where: Any
    place: int


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """One picture of a source, cropped for each of its cameras."""

    frame_idx: int
    time_s: float  # on the shared clock
    queued_s: float  # time.monotonic() when it was ready
    images: tuple[tuple[int, UInt8 | HeldPicture], ...]  # (camid, (H, W, 3) BGR), by camid

    def frames(self) -> list[Frame | HeldFrame]:
        """One of each camera."""
        return [
            HeldFrame(camid, self.frame_idx, self.time_s, image.size_hw, image.where, image.place)
            if isinstance(image, HeldPicture)
            else Frame(camid, self.frame_idx, self.time_s, image)
            for camid, image in self.images
        ]


@dataclass(frozen=True, slots=True)
class FeedPlan:
    """How a source is read. `zero_s` is what to add to its own clock: seconds from the first frame for recordings,
    seconds since 1970 for live cameras. A recording with `paced_from_s` is played in real time: its picture of that
    time comes when the reader starts. With `dropping` the queue gives up its oldest picture when full, else the
    decoder waits."""

    kind: SourceKind
    address: str
    specs: tuple[CameraSpec, ...]  # by camid; they differ in nothing but camid, name and crop
    zero_s: float
    paced_from_s: float | None
    dropping: bool
    threads: int
    first_idx: int = 0  # number of the first picture: a live camera that comes back is numbered on
    after_s: float = float("-inf")  # its last picture's time on the shared clock: the first comes later

    @property
    def live(self) -> bool:
        return self.kind in LIVE

    @property
    def realtime(self) -> bool:
        """Its pictures come when they come: nobody waits long for them."""
        return self.live or self.paced_from_s is not None

    @property
    def names(self) -> str:
        return ", ".join(spec.name for spec in self.specs)


class AnyFeed(Protocol):
    """One source as it is read, here (`Feed`) or elsewhere (`FarFeed`); the reader's lock guards the fields."""

    plan: FeedPlan
    queue: deque[Item]
    settled: bool  # the first try has come to an end, well or badly
    opened: bool  # at least one picture came
    connected: bool
    finished: bool  # nothing more will be queued
    overflowed: bool  # pictures were dropped since the last one was taken
    interval_s: float
    last_time_s: float

    @property
    def camids(self) -> list[int]:
        """The cameras that are still read."""
        ...

    def leave_out(self, camids: Collection[int]) -> None:
        """Read these cameras no more."""
        ...

    def start(self) -> None: ...

    def pop(self) -> Item:
        """Take the oldest picture; the caller holds the lock."""
        ...

    def stop(self) -> None:
        """Ask it to end; the caller holds the lock."""
        ...

    def join(self, timeout_s: float) -> bool:
        """True when it has ended."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Common:
    """What all feeds of a reader have in common. `lock` guards their fields; `news` (on that lock) tells of changes."""

    wall: WallClock
    board: StatusBoard
    lock: threading.Lock
    news: threading.Condition


OpenFeed = Callable[[FeedPlan, IngestConfig, Common], AnyFeed]
"""Makes a feed, which is not started yet."""
