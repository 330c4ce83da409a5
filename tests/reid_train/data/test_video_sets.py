"""iLIDS-VID, PRID2011, DukeMTMC-VideoReID and LS-VID on small trees with the real file names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from reid_train.data.build import load_split
from reid_train.data.source import DataSetError
from reid_train.data.tracklet import LabelledTracklet
from tests.reid_train.data import trees

SMALL: dict[str, Any] = {"check_counts": False}


def names(tracklet: LabelledTracklet) -> list[str]:
    return [Path(path).name for path in tracklet.paths]


def test_ilids_takes_test_people_from_the_first_half_of_the_columns(tmp_path: Path) -> None:
    trees.write_ilids(tmp_path)
    people = [1, 2, 5, 9, 13, 300]
    ls_set = scipy.io.loadmat(tmp_path / "train-test people splits/train_test_splits_ilidsvid.mat")["ls_set"]
    for split_id in range(3):
        split = load_split("ilids_vid", tmp_path, split_id=split_id, **SMALL)
        test = sorted(people[int(i) - 1] for i in ls_set[split_id, :3])
        assert [t.pid for t in split.query] == [t.pid for t in split.gallery] == test
        assert {t.camid for t in split.query} == {0} and {t.camid for t in split.gallery} == {1}
        train = sorted(set(people) - set(test))
        assert [Path(t.paths[0]).parent.name for t in split.train] == [f"person{p:03d}" for p in train for _ in "ab"]
        assert [(t.pid, t.camid) for t in split.train] == [(p, c) for p in range(3) for c in (0, 1)]
    assert "split 2 of 3" in split.protocol and not split.gallery_holds_query


def test_ilids_frames_are_in_temporal_order(tmp_path: Path) -> None:
    trees.write_ilids(tmp_path / "ilids-vid")
    split = load_split("ilids_vid", tmp_path, **SMALL)
    last = split.gallery[-1]
    assert names(last) == [f"cam2_person{last.pid:03d}_{f}.png" for f in (10_000, 99_999)]


def test_ilids_errors_name_the_cause(tmp_path: Path) -> None:
    with pytest.raises(DataSetError, match=r"sequences is missing(.*\n)+.*train_test_splits_ilidsvid"):
        load_split("ilids_vid", tmp_path)
    trees.write_ilids(tmp_path)
    with pytest.raises(DataSetError, match=r"train ids: expected 150, found 3.*splits: expected 10, found 3"):
        load_split("ilids_vid", tmp_path)
    with pytest.raises(DataSetError, match=r"split_id 3: .* holds splits 0 to 2"):
        load_split("ilids_vid", tmp_path, split_id=3, **SMALL)
    trees.write_images(tmp_path / "i-LIDS-VID/sequences/cam1", ["person011/cam1_person011_00001.png"])
    with pytest.raises(DataSetError, match="person011 has no sequence in one of the cameras"):
        load_split("ilids_vid", tmp_path, **SMALL)
    trees.write_images(tmp_path / "i-LIDS-VID/sequences/cam2", ["person011/cam2_person012_00001.png"])
    with pytest.raises(DataSetError, match="divides 6 people, but 7 are there"):
        load_split("ilids_vid", tmp_path, **SMALL)


def test_prid_reads_the_split_file(tmp_path: Path) -> None:
    trees.write_prid(tmp_path)
    split = load_split("prid2011", tmp_path, split_id=0, **SMALL)
    assert [(t.pid, t.camid) for t in split.query] == [(2, 0), (4, 0), (6, 0)]
    assert [(t.pid, t.camid) for t in split.gallery] == [(2, 1), (4, 1), (6, 1)]
    assert [(t.pid, t.camid) for t in split.train] == [(p, c) for p in range(3) for c in (0, 1)]
    assert names(split.train[0]) == [f"{frame:04d}.png" for frame in range(1, 24)]
    other = load_split("prid2011", tmp_path, split_id=1, expected={"train ids": 3, "query tracklets": 3})
    assert [t.pid for t in other.query] == [1, 2, 3]


def test_prid_without_the_split_file_says_so_or_halves_at_random(tmp_path: Path) -> None:
    trees.write_prid(tmp_path, num_people=8)
    trees.write_images(
        tmp_path, [f"prid_2011/multi_shot/cam_{c}/person_0200/{f:04d}.png" for c in "ab" for f in (1, 2)]
    )
    (tmp_path / "splits_prid2011.json").unlink()
    with pytest.raises(DataSetError, match=r"splits_prid2011\.json is missing(.*\n)+.*random_split=0"):
        load_split("prid2011", tmp_path, **SMALL)
    split = load_split("prid2011", tmp_path, random_split=1, **SMALL)
    assert (split.num_pids, len(split.query)) == (4, 4)  # person 200 has two frames only
    assert "not the published one" in split.protocol
    assert load_split("prid2011", tmp_path, random_split=1, **SMALL) == split
    assert load_split("prid2011", tmp_path, random_split=2, **SMALL) != split


def test_prid_errors_name_the_cause(tmp_path: Path) -> None:
    trees.write_prid(tmp_path)
    with pytest.raises(DataSetError, match="expected 89, found 3"):
        load_split("prid2011", tmp_path)
    with pytest.raises(DataSetError, match=r"split_id 2: .* holds splits 0 to 1"):
        load_split("prid2011", tmp_path, split_id=2, **SMALL)
    (tmp_path / "splits_prid2011.json").write_text(json.dumps([{"train": ["person_0001"], "test": ["person_0001"]}]))
    with pytest.raises(DataSetError, match="person_0001 trains and tests"):
        load_split("prid2011", tmp_path, **SMALL)
    (tmp_path / "splits_prid2011.json").write_text(json.dumps([{"train": ["person_0099"], "test": ["person_0001"]}]))
    with pytest.raises(DataSetError, match="person_0099, named by the split file, is missing"):
        load_split("prid2011", tmp_path, **SMALL)
    for text in ("{", "{}", "[1]"):
        (tmp_path / "splits_prid2011.json").write_text(text)
        with pytest.raises(DataSetError, match=r"is not a JSON list"):
            load_split("prid2011", tmp_path, **SMALL)


@pytest.mark.parametrize("new", [False, True])
def test_duke_video_reads_both_ways_of_naming(tmp_path: Path, new: bool) -> None:
    split = load_split("duke_video", trees.write_duke_video(tmp_path, new=new), **SMALL)
    assert [(t.pid, t.camid, len(t)) for t in split.train] == [(0, 5, 70), (0, 1, 3), (1, 0, 12)]
    assert [(t.pid, t.camid) for t in split.query] == [(19, 1), (30, 7)]
    assert [(t.pid, t.camid) for t in split.gallery] == [(19, 1), (19, 4), (30, 7), (30, 0), (44, 0)]
    assert split.gallery_holds_query and split.query_rows == (0, 2)
    assert split.num_cams == 8


def test_duke_video_orders_by_frame_and_loses_nothing_at_a_gap(tmp_path: Path) -> None:
    split = load_split("duke_video", trees.write_duke_video(tmp_path), **SMALL)
    assert [n[6:11] for n in names(split.query[0])] == ["F0001", "F0002", "F0004", "F0010", "F0011"]
    assert split.query[0].frames == tuple(30_823 + 12 * f for f in (1, 2, 4, 10, 11))


def test_duke_video_trains_on_chunks_of_32(tmp_path: Path) -> None:
    split = load_split("duke_video", trees.write_duke_video(tmp_path), dense_step=32, **SMALL)
    assert [(t.pid, len(t)) for t in split.train] == [(0, 32), (0, 38), (0, 3), (1, 12)]
    assert split.train[1].frames[0] == 30_823 + 12 * 33
    assert [len(t) for t in split.query] == [5, 5]


def test_duke_video_without_the_queries_in_the_gallery_says_so(tmp_path: Path) -> None:
    trees.write_duke_video(tmp_path)
    for image in (tmp_path / "gallery/0030/0007").iterdir():
        image.unlink()
    (tmp_path / "gallery/0030/0007").rmdir()
    split = load_split("duke_video", tmp_path, **SMALL)
    assert not split.gallery_holds_query and split.query_rows == ()
    with pytest.raises(DataSetError, match="queries in the gallery: expected 2, found 1"):
        load_split("duke_video", tmp_path, expected={"queries in the gallery": 2})


def test_duke_video_refuses_mixed_tracklets(tmp_path: Path) -> None:
    trees.write_duke_video(tmp_path)
    trees.write_images(tmp_path, trees.duke_video_names("train", 1, 3, 1, [99], new=False))
    with pytest.raises(DataSetError, match=r"0001/0001 is not one person in one camera: .*'0001', '3'.*'0001', '6'"):
        load_split("duke_video", tmp_path, **SMALL)
    with pytest.raises(DataSetError, match=r"train is missing|is missing"):
        load_split("duke_video", tmp_path / "query")


@pytest.mark.parametrize("layout", ["mat", "info", "npy"])
def test_ls_vid_reads_every_layout(tmp_path: Path, layout: str) -> None:
    split = load_split("ls_vid", trees.write_ls_vid(tmp_path, layout), **SMALL)
    assert [(t.pid, t.camid) for t in split.train] == [(0, 2), (0, 2), (1, 6)]
    assert [(t.pid, t.camid) for t in split.query] == [(900, 11), (901, 14)]
    assert [(t.pid, t.camid) for t in split.gallery] == [(900, 0), (900, 2), (901, 1)]
    assert not split.gallery_holds_query and split.num_cams == 15
    assert "without the queries" in split.protocol


def test_ls_vid_prefixes_do_not_match_longer_ones(tmp_path: Path) -> None:
    split = load_split("ls_vid", trees.write_ls_vid(tmp_path / "LS-VID"), **SMALL)
    assert names(split.train[0]) == ["0001_001_03_000001.jpg", "0001_001_03_000002.jpg", "0001_001_03_000010.jpg"]
    lists = tmp_path / "LS-VID/list_sequence/list_seq_train.txt"
    lists.write_text("tracklet_train/0001/0001_1_03 1\n")  # a shorter prefix of 0001_11_03
    folder = tmp_path / "LS-VID/tracklet_train/0001"
    trees.write_images(folder, ["0001_1_03_000001.jpg", "0001_1_031_000001.jpg", "0001_11_03_000001.jpg"])
    (only,) = load_split("ls_vid", tmp_path, **SMALL).train
    assert names(only) == ["0001_1_03_000001.jpg"]


def test_ls_vid_whole_gallery_holds_the_queries(tmp_path: Path) -> None:
    split = load_split("ls_vid", trees.write_ls_vid(tmp_path), gallery="all", dense_step=2, **SMALL)
    assert len(split.gallery) == 5 and split.gallery_holds_query and split.query_rows == (1, 3)
    assert [len(t) for t in split.train] == [3, 2, 2, 3]  # 3, 4 and 3 images in chunks of 2
    assert "every test tracklet" in split.protocol


def test_ls_vid_errors_name_the_cause(tmp_path: Path) -> None:
    with pytest.raises(DataSetError, match=r"list_seq_train\.txt(.*\n)+.*on request"):
        load_split("ls_vid", tmp_path)
    trees.write_ls_vid(tmp_path, "npy")
    with pytest.raises(DataSetError, match=r"test tracklets: expected 11,333, found 5"):
        load_split("ls_vid", tmp_path)
    with pytest.raises(DataSetError, match=r"without_query or all"):
        load_split("ls_vid", tmp_path, gallery="some")
    info = np.load(tmp_path / "test/info_test.npy")
    np.save(tmp_path / "test/info_test.npy", np.add(info, [0, 0, 0, 1]))
    with pytest.raises(DataSetError, match=r"row 1: camera 2, but the images are .*0900_001_01"):
        load_split("ls_vid", tmp_path, **SMALL)
    np.save(tmp_path / "test/info_test.npy", info)
    np.save(tmp_path / "test/query.npy", np.array([6]))
    with pytest.raises(DataSetError, match="row 6 of 5"):
        load_split("ls_vid", tmp_path, **SMALL)
    trees.write_images(tmp_path / "tracklet_train/0001", ["0001_001_03_x.jpg"])
    (tmp_path / "list_sequence/list_seq_train.txt").write_text("tracklet_train/0001/0001 1\n")
    trees.write_images(tmp_path / "tracklet_train/0001", ["0001_001_04_000001.jpg"])
    with pytest.raises(DataSetError, match=r"is not of one camera: \[3, 4\]"):
        load_split("ls_vid", tmp_path, **SMALL)
    (tmp_path / "list_sequence/list_seq_train.txt").write_text("nonsense\n")
    with pytest.raises(DataSetError, match=r"line 1: want a prefix and a person"):
        load_split("ls_vid", tmp_path, **SMALL)
