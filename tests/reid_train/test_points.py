"""Files of points and the boxes around them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from reid_train.points import HeightLine, PointsError, point_boxes, read_points, read_video_points


def write(tmp_path: Path, text: str, name: str = "7.txt") -> Path:
    path = tmp_path / name
    path.write_text(text, "utf-8")
    return path


def test_an_empty_file_means_that_nobody_is_there(tmp_path: Path) -> None:
    points = read_points(write(tmp_path, "\n \n"), 768, 576)
    assert points.xy.shape == (0, 2)
    assert points.pid.shape == (0,)


@pytest.mark.parametrize(
    "text", ["1 2.5\n3 4\n", "1\t2.5\n\n3\t4", "1,2.5\r\n3, 4\r\n", " 1 , 2.5 \n 3  4", "\ufeff1 2.5\n3 4"]
)
def test_blanks_tabs_and_commas_separate(tmp_path: Path, text: str) -> None:
    points = read_points(write(tmp_path, text), 768, 576)
    assert points.xy.tolist() == [[1, 2.5], [3, 4]]
    assert points.pid.tolist() == [-1, -1]


def test_a_third_column_numbers_people(tmp_path: Path) -> None:
    points = read_points(write(tmp_path, "1 2 30\n3 4 0\n"), 768, 576)
    assert points.pid.tolist() == [30, 0]


@pytest.mark.parametrize(
    ("text", "line", "complaint"),
    [
        ("1 2\n3\n", 2, "1 columns"),
        ("1 2 3 4\n", 1, "4 columns"),
        ("1 2\n\n1 2 3\n", 3, "the lines before have 2"),
        ("1,,2\n", 1, "must be numbers"),
        ("x y\n", 1, "must be numbers"),
        ("nan 2\n", 1, "not inside the picture of 768 x 576"),
        ("1 inf\n", 1, "not inside"),
        ("1 2\n769 2\n", 2, "not inside"),
        ("1 -0.5\n", 1, "not inside"),
        ("1 2 -3\n", 1, "third column"),
        ("1 2 a\n", 1, "third column"),
    ],
)
def test_what_can_not_be_used_is_named_with_its_line(tmp_path: Path, text: str, line: int, complaint: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(PointsError, match=rf"7\.txt:{line}: .*{complaint}"):
        read_points(path, 768, 576)


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "3.txt"
    path.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(PointsError, match=r"3\.txt: can not be read"):
        read_points(path, 768, 576)


def test_frames_of_a_video_come_by_number_and_not_by_name(tmp_path: Path) -> None:
    for number in (10, 9, 100):
        write(tmp_path, f"{number} 1", f"frame_{number}.txt")
    video = read_video_points(tmp_path, 768, 576)
    assert [(frame, points.xy.tolist()) for frame, points in video.items()] == [
        (9, [[9, 1]]),
        (10, [[10, 1]]),
        (100, [[100, 1]]),
    ]


def test_frames_without_a_number_or_with_the_same_one_and_empty_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PointsError, match=r"no <frame>\.txt"):
        read_video_points(tmp_path, 768, 576)
    write(tmp_path, "1 1", "1.txt")
    write(tmp_path, "1 1", "01.txt")
    with pytest.raises(PointsError, match="frame 1 stands in"):
        read_video_points(tmp_path, 768, 576)
    write(tmp_path, "1 1", "0a.txt")
    with pytest.raises(PointsError, match=r"0a\.txt: the name must end"):
        read_video_points(tmp_path, 768, 576)


def test_a_point_takes_the_box_that_holds_it_and_whose_centre_is_nearest() -> None:
    boxes = np.array([[0, 0, 40, 100], [10, 0, 50, 100], [200, 0, 240, 100]], float)
    assert point_boxes(np.array([[29.0, 50.0]]), boxes, 80.0).tolist() == [[10, 0, 50, 100]]


def test_a_box_serves_one_point_and_the_nearer_one_first() -> None:
    boxes = np.array([[0, 0, 40, 100], [10, 0, 50, 100]], float)
    chosen = point_boxes(np.array([[22.0, 50.0], [21.0, 50.0], [24.0, 50.0]]), boxes, 80.0)
    assert chosen[1].tolist() == boxes[0].tolist()
    assert chosen[0].tolist() == boxes[1].tolist() or chosen[2].tolist() == boxes[1].tolist()
    assert len({tuple(box) for box in chosen.tolist()}) == 3


def test_points_without_a_box_get_one_of_the_given_height() -> None:
    nobody = np.zeros((0, 4))
    body = point_boxes(np.array([[100.0, 200.0]]), nobody, 100.0)
    np.testing.assert_allclose(body, [[79.5, 150, 120.5, 250]])
    head = point_boxes(np.array([[100.0, 200.0]]), nobody, 100.0, anchor="head")
    np.testing.assert_allclose(head, [[79.5, 193, 120.5, 293]])
    assert point_boxes(np.zeros((0, 2)), nobody, 100.0).shape == (0, 4)


def test_heights_follow_the_row_where_a_line_is_fitted() -> None:
    heights = np.array([50.0, 100.0, 150.0])
    top = np.array([100.0, 200.0, 300.0])
    boxes = np.stack((np.zeros(3), top, heights / 2, top + heights), axis=1)
    line = HeightLine.fit(boxes)
    np.testing.assert_allclose(line(top + heights / 2), heights)
    assert line(np.array([-1000.0])).tolist() == [1.0]
    centre = np.array([[30.0, 312.5]])  # half way between the second and the third
    np.testing.assert_allclose(point_boxes(centre, np.zeros((0, 4)), line)[0, [1, 3]], [250, 375])
    with pytest.raises(ValueError, match="give more"):
        HeightLine.fit(boxes[:1])
