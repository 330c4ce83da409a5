"""The compiled loops of this room, where numba works. Who uses them does the same in numpy where it does not."""

from __future__ import annotations

import logging
from functools import cache
from importlib import import_module
from types import ModuleType

logger = logging.getLogger(__name__)


@cache
def kernels(name: str) -> ModuleType | None:
    """`compiled`, `compiled_search` or `compiled_counts`, made on a machine's first run; None, with a word in the log,
    where numba does not work."""
    try:
        return import_module(f"pipeline.fusion.{name}")
    except (ImportError, RuntimeError) as error:  # numba raises RuntimeError where no folder takes its cache
        logger.info("fusion does without numba; galleries are searched slowly from 10,000 vectors on: %s", error)
        return None
