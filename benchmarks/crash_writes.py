"""Kill a run at every single write, go on with it, compare the files with those of a run that was left alone.

    python benchmarks/crash_writes.py [--seconds 2] [--jobs 3] [--runtime inline] [--again] [--every 1] [--torn]

A small simulated site with detections from a file and a state saved after every tick. `tests/write_points.py` counts
each call that changes the output folder; the run is ended by SIGKILL right before number 1, 2, 3, ... until one comes
through. `--torn` leaves half of the bytes of the write behind. `--again` kills the run that goes on as well, at the
same number. Every try is forked from a process that has run once, so that nothing has to be loaded.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline import app
from pipeline.report import RunOptions
from pipeline.run_journal import ResumeError
from tests.tiny_site.tiny import write_tiny_site
from tests.write_points import WritePoints

FILES = ("global_tracks.csv", "tracklets.csv", "identities.csv", "transitions.csv", "counts.csv", "events.jsonl")
SETTINGS = ("output.snapshot_s=0", "output.report=false")
REFUSED = 3


@dataclass(frozen=True)
class Try:
    """One run that was killed. `ways`: how it came to its end: resumed, anew, ended."""

    number: int
    kind: str
    ways: tuple[str, ...]
    same: bool


def forked(work: Callable[[int], None]) -> tuple[int, str]:
    """Do something in a process of its own -> how it ended, and what it told."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            logging.disable(logging.CRITICAL)
            work(write)
        except ResumeError:
            os._exit(REFUSED)
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            os._exit(2)
        os._exit(0)
    os.close(write)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with os.fdopen(read) as told:
        return code, told.read()


class Tries:
    """Runs of one site in one folder."""

    def __init__(self, cams: Path, folder: Path, given: argparse.Namespace) -> None:
        self._cams = cams
        self._folder = folder
        self._given = given
        self.run(folder / "whole")
        self._expected = {file: (folder / "whole" / file).read_bytes() for file in FILES}

    def run(self, output: Path, resume: bool = False) -> None:
        workers = 2 if self._given.runtime == "processes" else None
        options = RunOptions(
            self._cams, output, None, SETTINGS, resume=resume, runtime=self._given.runtime, workers=workers
        )
        app.run(options, lambda progress: None, lambda: False)

    def at(self, number: int) -> Try | None:
        """Kill a run at this write, and go on with it until it ends; None where the run has not so many writes."""
        output = self._folder / f"at-{number}"

        def killed(resume: bool) -> tuple[int, str]:
            def work(told: int) -> None:
                WritePoints(output, number, told, torn=self._given.torn).install()
                self.run(output, resume)

            return forked(work)

        code, kind = killed(resume=False)
        if code == 0:
            shutil.rmtree(output)
            return None
        assert code == -signal.SIGKILL, code
        ways = []
        if self._given.again and (output / "journal").exists():
            code, _ = killed(resume=True)
            ways.append({0: "resumed", REFUSED: "refused", -signal.SIGKILL: "killed again"}.get(code, str(code)))
        if not ways or ways[-1] not in ("resumed",):
            code = forked(lambda told: self.run(output, resume=True))[0] if (output / "journal").exists() else REFUSED
            ways.append("resumed" if code == 0 else "refused" if code == REFUSED else f"failed ({code})")
            if code == REFUSED:  # there was nothing yet to go on with, or nothing left to do
                whole = (output / "run.json").exists() and not list(output.glob("*.partial"))
                code = 0 if whole else forked(lambda told: self.run(output))[0]
                ways[-1] = ("had ended" if whole else "anew") if code == 0 else f"failed ({code})"
        same = all(
            (output / file).exists() and (output / file).read_bytes() == self._expected[file] for file in FILES
        ) and not list(output.glob("*.partial"))
        shutil.rmtree(output)
        return Try(number, kind, tuple(ways), same)


def work(cams: Path, folder: Path, given: argparse.Namespace, place: int, results: multiprocessing.SimpleQueue) -> None:
    folder.mkdir()
    tries = Tries(cams, folder, given)
    number, passed = 1 + place * given.every, 0
    while passed < 2:  # how many writes there are differs by a few from run to run
        done = tries.at(number)
        passed = passed + 1 if done is None else 0
        if done is not None:
            results.put(done)
        number += given.jobs * given.every
    results.put(None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--jobs", type=int, default=3)
    parser.add_argument("--every", type=int, default=1, help="leave out others")
    parser.add_argument("--runtime", default="inline")
    parser.add_argument("--again", action="store_true", help="kill the run that goes on, too")
    parser.add_argument("--torn", action="store_true", help="leave half of the bytes of the write behind")
    parser.add_argument("--folder", type=Path, help="where to work (a folder in memory is quick)")
    given = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    started_s, done = time.monotonic(), []
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        write_tiny_site(folder / "site", seconds=given.seconds)
        results = context.SimpleQueue()
        cams = folder / "site" / "cams.yaml"
        jobs = [
            context.Process(target=work, args=(cams, folder / f"job-{place}", given, place, results))
            for place in range(given.jobs)
        ]
        for job in jobs:
            job.start()
        num_open = len(jobs)
        while num_open:
            found = results.get()
            num_open -= found is None
            if found is not None:
                done.append(found)
                if not found.same or any("failed" in way for way in found.ways):
                    print(f"DIFFERENT: {found}", flush=True)
                if len(done) % 25 == 0:
                    print(f"{len(done)} after {time.monotonic() - started_s:.0f} s", flush=True)
        for job in jobs:
            job.join()
    report(done, time.monotonic() - started_s)


def report(done: list[Try], spent_s: float) -> None:
    by_kind: dict[str, list[Try]] = defaultdict(list)
    for found in sorted(done, key=lambda one: one.number):
        by_kind[found.kind].append(found)
    print("\n| killed right before | numbers | times | resumed | anew | had ended | files equal |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for kind, tries in by_kind.items():
        last = Counter(one.ways[-1] for one in tries)
        span = f"{tries[0].number} to {tries[-1].number}" if len(tries) > 1 else str(tries[0].number)
        columns = [str(last[way] or "") for way in ("resumed", "anew", "had ended")]
        print(f"| {kind} | {span} | {len(tries)} | {' | '.join(columns)} | {sum(one.same for one in tries)} |")
    ways = Counter(" -> ".join(one.ways) for one in done)
    print(f"\n{len(done)} writes, {sum(one.same for one in done)} equal, {spent_s / 60:.0f} min; {dict(ways)}")


if __name__ == "__main__":
    main()
