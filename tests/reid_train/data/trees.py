"""Miniature data sets with the real ones' file names, written in an order that no loader may depend on."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

import h5py
import numpy as np
import scipy.io
from PIL import Image

Row = tuple[int, int, int, int]  # first line, last line, person, camera of a MARS split file


@cache
def tiny_jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 16), (90, 120, 40)).save(buffer, "JPEG")
    return buffer.getvalue()


def write_images(root: Path, names: Iterable[str]) -> None:
    """Small true images, the last name first, and files that are no part of any data set beside them."""
    for name in sorted(names, reverse=True):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(tiny_jpeg())
        for stray in (".DS_Store", "Thumbs.db", f"._{path.name}"):
            (path.parent / stray).touch()


def mars_person(pid: int) -> str:
    return "00-1" if pid == -1 else f"{pid:04d}"


def mars_names(rows: Sequence[Row]) -> list[str]:
    """The name list that fits rows of a split file: tracklets of a person are numbered as they come."""
    names = []
    tracklet: dict[int, int] = {}
    for first, last, pid, cam in rows:
        tracklet[pid] = tracklet.get(pid, 0) + 1
        stem = f"{mars_person(pid)}C{cam}T{tracklet[pid]:04d}F"
        names.extend(f"{stem}{frame:03d}.jpg" for frame in range(1, last - first + 2))
    return names


def rows_of(lengths: Sequence[tuple[int, int, int]]) -> list[Row]:
    """(person, camera, images) -> rows."""
    rows, line = [], 1
    for pid, cam, count in lengths:
        rows.append((line, line + count - 1, pid, cam))
        line += count
    return rows


MARS_TRAIN = rows_of([(1, 1, 3), (1, 1, 2), (1, 4, 5), (7, 2, 9), (7, 6, 1), (12, 3, 2)])
MARS_TEST = rows_of([(-1, 1, 2), (-1, 5, 3), (0, 2, 4), (2, 1, 3), (2, 3, 2), (2, 3, 1), (6, 2, 5), (6, 4, 2)])
MARS_QUERY = [4, 5, 7, 8]  # rows from 1


def write_mars(root: Path, *, lists: bool = True) -> Path:
    """Train of 3 people and 6 tracklets; test of 2 people, junk and a distractor; a query for each camera."""
    info = root / "info"
    info.mkdir(parents=True)
    for part, rows in (("train", MARS_TRAIN), ("test", MARS_TEST)):
        names = mars_names(rows)
        write_images(root / f"bbox_{part}", (f"{name[:4]}/{name}" for name in names))
        if lists:
            (info / f"{part}_name.txt").write_text("\n".join(names) + "\n")
        scipy.io.savemat(info / f"tracks_{part}_info.mat", {f"track_{part}_info": np.array(rows, np.int32)})
    scipy.io.savemat(info / "query_IDX.mat", {"query_IDX": np.array([MARS_QUERY], np.uint16)})
    return root


def write_ilids(root: Path, people: Sequence[int] = (1, 2, 5, 9, 13, 300), num_splits: int = 3) -> Path:
    for pid in people:
        for cam in (1, 2):
            frames = (317, 318, 1000) if cam == 1 else (99_999, 10_000)
            folder = f"i-LIDS-VID/sequences/cam{cam}/person{pid:03d}"
            write_images(root, (f"{folder}/cam{cam}_person{pid:03d}_{frame:05d}.png" for frame in frames))
    splits = root / "train-test people splits"
    splits.mkdir()
    ls_set = np.stack([np.random.RandomState(s).permutation(len(people)) + 1 for s in range(num_splits)])
    scipy.io.savemat(splits / "train_test_splits_ilidsvid.mat", {"ls_set": ls_set.astype(np.float64)})
    return root


def write_prid(root: Path, num_people: int = 6, num_frames: int = 23) -> Path:
    for pid in range(1, num_people + 1):
        for camera in ("cam_a", "cam_b"):
            folder = f"prid_2011/multi_shot/{camera}/person_{pid:04d}"
            write_images(root, (f"{folder}/{frame:04d}.png" for frame in range(1, num_frames + 1)))
    write_images(root, [f"prid_2011/multi_shot/cam_a/person_{385:04d}/0001.png"])  # seen by one camera only
    names = [f"person_{pid:04d}" for pid in range(1, num_people + 1)]
    splits = [{"train": names[::2], "test": names[1::2]}, {"train": names[3:], "test": names[:3]}]
    (root / "splits_prid2011.json").write_text(json.dumps(splits))
    return root


def duke_video_names(part: str, pid: int, cam: int, tracklet: int, frames: Sequence[int], *, new: bool) -> list[str]:
    template = "{:04d}_C{}_F{:04d}_X{:05d}.jpg" if new else "{:04d}C{}F{:04d}X{:05d}.jpg"
    names = (template.format(pid, cam, frame, 30_823 + 12 * frame) for frame in frames)
    return [f"{part}/{pid:04d}/{tracklet:04d}/{name}" for name in names]


def write_duke_video(root: Path, *, new: bool = False) -> Path:
    """Train 2 people; queries of 2 people, each in the gallery too, which has one person more. F runs past 9."""
    for pid, cam, tracklet, count in ((1, 6, 1, 70), (1, 2, 2, 3), (5, 1, 9, 12)):
        write_images(root, duke_video_names("train", pid, cam, tracklet, range(1, count + 1), new=new))
    for part, members in (
        ("query", ((19, 2, 3), (30, 8, 7))),
        ("gallery", ((19, 2, 3), (19, 5, 4), (30, 8, 7), (30, 1, 8), (44, 1, 1))),
    ):
        for pid, cam, tracklet in members:
            write_images(root, duke_video_names(part, pid, cam, tracklet, (1, 2, 4, 10, 11), new=new))
    return root


LS_TEST = [("0900", 1, 1), ("0900", 1, 12), ("0900", 2, 3), ("0901", 1, 15), ("0901", 2, 2)]  # person, tracklet, cam
LS_QUERY = [2, 4]  # rows from 1


def write_ls_vid(root: Path, layout: str = "mat") -> Path:
    """Layouts: "mat" (list_sequence, test/data), "info" (info/...), "npy" (test/query.npy and info_test.npy)."""
    train = [("0001", 1, 3), ("0001", 11, 3), ("0002", 1, 7)]
    base = root / ("info" if layout == "info" else "")
    for part, members in (("train", train), ("test", LS_TEST)):
        lines = []
        for person, tracklet, cam in members:
            stem = f"tracklet_{part}/{person}/{person}_{tracklet:03d}_{cam:02d}"
            write_images(root, (f"{stem}_{frame:06d}.jpg" for frame in (1, 2, 10, 100)[: 2 + tracklet % 3]))
            lines.append(f"{stem} {int(person)}\n")
        (base / "list_sequence").mkdir(parents=True, exist_ok=True)
        (base / "list_sequence" / f"list_seq_{part}.txt").write_text("".join(lines))
    if layout == "npy":
        np.save(root / "test/query.npy" if (root / "test").mkdir() is None else root, np.array(LS_QUERY, np.uint16))
        info = [[row, row, int(p), cam] for row, (p, _, cam) in enumerate(LS_TEST)]
        np.save(root / "test/info_test.npy", np.array(info))
        return root
    data = root / ("info/data" if layout == "info" else "test/data")
    data.mkdir(parents=True)
    with h5py.File(data / "info_test.mat", "w") as file:
        file["query"] = np.array([LS_QUERY], np.float64)
    return root


MARKET = {
    "bounding_box_train": ["0002_c1s1_000451_03.jpg", "0002_c1s3_000100_01.jpg", "0002_c6s4_000010_01.jpg",
                           "0007_c3s2_000777_05.jpg", "0007_c3s2_000777_06.jpg"],
    "query": ["0001_c1s1_001051_00.jpg", "0003_c5s3_005000_00.jpg"],
    "bounding_box_test": ["-1_c1s1_000401_03.jpg", "-1_c1s1_000501_03.jpg", "0000_c1s1_000151_01.jpg",
                          "0000_c2s1_000151_01.jpg", "0001_c1s1_002301_02.jpg", "0001_c2s1_000301_00.jpg",
                          "0003_c1s6_015971_01.jpg"],
}  # fmt: skip
DUKE = {
    "bounding_box_train": ["0001_c2_f0046182.jpg", "0001_c2_f0046302.jpg", "0001_c2_f0050000.jpg",
                           "0005_c8_f0002935.jpg"],
    "query": ["0019_c1_f0051230.jpg", "0019_c1_f0051350.jpg", "0030_c4_f0000200.jpg"],
    "bounding_box_test": ["0002_c1_f0044158.jpg", "0019_c1_f0051350.jpg", "0019_c2_f0051470.jpg",
                          "0030_c1_f0000100.jpg", "0030_c5_f0000100.jpg", "0030_c5_f0000220.jpg"],
}  # fmt: skip
PRAI = {
    "train": ["00000003_0001_00000001.jpg", "00000003_0001_00000010.jpg", "00000003_0002_00000002.jpg"],
    "query": ["00000008_0001_00000001.jpg"],
    "gallery": ["00000008_0001_00000002.jpg", "00000008_0002_00000001.jpg", "00000009_0002_00000001.jpg"],
}


def write_flat(root: Path, folders: dict[str, list[str]]) -> Path:
    for folder, names in folders.items():
        write_images(root / folder, names)
    return root


def write_prai(root: Path) -> Path:
    write_images(root / "images", (name for names in PRAI.values() for name in names))
    (root / "partition.json").write_text(json.dumps(PRAI))
    return root
