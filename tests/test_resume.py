"""A run that is killed at any of its writes goes on with `--resume`, and leaves the files of one that was not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.runtime.coloured_site import write_coloured_site
from tests.tiny_site.tiny import write_tiny_site

FILES = ("global_tracks.csv", "tracklets.csv", "identities.csv", "transitions.csv", "counts.csv", "events.jsonl")

HOST = """
import os, sys
from pathlib import Path
from pipeline import app
from pipeline.report import RunOptions
from tests.write_points import WritePoints

cams, folder, points = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3].split(",")
SETTINGS = ("output.snapshot_s=0", "output.report=false")


def run(output, resume=False):
    app.run(RunOptions(cams, output, None, SETTINGS, resume=resume), lambda p: None, lambda: False)


def forked(work):
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            work(write)
        except BaseException as error:
            print(type(error).__name__, error, file=sys.stderr)
            os._exit(1)
        os._exit(0)
    os.close(write)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with os.fdopen(read) as told:
        return code, told.read()


def killed_at(number, torn):
    output = folder / "out"
    code, kind = forked(lambda told: (WritePoints(output, number, told, torn=torn).install(), run(output)))
    if code == -9:
        code, _ = forked(lambda told: run(output, resume=True))
        if code and number < 20:  # killed before there was anything to go on with
            code, _ = forked(lambda told: run(output))
    return code, kind


run(folder / "warm")  # so that what is forked has nothing to load
for point in points:
    code, kind = killed_at(int(point.rstrip("t")), point.endswith("t"))
    print("point", point, "rc", code, kind, flush=True)
    os.rename(folder / "out", folder / f"at-{point}")
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    write_tiny_site(folder, seconds=2.0)
    return folder / "cams.yaml"


def killed_runs(site: Path, folder: Path, points: list[str]) -> dict[str, dict[str, bytes]]:
    """The files of runs that were killed at these writes (`t`: half of it is written) and gone on with."""
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-c", HOST, str(site), str(folder), ",".join(points)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    assert all(f"point {point} rc 0" in done.stdout for point in points), done.stdout + done.stderr
    return {point: {name: (folder / f"at-{point}" / name).read_bytes() for name in FILES} for point in points}


def test_a_run_killed_at_its_writes_leaves_the_files_of_one_that_was_not(site: Path, tmp_path: Path) -> None:
    never = "1000000"
    found = killed_runs(site, tmp_path, [never, "7", "60t", "95", "116t", "400", "535", "560"])
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
    told = json.loads((tmp_path / "out" / "run.json").read_text())["runtime"]
    assert told == {"runtime": "inline", "workers": 1, "num_resumes": 1, "restarts": []}
    with pytest.raises(ResumeError, match="has ended"):
        run(RunOptions(site, tmp_path / "out", None, (), resume=True), lambda p: None, lambda: False)


def test_a_folder_that_a_run_writes_into_is_refused_before_anything_is_touched(site: Path, tmp_path: Path) -> None:
    from pipeline.app import run
    from pipeline.report import Progress, RunOptions
    from pipeline.sinks.files import OutputError
    from pipeline.sinks.recovery import recover

    out, refused = tmp_path / "out", []

    def sizes() -> dict[Path, int]:
        return {path: path.stat().st_size for path in sorted(out.rglob("*")) if path.is_file()}

    def another(progress: Progress) -> None:
        if refused or not (out / "global_tracks.csv.partial").exists():
            return
        before = sizes()
        for start in (
            lambda: run(RunOptions(site, out, None, ()), lambda p: None, lambda: False),
            lambda: recover(out),
        ):
            with pytest.raises(OutputError, match="another process is writing there"):
                start()
            after = sizes()  # the run itself may have gone on writing
            refused.append(all(after.get(path, -1) >= size for path, size in before.items()))

    run(RunOptions(site, out, None, ("output.snapshot_s=100", "output.report=false")), another, lambda: False)
    assert refused == [True, True]
    assert (out / "global_tracks.csv").read_bytes().count(b"\n") > 20


def test_recover_leaves_no_journal_behind(site: Path, tmp_path: Path) -> None:
    import pipeline.app as app
    from pipeline.report import RunOptions
    from pipeline.run_journal import ResumeError, asked_before
    from pipeline.sinks.recovery import recover

    out = tmp_path / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app, "summarize", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            app.run(RunOptions(site, out, None, ()), lambda p: None, lambda: False)
    assert list(out.glob("journal/*.journal"))
    recover(out)
    assert not (out / "journal").exists() and not list(out.glob("*.partial"))
    with pytest.raises(ResumeError, match="no journal to go on with"):
        asked_before(out)


@pytest.fixture(scope="module")
def coloured(tmp_path_factory) -> tuple[Path, dict[str, bytes]]:
    """A site of three cameras, and what a run that is left alone makes of it."""
    from pipeline.app import run
    from pipeline.report import RunOptions

    cams = write_coloured_site(tmp_path_factory.mktemp("coloured"), 3, 20.0, rate=0.8)
    out = tmp_path_factory.mktemp("whole") / "out"
    run(RunOptions(cams, out), lambda p: None, lambda: False)
    return cams, {name: (out / name).read_bytes() for name in FILES}


def broken_off(cams: Path, out: Path, **options) -> int:
    """A run that ends in an error after its last tick -> the tick that it can be gone on from."""
    import pipeline.app as app
    from pipeline.report import RunOptions
    from pipeline.run_journal import Asked, RunJournal

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app, "summarize", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            app.run(RunOptions(cams, out, None, ("output.snapshot_s=0",), **options), lambda p: None, lambda: False)
    with RunJournal(out, Asked({}, {}), 0.0) as journal:
        checkpoint = journal.last()[1]
    assert checkpoint is not None
    return checkpoint.tick


def test_what_was_seen_of_a_recording_is_not_decoded_again(coloured, tmp_path: Path, monkeypatch) -> None:
    import pipeline.ingest.video as video
    from pipeline.app import run
    from pipeline.report import RunOptions

    cams, expected = coloured
    last = broken_off(cams, tmp_path / "out")
    asked = []
    passed_over = video.passed_over
    monkeypatch.setattr(video, "passed_over", lambda *a: asked.append(passed_over(*a)) or asked[-1])
    run(RunOptions(cams, tmp_path / "out", None, ("output.snapshot_s=0",), resume=True), lambda p: None, lambda: False)
    assert last > 60 and [len(passed.stamps) >= last - 20 for passed in asked] == [True] * 3
    assert {name: (tmp_path / "out" / name).read_bytes() for name in FILES} == expected


@pytest.mark.slow
def test_a_run_of_processes_with_a_video_goes_on_with_other_groups_of_cameras(coloured, tmp_path: Path) -> None:
    from pipeline.app import run
    from pipeline.report import RunOptions

    cams, expected = coloured
    out = tmp_path / "out"
    last = broken_off(cams, out, runtime="processes", workers=2, video=True)
    options = RunOptions(
        cams, out, None, ("output.snapshot_s=0",), True, runtime="processes", workers=3, resume=True
    )  # fmt: skip
    run(options, lambda p: None, lambda: False)
    assert last > 60
    assert {name: (out / name).read_bytes() for name in FILES} == expected
    assert (out / "mosaic.mp4").stat().st_size > 1000 and not list(out.glob("*.partial"))


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
    whole = killed_runs(site, tmp_path / "whole", ["1000000"])["1000000"]
    assert {name: (out / name).read_bytes() for name in FILES} == whole
