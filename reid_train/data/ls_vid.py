"""LS-VID (Li et al., ICCV 2019): fifteen cameras, long tracklets; sequence lists name a prefix for each tracklet.

A tracklet is every image whose name begins with its prefix; the third part of the name is the camera. The lists and
the query rows stand in three places in the wild, all of which are read: `list_sequence` + `test/data/info_test.mat`
(MATLAB 7.3), `info/list_sequence` + `info/data/info_test.mat`, and `test/query.npy` + `test/info_test.npy`.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np

from pipeline.types import Int64
from reid_train.data.source import Counts, DataSource, find_file, images_in, make_split, natural_key
from reid_train.data.tracklet import LabelledTracklet, ReidSplit

NUM_CAMS = 15
LISTS = ("list_sequence", "info/list_sequence")
QUERIES = ("test/data/info_test.mat", "info/data/info_test.mat", "data/info_test.mat", "test/query.npy")
CAMERA_FIELD, CAMERA_COLUMN = 2, 3
SOURCE = DataSource(
    "LS-VID",
    "It is given out by Peking University on request (pkuvmc.com, data sets, LS-VID).",
    """
list_sequence/list_seq_train.txt   list_sequence/list_seq_test.txt   (lines: prefix person; or in info/)
test/data/info_test.mat            (or info/data/info_test.mat, or test/query.npy with test/info_test.npy)
<prefix>_<frame>.jpg               the images where the lists' prefixes, relative to this folder, say
""",
    {
        "train ids": 842,
        "train tracklets": 2831,
        "query tracklets": 3504,
        "test ids": 2730,
        "test tracklets": 11_333,
    },
)


def load(
    root: Path,
    *,
    gallery: Literal["without_query", "all"] = "without_query",
    check_counts: bool = True,
    expected: Counts | None = None,
    dense_step: int = 0,
) -> ReidSplit:
    """LS-VID. gallery="without_query" (7,829, SINet and STAFormer) or "all" test tracklets (11,333, the data set's own:
    other queries of a person then count as matches). STAFormer trains on chunks of dense_step=48 images."""
    if gallery not in ("without_query", "all"):
        raise SOURCE.wrong(f"gallery={gallery!r}: without_query or all")
    root = next((r for r in (Path(root), *(Path(root) / b for b in ("LS-VID", "LSVID"))) if _list_in(r)), Path(root))
    train_list, test_list = (
        find_file(SOURCE, root, *(f"{place}/list_seq_{part}.txt" for place in LISTS)) for part in ("train", "test")
    )
    train = _tracklets(root, train_list)
    test = _tracklets(root, test_list)
    rows = _query_rows(find_file(SOURCE, root, *QUERIES), len(test))
    _check_cameras(root / "test/info_test.npy", test)
    queries = set(rows)
    holds = gallery == "all"
    return make_split(
        SOURCE,
        train,
        [test[row] for row in rows],
        test if holds else [t for row, t in enumerate(test) if row not in queries],
        num_cams=NUM_CAMS,
        protocol="LS-VID: gallery is " + ("every test tracklet" if holds else "the test tracklets without the queries"),
        check_counts=check_counts,
        expected=expected,
        found={"test tracklets": len(test), "test ids": len({t.pid for t in test})},
        gallery_holds_query=holds,
        query_rows=rows if holds else (),
        dense_step=dense_step,
    )


def _list_in(root: Path) -> bool:
    return any((root / place / "list_seq_train.txt").is_file() for place in LISTS)


def _tracklets(root: Path, path: Path) -> list[LabelledTracklet]:
    tracklets = []
    listing = lru_cache(maxsize=64)(images_in)
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip():
            continue
        prefix, _, pid = line.strip().rpartition(" ")
        prefix = prefix.strip()
        if not prefix or not pid.lstrip("-").isdigit():
            raise SOURCE.wrong(f"{path}, line {number}: want a prefix and a person, not {line!r}")
        folder, stem = (root / prefix).parent, Path(prefix).name
        if not folder.is_dir():
            raise SOURCE.missing(root, f"{folder} (line {number} of {path.name})")
        start = stem if stem.endswith("_") else f"{stem}_"
        names = sorted((n for n in listing(folder) if n.startswith(start)), key=natural_key)
        if not names:
            raise SOURCE.wrong(f"{path.name}, line {number}: no image is called {folder}/{start}*; unpack it again")
        cameras = {_camera(folder, name) for name in names}
        if len(cameras) > 1:
            raise SOURCE.wrong(f"{folder}/{start}* is not of one camera: {sorted(cameras)}")
        tracklets.append(LabelledTracklet(tuple(str(folder / n) for n in names), int(pid), cameras.pop() - 1))
    return tracklets


def _camera(folder: Path, name: str) -> int:
    fields = name.rsplit(".", 1)[0].split("_")
    field = fields[CAMERA_FIELD] if len(fields) > CAMERA_FIELD + 1 else ""
    if not field.isdigit() or not 1 <= int(field) <= NUM_CAMS:
        raise SOURCE.wrong(f"{folder / name}: want four parts joined by _, the third a camera from 1 to {NUM_CAMS}")
    return int(field)


def _query_rows(path: Path, num_test: int) -> list[int]:
    """0-based rows of the test list."""
    if path.suffix == ".npy":
        rows: Int64 = np.load(path, allow_pickle=False).astype(np.int64).reshape(-1)
    else:
        import h5py

        with h5py.File(path, "r") as file:
            if "query" not in file:
                raise SOURCE.wrong(f"{path} holds no data set 'query'; take the file of the data set's archive")
            rows = np.asarray(file["query"]).astype(np.int64).reshape(-1)
    rows = rows - 1
    if len(rows) and not 0 <= rows.min() <= rows.max() < num_test:
        raise SOURCE.wrong(f"{path} speaks of row {rows.max() + 1} of {num_test} test tracklets")
    if len(set(rows.tolist())) != len(rows):
        raise SOURCE.wrong(f"{path} names a query twice; take the file of the data set's archive")
    return [int(row) for row in rows]


def _check_cameras(path: Path, test: list[LabelledTracklet]) -> None:
    """Where `info_test.npy` is there, its cameras must be those of the names."""
    if not path.is_file():
        return
    info = np.load(path, allow_pickle=False)
    if info.ndim != 2 or info.shape[1] <= CAMERA_COLUMN or len(info) != len(test):
        raise SOURCE.wrong(f"{path}: want {len(test)} rows of at least 4 columns, not {info.shape}")
    for row, (cam, tracklet) in enumerate(zip(info[:, CAMERA_COLUMN].tolist(), test, strict=True)):
        if int(cam) - 1 != tracklet.camid:
            raise SOURCE.wrong(f"{path}, row {row + 1}: camera {int(cam)}, but the images are {tracklet.paths[0]}")
