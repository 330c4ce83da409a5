"""Tracks in other systems' formats, read and written."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.evaluation.text import TableError
from pipeline.interchange.readers import frame_rates, ids_from_one, kind_of, read_tracks
from pipeline.interchange.rows import TrackRows, joined, timed
from pipeline.interchange.writers import WRITERS

OWN = "time_s,camera,frame,global_id,track_id,left,top,width,height,score,confidence,ground_x,ground_y\n"


def rows(*sightings: tuple[str, int, int, int], ground: bool = True, fps: float = 10.0) -> TrackRows:
    """Of (camera, frame, global_id, track_id); boxes and places follow from them."""
    cameras = sorted({s[0] for s in sightings})
    frame = np.array([s[1] for s in sightings], np.int64)
    gid = np.array([s[2] for s in sightings], np.int64)
    left = 10.0 * gid + frame
    return TrackRows.of(
        cameras,
        camid=np.array([cameras.index(s[0]) for s in sightings], np.int64),
        frame=frame,
        time_s=frame / fps,
        global_id=gid,
        track_id=np.array([s[3] for s in sightings], np.int64),
        xyxy=np.stack([left, left + 5, left + 20, left + 55], axis=1),
        score=np.full(len(frame), 0.5),
        ground_xy=np.stack([gid + 0.25 * frame, gid * 2.0], axis=1) if ground else np.full((len(frame), 2), np.nan),
        line=np.arange(len(frame)),
    )


def same(one: TrackRows, other: TrackRows, *columns: str) -> None:
    assert len(one) == len(other)
    for name in columns:
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), err_msg=name)


TWO_CAMERAS = (("1", 0, 7, 1), ("1", 1, 7, 1), ("1", 1, 8, 2), ("2", 4, 7, 1))


def test_nothing_is_read_from_an_empty_file_and_written_to_one(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("")
    assert len(read_tracks(tmp_path / "a.txt", "mot")) == len(read_tracks(tmp_path / "a.txt", "aicity")) == 0
    WRITERS["aicity"](TrackRows.empty(("1",)), tmp_path / "out.txt")
    assert (tmp_path / "out.txt").read_text() == ""


@pytest.mark.parametrize("kind", ["crosscam", "mot", "aicity"])
def test_what_is_written_is_read_back(tmp_path: Path, kind: str) -> None:
    whole = rows(*TWO_CAMERAS)
    target = tmp_path / ("out.txt" if kind == "aicity" else "out")
    WRITERS[kind](whole, target)
    assert kind_of(target) == kind
    back = read_tracks(target)
    assert back.cameras == whole.cameras
    order = np.lexsort((whole.global_id, whole.frame, whole.camid))
    back_order = np.lexsort((back.global_id, back.frame, back.camid))
    same(whole[order], back[back_order], "camid", "frame", "global_id", "xyxy", "ground_xy")


def test_own_rows_keep_times_tracks_and_rows_without_identity(tmp_path: Path) -> None:
    whole = rows(("b, c", 3, 0, 4), ("b, c", 3, 2, 5))
    WRITERS["crosscam"](whole, tmp_path)
    back = read_tracks(tmp_path)
    same(whole, back, "time_s", "global_id", "track_id", "score")
    assert back.cameras == ("b, c",)


def test_own_table_read_with_the_csv_module_says_the_same(tmp_path: Path) -> None:
    WRITERS["crosscam"](rows(*TWO_CAMERAS, ground=False), tmp_path)
    with (tmp_path / "global_tracks.csv").open() as file:
        first = next(csv.DictReader(file))
    assert (
        first["camera"] == "1" and first["time_s"] == "0.000" and first["left"] == "70.00" and first["ground_x"] == ""
    )


def test_mot_has_frames_from_one_and_leaves_out_who_has_no_identity(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    WRITERS["mot"](rows(("door", 0, 7, 1), ("door", 1, 0, 2), ground=False), tmp_path)
    assert (tmp_path / "door.txt").read_text() == "1,7,70.00,75.00,20.00,50.00,0.5000,-1,-1,-1\n"
    assert "1 of 2 rows have no identity" in caplog.text


def test_mot_folders_of_the_benchmark_are_read_with_their_frame_rate(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "gt").mkdir(parents=True)
        (tmp_path / name / "gt" / "gt.txt").write_text("1,3,0,0,9,20,1,1,1\n1,4,0,0,9,9,0,1,1\n1,5,0,0,9,9,1,7,1\n")
        (tmp_path / name / "seqinfo.ini").write_text("[Sequence]\nname=x\nframeRate=25\n")
    table = read_tracks(tmp_path)
    assert table.cameras == ("one", "two") and table.frame.tolist() == [0, 0]
    assert frame_rates(tmp_path) == {"one": 25.0, "two": 25.0}


def test_ai_city_columns_are_where_the_challenge_has_them(tmp_path: Path) -> None:
    path = tmp_path / "track1.txt"
    path.write_text("12 5 0 100 200 30 60 1.5 -2.5\n12 6 1 1 2 3 4 -1 -1\n")
    table = read_tracks(path)
    assert table.cameras == ("12",) and table.track_id.tolist() == [5, 6] and table.frame.tolist() == [0, 1]
    assert table.xyxy[0].tolist() == [100, 200, 130, 260] and table.ground_xy[0].tolist() == [1.5, -2.5]
    assert np.isnan(table.ground_xy[1]).all() and np.isnan(table.time_s).all()


def test_ai_city_2025_keeps_people_only_and_has_no_boxes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "track1.txt"
    path.write_text("3 0 5 0 1 2 0.9 0.5 0.5 1.8 0.1\n3 2 5 0 9 9 0.9 0.5 0.5 1.8 0.1\n")
    table = read_tracks(path)
    assert table.cameras == ("scene-3",) and table.ground_xy.tolist() == [[1, 2]]
    assert "1 rows of other classes" in caplog.text
    with pytest.raises(TableError, match="no box in a picture"):
        WRITERS["mot"](table, tmp_path / "out")


def test_ai_city_2025_is_one_row_per_person_and_frame_at_the_mean_place(tmp_path: Path) -> None:
    seen_twice = rows(("a", 0, 3, 1), ("b", 0, 3, 1), ("a", 1, 3, 1))
    places = np.array([[0.0, 0.0], [2.0, 4.0], [1.0, 3.0]])
    WRITERS["aicity2025"](seen_twice.with_columns(ground_xy=places), tmp_path / "t.txt")
    assert (tmp_path / "t.txt").read_text().splitlines() == [
        "0 0 3 0 1.000 2.000 0.85 0.60 0.60 1.70 0.000",
        f"0 0 3 1 1.000 3.000 0.85 0.60 0.60 1.70 {np.pi / 2:.3f}",
    ]


def test_ai_city_2025_is_refused_without_a_floor(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="calibrate the cameras"):
        WRITERS["aicity2025"](rows(*TWO_CAMERAS, ground=False), tmp_path / "t.txt")


def test_cameras_with_names_are_numbered_and_that_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    WRITERS["aicity"](rows(("door", 0, 1, 1), ("hall", 0, 1, 1)), tmp_path / "t.txt")
    assert [line.split()[0] for line in (tmp_path / "t.txt").read_text().splitlines()] == ["1", "2"]
    assert "1 is door, 2 is hall" in caplog.text


def test_rows_without_time_can_not_become_the_own_table(tmp_path: Path) -> None:
    timeless = rows(*TWO_CAMERAS).with_columns(time_s=np.full(4, np.nan))
    with pytest.raises(TableError, match="--fps"):
        WRITERS["crosscam"](timeless, tmp_path)
    made = timed(timeless, {"1": 10.0, "2": 5.0}, {"2": 100.0})
    assert made.time_s.tolist() == [0.0, 0.1, 0.1, 100.8]


@pytest.mark.parametrize(
    ("text", "kind", "complaint"),
    [
        ("1 2 3 4\n", None, "4 columns"),
        ("1 2 0 4 5 6 7 8\n", "aicity", r"t\.txt:1: 8 columns, want 9"),
        ("1 2 0 4 5 6 7 8 9\n1 2 x 4 5 6 7 8 9\n", "aicity", r"t\.txt:2: want numbers"),
        ("1 2 0.5 4 5 6 7 8 9\n", "aicity", "frame_id is 0.5"),
        ("1 2 0 4 5 -6 7 8 9\n", "aicity", "negative width"),
        ("0,1,2,3,4,5,1\n", "mot", "count from 1"),
        ("1,-1,2,3,4,5,1\n", "mot", "-1 marks detections"),
        ("frame,id,left,top,width,height\n1,1,1,1,1,1\n", "mot", "has a header"),
        ("1,1,1,1,1,1\n", "crosscam", "no header"),
        ("frame,who\n1,2\n", "crosscam", "want the columns frame and"),
    ],
)
def test_a_file_that_can_not_be_read_says_where_and_why(
    tmp_path: Path, text: str, kind: str | None, complaint: str
) -> None:
    path = tmp_path / "t.txt"
    path.write_text(text)
    with pytest.raises(TableError, match=complaint):
        read_tracks(path, kind)


def test_ids_from_zero_are_moved_only_when_asked() -> None:
    zero = rows(("a", 0, 0, 0), ("a", 0, 1, 1))
    with pytest.raises(TableError, match="--first-id 0"):
        ids_from_one(zero, 1)
    assert ids_from_one(zero, 0).track_id.tolist() == [1, 2]


SIGHTINGS = st.lists(
    st.tuples(st.sampled_from(["a", "b%", "c d"]), st.integers(0, 30), st.integers(1, 5), st.integers(1, 5)),
    min_size=1,
    max_size=25,
    unique_by=lambda s: s[:3],
)


@settings(max_examples=25, deadline=None)
@given(sightings=SIGHTINGS)
def test_any_tracks_survive_mot_and_the_own_table(
    sightings: list[tuple[str, int, int, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("any")
    whole = rows(*sightings)
    for kind in ("crosscam", "mot"):
        WRITERS[kind](whole, folder / kind)
        back = read_tracks(folder / kind)
        table = joined([TrackRows.empty(whole.cameras), back])
        assert table.cameras == whole.cameras
        orders = [np.lexsort((t.global_id, t.frame, t.camid)) for t in (whole, table)]
        same(whole[orders[0]], table[orders[1]], "camid", "frame", "global_id", "xyxy", "score")


def test_a_folder_of_tables_per_camera_is_read(tmp_path: Path) -> None:
    for name in ("north.gt.csv", "south.gt.csv"):
        (tmp_path / name).write_text("frame,person_id,x1,y1,x2,y2,lost\n0,4,1,2,3,4,0\n1,4,1,2,3,4,1\n")
    (tmp_path / "north.det.csv").write_text("frame,x1,y1,x2,y2,score\n")
    table = read_tracks(tmp_path)
    assert table.cameras == ("north", "south") and table.frame.tolist() == [0, 0] and table.track_id.tolist() == [4, 4]
