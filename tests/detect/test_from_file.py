"""Ready detections from files of every kind, and what is said of faulty ones."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from pipeline.detect.build import build_detector
from pipeline.detect.config import DetectConfig
from pipeline.detect.from_file import read_detections
from pipeline.types import Frame
from tests.shared import SHARED, needs_shared

MOT = "2,-1,10,20,30,40,0.9,-1,-1,-1\n1,-1,1,2,3,4,0.5,-1,-1,-1\n1,-1,5,6,7,8,0.05,-1,-1,-1\n"
OURS = "camera,frame,left,top,width,height,score\nleft,0,1,2,3,4,0.5\nright,0,9,9,9,9,0.9\nleft,1,10,20,30,40,0.9\n"
CORNERS = "frame,x1,y1,x2,y2,score\n0,1,2,4,6,0.5\n1,10,20,40,60,0.9\n"


def frame(frame_idx: int, camid: int = 0) -> Frame:
    return Frame(camid, frame_idx, 0.0, np.zeros((100, 100, 3), np.uint8))


@pytest.mark.parametrize(
    ("name", "text"), [("det.txt", MOT), ("a.csv", OURS), ("b.csv", CORNERS), ("c.txt", MOT.replace(",", " "))]
)
def test_every_kind_of_file_gives_the_same_boxes_to_the_same_frames(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    detector = build_detector(DetectConfig(model=name, kind="from_file"), ["left"], tmp_path)
    second, third, first = detector.detect([frame(1), frame(2), frame(0)])
    assert first.xyxy.tolist() == [[1, 2, 4, 6]]  # and not the box below min_score
    assert second.xyxy.tolist() == [[10, 20, 40, 60]]
    assert second.score.tolist() == pytest.approx([0.9])
    assert len(third) == 0


def test_one_file_of_our_own_serves_several_cameras(tmp_path: Path) -> None:
    (tmp_path / "all.csv").write_text(OURS)
    detector = build_detector(DetectConfig(model="all.csv"), ["right", "left"], tmp_path)
    right, left = detector.detect([frame(0, camid=0), frame(0, camid=1)])
    assert right.xyxy.tolist() == [[9, 9, 18, 18]] and left.xyxy.tolist() == [[1, 2, 4, 6]]


def test_a_pattern_names_a_file_per_camera_and_files_come_first(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(CORNERS)
    (tmp_path / "other.csv").write_text(CORNERS.replace("0.5", "0.25"))
    config = DetectConfig(model="{camera}.csv", files={"b": "other.csv"})
    found = build_detector(config, ["a", "b"], tmp_path).detect([frame(0, camid=0), frame(0, camid=1)])
    assert [d.score.tolist() for d in found] == [[0.5], [0.25]]


def test_boxes_are_clipped_to_the_picture_and_those_outside_dropped(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        "frame,x1,y1,x2,y2,score\n0,-5,90,50,130,0.5\n0,200,10,220,50,0.9\n0,30,30,30,60,0.9\n"
    )
    found = build_detector(DetectConfig(model="a.csv"), ["a"], tmp_path).detect([frame(0)])[0]
    assert found.xyxy.tolist() == [[0, 90, 50, 100]]


def test_an_empty_file_means_that_nobody_was_seen(tmp_path: Path) -> None:
    (tmp_path / "det.txt").write_text("")
    detector = build_detector(DetectConfig(model="det.txt"), ["a"], tmp_path)
    assert [len(d) for d in detector.detect([frame(0), frame(7)])] == [0, 0]


def test_a_score_of_minus_one_means_not_stated_and_others_outside_are_clipped_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "det.txt"
    path.write_text("1,-1,1,2,3,4,-1\n1,-1,1,2,3,4,38.5\n")
    with caplog.at_level(logging.WARNING):
        table = read_detections(path, "a")
    assert table is not None and table.score.tolist() == [1, 1]
    assert "1 of 2 scores" in caplog.text and str(path) in caplog.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (CORNERS + "2,a,2,3,4,0.5\n", r"bad\.csv:4: x1 is 'a'"),
        (CORNERS + "2,1,2,3,4,nan\n", r"bad\.csv:4: score is 'nan'"),
        (CORNERS + "\n2,1,2\n", r"bad\.csv:5: 3 columns"),
        ("frame,x1,y1,x2,y2\n0,1,2,3,4\n", r"bad\.csv:1: column score is missing"),
        ("0,-1,1,2,3,4,0.5\n", r"bad\.csv: frame 0; frames count from 1"),
        ("1,-1,1,2\n", r"bad\.csv:1: 4 columns"),
    ],
)
def test_a_faulty_row_is_named_by_file_and_line(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        build_detector(DetectConfig(model="bad.csv"), ["a"], tmp_path)


def test_a_picture_named_csv_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_bytes(b"\x89PNG\r\n\x1a\n\xff\xfe\x00\x00")
    with pytest.raises(ValueError, match=r"bad\.csv"):
        build_detector(DetectConfig(model="bad.csv"), ["a"], tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"files": {"lefd": "a.csv"}}, r"detect\.files: there is no camera 'lefd'; did you mean 'left'\?"),
        ({"files": {"left": "a.csv"}}, r"detect\.files: no file for camera 'right'"),
        ({"files": {"left": "a.csv", "right": "gone.csv"}}, r"detect\.files\.right: no such file for camera 'right'"),
        ({"model": "{camera}.csv"}, r"detect\.model: no such file for camera 'left'"),
        ({"model": "a.csv"}, r"has no column `camera`, but there are 2 cameras"),
        ({"model": "ours.csv"}, r"never says 'right'"),
    ],
)
def test_files_and_cameras_that_do_not_fit_are_named(options: dict[str, object], message: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(CORNERS)
    (tmp_path / "ours.csv").write_text(OURS.replace("right", "middle"))
    with pytest.raises(ValueError, match=message):
        build_detector(DetectConfig.model_validate(options), ["left", "right"], tmp_path)


@needs_shared("data/mot15/TUD-Stadtmitte/det.txt", "data/auditorium/IP2.det.csv")
def test_public_detections_of_real_footage_are_read_whole() -> None:
    mot = read_detections(SHARED / "data/mot15/TUD-Stadtmitte/det.txt", "a")
    views = read_detections(SHARED / "data/auditorium/IP2.det.csv", "a")
    assert mot is not None and views is not None
    rows = np.loadtxt(SHARED / "data/mot15/TUD-Stadtmitte/det.txt", delimiter=",")
    assert len(mot.score) == len(rows) and mot.frame_idx[0] == rows[:, 0].min() - 1
    np.testing.assert_allclose(mot.of_frame(9)[1], rows[rows[:, 0] == 10, 6], rtol=1e-6)
    assert views.xyxy[0].tolist() == pytest.approx([984.0, 334.3, 1170.0, 648.0])


@pytest.mark.parametrize("text", [OURS.replace("2,3,4,0.5", "2,-3,4,0.5"), CORNERS.replace("0,1,2,4,6", "0,4,2,1,6")])
def test_an_inverted_box_is_refused_with_its_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(ValueError, match=r"a\.csv:2: the box has a negative width or height"):
        build_detector(DetectConfig(model="a.csv", kind="from_file"), ["left"], tmp_path)
