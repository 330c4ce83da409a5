"""The contact sheet: pictures of an identity, cut from footage that is read again."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.evaluation.text import TableError
from pipeline.ingest.source import SourceError
from pipeline.sheet import contact_sheet
from pipeline.sinks.tables import TableSink
from pipeline.types import Event
from pipeline.yaml_file import ConfigError
from tests.sinks.frames import fused_frame

COLOURS = {0: (40, 40, 220), 1: (40, 220, 40)}  # of the person in each camera's picture, BGR


def site(folder: Path, *, footage: bool = True) -> Path:
    """A run over one folder of pictures, cut into two cameras side by side; identity 1 stands in both."""
    pictures = folder / "pictures"
    pictures.mkdir()
    for frame in range(12):
        image = np.zeros((120, 320, 3), np.uint8)
        for camid, colour in COLOURS.items():
            image[20:100, 160 * camid + 40 + frame : 160 * camid + 70 + frame] = colour
        if footage:
            cv2.imwrite(str(pictures / f"{frame:03}.png"), image)
    (folder / "cams.yaml").write_text(
        "cameras:\n"
        "  - {id: one, source: pictures, fps: 10, crop: [0, 0, 160, 120]}\n"
        "  - {id: two, source: pictures, fps: 10, crop: [160, 0, 160, 120]}\n"
    )
    founded = [Event("create", 0.0, 1, 0, 1), Event("link", 0.0, 1, 1, 1)]
    with TableSink(folder / "out", ["one", "two"]) as sink:
        for frame in range(12):
            box = {1: (40.0 + frame, 20.0, 70.0 + frame, 100.0)}
            events = founded if frame == 0 else []
            sink.write(
                [fused_frame(c, frame, track_ids=[1], boxes=box, events=events if c == 0 else []) for c in (0, 1)]
            )
    return folder / "out"


def test_the_sheet_shows_the_right_pictures_of_each_camera(tmp_path: Path) -> None:
    out = site(tmp_path)
    result = contact_sheet(out, 1, tmp_path / "s.png", cams=tmp_path / "cams.yaml", per_tracklet=3)
    assert (result.num_tracklets, result.num_pictures, result.num_missing) == (2, 6, 0)
    sheet = cv2.imread(str(tmp_path / "s.png"))
    assert sheet is not None
    for row, colour in enumerate(COLOURS.values()):
        top = 64 + row * 248
        for place in range(3):
            cell = sheet[top + 60 : top + 160, 206 + place * 116 + 40 : 206 + place * 116 + 70]
            assert np.abs(cell.astype(int) - colour).max() < 20


def test_the_command_finds_the_cameras_of_the_run(tmp_path: Path) -> None:
    out = site(tmp_path)
    (out / "run.json").write_text(f'{{"cams": "{tmp_path / "cams.yaml"}"}}')
    result = CliRunner().invoke(app, ["sheet", str(out), "1", "-n", "2"])
    assert result.exit_code == 0, result.output
    assert (out / "sheet-1.png").stat().st_size > 1000


def test_what_can_not_be_shown_is_said(tmp_path: Path) -> None:
    out = site(tmp_path, footage=False)
    cams = tmp_path / "cams.yaml"
    with pytest.raises(TableError, match="no identity 9"):
        contact_sheet(out, 9, tmp_path / "s.png", cams=cams, per_tracklet=3)
    with pytest.raises(SourceError, match="no picture of identity 1"):
        contact_sheet(out, 1, tmp_path / "s.png", cams=cams, per_tracklet=3)
    with pytest.raises(ConfigError, match="give --cams"):
        contact_sheet(out, 1, tmp_path / "s.png", cams=None, per_tracklet=3)
    assert not (tmp_path / "s.png").exists()
