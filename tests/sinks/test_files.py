"""Files that are whole or not there, and what is said when the disk does not take them."""

from __future__ import annotations

import errno
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pipeline.sinks.build import open_sinks
from pipeline.sinks.config import OutputConfig
from pipeline.sinks.files import AtomicFile, OutputError, prepare_output
from pipeline.sinks.run_json import write_json_atomically
from tests.sinks.frames import fused_frame


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 300 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("needs the right to mount a small file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_file_gets_its_name_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    with AtomicFile(path) as file:
        file.write("Grüße\n")
        assert not path.exists()
    assert path.read_text(encoding="utf-8") == "Grüße\n"
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_exception_leaves_the_old_file_and_a_partial_one(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(error), AtomicFile(path) as file:
        file.write("new")
        raise error
    assert path.read_text() == "old"
    assert (tmp_path / "a.txt.partial").read_text() == "new"


class _FullDisk:
    """A text file whose disk has become full."""

    closed = False

    def write(self, text: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    flush = close = lambda self: self.write("")


def test_a_full_disk_names_the_file_and_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        pytest.raises(OutputError, match=r"a\.txt\.partial: cannot write: No space left.*--output"),
        AtomicFile(tmp_path / "a.txt") as file,
    ):
        monkeypatch.setattr(file, "_file", _FullDisk())
        file.write("x")
    assert not (tmp_path / "a.txt").exists()


def test_a_disk_that_fills_up_during_a_run_ends_it_with_a_clear_error(tiny_disk: Path) -> None:
    prepare_output(tiny_disk)
    with (
        pytest.raises(OutputError, match=r"global_tracks\.csv\.partial: cannot write: .*the disk is full"),
        open_sinks(OutputConfig(), tiny_disk, ["a"], video=False, fps=10) as sinks,
    ):
        for n in range(5000):
            sinks.write([fused_frame(0, n, track_ids=range(1, 20))])
    assert not (tiny_disk / "global_tracks.csv").exists()
    assert (tiny_disk / "global_tracks.csv.partial").stat().st_size > 100_000


def test_a_disk_that_is_too_full_for_the_final_tables_keeps_the_partial_one(tiny_disk: Path) -> None:
    with (
        pytest.raises(OutputError, match="the disk is full"),
        open_sinks(OutputConfig(), tiny_disk, ["a"], video=False, fps=10) as sinks,
    ):
        while (tiny_disk / "global_tracks.csv.partial").stat().st_size < 180_000:
            sinks.write([fused_frame(0, 1, track_ids=range(1, 20))])
    assert (tiny_disk / "global_tracks.csv.partial").stat().st_size >= 180_000
    assert not (tiny_disk / "global_tracks.csv").exists()


def test_a_disk_that_fills_up_with_video_ends_the_run_with_a_clear_error(tiny_disk: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (90, 160, 3), np.uint8)
    with (
        pytest.raises(OutputError, match=r"mosaic\.mp4\.partial: cannot write: .*the disk is full"),
        open_sinks(OutputConfig(video_crf=1), tiny_disk, ["a"], video=True, fps=10) as sinks,
    ):
        for n in range(300):
            sinks.write([fused_frame(0, n, preview=np.roll(noise, 3 * n, axis=1))])


def test_a_folder_that_can_not_be_made_is_told_before_the_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"file/out: cannot write: .*a file, not a folder"):
        prepare_output(tmp_path / "file" / "out")
    with pytest.raises(OutputError, match=r"file: cannot write: .*in the way"):
        prepare_output(tmp_path / "file")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")
def test_a_folder_that_takes_no_files_is_told_before_the_run() -> None:
    with pytest.raises(OutputError, match=r"^/proc: cannot write: .*--output"):
        prepare_output(Path("/proc"))


def test_a_full_disk_is_told_before_the_run(tiny_disk: Path) -> None:
    (tiny_disk / "big").write_bytes(bytes(280_000))
    with pytest.raises(OutputError, match="the disk is full"):
        prepare_output(tiny_disk)
    assert [p.name for p in tiny_disk.iterdir()] == ["big"]


def test_preparing_keeps_whole_files_and_sets_unfinished_ones_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for run in ("first", "second"):
        (tmp_path / "global_tracks.csv").write_text("whole")
        (tmp_path / "global_tracks.csv.partial").write_text(run)
        (tmp_path / "tracklets.csv.closing").write_text("derived")
        prepare_output(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["global_tracks.csv", "unfinished-1", "unfinished-2"]
    assert (tmp_path / "unfinished-2" / "global_tracks.csv.partial").read_text() == "second"
    assert "unfinished files are kept in" in caplog.text


def test_json_is_plain_and_whole(tmp_path: Path) -> None:
    payload = {
        "path": tmp_path, "nan": float("nan"), "float32": np.float32(0.5), "array": np.arange(3), "set": {"b", "a"},
        "nested": [{"x": (1, None, True)}], "text": "Küche",
    }  # fmt: skip
    write_json_atomically(tmp_path / "run.json", payload)
    assert json.loads((tmp_path / "run.json").read_text(encoding="utf-8")) == {
        "path": str(tmp_path), "nan": None, "float32": 0.5, "array": [0, 1, 2], "set": ["a", "b"],
        "nested": [{"x": [1, None, True]}], "text": "Küche",
    }  # fmt: skip


def test_json_that_can_not_be_written_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    write_json_atomically(path, {"run": 1})
    with pytest.raises(TypeError, match="no JSON for object"):
        write_json_atomically(path, {"run": object()})
    assert json.loads(path.read_text()) == {"run": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["run.json"]
