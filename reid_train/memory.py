"""Keeping memory from one batch to the next on the CPU."""

from __future__ import annotations

import ctypes
import logging
import sys

log = logging.getLogger(__name__)

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's mallopt
_LARGEST = 2**31 - 1


def keep_freed_memory() -> bool:
    """Let glibc keep large blocks that are freed, for the next batch to use; whether it can be told so.

    By itself it gives the feature maps of every layer back to the system and fetches them again, page by page, for the
    next batch, which was seen to take up to half of the time.
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # another C library
        return False
    kept = bool(mallopt(_MMAP_THRESHOLD, _LARGEST)) and bool(mallopt(_TRIM_THRESHOLD, _LARGEST))
    log.debug("freed memory is %s", "kept" if kept else "given back to the system")
    return kept
