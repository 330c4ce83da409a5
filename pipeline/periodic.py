"""What is done again and again beside the flow."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from pipeline.sinks.files import OutputError


@contextmanager
def every(period_s: float, call: Callable[[], object]) -> Iterator[None]:
    """Call something again and again in a thread of its own, and once more at the end.

    Output that can not be written is not the thread's to report: the call at the end raises it, if the run has not.
    """
    done = threading.Event()

    def loop() -> None:
        while not done.wait(period_s):
            with suppress(OutputError):
                call()

    thread = threading.Thread(name="watch", target=loop, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        call()
