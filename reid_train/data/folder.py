"""Any folder of tracklets: the way to bring your own data, and PKU-Reid.

Divided: `root/{train,query,gallery}/<person>/<tracklet>/<image>`, the camera in the tracklet's name (`c2`,
`cam02_0001`, `0003_c1`); or the images right in the person's folder, the camera in their names (`c2_5.png`,
`c2_t3_f0005.jpg`). Whole: `root/<person>/...` in either way; the people are then divided into folds, the first camera
asks and the others are the gallery.

Cameras get their 0-based ids in the order of their numbers, over all parts; images of a tracklet are ordered by the
numbers in their names; a person is the number of its folder, or its place where that has none.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reid_train.data.source import (
    Counts,
    DataSource,
    counts_of,
    folders_in,
    images_in,
    last_number,
    make_split,
    natural_key,
)
from reid_train.data.tracklet import LabelledTracklet, ReidSplit

PARTS = ("train", "query", "gallery")
IMAGE_PATTERN = r"c(?:am)?(?P<camera>\d+)(?:_?t(?P<tracklet>\d+))?_+f?(?P<frame>\d+)"
FOLDER_PATTERN = r"(?:^|_)c(?:am)?(?P<camera>\d+)"
SOURCE = DataSource(
    "tracklet_folder",
    "Tracklet folders carry the camera in their name, or the image names do (image_pattern and folder_pattern are "
    "regular expressions with the group (?P<camera>...)).",
    """
train/<person>/c<camera>_<tracklet>/<image>    or   train/<person>/c<camera>_<frame>.jpg
query/<person>/...
gallery/<person>/...
or, to be divided into folds by person:   <person>/...
""",
    {},
)
PKU = DataSource(
    "PKU-Reid",
    "It comes from Peking University (github.com/charliememory/PKU-Reid-Dataset, CC BY-NC-SA 4.0).",
    """
<person>/c<camera>_<1-8>.png    (two cameras, eight crops of a person in each)
""",
    {"cameras": 2, "people without 8 crops in each camera": 0},
)


@dataclass(frozen=True, slots=True)
class Names:
    """How names speak of cameras, as regular expressions with a group `camera` (and `tracklet`, `frame`)."""

    image: str = IMAGE_PATTERN
    folder: str = FOLDER_PATTERN

    def __post_init__(self) -> None:
        for option, pattern in (("image_pattern", self.image), ("folder_pattern", self.folder)):
            try:
                groups = re.compile(pattern).groupindex
            except re.error as error:
                raise SOURCE.wrong(f"{option} {pattern!r}: {error}") from error
            if "camera" not in groups:
                raise SOURCE.wrong(f"{option} {pattern!r} has no group (?P<camera>...)")


def load(
    root: Path,
    *,
    num_folds: int | None = None,
    fold: int = 0,
    image_pattern: str = IMAGE_PATTERN,
    folder_pattern: str = FOLDER_PATTERN,
    check_counts: bool = True,
    expected: Counts | None = None,
    dense_step: int = 0,
) -> ReidSplit:
    """The folders train, query and gallery of `root`, or `num_folds` folds of the people that stand right in it.

    `expected` counts ("train ids", "query tracklets", "gallery images", ...) are checked where they are given.
    """
    root = Path(root)
    names = Names(image_pattern, folder_pattern)
    if num_folds is not None or not any((root / part).is_dir() for part in PARTS):
        return load_folds(
            SOURCE,
            root,
            names,
            num_folds=5 if num_folds is None else num_folds,
            fold=fold,
            check_counts=check_counts,
            expected=expected,
            dense_step=dense_step,
        )
    if (root / "query").is_dir() != (root / "gallery").is_dir():
        raise SOURCE.missing(root, root / ("gallery" if (root / "query").is_dir() else "query"))
    train, query, gallery = _numbered([_read(SOURCE, root / part, names) for part in PARTS])
    return make_split(
        SOURCE,
        train,
        query,
        gallery,
        num_cams=_num_cams((*train, *query, *gallery)),
        protocol=f"{root.name}: query and gallery as the folders say",
        check_counts=check_counts and bool(expected),
        expected=expected,
        dense_step=dense_step,
    )


def load_pku_reid(
    root: Path,
    *,
    num_folds: int = 5,
    fold: int = 0,
    check_counts: bool = True,
    expected: Counts | None = None,
    dense_step: int = 0,
) -> ReidSplit:
    """PKU-Reid, eight crops of a person in a camera as one tracklet; folds by person, camera 1 asks camera 2."""
    return load_folds(
        PKU,
        Path(root),
        Names(),
        num_folds=num_folds,
        fold=fold,
        check_counts=check_counts,
        expected=PKU.counts if expected is None else expected,
        dense_step=dense_step,
    )


def load_folds(
    source: DataSource,
    root: Path,
    names: Names,
    *,
    num_folds: int,
    fold: int,
    check_counts: bool,
    expected: Counts | None,
    dense_step: int,
) -> ReidSplit:
    """Fold `fold` tests, the others train: of the people in ascending order, every num_folds-th from `fold` on.

    With num_folds=1 all people test and nobody trains.
    """
    if num_folds < 1 or not 0 <= fold < num_folds:
        raise source.wrong(f"fold {fold} of {num_folds}: want fold from 0 to num_folds - 1")
    (people,) = _numbered([_read(source, root, names)])
    pids = sorted({t.pid for t in people})
    if len(pids) < num_folds:
        raise source.wrong(f"{root} holds {len(pids)} people, too few for {num_folds} folds; give fewer num_folds")
    testing = set(pids[fold::num_folds])
    crops: dict[int, list[int]] = defaultdict(list)
    for tracklet in people:
        crops[tracklet.pid].append(len(tracklet))
    num_cams = _num_cams(people)
    test = [t for t in people if t.pid in testing]
    found = {
        "people": len(pids),
        "cameras": num_cams,
        "people without 8 crops in each camera": sum(c != [8] * num_cams for c in crops.values()),
    }
    return make_split(
        source,
        [t for t in people if t.pid not in testing],
        [t for t in test if t.camid == 0],
        [t for t in test if t.camid != 0],
        num_cams=num_cams,
        protocol=f"{source.name}: fold {fold} of {num_folds} by person; query the first camera, gallery the others",
        check_counts=check_counts and bool(expected),
        expected=expected,
        found=found | counts_of("all", people),
        dense_step=dense_step,
    )


@dataclass(frozen=True, slots=True)
class _Named:
    """A tracklet before people and cameras have their numbers."""

    person: str
    camera: int
    paths: tuple[str, ...]


def _read(source: DataSource, folder: Path, names: Names) -> list[_Named]:
    """Every tracklet below `folder/<person>`, sorted by person, camera and name."""
    if not folder.is_dir():
        if folder.name in PARTS and folder.parent.is_dir():
            return []
        raise source.missing(folder, folder)
    tracklets: list[_Named] = []
    for person in folders_in(folder):
        found: dict[tuple[int, tuple[tuple[int, int | str], ...]], list[str]] = defaultdict(list)
        for name in images_in(folder / person):
            match = re.fullmatch(names.image, name.rsplit(".", 1)[0])
            if match is None:
                raise source.wrong(f"{folder / person / name}: the name does not say its camera. {source.obtain}")
            number = match.groupdict().get("tracklet") or ""
            found[int(match["camera"]), natural_key(number)].append(str(folder / person / name))
        for tracklet in folders_in(folder / person):
            inside = images_in(folder / person / tracklet)
            if not inside:
                raise source.wrong(f"{folder / person / tracklet} holds no images; remove it or fill it")
            camera = _camera_of(source, folder / person / tracklet, inside, names)
            found[camera, natural_key(tracklet)].extend(str(folder / person / tracklet / n) for n in inside)
        if not found:
            raise source.wrong(f"{folder / person} holds no images; remove it or fill it")
        tracklets.extend(
            _Named(person, camera, tuple(sorted(paths, key=_by_name))) for (camera, _), paths in sorted(found.items())
        )
    if not tracklets:
        raise source.missing(folder, f"a person's folder in {folder}")
    return tracklets


def _camera_of(source: DataSource, folder: Path, images: Sequence[str], names: Names) -> int:
    """By the folder's name, else by the images' names, which must agree."""
    match = re.search(names.folder, folder.name)
    if match is not None:
        return int(match["camera"])
    matches = [re.fullmatch(names.image, name.rsplit(".", 1)[0]) for name in images]
    cameras = sorted({int(m["camera"]) for m in matches if m is not None})
    if len(cameras) != 1 or None in matches:
        what = f"holds images of cameras {cameras}" if len(cameras) > 1 else "does not say its camera"
        raise source.wrong(f"{folder} {what}. {source.obtain}")
    return cameras[0]


def _numbered(parts: Sequence[Sequence[_Named]]) -> list[list[LabelledTracklet]]:
    """People and cameras by number, the same in every part."""
    people = sorted({t.person for part in parts for t in part}, key=natural_key)
    numbers = {p: -1 if p == "-1" else last_number(p) for p in people}
    if None in numbers.values() or len(set(numbers.values())) < len(people):
        numbers = {person: row for row, person in enumerate(people)}
    cameras = {camera: camid for camid, camera in enumerate(sorted({t.camera for part in parts for t in part}))}
    numbered = []
    for part in parts:
        tracklets = [LabelledTracklet(t.paths, numbers[t.person] or 0, cameras[t.camera]) for t in part]
        numbered.append(sorted(tracklets, key=lambda t: (t.pid, t.camid, natural_key(t.paths[0]))))
    return numbered


def _by_name(path: str) -> tuple[tuple[int, int | str], ...]:
    return natural_key(os.path.basename(path))


def _num_cams(tracklets: Sequence[LabelledTracklet]) -> int:
    return 1 + max((t.camid for t in tracklets), default=0)
