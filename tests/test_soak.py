"""The soak on a small scale: two short hours with faults, whose sums and invariants hold."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
def test_two_minutes_with_faults_add_up_to_the_last_row_and_break_no_invariant() -> None:
    command = [
        sys.executable,
        "benchmarks/soak.py",
        "--hours",
        "2",
        "--hour-s",
        "60",
        "--cameras",
        "8",
        "--rate",
        "0.3",
    ]
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "differs" not in done.stdout and "| explained by events |" in done.stdout
    assert "| 2 |" in done.stdout and "| events of kind create |" in done.stdout
