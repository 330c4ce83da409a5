from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _no_reading_thread_is_left_behind() -> Iterator[None]:
    yield
    deadline_s = time.monotonic() + 5
    while left := [t.name for t in threading.enumerate() if t.name.startswith("ingest-")]:
        assert time.monotonic() < deadline_s, f"threads left: {left}"
        time.sleep(0.01)
