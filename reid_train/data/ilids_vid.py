"""iLIDS-VID (Wang et al., ECCV 2014): 300 people, each once in either of two airport cameras; ten random halvings.

Scored by CMC, averaged over the ten splits: each query has one match.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from reid_train.data.source import (
    Counts,
    DataSource,
    find_file,
    find_root,
    folders_in,
    images_in,
    last_number,
    make_split,
)
from reid_train.data.tracklet import LabelledTracklet, ReidSplit

SPLITS = "train-test people splits/train_test_splits_ilidsvid.mat"
CAMERAS = ("cam1", "cam2")
SOURCE = DataSource(
    "iLIDS-VID",
    "It comes from Queen Mary University of London (download page 'iLIDS-VID ReID dataset'); the split file is part "
    "of the same archive.",
    f"""
i-LIDS-VID/sequences/cam1/person001/cam1_person001_00317.png   (and cam2)
{SPLITS}
""",
    {
        "train ids": 150,
        "train tracklets": 300,
        "query ids": 150,
        "query tracklets": 150,
        "gallery ids": 150,
        "gallery tracklets": 150,
        "splits": 10,
    },
)


def load(
    root: Path, *, split_id: int = 0, check_counts: bool = True, expected: Counts | None = None, dense_step: int = 0
) -> ReidSplit:
    """Split `split_id` (0..9): train both cameras of one half of the people; query camera 1, gallery camera 2."""
    root = find_root(SOURCE, root, "i-LIDS-VID/sequences", below=("iLIDS-VID", "ilids-vid", "i-LIDS-VID"))
    sequences = root / "i-LIDS-VID" / "sequences"
    for camera in CAMERAS:
        if not (sequences / camera).is_dir():
            raise SOURCE.missing(root, sequences / camera)
    people = folders_in(sequences / "cam1")
    only_one = sorted(set(people) ^ set(folders_in(sequences / "cam2")))
    if only_one:
        raise SOURCE.wrong(f"{only_one[0]} has no sequence in one of the cameras below {sequences}; unpack it again")
    test_rows, train_rows, num_splits = _halves(find_file(SOURCE, root, SPLITS, Path(SPLITS).name), split_id, people)
    test, train = ([people[row] for row in rows] for rows in (test_rows, train_rows))
    return make_split(
        SOURCE,
        _tracklets(sequences, train, CAMERAS),
        _tracklets(sequences, test, CAMERAS[:1]),
        _tracklets(sequences, test, CAMERAS[1:]),
        num_cams=2,
        protocol=f"iLIDS-VID split {split_id} of {num_splits}: query camera 1, gallery camera 2; one match per query",
        check_counts=check_counts,
        expected=expected,
        found={"splits": num_splits},
        dense_step=dense_step,
    )


def _halves(path: Path, split_id: int, people: Sequence[str]) -> tuple[list[int], list[int], int]:
    """Rows of the sorted people: the first half of a split's columns is its test set, the second trains."""
    import scipy.io

    contents = scipy.io.loadmat(path)
    if "ls_set" not in contents:
        raise SOURCE.wrong(f"{path} holds no ls_set; take the file of the data set's archive")
    splits = np.asarray(contents["ls_set"]).astype(np.int64) - 1
    if not 0 <= split_id < len(splits):
        raise SOURCE.wrong(f"split_id {split_id}: {path.name} holds splits 0 to {len(splits) - 1}")
    if sorted(splits[split_id].tolist()) != list(range(len(people))):
        raise SOURCE.wrong(f"{path} divides {splits.shape[1]} people, but {len(people)} are there; unpack it again")
    half = splits.shape[1] // 2
    return sorted(splits[split_id, :half].tolist()), sorted(splits[split_id, half:].tolist()), len(splits)


def _tracklets(sequences: Path, people: Sequence[str], cameras: Sequence[str]) -> list[LabelledTracklet]:
    tracklets = []
    for person in people:
        for camera in cameras:
            folder = sequences / camera / person
            names = sorted(images_in(folder), key=lambda name: (last_number(name) or 0, name))
            if not names:
                raise SOURCE.wrong(f"{folder} holds no images; unpack it again")
            if not all(name.startswith(f"{camera}_{person}_") for name in names):
                raise SOURCE.wrong(f"{folder} holds images of another person or camera: {names[0]} ... {names[-1]}")
            pid = last_number(person)
            if pid is None:
                raise SOURCE.wrong(f"{folder} is not named like person001")
            tracklets.append(LabelledTracklet(tuple(str(folder / n) for n in names), pid, CAMERAS.index(camera)))
    return tracklets
