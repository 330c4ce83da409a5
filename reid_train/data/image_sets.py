"""Still-image data sets under two protocols: `image`, every image by itself, and `tracklet`, read as video.

Scores of the two do not compare; `ReidSplit.protocol` names the one that was used.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from reid_train.data.source import Counts, DataSource, check_found, images_in, make_split
from reid_train.data.tracklet import LabelledImage, LabelledTracklet, ReidSplit, grouped_images, single_images

ImageProtocol = Literal["image", "tracklet"]
FOLDERS = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}


@dataclass(frozen=True, slots=True)
class Reading:
    """How images become tracklets. `train_as`: how train is read, if not like the rest; `max_gap`: see
    `grouped_images`."""

    protocol: ImageProtocol = "image"
    train_as: ImageProtocol | None = None
    max_gap: int | None = None

    def __post_init__(self) -> None:
        for value in (self.protocol, self.train_as or self.protocol):
            if value not in ("image", "tracklet"):
                raise ValueError(f"protocol {value!r}: image or tracklet")
        if self.max_gap is not None and self.max_gap < 1:
            raise ValueError(f"max_gap {self.max_gap}: frames, at least 1, or null for no limit")

    def tracklets(self, part: str, images: Sequence[LabelledImage]) -> tuple[LabelledTracklet, ...]:
        as_read = (self.train_as or self.protocol) if part == "train" else self.protocol
        return single_images(images) if as_read == "image" else grouped_images(images, max_gap=self.max_gap)

    def words(self) -> str:
        gap = "" if self.max_gap is None else f", cut at gaps of more than {self.max_gap} frames"
        if self.protocol == "image":
            return "protocol image: every image is a query or gallery entry"
        return f"protocol tracklet: the images of a person in a camera are one{gap}"


def parse_names(
    source: DataSource, folder: Path, names: Sequence[str], parse: Callable[[str], tuple[int, int, int]]
) -> list[LabelledImage]:
    """`parse` gives person, 0-based camera and frame of a name, or raises ValueError; sorted by name."""
    images = []
    for name in sorted(names):
        try:
            pid, camid, frame = parse(name)
        except ValueError as error:
            raise source.wrong(f"{folder / name}: {error}") from error
        images.append(LabelledImage(pid, camid, frame, str(folder / name)))
    return images


def matched(pattern: re.Pattern[str], name: str, example: str) -> tuple[str, ...]:
    """The groups of a name, or ValueError with an example of what is wanted."""
    match = pattern.fullmatch(name)
    if match is None:
        raise ValueError(f"not named like {example}")
    return match.groups()


def market_style(
    source: DataSource, root: Path, parse: Callable[[str], tuple[int, int, int]]
) -> dict[str, list[LabelledImage]]:
    """Train, query and gallery from the three flat folders of Market-1501."""
    return {
        part: parse_names(source, root / folder, images_in(root / folder), parse) for part, folder in FOLDERS.items()
    }


def image_split(
    source: DataSource,
    images: Mapping[str, Sequence[LabelledImage]],
    reading: Reading,
    *,
    num_cams: int,
    check_counts: bool,
    expected: Counts | None,
    found: Mapping[str, int] | None = None,
) -> ReidSplit:
    """Counts the images, then reads them as `reading` says."""
    if check_counts:
        counts = {f"{part} ids": len({i.pid for i in images[part]}) for part in FOLDERS}
        counts |= {f"{part} images": len(images[part]) for part in FOLDERS}
        check_found(source, counts | dict(found or {}), source.counts if expected is None else expected)
    train, query, gallery = (reading.tracklets(part, images[part]) for part in FOLDERS)
    rows = {tracklet: row for row, tracklet in enumerate(_named(gallery))}
    query_rows = [rows[name] for name in _named(query) if name in rows]
    holds = len(query_rows) == len(query) > 0
    return make_split(
        source,
        train,
        query,
        gallery,
        num_cams=num_cams,
        protocol=f"{source.name}, {reading.words()}",
        check_counts=False,
        gallery_holds_query=holds,
        query_rows=query_rows if holds else (),
    )


def _named(tracklets: Sequence[LabelledTracklet]) -> list[tuple[str, ...]]:
    return [tuple(os.path.basename(path) for path in t.paths) for t in tracklets]
