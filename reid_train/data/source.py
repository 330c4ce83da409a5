"""What a data set looks like on disk, where it comes from, and errors that say so."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reid_train.data.tracklet import LabelledTracklet, ReidSplit, dense_chunks, relabelled

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")
Counts = Mapping[str, int | tuple[int, ...]]


class DataSetError(ValueError):
    """A data set is missing, incomplete or not what it should be; the message says what to do about it."""


@dataclass(frozen=True, slots=True)
class DataSource:
    """Where a data set comes from and what its folder holds. `counts`: what is in the complete one."""

    name: str
    obtain: str
    layout: str
    counts: Counts

    def explain(self, root: Path) -> str:
        """What to fetch and where to put it, in lines."""
        tree = "\n".join(f"  {line}" for line in self.layout.strip("\n").splitlines())
        return f"{self.name} belongs in {root}, as follows:\n{tree}\n{self.obtain}"

    def missing(self, root: Path, path: Path | str) -> DataSetError:
        return DataSetError(f"{self.name}: {path} is missing. {self.explain(root)}")

    def wrong(self, what: str) -> DataSetError:
        return DataSetError(f"{self.name}: {what}")


def find_root(source: DataSource, root: Path, *markers: str, below: Sequence[str] = ()) -> Path:
    """`root`, or the first of its folders `below`, that holds every marker. Raises DataSetError where none does."""
    root = Path(root)
    for folder in (root, *(root / name for name in below)):
        if all((folder / marker).exists() for marker in markers):
            return folder
    raise source.missing(root, next((root / m for m in markers if not (root / m).exists()), root))


def find_file(source: DataSource, root: Path, *candidates: str) -> Path:
    """The first of the candidates, relative to `root`, that exists. Raises DataSetError where none does."""
    for candidate in candidates:
        if (root / candidate).is_file():
            return root / candidate
    raise source.missing(root, " or ".join(str(root / c) for c in candidates))


def images_in(folder: Path) -> list[str]:
    """Names of the images in a folder, sorted; hidden files and other kinds are passed over."""
    with os.scandir(folder) as entries:
        names = [e.name for e in entries if e.name.lower().endswith(IMAGE_SUFFIXES) and not e.name.startswith(".")]
    return sorted(names)


def folders_in(folder: Path) -> list[str]:
    """Names of the folders in a folder, sorted; hidden ones are passed over."""
    with os.scandir(folder) as entries:
        return sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))


def natural_key(name: str) -> tuple[tuple[int, int | str], ...]:
    """Sorts names by the numbers in them: `f2` before `f10`."""
    parts = re.split(r"(\d+)", name)
    return tuple((0, int(p)) if p.isdigit() else (1, p) for p in parts if p)


def last_number(name: str) -> int | None:
    """The last number in a file's name, without its suffix."""
    numbers = re.findall(r"\d+", name.rsplit(".", 1)[0])
    return int(numbers[-1]) if numbers else None


def counts_of(part: str, tracklets: Sequence[LabelledTracklet]) -> dict[str, int]:
    """Ids, tracklets and images of one part of a split, under the names that `DataSource.counts` uses."""
    return {
        f"{part} ids": len({t.pid for t in tracklets}),
        f"{part} tracklets": len(tracklets),
        f"{part} images": sum(len(t) for t in tracklets),
    }


def check_found(source: DataSource, found: Mapping[str, int], expected: Counts) -> None:
    """Raises DataSetError with every count that is not the expected one (or one of several)."""
    unknown = sorted(set(expected) - set(found))
    if unknown:
        raise source.wrong(f"unknown count {unknown[0]!r}; there are {', '.join(sorted(found))}")
    wrong = []
    for key, want in expected.items():
        wanted = want if isinstance(want, tuple) else (want,)
        if found[key] not in wanted:
            wrong.append(f"{key}: expected {' or '.join(f'{w:,}' for w in wanted)}, found {found[key]:,}")
    if wrong:
        raise source.wrong(
            "this is not the complete data set. " + "; ".join(wrong) + ". Unpack or copy it again; to use a part "
            "of it on purpose, load it with check_counts=False (its scores compare with nothing published)"
        )


def make_split(
    source: DataSource,
    train: Sequence[LabelledTracklet],
    query: Sequence[LabelledTracklet],
    gallery: Sequence[LabelledTracklet],
    *,
    num_cams: int,
    protocol: str,
    check_counts: bool = True,
    expected: Counts | None = None,
    found: Mapping[str, int] | None = None,
    gallery_holds_query: bool = False,
    query_rows: Sequence[int] = (),
    dense_step: int = 0,
) -> ReidSplit:
    """The split, once its counts are right. `found` adds to, or replaces, what is counted from the parts.

    Train is relabelled, and cut into chunks of `dense_step` images where that is not 0 (after counting).
    """
    if check_counts:
        counts = counts_of("train", train) | counts_of("query", query) | counts_of("gallery", gallery)
        check_found(source, counts | dict(found or {}), source.counts if expected is None else expected)
    relabelled_train, num_pids = relabelled(train)
    return ReidSplit(
        source.name,
        dense_chunks(relabelled_train, dense_step),
        tuple(query),
        tuple(gallery),
        num_pids,
        num_cams,
        gallery_holds_query,
        tuple(query_rows),
        protocol,
    )
