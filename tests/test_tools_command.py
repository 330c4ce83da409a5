"""The commands around the association, as a user types them."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from tests.run_folders import small_run


def typed(*words: object) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("command", ["verify", "convert", "associate", "why", "report", "sheet"])
def test_help_shows_an_example(command: str) -> None:
    assert f"python -m pipeline {command}" in typed(command, "--help") or command == "report"


def test_a_run_goes_out_to_another_format_and_comes_back(tmp_path: Path) -> None:
    run = small_run(tmp_path / "run")
    typed("convert", run, tmp_path / "mot", "--to", "mot", "--ids", "track")
    typed("associate", "--tracklets", tmp_path / "mot", "--fps", 10, "--output", tmp_path / "again", "-q")
    assert "BROKEN" not in typed("verify", tmp_path / "again")
    typed("convert", tmp_path / "again", tmp_path / "t.txt", "--to", "aicity")
    assert "BROKEN" not in typed("verify", tmp_path / "t.txt", "--fps", 10, "--no-overlaps")
    assert typed("report", tmp_path / "again").strip().endswith("report.html")


def test_a_format_that_is_not_known_is_refused(tmp_path: Path) -> None:
    for words in (["convert", "a", "b", "--to", "kitti"], ["verify", "a", "--format", "kitti"]):
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 2 and "kitti" in result.output and "aicity2025" in result.output


def test_tracks_without_frame_rate_are_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "door.txt").write_text("1,1,0,0,9,9,1\n")
    result = CliRunner().invoke(app, ["associate", "--tracklets", str(tmp_path), "--output", str(tmp_path / "out")])
    assert result.exit_code == 2 and "--fps" in result.output
