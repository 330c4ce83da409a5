"""PRAI-1581 (Zhang et al., TMM 2020): people seen by two drones at 20 to 60 m.

Names are `PPPPPPPP_CCCC_NNNNNNNN.jpg`: person, camera (1 or 2), number. Which image trains, asks or is in the gallery
says a partition file that the user supplies: JSON, CSV or text, or the `partitions.pkl` that is often packed with it.
"""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path
from typing import Any

from reid_train.data.image_sets import FOLDERS, ImageProtocol, Reading, image_split, matched, parse_names
from reid_train.data.source import Counts, DataSource, find_root, images_in
from reid_train.data.tracklet import LabelledImage, ReidSplit

NUM_CAMS = 2
NAME = re.compile(r"(\d+)_(\d+)_(\d+)\.(jpg|png)")
CANDIDATES = ("partition.json", "partition.csv", "partition.txt", "partitions.pkl")
SOURCE = DataSource(
    "PRAI-1581",
    "The images come from the authors (repository stormyoung/PRAI-1581). The partition file is yours to supply (option "
    'partition): JSON {"train": [names], "query": [names], "gallery": [names]}; or lines "name,part"; or a '
    "partitions.pkl with the keys trainval_im_names, test_im_names and test_marks (0 query, 1 gallery).",
    """
images/00000003_0002_00000007.jpg
partition.json                      (or partition.csv, partition.txt, partitions.pkl)
""",
    {
        "train ids": (781, 782),
        "train images": 19_523,
        "test ids": 799,
        "query images": 4680,
        "gallery images": 15_258,
    },
)


def load(
    root: Path,
    *,
    partition: Path | None = None,
    protocol: ImageProtocol = "image",
    train_as: ImageProtocol | None = None,
    max_gap: int | None = None,
    check_counts: bool = True,
    expected: Counts | None = None,
) -> ReidSplit:
    """PRAI-1581, divided by the partition file (by default the one beside `images`)."""
    root = find_root(SOURCE, root, "images", below=("PRAI-1581", "PRAI1581"))
    if partition is None:
        partition = next((root / name for name in CANDIDATES if (root / name).is_file()), None)
    if partition is None or not Path(partition).is_file():
        raise SOURCE.missing(root, partition or f"the partition file ({root / CANDIDATES[0]})")
    names = read_partition(Path(partition))
    there = set(images_in(root / "images"))
    for part, listed in names.items():
        gone = [n for n in listed if n not in there]
        if gone:
            where = f"of {partition} are not in {root / 'images'}"
            raise SOURCE.wrong(f"{len(gone)} {part} images {where}, first {gone[0]}")
    images: dict[str, list[LabelledImage]] = {
        part: parse_names(SOURCE, root / "images", names[part], parse) for part in FOLDERS
    }
    test_pids = {i.pid for i in [*images["query"], *images["gallery"]]}
    both = {i.pid for i in images["train"]} & test_pids
    if both:
        raise SOURCE.wrong(f"{partition} has person {min(both)} in train and in test; use the published partition")
    return image_split(
        SOURCE,
        images,
        Reading(protocol, train_as, max_gap),
        num_cams=NUM_CAMS,
        check_counts=check_counts,
        expected=expected,
        found={"test ids": len(test_pids)},
    )


def parse(name: str) -> tuple[int, int, int]:
    """Person, 0-based camera and number of a file name; ValueError for any other name."""
    pid, cam, number, _ = matched(NAME, name, "00000003_0002_00000007.jpg")
    if not 1 <= int(cam) <= NUM_CAMS:
        raise ValueError(f"camera {int(cam)}: the data set has cameras 1 and 2")
    return int(pid), int(cam) - 1, int(number)


def read_partition(path: Path) -> dict[str, list[str]]:
    """Names of the train, query and gallery images, each in one part only. Raises DataSetError."""
    try:
        if path.suffix == ".pkl":
            parts = _from_pickle(path)
        elif path.suffix == ".json":
            contents = json.loads(path.read_text())
            parts = {part: [str(n) for n in contents[part]] for part in FOLDERS}
        else:
            parts = _from_lines(path)
    except (KeyError, TypeError, json.JSONDecodeError, pickle.UnpicklingError, EOFError) as error:
        raise SOURCE.wrong(f"{path} is no partition file ({type(error).__name__}: {error}). {SOURCE.obtain}") from error
    names = [name for part in parts.values() for name in part]
    if len(set(names)) != len(names):
        raise SOURCE.wrong(f"{path} names {len(names) - len(set(names))} images twice")
    return parts


def _from_lines(path: Path) -> dict[str, list[str]]:
    parts: dict[str, list[str]] = {part: [] for part in FOLDERS}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        fields = [f for f in re.split(r"[,;\s]+", line.strip()) if f]
        if not fields or line.startswith("#") or (number == 1 and fields[0] in ("name", "image", "path")):
            continue
        if len(fields) != 2 or fields[1] not in parts:
            raise SOURCE.wrong(f"{path}, line {number}: want a name and train, query or gallery, not {line!r}")
        parts[fields[1]].append(Path(fields[0]).name)
    return parts


class _PlainUnpickler(pickle.Unpickler):
    """Reads numbers, strings, lists, dicts and numpy arrays, and refuses everything that could run code."""

    ALLOWED = frozenset(
        {("_codecs", "encode")}  # how bytes are written by older protocols
        | {
            (module, name)
            for module in ("numpy.core.multiarray", "numpy._core.multiarray", "numpy")
            for name in ("_reconstruct", "scalar", "ndarray", "dtype")
        }
    )

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"it holds a {module}.{name}, which is not read; write the names as JSON")
        return super().find_class(module, name)


def _from_pickle(path: Path) -> dict[str, list[str]]:
    with path.open("rb") as file:
        contents = _PlainUnpickler(file, encoding="latin1").load()
    parts: dict[str, list[str]] = {"train": [str(n) for n in contents["trainval_im_names"]], "query": [], "gallery": []}
    names, marks = contents["test_im_names"], contents["test_marks"]
    if len(names) != len(marks):
        raise SOURCE.wrong(f"{path} has {len(names)} test_im_names, but {len(marks)} test_marks")
    for name, mark in zip(names, marks, strict=True):
        if int(mark) in (0, 1):  # 2 marks further queries, which this protocol does not use
            parts["query" if int(mark) == 0 else "gallery"].append(str(name))
    return parts
