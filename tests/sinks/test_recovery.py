"""What is left of a run that was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import av
import pytest

from pipeline.sinks.files import OutputError
from pipeline.sinks.recovery import recover
from pipeline.sinks.tables import TableSink
from pipeline.types import Event
from tests.sinks.frames import fused_frame, lines_of, rows_of

KILLED = """
import os, signal, sys
from pathlib import Path
from pipeline.sinks.build import open_sinks
from pipeline.sinks.config import OutputConfig
from pipeline.types import Event
from tests.sinks.frames import fused_frame, picture

names = ["a, 1", "b"]
with open_sinks(OutputConfig(), Path(sys.argv[1]), names, video=True, fps=10) as sinks:
    for n in range(90):
        events = [Event("create", 0.0, 1, 0, 1, confidence=0.5)] if n == 50 else []
        a = fused_frame(0, n, track_ids=[1, 2], events=events, preview=picture())
        sinks.write([a, fused_frame(1, n, track_ids=[1, 2], preview=picture())])
    print("written", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_a_killed_run_can_be_recovered_with_all_its_rows(tmp_path: Path) -> None:
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)], env=env, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "written\n"), done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "events.jsonl.partial", "global_tracks.csv.partial", "mosaic.mp4.partial",
    ]  # fmt: skip

    paths = recover(tmp_path)

    assert {p.name for p in paths} == {
        "global_tracks.csv", "tracklets.csv", "identities.csv", "transitions.csv", "counts.csv", "events.jsonl",
        "mosaic.mp4", "a%2C%201.txt", "b.txt",
    }  # fmt: skip
    assert sorted(p for p in tmp_path.rglob("*") if p.is_file()) == sorted(paths)
    rows = rows_of(tmp_path / "global_tracks.csv")
    assert len(rows) == 360
    assert {r["global_id"] for r in rows if (r["camera"], r["track_id"]) == ("a, 1", "1")} == {"1"}
    assert {r["global_id"] for r in rows if (r["camera"], r["track_id"]) != ("a, 1", "1")} == {""}
    with av.open(str(tmp_path / "mosaic.mp4")) as video:
        assert 40 <= sum(1 for _ in video.decode(video=0)) <= 90  # whole fragments of two seconds


def killed(folder: Path, ticks: int = 3) -> None:
    """Leave behind what a kill leaves."""
    with pytest.raises(RuntimeError), TableSink(folder, ["a", "b"]) as sink:
        for n in range(ticks):
            events = [Event("create", 0.0, n + 1, 0, n + 1, confidence=0.5)]
            sink.write([fused_frame(0, n, track_ids=[1, 2, 3], events=events), fused_frame(1, n, track_ids=[1])])
        raise RuntimeError


def test_recovery_gives_the_tables_that_the_run_would_have_given(tmp_path: Path) -> None:
    with TableSink(tmp_path / "whole", ["a", "b"]) as sink:
        for n in range(3):
            events = [Event("create", 0.0, n + 1, 0, n + 1, confidence=0.5)]
            sink.write([fused_frame(0, n, track_ids=[1, 2, 3], events=events), fused_frame(1, n, track_ids=[1])])
    killed(tmp_path / "killed")
    recover(tmp_path / "killed")
    files = {p.relative_to(tmp_path / "whole"): p.read_bytes() for p in (tmp_path / "whole").rglob("*") if p.is_file()}
    again = {
        p.relative_to(tmp_path / "killed"): p.read_bytes() for p in (tmp_path / "killed").rglob("*") if p.is_file()
    }
    assert files == again


@pytest.mark.parametrize("cut", range(2, 60, 7))
def test_lines_that_were_cut_off_are_left_out(tmp_path: Path, cut: int) -> None:
    killed(tmp_path)
    for name in ("global_tracks.csv.partial", "events.jsonl.partial"):
        path = tmp_path / name
        path.write_bytes(path.read_bytes()[:-cut])
    recover(tmp_path)
    rows = rows_of(tmp_path / "global_tracks.csv")
    assert len(rows) == 12 - 1 - (cut > len("0.200,b,2,,1,40.00,20.00,30.00,80.50,0.9000,,,\n"))
    assert {r["track_id"]: r["global_id"] for r in rows if r["camera"] == "a"} == {"1": "1", "2": "2", "3": ""}
    assert len(lines_of(tmp_path / "events.jsonl")) == 3


def test_damaged_rows_are_left_out_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    killed(tmp_path)
    with (tmp_path / "global_tracks.csv.partial").open("ab") as file:
        file.write(bytes(40) + b"\n1,2,3\n")
    recover(tmp_path)
    assert len(rows_of(tmp_path / "global_tracks.csv")) == 12
    assert "global_tracks.csv.partial:14: left out" in caplog.text


def test_recovery_without_events_keeps_the_rows(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    killed(tmp_path)
    (tmp_path / "events.jsonl.partial").unlink()
    recover(tmp_path)
    assert {r["global_id"] for r in rows_of(tmp_path / "global_tracks.csv")} == {""}
    assert "all identities stay empty" in caplog.text


def test_recovery_that_was_cut_off_can_be_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    killed(tmp_path)

    def cut_off(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("pipeline.sinks.final._write_identities", cut_off)
        recover(tmp_path)
    assert not (tmp_path / "global_tracks.csv").exists()
    recover(tmp_path)
    assert len(rows_of(tmp_path / "global_tracks.csv")) == 12
    assert not list(tmp_path.rglob("*.closing"))


def test_a_video_that_can_not_be_saved_does_not_hold_up_the_tables(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    killed(tmp_path)
    (tmp_path / "mosaic.mp4.partial").write_bytes(b"\0\0\0\x18ftypisom")
    paths = recover(tmp_path)
    assert "mosaic.mp4" not in {p.name for p in paths}
    assert "cannot be made into mosaic.mp4" in caplog.text


def test_a_folder_without_an_unfinished_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="nothing to recover"):
        recover(tmp_path)
