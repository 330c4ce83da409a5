"""MARS: the official split files whole, and a small tree with the real file names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from reid_train.data import mars
from reid_train.data.build import load_split
from reid_train.data.source import DataSetError
from reid_train.data.tracklet import ReidSplit
from tests.reid_train.data import trees
from tests.shared import SHARED, needs_shared

INFO = SHARED / "data" / "mars_info"
official = needs_shared(*(f"data/mars_info/{n}.mat" for n in ("tracks_train_info", "tracks_test_info", "query_IDX")))
SMALL: dict[str, Any] = {"check_counts": False}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> ReidSplit:
    """The official files, with name lists made from their rows; no images."""
    root = tmp_path_factory.mktemp("mars")
    info = root / "info"
    info.mkdir()
    for part in ("train", "test"):
        name = f"tracks_{part}_info.mat"
        (info / name).symlink_to(INFO / name)
        rows = scipy.io.loadmat(INFO / name)[f"track_{part}_info"].tolist()
        (info / f"{part}_name.txt").write_text("\n".join(trees.mars_names(rows)))
    (info / "query_IDX.mat").symlink_to(INFO / "query_IDX.mat")
    return load_split("mars", root, check_files=False)


@official
def test_the_official_files_have_the_official_counts(whole: ReidSplit) -> None:
    assert (whole.num_pids, len(whole.train), sum(len(t) for t in whole.train)) == (625, 8298, 509_914)
    assert (len({t.pid for t in whole.query}), len(whole.query)) == (626, 1980)
    assert (len(whole.gallery), sum(len(t) for t in whole.gallery)) == (12_180, 681_089)
    pids = np.array([t.pid for t in whole.gallery])
    assert [(pids == -1).sum(), (pids == 0).sum(), (pids > 0).sum(), len(set(pids[pids > 0]))] == [870, 3248, 8062, 634]
    assert whole.num_cams == 6


@official
def test_every_query_of_mars_has_a_match_and_140_have_none_without_the_queries(whole: ReidSplit) -> None:
    assert mars.unmatched_queries(whole.query, whole.gallery) == 0
    queries = set(whole.query_rows)
    rest = [t for row, t in enumerate(whole.gallery) if row not in queries]
    assert len(rest) - 870 == 9330
    assert mars.unmatched_queries(whole.query, rest) == 140


@official
def test_the_queries_are_the_official_rows_of_the_gallery(whole: ReidSplit) -> None:
    assert whole.gallery_holds_query
    assert whole.query_rows[:10] == (4129, 4137, 4145, 4150, 4152, 4154, 4158, 4159, 4160, 4163)
    assert (min(whole.query_rows), max(whole.query_rows)) == (4129, 12_179)
    assert all(whole.gallery[row] is query for row, query in zip(whole.query_rows, whole.query, strict=True))


@official
def test_cameras_and_lengths_of_mars_are_the_known_ones(whole: ReidSplit) -> None:
    def cameras(part: Any) -> list[int]:
        return np.bincount([t.camid for t in part], minlength=6).tolist()

    assert cameras(whole.train) == [1816, 1957, 1321, 750, 1880, 574]
    assert cameras(whole.query) == [524, 456, 319, 191, 384, 106]
    assert cameras(whole.gallery) == [2271, 3725, 1495, 1024, 2240, 1425]
    lengths = np.array([len(t) for t in whole.train])
    assert (lengths.min(), np.median(lengths), lengths.max(), (lengths < 8).sum()) == (5, 36, 900, 86)
    assert whole.train[0].paths[0].endswith("bbox_train/0001/0001C1T0001F001.jpg")
    assert whole.gallery[0].paths[-1].endswith("bbox_test/00-1/00-1C1T0001F024.jpg")


@official
def test_leaving_junk_out_keeps_11310_rows_and_the_queries_in_them(tmp_path: Path, whole: ReidSplit) -> None:
    info = Path(whole.train[0].paths[0]).parents[2] / "info"
    split = load_split("mars", tmp_path, info=info, keep_junk=False, check_files=False)
    assert len(split.gallery) == 11_310 and {t.pid for t in split.gallery} >= {0, 2} and -1 not in {
        t.pid for t in split.gallery
    }  # fmt: skip
    rows = zip(split.query_rows, split.query, strict=True)
    assert all(split.gallery[row] is query for row, query in rows)


@pytest.mark.parametrize("lists", [True, False])
def test_a_small_tree_loads_with_or_without_name_lists(tmp_path: Path, lists: bool) -> None:
    split = load_split("mars", trees.write_mars(tmp_path, lists=lists), **SMALL)
    assert [(t.pid, t.camid, len(t)) for t in split.train] == [
        (0, 0, 3), (0, 0, 2), (0, 3, 5), (1, 1, 9), (1, 5, 1), (2, 2, 2)]  # fmt: skip
    assert [(t.pid, t.camid) for t in split.query] == [(2, 0), (2, 2), (6, 1), (6, 3)]
    assert [t.pid for t in split.gallery] == [-1, -1, 0, 2, 2, 2, 6, 6]
    assert split.query_rows == (3, 4, 6, 7)
    first = split.train[0]
    assert [Path(p).name for p in first.paths] == [f"0001C1T0001F00{k}.jpg" for k in (1, 2, 3)]
    assert first.frames == ()
    assert all(Path(p).is_file() for part in (split.train, split.gallery) for t in part for p in t.paths)


def test_the_folder_above_and_long_tracklets_in_chunks(tmp_path: Path) -> None:
    trees.write_mars(tmp_path / "MARS")
    split = load_split("mars", tmp_path, dense_step=4, **SMALL)
    assert [len(t) for t in split.train] == [3, 2, 5, 4, 5, 1, 2]


def test_the_counts_of_a_part_are_refused_with_what_was_found(tmp_path: Path) -> None:
    trees.write_mars(tmp_path)
    with pytest.raises(DataSetError, match=r"train tracklets: expected 8,298, found 6.*check_counts=False"):
        load_split("mars", tmp_path)
    load_split("mars", tmp_path, expected={"train ids": 3, "test rows": 8, "queries without a match": 0})
    with pytest.raises(DataSetError, match="unknown count 'ids'"):
        load_split("mars", tmp_path, expected={"ids": 3})


def test_what_is_missing_is_named_with_where_it_belongs(tmp_path: Path) -> None:
    with pytest.raises(DataSetError, match=r"bbox_train is missing.*\n.*bbox_train/<person>.*(\n.*)+MARS-evaluation"):
        load_split("mars", tmp_path)
    trees.write_mars(tmp_path)
    (tmp_path / "info/query_IDX.mat").unlink()
    with pytest.raises(DataSetError, match=r"query_IDX\.mat"):
        load_split("mars", tmp_path, **SMALL)


def test_a_missing_image_shifts_nothing_unseen(tmp_path: Path) -> None:
    trees.write_mars(tmp_path, lists=False)
    (tmp_path / "bbox_train/0001/0001C1T0001F002.jpg").unlink()
    with pytest.raises(DataSetError, match=r"of which there are\s+21"):
        load_split("mars", tmp_path, **SMALL)
    trees.write_images(tmp_path / "bbox_train", ["0012/0012C3T0001F003.jpg"])  # the number is right again
    with pytest.raises(DataSetError, match=r"row 2 is person 1 in camera 1, but holds 0001C4T0003F001"):
        load_split("mars", tmp_path, **SMALL)


def test_a_missing_first_image_is_found_before_training(tmp_path: Path) -> None:
    trees.write_mars(tmp_path)
    (tmp_path / "bbox_test/0006/0006C2T0001F001.jpg").unlink()
    with pytest.raises(DataSetError, match=r"0006C2T0001F001\.jpg is missing; unpack"):
        load_split("mars", tmp_path, **SMALL)


def test_files_of_another_kind_are_refused(tmp_path: Path) -> None:
    trees.write_mars(tmp_path)
    names = (tmp_path / "info/train_name.txt").read_text()
    (tmp_path / "info/train_name.txt").write_text(names.replace("0001C1T0001F001.jpg", "0001C1T0001F1.jpg"))
    with pytest.raises(DataSetError, match=r"F1\.jpg is not named like"):
        load_split("mars", tmp_path, **SMALL)
    scipy.io.savemat(tmp_path / "info/query_IDX.mat", {"rows": [1]})
    with pytest.raises(DataSetError, match="holds no query_IDX"):
        load_split("mars", tmp_path, **SMALL)
    scipy.io.savemat(tmp_path / "info/query_IDX.mat", {"query_IDX": np.array([[99]], np.uint16)})
    (tmp_path / "info/train_name.txt").write_text(names)
    with pytest.raises(DataSetError, match="row 99 of 8"):
        load_split("mars", tmp_path, **SMALL)
