"""A run that is killed at any of its writes goes on with `--resume`, and leaves the files of one that was not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.simulate.tiny import write_tiny_site

FILES = ("global_tracks.csv", "tracklets.csv", "identities.csv", "transitions.csv", "counts.csv", "events.jsonl")

HOST = """
import os, sys
from pathlib import Path
from pipeline import app
from pipeline.report import RunOptions

cams, folder, points = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3].split(",")
SETTINGS = ("output.snapshot_s=0", "output.report=false")


def run(output, resume=False):
    app.run(RunOptions(cams, output, None, SETTINGS, resume=resume), lambda p: None, lambda: False)


def forked(work):
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException as error:
            print(type(error).__name__, error, file=sys.stderr)
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killed_at(number):
    # os._exit before the write: no buffer is flushed, no `finally` is run, as with kill -9
    left = [number]

    def counted(call):
        def wrapper(*args, **kwargs):
            left[0] -= 1
            if left[0] == 0:
                os._exit(137)
            return call(*args, **kwargs)
        return wrapper

    for name in ("write", "fsync", "replace", "ftruncate", "unlink", "rename"):
        setattr(os, name, counted(getattr(os, name)))
    from pipeline.sinks.files import AtomicFile
    for name in ("write", "flush"):
        setattr(AtomicFile, name, counted(getattr(AtomicFile, name)))
    run(folder / "out")
    print("writes", number - left[0])


for point in points:
    output = folder / "out"
    code = forked(lambda: killed_at(int(point)))
    if code == 137:
        code = forked(lambda: run(output, resume=True))
        if code and int(point) < 15:  # killed before there was anything to go on with
            code = forked(lambda: run(output))
    print("point", point, "rc", code, flush=True)
    os.rename(output, folder / f"at-{point}")
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    write_tiny_site(folder, seconds=2.0)
    return folder / "cams.yaml"


def killed_runs(site: Path, folder: Path, points: list[int]) -> dict[int, dict[str, bytes]]:
    command = [sys.executable, "-c", HOST, str(site), str(folder), ",".join(map(str, points))]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    assert all(f"point {point} rc 0" in done.stdout for point in points), done.stdout + done.stderr
    return {point: {name: (folder / f"at-{point}" / name).read_bytes() for name in FILES} for point in points}


def test_a_run_killed_at_its_writes_leaves_the_files_of_one_that_was_not(site: Path, tmp_path: Path) -> None:
    never = 1_000_000
    found = killed_runs(site, tmp_path, [never, 9, 250, 480, 532])
    expected = found.pop(never)
    assert expected["global_tracks.csv"].count(b"\n") > 20
    for point, files in found.items():
        for name in FILES:
            assert files[name] == expected[name], (point, name)
            assert not list((tmp_path / f"at-{point}").glob("*.partial"))


def test_what_can_not_be_gone_on_with_is_refused_with_its_reason(site: Path, tmp_path: Path) -> None:
    import pipeline.app as app
    from pipeline.app import run
    from pipeline.report import RunOptions
    from pipeline.run_journal import ResumeError, asked_before

    with pytest.raises(ResumeError, match="no journal to go on with"):
        asked_before(tmp_path)

    def crash(*_: object, **__: object) -> None:
        raise RuntimeError("killed")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app, "summarize", crash)
        with pytest.raises(RuntimeError, match="killed"):
            run(RunOptions(site, tmp_path / "out", None, ()), lambda p: None, lambda: False)
    other = RunOptions(site, tmp_path / "out", None, ("track.max_lost_s=7",), resume=True)
    with pytest.raises(ResumeError, match=r"track\.max_lost_s was .* and is 7"):
        run(other, lambda p: None, lambda: False)
    run(RunOptions(site, tmp_path / "out", None, (), resume=True), lambda p: None, lambda: False)
    with pytest.raises(ResumeError, match="has ended"):
        run(RunOptions(site, tmp_path / "out", None, (), resume=True), lambda p: None, lambda: False)


@pytest.mark.slow
def test_a_process_killed_by_the_system_goes_on_from_the_command_line(site: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    program = [sys.executable, "-m", "pipeline", "run", "-q"]
    settings = ["--set", "output.snapshot_s=0", "--set", "output.report=false"]
    with subprocess.Popen([*program, "--cams", str(site), "--output", str(out), *settings]) as process:
        rows = out / "global_tracks.csv.partial"
        while process.poll() is None and not (rows.exists() and rows.stat().st_size > 3000):
            time.sleep(0.002)
        process.kill()
    assert rows.exists() and process.returncode == -signal.SIGKILL
    done = subprocess.run([*program, "--resume", str(out)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    whole = killed_runs(site, tmp_path / "whole", [1_000_000])[1_000_000]
    assert {name: (out / name).read_bytes() for name in FILES} == whole
