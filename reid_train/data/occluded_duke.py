"""Occluded-Duke (Miao et al., ICCV 2019): three lists over the images of DukeMTMC-reID; occluded people as queries.

A listed image is taken from its part's own folder or else from `bounding_box_test`, as the authors' script does.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from reid_train.data import duke_reid
from reid_train.data.image_sets import FOLDERS, ImageProtocol, Reading, image_split, parse_names
from reid_train.data.source import Counts, DataSource, find_root, images_in
from reid_train.data.tracklet import LabelledImage, ReidSplit

SOURCE = DataSource(
    "Occluded-Duke",
    "The lists are the repository lightas/Occluded-DukeMTMC-Dataset; the images are those of DukeMTMC-reID. "
    "The lists may stand in another folder (option lists), or be missing where the folders hold those images only.",
    """
bounding_box_train/0001_c2_f0046182.jpg   train.list
bounding_box_test/...                     gallery.list
query/...                                 query.list
""",
    {
        "train ids": 702,
        "train images": 15_618,
        "query ids": 519,
        "query images": 2210,
        "gallery ids": 1110,
        "gallery images": 17_661,
    },
)


def load(
    root: Path,
    *,
    lists: Path | None = None,
    protocol: ImageProtocol = "image",
    train_as: ImageProtocol | None = None,
    max_gap: int | None = None,
    check_counts: bool = True,
    expected: Counts | None = None,
    check_files: bool = True,
) -> ReidSplit:
    """Occluded-Duke; protocol "image" (2,210 / 17,661) or "tracklet" (2,196 / 858 / 2,636; 2,270 / 899 / 2,732 with
    max_gap=600). check_files=False reads the lists alone."""
    below = ("Occluded_Duke", "Occluded-Duke", "Occluded-DukeMTMC-Dataset", "DukeMTMC-reID")
    root = find_root(SOURCE, root, *(FOLDERS.values() if check_files else ()), below=below)
    images = {part: _images(root, part, lists, check_files) for part in FOLDERS}
    return image_split(
        SOURCE,
        images,
        Reading(protocol, train_as, max_gap),
        num_cams=duke_reid.NUM_CAMS,
        check_counts=check_counts,
        expected=expected,
    )


def _images(root: Path, part: str, lists: Path | None, check_files: bool) -> list[LabelledImage]:
    own, other = root / FOLDERS[part], root / FOLDERS["gallery"]
    path = Path(lists if lists is not None else root) / f"{part}.list"
    if not path.is_file():
        if lists is not None or not check_files:
            raise SOURCE.missing(root, path)
        return parse_names(SOURCE, own, images_in(own), duke_reid.parse)
    names = path.read_text().split()
    twice = len(names) - len(set(names))
    if twice:
        raise SOURCE.wrong(f"{path} names {twice} images twice; take the authors' list")
    if not check_files:
        return parse_names(SOURCE, own, names, duke_reid.parse)
    here = set(images_in(own))
    there = set(images_in(other)) if other != own and not set(names) <= here else set()
    _all_there(path, [n for n in names if n not in here and n not in there], own, other)
    return sorted(
        parse_names(SOURCE, own, [n for n in names if n in here], duke_reid.parse)
        + parse_names(SOURCE, other, [n for n in names if n not in here], duke_reid.parse),
        key=lambda image: Path(image.path).name,
    )


def _all_there(path: Path, missing: Sequence[str], own: Path, other: Path) -> None:
    if missing:
        places = str(own) if other == own else f"{own} nor in {other}"
        raise SOURCE.wrong(
            f"{len(missing)} images of {path} are not in {places}, first {missing[0]}; copy DukeMTMC-reID there again"
        )
