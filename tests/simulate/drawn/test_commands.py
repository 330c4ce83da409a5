from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.commands.terminal import EXIT_BAD_CONFIGURATION
from pipeline.simulate.drawn.renderer import Renderer

DETECTIONS = ["simulate", "detections", "--frames", "1", "--most-people", "2", "--samples", "1", "--processes", "1"]


@pytest.mark.parametrize("name", ["video", "detections", "reid"])
def test_help_teaches(name: str) -> None:
    result = CliRunner().invoke(app, ["simulate", name, "--help"])
    assert result.exit_code == 0
    assert f"python -m pipeline simulate {name}" in " ".join(result.output.split())


def test_detections_are_drawn_and_named(renderer: Renderer, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, [*DETECTIONS, "--output", str(tmp_path / "det")])
    assert result.exit_code == 0, result.output
    assert "annotations.json" in result.output.replace("\n", "")
    assert len(json.loads((tmp_path / "det" / "annotations.json").read_text())["images"]) == 1


def test_a_used_folder_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    result = CliRunner().invoke(app, [*DETECTIONS, "--output", str(tmp_path)])
    assert result.exit_code == EXIT_BAD_CONFIGURATION
    assert "is not empty" in result.output.replace("\n", " ")
