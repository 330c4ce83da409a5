"""Market-1501, DukeMTMC-reID, Occluded-Duke and PRAI-1581: names, counts and both readings of stills as video."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reid_train.data import market1501, mars
from reid_train.data.build import load_split
from reid_train.data.image_sets import Reading
from reid_train.data.source import DataSetError
from reid_train.data.tracklet import ReidSplit
from tests.reid_train.data import trees
from tests.shared import SHARED, needs_shared

LISTS = SHARED / "data" / "occluded_duke"
official = needs_shared(*(f"data/occluded_duke/{part}.list" for part in ("train", "query", "gallery")))
SMALL: dict[str, Any] = {"check_counts": False}


def sizes(split: ReidSplit) -> tuple[int, int, int]:
    return len(split.train), len(split.query), len(split.gallery)


def test_market_frames_count_through_the_sequences_of_a_camera() -> None:
    assert market1501.cumulative_frame(0, 3, 100) == 147_327
    offsets = [
        [0, 72681, 147227, 222108, 296769, 371660], [0, 163691, 328368], [0, 161708, 323477],
        [0, 72107, 144480, 219290, 293831, 368741], [0, 161095, 322819], [0, 87551, 218819, 314636]]  # fmt: skip
    found = [
        [market1501.cumulative_frame(camid, s, 0) for s in range(1, len(lengths) + 1)]
        for camid, lengths in enumerate(market1501.SEQUENCE_LENGTHS)
    ]
    assert found == offsets
    ends = [sum(lengths) for lengths in market1501.SEQUENCE_LENGTHS]
    assert ends[5] == 345_588 and all(419_000 < end < 428_500 for end in ends[:5])


def test_market_names_give_person_camera_and_frame() -> None:
    assert market1501.parse("0002_c1s3_000100_01.jpg") == (2, 0, 147_327)
    assert market1501.parse("-1_c6s2_000009_00.jpg") == (-1, 5, 87_560)
    assert market1501.parse("0000_c2s1_000151_01.jpg") == (0, 1, 151)
    for name in ("0002_c7s1_000100_01.jpg", "0002_c2s4_000100_01.jpg", "2_c1s1_000100_01.jpg", "0002_c1_f0000100.jpg"):
        with pytest.raises(ValueError, match=r"named like|has no sequence"):
            market1501.parse(name)


def test_market_loads_images_with_their_frames(tmp_path: Path) -> None:
    split = load_split("market1501", trees.write_flat(tmp_path, trees.MARKET), **SMALL)
    assert sizes(split) == (5, 2, 7)
    assert [(t.pid, t.camid, t.frames) for t in split.train] == [
        (0, 0, (451,)), (0, 0, (147_327,)), (0, 5, (314_646,)), (1, 2, (162_485,)), (1, 2, (162_485,))]  # fmt: skip
    assert [t.pid for t in split.gallery] == [-1, -1, 0, 0, 1, 1, 3]
    assert split.num_cams == 6 and not split.gallery_holds_query
    assert "protocol image" in split.protocol
    assert sizes(load_split("market1501", tmp_path, keep_junk=False, **SMALL)) == (5, 2, 5)


def test_market_as_tracklets_leaves_junk_and_distractors_alone(tmp_path: Path) -> None:
    split = load_split("market1501", trees.write_flat(tmp_path, trees.MARKET), protocol="tracklet", **SMALL)
    assert [(t.pid, t.camid, len(t)) for t in split.train] == [(0, 0, 2), (0, 5, 1), (1, 2, 2)]
    assert [(t.pid, len(t)) for t in split.gallery] == [(-1, 1), (-1, 1), (0, 1), (0, 1), (1, 1), (1, 1), (3, 1)]
    mixed = load_split("market1501", tmp_path, train_as="tracklet", **SMALL)
    assert sizes(mixed) == (3, 2, 7) and "protocol image" in mixed.protocol


def test_market_counts_are_checked(tmp_path: Path) -> None:
    trees.write_flat(tmp_path, trees.MARKET)
    with pytest.raises(DataSetError, match=r"train images: expected 12,936, found 5.*junk images: expected 3,819"):
        load_split("market1501", tmp_path)
    load_split("market1501", tmp_path, expected={"junk images": 2, "distractor images": 2, "gallery images": 7})
    (tmp_path / "query/readme.jpg").write_bytes(trees.tiny_jpeg())
    with pytest.raises(DataSetError, match=r"query/readme\.jpg: not named like 0002_c1s1"):
        load_split("market1501", tmp_path, **SMALL)


def test_duke_reid_reads_frames_of_the_video(tmp_path: Path) -> None:
    split = load_split("duke_reid", trees.write_flat(tmp_path / "DukeMTMC-reID", trees.DUKE).parent, **SMALL)
    assert sizes(split) == (4, 3, 6) and split.num_cams == 8
    assert [(t.pid, t.camid, t.frames) for t in split.train] == [
        (0, 1, (46_182,)), (0, 1, (46_302,)), (0, 1, (50_000,)), (1, 7, (2935,))]  # fmt: skip
    with pytest.raises(DataSetError, match="query images: expected 2,228, found 3"):
        load_split("duke_reid", tmp_path)


@official
def test_the_official_lists_of_occluded_duke_match(tmp_path: Path) -> None:
    split = load_split("occluded_duke", tmp_path, lists=LISTS, check_files=False)
    assert sizes(split) == (15_618, 2210, 17_661)
    assert (split.num_pids, len({t.pid for t in split.query}), len({t.pid for t in split.gallery})) == (702, 519, 1110)
    for part in (split.train, split.query, split.gallery):
        assert {t.camid for t in part} == set(range(8))
    assert {t.pid for t in split.query} <= {t.pid for t in split.gallery}
    assert mars.unmatched_queries(split.query, split.gallery) == 0
    frames = [t.frames[0] for t in split.train]
    assert (min(frames), max(frames)) == (2935, 227_540)


@official
def test_occluded_duke_as_tracklets_has_as_many_as_duke_video(tmp_path: Path) -> None:
    split = load_split("occluded_duke", tmp_path, lists=LISTS, check_files=False, protocol="tracklet")
    assert sizes(split) == (2196, 858, 2636)
    lengths = np.array([len(t) for t in split.train])
    assert (lengths.min(), np.median(lengths), lengths.max(), round(lengths.mean(), 1)) == (1, 6, 313, 7.1)
    cut = load_split("occluded_duke", tmp_path, lists=LISTS, check_files=False, protocol="tracklet", max_gap=600)
    assert sizes(cut) == (2270, 899, 2732)
    assert all(0 < step <= 600 for t in cut.train for step in np.diff(t.frames))
    assert "protocol tracklet" in cut.protocol and "600" in cut.protocol


def write_lists(folder: Path, train: list[str], query: list[str], gallery: list[str]) -> None:
    folder.mkdir(exist_ok=True)
    for part, names in (("train", train), ("query", query), ("gallery", gallery)):
        (folder / f"{part}.list").write_text("\n".join(names) + "\n")


def test_a_listed_image_is_taken_from_its_folder_or_from_the_gallery(tmp_path: Path) -> None:
    trees.write_flat(tmp_path, trees.DUKE)
    query = [
        "0030_c1_f0000100.jpg",
        "0019_c1_f0051350.jpg",
    ]  # the first is in bounding_box_test only, the second in both
    write_lists(tmp_path, trees.DUKE["bounding_box_train"][:2], query, trees.DUKE["bounding_box_test"])
    split = load_split("occluded_duke", tmp_path, **SMALL)
    assert [t.paths[0].split("/")[-2:] for t in split.query] == [
        ["query", "0019_c1_f0051350.jpg"], ["bounding_box_test", "0030_c1_f0000100.jpg"]]  # fmt: skip
    assert sizes(split) == (2, 2, 6)
    assert split.gallery_holds_query and split.query_rows == (1, 3)


def test_occluded_duke_without_lists_is_what_the_folders_hold(tmp_path: Path) -> None:
    assert sizes(load_split("occluded_duke", trees.write_flat(tmp_path, trees.DUKE), **SMALL)) == (4, 3, 6)


def test_occluded_duke_names_what_is_missing(tmp_path: Path) -> None:
    trees.write_flat(tmp_path, trees.DUKE)
    gone = "0099_c1_f0000001.jpg"
    write_lists(tmp_path / "lists", trees.DUKE["bounding_box_train"], [gone], trees.DUKE["bounding_box_test"])
    with pytest.raises(DataSetError, match=rf"1 images of .*query\.list are not in .*query nor in .*first {gone}"):
        load_split("occluded_duke", tmp_path, lists=tmp_path / "lists", **SMALL)
    write_lists(tmp_path / "lists", ["x.jpg"] * 2, [], [])
    with pytest.raises(DataSetError, match="names 1 images twice"):
        load_split("occluded_duke", tmp_path, lists=tmp_path / "lists", **SMALL)
    with pytest.raises(DataSetError, match=r"train\.list is missing(.*\n)+.*Occluded-DukeMTMC-Dataset"):
        load_split("occluded_duke", tmp_path, lists=tmp_path, **SMALL)
    with pytest.raises(DataSetError, match="query images: expected 2,210, found 3"):
        load_split("occluded_duke", tmp_path)


def test_prai_needs_a_partition_file(tmp_path: Path) -> None:
    trees.write_prai(tmp_path)
    (tmp_path / "partition.json").unlink()
    with pytest.raises(DataSetError, match=r"the partition file .*is missing(.*\n)+.*yours to supply"):
        load_split("prai1581", tmp_path)


def partition_files(folder: Path) -> list[Path]:
    """The same partition in every form that is read."""
    lines = [f"{name},{part}" for part, names in trees.PRAI.items() for name in names]
    (folder / "a.csv").write_text("name,part\n" + "\n".join(lines) + "\n")
    (folder / "a.txt").write_text("# ours\n\n" + "\n".join(line.replace(",", " ") for line in lines))
    (folder / "a.json").write_text(json.dumps(trees.PRAI))
    test = [(name, 0) for name in trees.PRAI["query"]] + [(name, 1) for name in trees.PRAI["gallery"]]
    test.append(("00000008_0001_00000077.jpg", 2))
    packed = {"trainval_im_names": trees.PRAI["train"], "test_im_names": [n for n, _ in test],
              "test_marks": np.array([m for _, m in test]), "train_ids2labels": {3: np.int64(0)}}  # fmt: skip
    (folder / "a.pkl").write_bytes(pickle.dumps(packed, protocol=2))
    return [folder / f"a.{suffix}" for suffix in ("csv", "txt", "json", "pkl")]


def test_prai_reads_every_form_of_the_partition(tmp_path: Path) -> None:
    trees.write_prai(tmp_path)
    splits = [load_split("prai1581", tmp_path, partition=path, **SMALL) for path in partition_files(tmp_path)]
    splits.append(load_split("prai1581", tmp_path, **SMALL))
    assert all(split == splits[0] for split in splits)
    assert [(t.pid, t.camid) for t in splits[0].train] == [(0, 0), (0, 0), (0, 1)]
    assert [(t.pid, t.camid) for t in splits[0].gallery] == [(8, 0), (8, 1), (9, 1)]
    grouped = load_split("prai1581", tmp_path, protocol="tracklet", **SMALL)
    assert [(t.pid, t.camid, t.frames) for t in grouped.train] == [(0, 0, (1, 10)), (0, 1, (2,))]


def test_prai_counts_allow_both_published_numbers_of_people(tmp_path: Path) -> None:
    trees.write_prai(tmp_path)
    with pytest.raises(DataSetError, match=r"train ids: expected 781 or 782, found 1; train images: expected 19,523"):
        load_split("prai1581", tmp_path)
    load_split("prai1581", tmp_path, expected={"train ids": (1, 2), "test ids": 2, "query images": 1})


class _Runs:
    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("run",))


def test_a_partition_that_could_run_code_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trees.write_prai(tmp_path)
    (tmp_path / "bad.pkl").write_bytes(pickle.dumps({"trainval_im_names": _Runs()}))
    with pytest.raises(DataSetError, match=r"builtins\.print, which is not read"):
        load_split("prai1581", tmp_path, partition=tmp_path / "bad.pkl", **SMALL)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no partition file"),
        ('{"train": []}', "is no partition file"),
        (json.dumps({**trees.PRAI, "query": ["00000099_0001_00000001.jpg"]}), "1 query images .* first 00000099"),
        (json.dumps({**trees.PRAI, "query": trees.PRAI["gallery"]}), "names 3 images twice"),
        (json.dumps({**trees.PRAI, "train": trees.PRAI["query"], "query": []}), "person 8 in train and in test"),
    ],
)
def test_a_wrong_partition_is_refused(tmp_path: Path, text: str, message: str) -> None:
    trees.write_prai(tmp_path)
    (tmp_path / "partition.json").write_text(text)
    with pytest.raises(DataSetError, match=message):
        load_split("prai1581", tmp_path, **SMALL)


def test_a_partition_line_without_a_part_is_refused(tmp_path: Path) -> None:
    trees.write_prai(tmp_path)
    (tmp_path / "p.txt").write_text("00000003_0001_00000001.jpg,training\n")
    with pytest.raises(DataSetError, match=r"p\.txt, line 1: want a name and train, query or gallery"):
        load_split("prai1581", tmp_path, partition=tmp_path / "p.txt", **SMALL)


def test_unknown_protocols_are_refused() -> None:
    with pytest.raises(ValueError, match="image or tracklet"):
        Reading("video")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="max_gap"):
        Reading("tracklet", max_gap=0)
