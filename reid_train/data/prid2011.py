"""PRID2011 (Hirzer et al., SCIA 2011), multi-shot: two street cameras; the first 200 people walk through both.

The usual protocol keeps the 178 people with more than 21 frames in both views and halves them ten times.
"""

from __future__ import annotations

import json
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

CAMERAS = ("cam_a", "cam_b")
NUM_COMMON = 200
MIN_FRAMES = 22
SPLITS = "splits_prid2011.json"
SOURCE = DataSource(
    "PRID2011",
    "The images come from TU Graz (files.icg.tugraz.at/f/6ab7e8ce8f). The split file is a list of ten "
    '{"train": [folders], "test": [folders]}; the documentation of deep-person-reid (torchreid) links to it. '
    "Without it, random_split=0 halves the same 178 people at random (scores then compare with nothing published).",
    f"""
prid_2011/multi_shot/cam_a/person_0001/0001.png   (and cam_b)
{SPLITS}
""",
    {
        "train ids": 89,
        "train tracklets": 178,
        "query ids": 89,
        "query tracklets": 89,
        "gallery ids": 89,
        "gallery tracklets": 89,
    },
)


def load(
    root: Path,
    *,
    split_id: int = 0,
    random_split: int | None = None,
    check_counts: bool = True,
    expected: Counts | None = None,
    dense_step: int = 0,
) -> ReidSplit:
    """Split `split_id` of the split file, or the halving drawn with seed `random_split`: query cam_a, gallery cam_b."""
    below = ("prid_2011", "prid2011", "PRID2011", "prid2011/prid_2011", "PRID2011/prid_2011")
    root, images = Path(root), find_root(SOURCE, root, "multi_shot/cam_a", "multi_shot/cam_b", below=below)
    shots = images / "multi_shot"
    if random_split is None:
        here = [str(p / SPLITS) for p in (root, images, images.parent)]
        train, test = _read_split(find_file(SOURCE, Path(), *dict.fromkeys(here)), split_id)
        words = f"split {split_id} of {SPLITS}"
    else:
        train, test = _random_split(shots, random_split)
        words = f"a random halving (seed {random_split}), not the published one"
    return make_split(
        SOURCE,
        _tracklets(shots, train, CAMERAS),
        _tracklets(shots, test, CAMERAS[:1]),
        _tracklets(shots, test, CAMERAS[1:]),
        num_cams=2,
        protocol=f"PRID2011, {words}: query cam_a, gallery cam_b; one match per query",
        check_counts=check_counts,
        expected=expected,
        dense_step=dense_step,
    )


def _read_split(path: Path, split_id: int) -> tuple[list[str], list[str]]:
    try:
        splits = json.loads(path.read_text())
        train, test = ([str(name) for name in splits[split_id][part]] for part in ("train", "test"))
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise SOURCE.wrong(f'{path} is not a JSON list of {{"train": [...], "test": [...]}}: {error}') from error
    except IndexError as error:
        raise SOURCE.wrong(f"split_id {split_id}: {path.name} holds splits 0 to {len(splits) - 1}") from error
    both = sorted(set(train) & set(test))
    if split_id < 0 or both:
        raise SOURCE.wrong(f"split {split_id} of {path}: " + (f"{both[0]} trains and tests" if both else "negative"))
    return sorted(train), sorted(test)


def _random_split(shots: Path, seed: int) -> tuple[list[str], list[str]]:
    """Halves of the people with more than 21 frames in both views."""
    first_200 = [p for p in folders_in(shots / "cam_a") if (last_number(p) or NUM_COMMON + 1) <= NUM_COMMON]
    people = []
    for person in first_200:
        folders = [shots / camera / person for camera in CAMERAS]
        if all(f.is_dir() and len(images_in(f)) >= MIN_FRAMES for f in folders):
            people.append(person)
    order = np.random.RandomState(seed).permutation(len(people)).tolist()
    half = len(people) // 2
    return sorted(people[i] for i in order[:half]), sorted(people[i] for i in order[half:])


def _tracklets(shots: Path, people: Sequence[str], cameras: Sequence[str]) -> list[LabelledTracklet]:
    tracklets = []
    for person in people:
        for camera in cameras:
            folder = shots / camera / person
            if not folder.is_dir():
                raise SOURCE.wrong(f"{folder}, named by the split file, is missing; unpack prid_2011 again")
            names = sorted(images_in(folder), key=lambda name: (last_number(name) or 0, name))
            pid = last_number(person)
            if not names or pid is None:
                raise SOURCE.wrong(f"{folder} holds no images, or is not named like person_0001; unpack it again")
            tracklets.append(LabelledTracklet(tuple(str(folder / n) for n in names), pid, CAMERAS.index(camera)))
    return tracklets
