"""global_tracks.csv and the tables that follow from it."""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.sinks.files import OutputError
from pipeline.sinks.final import seconds_text
from pipeline.sinks.tables import TableSink
from pipeline.types import Event, FusedFrame
from tests.sinks.frames import fused_frame, rows_of

COLUMNS = "time_s,camera,frame,global_id,track_id,left,top,width,height,score,confidence,ground_x,ground_y"


def run(folder: Path, ticks: Sequence[Sequence[FusedFrame]], names: Sequence[str] = ("a", "b")) -> None:
    with TableSink(folder, names) as sink:
        for tick in ticks:
            sink.write(tick)


def identities(folder: Path) -> list[tuple[str, str, str, str]]:
    return [(r["camera"], r["frame"], r["track_id"], r["global_id"]) for r in rows_of(folder / "global_tracks.csv")]


def created(track_id: int, global_id: int, camid: int = 0, confidence: float = 0.5) -> Event:
    return Event("create", 0.0, global_id, camid, track_id, confidence=confidence)


def test_a_run_without_ticks_leaves_tables_with_a_head_only(tmp_path: Path) -> None:
    run(tmp_path, [])
    assert (tmp_path / "global_tracks.csv").read_text() == COLUMNS + "\n"
    assert rows_of(tmp_path / "tracklets.csv") == rows_of(tmp_path / "identities.csv") == []
    assert (tmp_path / "mot" / "a.txt").read_text() == ""
    assert not list(tmp_path.rglob("*.partial")) + list(tmp_path.rglob("*.closing"))


def test_a_row_says_all_there_is_to_say(tmp_path: Path) -> None:
    frame = fused_frame(
        1, 7, time_s=12.5, track_ids=[2], boxes={2: (10.25, -3.0, 40.5, 90.125)}, ground={2: (1.23456, -0.0001)},
        events=[created(2, 31, camid=1)],
    )  # fmt: skip
    run(tmp_path, [[frame]])
    assert (tmp_path / "global_tracks.csv").read_text().splitlines()[1] == (
        "12.500,b,7,31,2,10.25,-3.00,30.25,93.12,0.9000,0.5000,1.235,0.000"
    )
    assert (tmp_path / "mot" / "b.txt").read_text() == "8,31,10.25,-3.00,30.25,93.12,0.9000,-1,-1,-1\n"


def test_ground_is_empty_where_a_camera_is_not_calibrated(tmp_path: Path) -> None:
    run(tmp_path, [[fused_frame(track_ids=[1], events=[created(1, 1)])]])
    assert (tmp_path / "global_tracks.csv").read_text().splitlines()[1].endswith(",0.5000,,")


def test_undecided_rows_get_the_identity_that_came_later(tmp_path: Path) -> None:
    ticks = [[fused_frame(0, n, track_ids=[4])] for n in range(3)]
    ticks.append([fused_frame(0, 3, track_ids=[4], known={4: 2}, events=[created(4, 2)])])
    run(tmp_path, ticks)
    assert identities(tmp_path) == [("a", str(n), "4", "2") for n in range(4)]


def test_a_merge_rewrites_the_rows_from_before(tmp_path: Path) -> None:
    founded = [created(1, 1), created(1, 2, camid=1)]
    first = [
        fused_frame(0, 0, track_ids=[1], known={1: 1}, events=founded),
        fused_frame(1, 0, track_ids=[1], known={1: 2}),
    ]
    run(tmp_path, [first, [fused_frame(0, 1, events=[Event("merge", 0.1, 1, other_id=2)])]])
    assert identities(tmp_path) == [("a", "0", "1", "1"), ("b", "0", "1", "1")]
    assert [r["global_id"] for r in rows_of(tmp_path / "identities.csv")] == ["1"]


def test_a_split_takes_the_rows_from_its_time_on_along(tmp_path: Path) -> None:
    events = [created(1, 1), Event("link", 0.0, 1, 0, 2), Event("split", 0.1, 5, 0, 2, 1)]
    run(
        tmp_path,
        [[fused_frame(0, n, track_ids=[1, 2], known={1: 1, 2: 1})] for n in range(2)]
        + [[fused_frame(0, 2, events=events)]],
    )
    assert [row[3] for row in identities(tmp_path)] == ["1", "1", "1", "5"]


def test_a_tracklet_without_identity_keeps_its_rows(tmp_path: Path) -> None:
    run(tmp_path, [[fused_frame(track_ids=[1, 2], known={2: 9}, events=[created(1, 1)])]])
    assert identities(tmp_path) == [("a", "0", "1", "1"), ("a", "0", "2", "")]
    assert [(r["track_id"], r["global_id"]) for r in rows_of(tmp_path / "tracklets.csv")] == [("1", "1"), ("2", "")]
    assert len((tmp_path / "mot" / "a.txt").read_text().splitlines()) == 1


def test_rows_of_a_tick_are_in_order_of_camera_and_track(tmp_path: Path) -> None:
    run(tmp_path, [[fused_frame(1, 0, track_ids=[3, 1]), fused_frame(0, 0, track_ids=[2, 1])]])
    assert [row[::2] for row in identities(tmp_path)] == [("a", "1"), ("a", "2"), ("b", "1"), ("b", "3")]


def test_tracklets_and_identities_sum_up_the_rows(tmp_path: Path) -> None:
    def tick(n: int, camid: int, track_id: int, events: Sequence[Event] = ()) -> list[FusedFrame]:
        ground = {track_id: (float(n), 2.0)} if n > 0 else None
        return [fused_frame(camid, n, track_ids=[track_id], ground=ground, events=events)]

    joined = [created(1, 6), Event("link", 0.0, 6, 1, 1, confidence=0.4), Event("link", 0.0, 6, 0, 2)]
    run(
        tmp_path,
        [
            tick(0, 0, 1),
            tick(1, 0, 1),
            tick(5, 1, 1),
            tick(8, 0, 2),
            tick(9, 0, 3, [*joined, Event("link", 0, 6, 0, 3)]),
        ],
    )
    tracklets = rows_of(tmp_path / "tracklets.csv")
    assert tracklets[0] == {
        "camera": "a", "track_id": "1", "global_id": "6", "first_s": "0.000", "last_s": "0.100", "first_frame": "0",
        "last_frame": "1", "num_frames": "2", "mean_score": "0.9000", "confidence": "0.5000", "first_ground_x": "1.000",
        "first_ground_y": "2.000", "last_ground_x": "1.000", "last_ground_y": "2.000",
    }  # fmt: skip
    assert [(t["camera"], t["track_id"], t["confidence"]) for t in tracklets[1:]] == [
        ("b", "1", "0.4000"), ("a", "2", ""), ("a", "3", ""),
    ]  # fmt: skip
    assert rows_of(tmp_path / "identities.csv") == [
        {"global_id": "6", "first_s": "0.000", "last_s": "0.900", "cameras": "a>b>a",
         "num_cameras": "2", "num_tracklets": "4", "num_frames": "5"}
    ]  # fmt: skip


def test_names_with_commas_quotes_and_accents_come_back_whole(tmp_path: Path) -> None:
    names = ['Küche, "links"', "대문/1", "=1+1"]
    run(tmp_path, [[fused_frame(c, 0, track_ids=[1], events=[created(1, c + 1, camid=c)]) for c in range(3)]], names)
    assert [row[0] for row in identities(tmp_path)] == names
    assert [r["camera"] for r in rows_of(tmp_path / "tracklets.csv")] == names
    assert sorted(p.name for p in (tmp_path / "mot").iterdir()) == sorted(
        ["K%C3%BCche%2C%20%22links%22.txt", "%EB%8C%80%EB%AC%B8%2F1.txt", "%3D1%2B1.txt"]
    )


def test_two_cameras_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="two cameras are called 'a'"):
        TableSink(tmp_path, ["a", "b", "a"])


def test_each_tick_can_be_read_at_once(tmp_path: Path) -> None:
    with TableSink(tmp_path, ["a"]) as sink:
        sink.write([fused_frame(track_ids=[1])])
        assert len(rows_of(tmp_path / "global_tracks.csv.partial")) == 1
        assert not (tmp_path / "global_tracks.csv").exists()


def test_ctrl_c_leaves_whole_files(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), TableSink(tmp_path, ["a"]) as sink:
        sink.write([fused_frame(track_ids=[1], events=[created(1, 3)])])
        raise KeyboardInterrupt
    assert identities(tmp_path) == [("a", "0", "1", "3")]
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "counts.csv", "events.jsonl", "global_tracks.csv", "identities.csv", "mot", "tracklets.csv", "transitions.csv",
    ]  # fmt: skip


def test_a_failed_run_leaves_the_files_of_the_run_before_untouched(tmp_path: Path) -> None:
    run(tmp_path, [[fused_frame(track_ids=[1], events=[created(1, 3)])]])
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    with pytest.raises(RuntimeError), TableSink(tmp_path, ["a"]) as sink:
        sink.write([fused_frame(track_ids=[8])])
        raise RuntimeError("a stage failed")
    assert {p: p.read_bytes() for p in before} == before
    assert len(rows_of(tmp_path / "global_tracks.csv.partial")) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_told_with_the_file_and_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "global_tracks.csv.partial").symlink_to("/dev/full")
    with pytest.raises(
        OutputError, match=r"global_tracks\.csv\.partial: cannot write: .*disk is full; free some space"
    ):
        TableSink(tmp_path, ["a"])


@pytest.mark.parametrize(
    ("time_s", "text"),
    [(0.0, "0.000"), (12.5, "12.500"), (1.0 / 30, "0.033333"), (1753800000.123456, "1753800000.123456")],
)
def test_times_are_exact_to_the_microsecond_without_idle_zeros(time_s: float, text: str) -> None:
    assert seconds_text(time_s) == text


# A run: per camera and frame which tracks are visible, and for each tracklet the identity it ends with.
walks = st.lists(st.tuples(st.integers(0, 1), st.sets(st.integers(1, 4), max_size=4)), max_size=12)


@settings(max_examples=40, deadline=None)
@given(walk=walks, data=st.data())
def test_the_final_tables_do_not_depend_on_when_identities_became_known(
    tmp_path_factory: pytest.TempPathFactory, walk: list[tuple[int, set[int]]], data: st.DataObject
) -> None:
    """Same rows and same order of events: when each event came and what was shown meanwhile changes nothing."""
    tracklets = sorted({(camid, track_id) for camid, seen in walk for track_id in seen})
    events = [created(track_id, n + 1, camid) for n, (camid, track_id) in enumerate(tracklets)]
    if len(tracklets) > 2:
        events += [Event("merge", 0.0, 1, other_id=3), Event("split", 0.0, 90, *tracklets[2], 1)]
    tables = []
    for _ in range(2):
        folder = tmp_path_factory.mktemp("run")
        cuts = sorted(data.draw(st.integers(0, len(walk))) for _ in events)
        ticks = []
        for n, (camid, seen) in enumerate(walk):
            known = {track_id: data.draw(st.integers(1, 9)) for track_id in sorted(seen) if data.draw(st.booleans())}
            now = [event for event, cut in zip(events, cuts, strict=True) if cut == n]
            ticks.append([fused_frame(camid, n, track_ids=sorted(seen), known=known, events=now)])
        ticks.append(
            [fused_frame(0, 99, events=[event for event, cut in zip(events, cuts, strict=True) if cut == len(walk)])]
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "fsync", lambda _: None)  # nothing here is about the disk, and it is slow
            run(folder, ticks)
        tables.append(
            {p.name: p.read_bytes() for p in folder.rglob("*.csv")} | {"mot": (folder / "mot" / "a.txt").read_bytes()}
        )
        rows = rows_of(folder / "global_tracks.csv")
        assert len(rows) == sum(len(seen) for _, seen in walk)
        assert len({(r["camera"], r["track_id"]) for r in rows}) == len(
            {(r["camera"], r["track_id"], r["global_id"]) for r in rows}
        )
        assert len({(r["camera"], r["frame"], r["global_id"]) for r in rows}) == len(rows)
        assert all(r["global_id"] for r in rows)
        shutil.rmtree(folder)
    assert tables[0] == tables[1]


def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    """A long run of one tracklet leaves no trace in the sink but open files."""
    with TableSink(tmp_path, ["a"]) as sink:
        for n in range(50):
            sink.write([fused_frame(0, n, track_ids=[1, 2, 3])])
        held = [value for value in vars(sink).values() if isinstance(value, list | dict | set)]
        held += [value for value in vars(sink.events).values() if isinstance(value, list | dict | set)]
        assert held == []


def test_the_partial_table_is_plain_csv_with_the_same_columns(tmp_path: Path) -> None:
    with TableSink(tmp_path, ["a, b"]) as sink:
        sink.write([fused_frame(track_ids=[1, 2], known={1: 4})])
        with open(os.fspath(tmp_path / "global_tracks.csv.partial"), newline="") as file:
            head, *rows = list(csv.reader(file))
    assert ",".join(head) == COLUMNS
    assert [(row[1], row[3], row[10]) for row in rows] == [("a, b", "4", "0.7500"), ("a, b", "", "")]


def distinct(folder: Path) -> list[int]:
    """Different people seen so far on the whole site, by window."""
    return [int(row["distinct"]) for row in rows_of(folder / "counts.csv") if not row["camera"]]


def test_a_split_adds_one_individual_and_a_merge_removes_one(tmp_path: Path) -> None:
    frames = [[fused_frame(0, frame, track_ids=(1, 2) if frame < 60 else (1, 2, 3))] for frame in range(90)]

    def counted(*events: Event) -> list[int]:
        last = fused_frame(0, 90, events=events)
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        run(folder, [*frames, [last]])
        return distinct(folder)

    known = created(1, 1), created(2, 2), created(3, 3)
    assert counted(*known) == [2, 2, 3]
    assert counted(*known, Event("split", 3.0, 4, 0, 2, other_id=2)) == [2, 3, 4]
    assert counted(*known, Event("merge", 9.0, 1, other_id=3)) == [2, 2, 2]
    split_and_back = Event("split", 3.0, 4, 0, 2, other_id=2), Event("merge", 9.0, 2, other_id=4)
    assert counted(*known, *split_and_back) == [2, 2, 3]
