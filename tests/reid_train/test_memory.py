"""What is freed between batches stays with the process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FAULTS = """
import resource, sys
from reid_train.memory import keep_freed_memory
if sys.argv[1] == "kept" and not keep_freed_memory():
    sys.exit(77)
block = b"x" * 32_000_000
begun = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    one, other = bytearray(block), bytearray(block)
    del one, other
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - begun)
"""


def faults(how: str) -> int:
    """Pages that ten rounds of two blocks of 32 MB had to fetch."""
    done = subprocess.run(
        [sys.executable, "-c", FAULTS, how], capture_output=True, text=True, cwd=Path(__file__).parents[2]
    )
    if done.returncode == 77:
        pytest.skip("this C library keeps what it wants")
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_blocks_that_are_freed_are_not_fetched_again() -> None:
    given_back, kept = faults("given back"), faults("kept")
    assert kept < given_back / 5, (kept, given_back)
