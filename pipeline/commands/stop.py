"""How Ctrl-C ends a run."""

from __future__ import annotations

import signal
from types import FrameType

from pipeline.commands.terminal import err


class StopOnSignal:
    """The first SIGINT or SIGTERM asks the run to end cleanly, the second gives up at once."""

    def __init__(self) -> None:
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
        err.print("Stopping: finishing what was read; press Ctrl-C again to give up.", highlight=False)
