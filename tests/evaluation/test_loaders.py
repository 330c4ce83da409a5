from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.evaluation import text
from pipeline.evaluation.loaders import GroundTruthEntry, load_ground_truth, load_predictions, load_tracks
from pipeline.evaluation.scores import score
from pipeline.evaluation.text import TableError
from tests.shared import SHARED, needs_shared

OWN = "time_s,camera,frame,global_id,track_id,left,top,width,height,score,confidence,ground_x,ground_y\n"


def write(path: Path, content: str) -> Path:
    path.write_text(content, encoding="utf-8")
    return path


def test_the_project_s_own_csv_keeps_tracklets_and_identities(tmp_path: Path) -> None:
    content = OWN + "0.0,door,0,5,2,10,20,30,40,0.9,0.8,,\n0.1,hall,3,5,2,1,2,3,4.5,0.9,0.8,1.5,-2\n"
    table = load_predictions(write(tmp_path / "any.csv", content))
    assert table.cameras == ("door", "hall")
    assert table.camid.tolist() == [0, 1]
    assert table.frame.tolist() == [0, 3]
    assert table.identity.tolist() == [5, 5]
    assert table.track_id.tolist() == [2, 2]
    assert table.xyxy.tolist() == [[10, 20, 40, 60], [1, 2, 4, 6.5]]


def test_rows_without_identity_are_one_identity_per_tracklet(tmp_path: Path) -> None:
    rows = ["door,0,,2", "door,1,,2", "door,2,5,2", "hall,0,,2", "door,0,,3"]
    content = "camera,frame,global_id,track_id,left,top,width,height\n" + "".join(f"{r},0,0,9,9\n" for r in rows)
    identity = load_predictions(write(tmp_path / "a.csv", content)).identity.tolist()
    assert identity == [6, 6, 5, 8, 7]


def test_a_row_without_identity_needs_a_tracklet(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "frame,person_id,x1,y1,x2,y2\n0,1,0,0,1,1\n0,,0,0,1,1\n")
    with pytest.raises(TableError, match=r"a\.csv:3: person_id is '', want a number"):
        load_predictions(path)


def test_motchallenge_frames_count_from_one_and_truth_leaves_out_what_the_benchmark_ignores(tmp_path: Path) -> None:
    mot16 = "1,1,10,20,30,40,1,1,1\n1,2,10,20,30,40,0,1,1\n2,3,10,20,30,40,1,7,1\n"
    path = write(tmp_path / "cam.txt", mot16)
    truth = load_tracks(path, truth=True)
    assert (truth.cameras, truth.frame.tolist(), truth.identity.tolist()) == (("cam",), [0], [1])
    assert load_predictions(path).identity.tolist() == [1, 2, 3]
    mot15 = write(tmp_path / "old.txt", "1,1,10,20,30,40,1,-3.1,16.3,0.4\n1,2,10,20,30,40,0,-3.1,16.3,0.4\n")
    assert load_tracks(mot15, truth=True).identity.tolist() == [1]
    bare = write(tmp_path / "bare.txt", "1, 4, 10, 20, 30, 40\n\n2, 4, 10, 20, 30, 40\n")
    assert load_tracks(bare, truth=True).frame.tolist() == [0, 1]


def test_lost_rows_of_a_csv_with_a_header_are_left_out(tmp_path: Path) -> None:
    content = "frame,person_id,x1,y1,x2,y2,lost,occluded\n0,1,1,2,3,4,0,1\n1,1,1,2,3,4,1,0\n"
    table = load_tracks(write(tmp_path / "view.gt.csv", content), truth=True)
    assert (table.cameras, table.frame.tolist(), table.xyxy.tolist()) == (("view",), [0], [[1, 2, 3, 4]])


def test_a_folder_is_a_global_csv_or_one_text_per_camera(tmp_path: Path) -> None:
    write(tmp_path / "b.txt", "1,7,0,0,9,9\n")
    write(tmp_path / "a.txt", "1,7,0,0,9,9\n")
    assert load_predictions(tmp_path).cameras == ("a", "b")
    write(tmp_path / "global_tracks.csv", OWN)
    assert len(load_predictions(tmp_path)) == 0
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(TableError, match=r"empty: no tracks in this folder; want global_tracks\.csv or <camera>\.txt"):
        load_predictions(empty)


def test_a_folder_of_truth_may_hold_a_csv_per_camera(tmp_path: Path) -> None:
    write(tmp_path / "a.gt.csv", "frame,person_id,x1,y1,x2,y2\n0,1,0,0,1,1\n")
    write(tmp_path / "a.det.csv", "frame,x1,y1,x2,y2,score\n0,0,0,1,1,1\n")
    assert load_tracks(tmp_path, truth=True).cameras == ("a",)


def test_one_truth_file_serves_several_crops_and_people_are_shared_by_id(tmp_path: Path) -> None:
    path = write(tmp_path / "gt.txt", "1,4,0,0,20,20,1\n2,4,100,0,20,20,1\n")
    entries = [GroundTruthEntry("left", path, (0, 0, 50, 50)), GroundTruthEntry("right", path, (90, 0, 50, 50))]
    table = load_ground_truth(entries)
    assert table.cameras == ("left", "right")
    assert table.identity.tolist() == [4, 4]
    assert table.of_camera("right").xyxy.tolist() == [[10, 0, 30, 20]]


def test_truth_with_a_camera_column_gives_the_entry_s_camera(tmp_path: Path) -> None:
    path = write(tmp_path / "g.csv", "camera,frame,id,x1,y1,x2,y2\na,0,1,0,0,1,1\nb,0,2,0,0,1,1\n")
    assert load_ground_truth([GroundTruthEntry("b", path)]).identity.tolist() == [2]
    with pytest.raises(TableError, match=r"no rows of camera 'c'; the truth speaks of a, b"):
        load_ground_truth([GroundTruthEntry("c", path)])


def test_blocks_of_a_long_file_join_to_the_same_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = "".join(f"{'ab'[i % 2]},{i},{i % 7 or ''},{i % 3},{i},0,9,9\n" for i in range(50))
    path = write(tmp_path / "a.csv", "camera,frame,global_id,track_id,left,top,width,height\n" + rows)
    whole = load_predictions(path)
    monkeypatch.setattr(text, "BLOCK_ROWS", 3)
    pieces = load_predictions(path)
    assert pieces.cameras == whole.cameras
    for name in ("camid", "frame", "track_id", "identity", "xyxy"):
        assert getattr(pieces, name).tolist() == getattr(whole, name).tolist()


HEAD = "frame,person_id,x1,y1,x2,y2\n"


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("a.txt", "1,1,0,0,9,9\n0,1,0,0,9,9\n", r"a\.txt:2: frame is 0, want a whole number >= 1: MOTChallenge frames"),
        ("a.txt", "1,1,0,0,9,9\n\n2,1.5,0,0,9,9\n", r"a\.txt:3: id is 1\.5, want a whole number"),
        ("a.txt", "1,-1,0,0,9,9,0.9,-1,-1,-1\n", r"a\.txt:1: id is -1, .* -1 marks detections"),
        ("a.txt", "1,1,0,0,9,9\n2,1,0,0,9\n", r"a\.txt:2: 5 columns, but 6 in the first row; is the file whole\?"),
        ("a.txt", "1,1,0,0,9\n", r"a\.txt:1: 5 columns, want at least frame, id, left"),
        ("a.txt", "1 1 0 0 9 9\n", r"a\.txt:1: a single column, want values with commas"),
        ("a.txt", "1,1,0,0,9,9\n2,1,0,x,9,9\n", r"a\.txt:2: top is 'x', want a number"),
        ("a.txt", "1,1,0,0,nan,9\n", r"a\.txt:1: width is 'nan', want a finite number"),
        ("a.txt", "1,1,0,0,-9,9\n", r"a\.txt:1: the box has a negative width or height"),
        ("a.csv", HEAD + "-1,1,0,0,9,9\n", r"a\.csv:2: frame is -1, want a whole number >= 0"),
        ("a.csv", HEAD + "0,1,9,0,0,9\n", r"a\.csv:2: the box has a negative width or height"),
        ("a.csv", HEAD + "0,1,9,0\n", r"a\.csv:2: 4 columns, but 6 in the first row"),
        ("a.csv", HEAD + "0,,0,0,9,9\n", r"a\.csv:2: person_id is ''"),
        (
            "a.csv",
            "frame,x1,y1,x2,y2,score\n0,0,0,9,9,1\n",
            r"a\.csv:1: want the columns frame and global_id or person_id",
        ),
        ("a.csv", "frame,id,x,y\n0,1,0,0\n", r"a\.csv:1: want the columns left, top, width, height or x1, y1, x2, y2"),
        ("a.csv", "frame,id,x,y\n", r"a\.csv:1: want the columns left, top, width, height or x1"),
        ("a.csv", "frame,id,id,x1\n0,1,0,0\n", r"a\.csv:1: a column stands twice"),
        ("a.csv", "camera,frame,id,x1,y1,x2,y2\n,0,1,0,0,9,9\n", r"a\.csv:2: camera is empty"),
    ],
)
def test_what_can_not_be_read_is_named_with_its_line(tmp_path: Path, name: str, content: str, complaint: str) -> None:
    with pytest.raises(TableError, match=complaint):
        load_predictions(write(tmp_path / name, content))


def test_a_person_twice_in_a_frame_of_the_truth_is_an_error_with_both_lines(tmp_path: Path) -> None:
    path = write(tmp_path / "gt.txt", "1,1,0,0,9,9\n1,2,0,0,9,9\n2,1,0,0,9,9\n1,1,5,5,9,9\n")
    with pytest.raises(TableError, match=r"gt\.txt:4: person 1 stands twice in one frame, first in line 1"):
        load_tracks(path, truth=True)
    assert len(load_predictions(path)) == 4


def test_missing_binary_and_empty_files(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"none\.csv: no such file"):
        load_predictions(tmp_path / "none.csv")
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(TableError, match=r"a\.csv: is no comma-separated text"):
        load_predictions(tmp_path / "a.csv")
    assert len(load_predictions(write(tmp_path / "empty.txt", ""))) == 0
    assert load_predictions(write(tmp_path / "empty.txt", "")).cameras == ("empty",)
    assert load_predictions(write(tmp_path / "header.csv", HEAD)).cameras == ("header",)
    assert load_predictions(write(tmp_path / "own.csv", OWN)).cameras == ()


def test_a_byte_order_mark_and_windows_lines_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbf" + HEAD.replace("\n", "\r\n").encode() + b"0,1,0,0,9,9\r\n")
    assert load_predictions(tmp_path / "a.csv").frame.tolist() == [0]


@needs_shared("data/pets_s2l1/gt.txt")
def test_sixteen_of_the_nineteen_people_of_pets_walk_through_both_halves() -> None:
    path = SHARED / "data/pets_s2l1/gt.txt"
    entries = [GroundTruthEntry("left", path, (0, 0, 352, 576)), GroundTruthEntry("right", path, (416, 0, 352, 576))]
    table = load_ground_truth(entries)
    seen = [set(table.of_camera(camera).identity.tolist()) for camera in table.cameras]
    assert len(seen[0] & seen[1]) == 16
    assert len(seen[0] | seen[1]) == 19
    assert score(table, table).overall.identity.idf1 == 1.0
    cut = load_ground_truth(entries, clip=True)
    assert len(cut) == len(table)
    assert cut.xyxy[:, 0].min() == 0.0
    assert table.xyxy[:, 0].min() < 0.0


@needs_shared("data/auditorium/HC3.gt.csv")
def test_the_four_views_of_the_auditorium_share_twenty_one_people() -> None:
    table = load_tracks(SHARED / "data/auditorium", truth=True)
    assert table.cameras == ("HC3", "HC4", "IP2", "IP5")
    assert len(set(table.identity.tolist())) == 21
    with pytest.raises(TableError, match=r"HC3\.det\.csv:1: want the columns frame and"):
        load_predictions(SHARED / "data/auditorium/HC3.det.csv")
