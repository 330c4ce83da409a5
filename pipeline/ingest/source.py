"""What every kind of source offers: pictures in order, each decoded to BGR only when asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from pipeline.types import UInt8


class SourceError(ValueError):
    """A source cannot be read, or not any further. The message is free of credentials and names the remedy."""


class BrokenPictureError(ValueError):
    """One picture cannot be decoded; the next ones may."""


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One picture of a source. `pts_s` counts from the first picture; None where the source gives no time.
    `is_broken` tells at once that it cannot be loaded."""

    pts_s: float | None
    load: Callable[[], UInt8]  # -> (H, W, 3) BGR, contiguous; raises BrokenPictureError
    is_broken: bool = False


class Source(Protocol):
    """An open source, used by one thread. Iterating raises SourceError when it breaks off."""

    nominal_fps: float | None  # None: the source does not say
    expected_frames: int  # 0: unknown
    is_exact: bool  # `expected_frames` is counted, not reckoned from duration and rate
    duration_s: float  # 0: unknown
    is_finite: bool  # it has an end of its own (a recording); a live camera has none
    warning: str  # what the user should know once it is open, or empty

    def pass_over(self, num_pictures: int) -> None:
        """Called before the first picture: of so many none will be loaded but the very first, so that they need not be
        decoded. Their number and their times stay what they are."""
        ...

    def __iter__(self) -> Iterator[Picture]: ...

    def close(self) -> None: ...
