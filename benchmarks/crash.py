"""Kill a run at random moments, go on with it, compare the files with those of a run that was left alone.

    python benchmarks/crash.py [--kills 50] [--seconds 3] [--seed 0]

A small simulated site with detections from a file. Each try is a process of its own that is ended by SIGKILL.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from itertools import count
from pathlib import Path

from pipeline import app
from pipeline.report import RunOptions
from tests.tiny_site.tiny import write_tiny_site

FILES = ("global_tracks.csv", "tracklets.csv", "identities.csv", "transitions.csv", "counts.csv", "events.jsonl")
SETTINGS = ("output.snapshot_s=0.1", "output.report=false")


def start(cams: Path, output: Path, *, resume: bool = False) -> int:
    """A run in a process of its own -> its number."""
    child = os.fork()
    if child == 0:
        try:
            options = RunOptions(cams, output, None, SETTINGS, resume=resume)
            app.run(options, lambda progress: None, lambda: False)
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            os._exit(2)
        os._exit(0)
    return child


def ended(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killed(child: int, after_s: float) -> int:
    time.sleep(after_s)
    os.kill(child, signal.SIGKILL)
    return ended(child)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rng = random.Random(given.seed)
    counts = dict.fromkeys(("gone on with", "killed before the journal began", "ended before the kill"), 0)
    outcomes = dict.fromkeys(("equal", "different"), 0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        drawing = multiprocessing.get_context("spawn").Process(  # what it loads must not be there when we fork
            target=write_tiny_site, args=(folder / "site",), kwargs={"seconds": given.seconds}
        )
        drawing.start()
        drawing.join()
        cams = folder / "site" / "cams.yaml"
        assert ended(start(cams, folder / "first")) == 0  # which reads libraries from the disk
        started_s = time.monotonic()
        assert ended(start(cams, folder / "whole")) == 0
        whole_s = time.monotonic() - started_s
        expected = {file: (folder / "whole" / file).read_bytes() for file in FILES}
        for number in count():
            if sum(counts.values()) - counts["ended before the kill"] >= given.kills:
                break
            out = folder / f"run-{number}"
            code = killed(start(cams, out), rng.uniform(0, whole_s))
            if code != -signal.SIGKILL:
                counts["ended before the kill"] += 1
            elif not list(out.glob("journal/*.journal")) or ended(start(cams, out, resume=True)) == 2:
                counts["killed before the journal began"] += 1
                assert not (out / "global_tracks.csv").exists()
                assert ended(start(cams, out)) == 0
            else:
                counts["gone on with"] += 1
            same = all((out / file).read_bytes() == expected[file] for file in FILES)
            if code == -signal.SIGKILL:
                outcomes["equal" if same else "different"] += 1
            shutil.rmtree(out)
            print(f"{number + 1} runs: {counts}, {outcomes}", flush=True)
    print(f"a run takes {whole_s:.1f} s")
    for what, number in (counts | outcomes).items():
        print(f"{what}: {number}")


if __name__ == "__main__":
    main()
