"""MARS (Zheng et al., ECCV 2016): tracklets of six cameras; the official split files say which images make one.

Names are `PPPPCcTttttFfff.jpg`: person (`00-1` junk, `0000` distractor), camera, tracklet of the person, frame of the
tracklet. A row of a split file is first line, last line (1-based, both in) of the name list, person, camera.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.types import Int64
from reid_train.data.source import Counts, DataSource, find_file, find_root, folders_in, images_in, make_split
from reid_train.data.tracklet import LabelledTracklet, ReidSplit

JUNK_PID = -1
NUM_CAMS = 6
NAME = re.compile(r"(\d{4}|00-1)C([1-6])T(\d{4})F(\d{3})\.jpg")
SOURCE = DataSource(
    "MARS",
    "The images come from the authors (www.liangzheng.com.cn, project MARS); the five files of info/ are the "
    "repository liangzheng06/MARS-evaluation. The two name lists may be missing: they are then made from the folders.",
    """
bbox_train/<person>/<person>C<camera>T<tracklet>F<frame>.jpg
bbox_test/<person>/...          (with 00-1, junk, and 0000, distractors)
info/tracks_train_info.mat   info/tracks_test_info.mat   info/query_IDX.mat
info/train_name.txt          info/test_name.txt
""",
    {
        "train ids": 625,
        "train tracklets": 8298,
        "train images": 509_914,
        "query ids": 626,
        "query tracklets": 1980,
        "test rows": 12_180,
        "test images": 681_089,
        "junk rows": 870,
        "distractor rows": 3248,
        "queries without a match": 0,
    },
)


def load(
    root: Path,
    *,
    info: Path | None = None,
    keep_junk: bool = True,
    check_counts: bool = True,
    expected: Counts | None = None,
    check_files: bool = True,
    dense_step: int = 0,
    most_people: int | None = None,
) -> ReidSplit:
    """MARS below `root`; `info` is the folder of the split files where they stand elsewhere.

    The gallery is all 12,180 test rows, the queries among them (without those, 140 queries have no match); the
    870 junk rows are skipped by the scorer, or left out with keep_junk=False (11,310 rows, the same scores).
    most_people trains on the people with the lowest numbers only, to see what more people buy.
    check_files=False reads the lists alone, for a look at the labels where the images are not at hand.
    """
    root = find_root(SOURCE, root, *(("bbox_train", "bbox_test") if check_files else ()), below=("MARS", "mars"))
    infos = Path(info) if info is not None else root
    train_rows = _matrix(find_file(SOURCE, infos, *_places("tracks_train_info.mat")), "track_train_info")
    test_rows = _matrix(find_file(SOURCE, infos, *_places("tracks_test_info.mat")), "track_test_info")
    query_rows = _matrix(find_file(SOURCE, infos, *_places("query_IDX.mat")), "query_IDX").ravel() - 1
    train = _tracklets(root / "bbox_train", _names(infos, root / "bbox_train", "train_name.txt"), train_rows)
    test = _tracklets(root / "bbox_test", _names(infos, root / "bbox_test", "test_name.txt"), test_rows)
    if len(query_rows) and not 0 <= query_rows.min() <= query_rows.max() < len(test):
        raise SOURCE.wrong(f"query_IDX.mat speaks of row {query_rows.max() + 1} of {len(test)} test tracklets")
    if most_people is not None:
        kept_people = set(sorted({t.pid for t in train})[:most_people])
        train = [t for t in train if t.pid in kept_people]
    if check_files:
        _check_first_images(train + test)
    query = [test[row] for row in query_rows]
    kept = np.array([keep_junk or t.pid != JUNK_PID for t in test], bool)
    return make_split(
        SOURCE,
        train,
        query,
        [t for t, keep in zip(test, kept, strict=True) if keep],
        num_cams=NUM_CAMS,
        protocol="MARS: queries are part of the gallery; junk (-1) is skipped, distractors (0) are negatives",
        check_counts=check_counts,
        expected=expected,
        found={
            "test rows": len(test),
            "test images": sum(len(t) for t in test),
            "junk rows": sum(t.pid == JUNK_PID for t in test),
            "distractor rows": sum(t.pid == 0 for t in test),
            "queries without a match": unmatched_queries(query, test),
        },
        gallery_holds_query=True,
        query_rows=(np.cumsum(kept) - 1)[query_rows].tolist(),
        dense_step=dense_step,
    )


def unmatched_queries(query: Sequence[LabelledTracklet], gallery: Sequence[LabelledTracklet]) -> int:
    """Queries whose person no other camera of the gallery has seen."""
    cameras: dict[int, set[int]] = {}
    for tracklet in gallery:
        cameras.setdefault(tracklet.pid, set()).add(tracklet.camid)
    return sum(not cameras.get(t.pid, set()) - {t.camid} for t in query)


def _places(name: str) -> tuple[str, ...]:
    return (name, f"info/{name}", f"MARS-evaluation/info/{name}")


def _matrix(path: Path, key: str) -> Int64:
    import scipy.io

    contents = scipy.io.loadmat(path)
    if key not in contents:
        raise SOURCE.wrong(f"{path} holds no {key}; take the file of liangzheng06/MARS-evaluation")
    return np.asarray(contents[key]).astype(np.int64)


def _names(infos: Path, folder: Path, list_name: str) -> list[str]:
    """The official name list, or the sorted listing of the folders: the same thing."""
    for place in _places(list_name):
        if (infos / place).is_file():
            return (infos / place).read_text().split()
    if not folder.is_dir():
        raise SOURCE.missing(infos, infos / list_name)
    return [name for person in folders_in(folder) for name in images_in(folder / person)]


def _tracklets(folder: Path, names: list[str], rows: Int64) -> list[LabelledTracklet]:
    """(N, 4) rows -> N tracklets, each of one person and one camera, as its row says."""
    if len(rows) and rows[:, 1].max() > len(names):
        raise SOURCE.wrong(
            f"the split file speaks of {rows[:, 1].max():,} images of {folder.name}, of which there are "
            f"{len(names):,}: images are missing, or the name list is not the official one"
        )
    tracklets = []
    for row, (first, last, pid, cam) in enumerate(rows.tolist()):
        members = names[first - 1 : last]
        prefix = f"{'00-1' if pid == JUNK_PID else f'{pid:04d}'}C{cam}T"
        for name in members:
            if not NAME.fullmatch(name):
                raise SOURCE.wrong(f"{folder / name[:4] / name} is not named like PPPPCcTttttFfff.jpg")
            if not name.startswith(prefix):
                raise SOURCE.wrong(
                    f"row {row + 1} is person {pid} in camera {cam}, but holds {name}: images are missing "
                    f" from {folder}, or the name list is not the official one"
                )
        base = str(folder / prefix[:4])
        tracklets.append(LabelledTracklet(tuple(f"{base}/{name}" for name in members), pid, cam - 1))
    return tracklets


def _check_first_images(tracklets: Sequence[LabelledTracklet]) -> None:
    for tracklet in tracklets:
        if not Path(tracklet.paths[0]).is_file():
            raise SOURCE.wrong(f"image {tracklet.paths[0]} is missing; unpack bbox_train and bbox_test again")
