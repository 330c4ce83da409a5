"""What a sink is."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self

from pipeline.types import FusedFrame


class Sink(Protocol):
    """Takes the results of a run, tick by tick, and leaves whole files behind.

    A context manager: leaving it without an exception, or with KeyboardInterrupt, gives the files their final
    names; with any other exception they stay as `.partial`, as far as they got, and `recover` makes the best of them.
    """

    def write(self, frames: Sequence[FusedFrame]) -> None:
        """The frames of one tick, at most one per camera, later than those of the tick before. Raises OutputError."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
