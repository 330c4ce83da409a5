"""What holds for all tests: no machine is too slow for a property, and no command leaves its log handler behind."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from hypothesis import settings
from rich.logging import RichHandler

settings.register_profile("crosscam", deadline=None)
settings.load_profile("crosscam")


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """Commands that are called in this process set the root logger up, with a handler that masks what it shows; the
    next test is to see its own records as they are."""
    root = logging.getLogger()
    level = root.level
    yield
    root.setLevel(level)
    for handler in root.handlers[:]:
        if isinstance(handler, RichHandler):
            root.removeHandler(handler)
