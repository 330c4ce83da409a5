"""How Ctrl-C ends a run or a training: by its own end first, at once the second time."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType


class StopOnSignal:
    """The first SIGINT or SIGTERM asks for a clean end, the second gives up at once."""

    def __init__(self, tell: Callable[[], object]) -> None:
        """tell: called at the first signal, to say what happens now."""
        self._tell = tell
        self._asked = False
        self._before: dict[int, object] = {}

    def is_set(self) -> bool:
        return self._asked

    def __enter__(self) -> StopOnSignal:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True
        self._tell()
