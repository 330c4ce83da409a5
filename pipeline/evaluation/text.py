"""Comma-separated numbers, read in blocks, with errors that name the file and the line."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import numpy as np

from pipeline.types import Float64, Int64

BLOCK_ROWS = 4096  # small enough that the text stays in the processor's cache


class TableError(ValueError):
    """A file of tracks can not be used as it stands; the message names the file, the line and the remedy."""


@dataclass(frozen=True, slots=True, eq=False)
class TextBlock:
    """Up to `BLOCK_ROWS` rows of a file as text, column by column. `named` is false where the file has no header."""

    path: Path
    named: bool
    columns: dict[str, tuple[str, ...]]
    line: Int64  # (R,) 1-based line of each row in the file

    def __len__(self) -> int:
        return len(self.line)

    def numbers(self, name: str, *, blank: float | None = None) -> Float64:
        """The column as (R,) finite float64; an empty cell becomes `blank`, or is an error where that is None."""
        cells: Sequence[str] = self.columns[name]
        if blank is not None:
            cells = [cell or "nan" for cell in cells]
        try:
            values = np.fromiter(map(float, cells), np.float64, len(cells))
        except ValueError:
            bad = next(i for i, cell in enumerate(cells) if not _is_number(cell))
            raise self.error(bad, f"{name} is {self.columns[name][bad]!r}, want a number") from None
        strange = ~np.isfinite(values)
        if blank is not None:
            is_blank = np.array([cell == "" for cell in self.columns[name]], bool)
            values[is_blank] = blank
            strange &= ~is_blank
        if strange.any():
            bad = int(np.argmax(strange))
            raise self.error(bad, f"{name} is {self.columns[name][bad]!r}, want a finite number")
        return values

    def integers(self, name: str, *, least: int, why: str, blank: int | None = None) -> Int64:
        """The column as (R,) int64 of at least `least`; `why` explains that bound. `blank` as in `numbers`."""
        values = self.numbers(name, blank=blank)
        strange = (values != np.floor(values)) | (values < least)
        if blank is not None:
            strange &= values != blank
        if strange.any():
            bad = int(np.argmax(strange))
            raise self.error(bad, f"{name} is {self.columns[name][bad]}, want a whole number >= {least}: {why}")
        return values.astype(np.int64)

    def error(self, row: int, complaint: str) -> TableError:
        return TableError(f"{self.path}:{self.line[row]}: {complaint}")


def read_blocks(path: Path, unnamed: Sequence[str]) -> Iterator[TextBlock]:
    """Blocks of rows of a comma-separated file. Blank lines are skipped; an empty file yields nothing.

    A first row that starts with a number is data, and the columns are named by `unnamed`, as far as they go;
    otherwise it is the header, and the first block has no rows, so that a header alone can be checked too.
    Raises TableError for a missing or binary file and for rows of unequal length.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = ((line, row) for line, row in enumerate(csv.reader(file, skipinitialspace=True), 1) if row)
            first = next(rows, None)
            if first is None:
                return
            named = not _is_number(first[1][0])
            names = _names(path, *first, [] if named else unnamed)
            if named:
                yield TextBlock(path, named, dict.fromkeys(names, ()), np.zeros(0, np.int64))
            data = rows if named else chain([first], rows)
            while block := list(islice(data, BLOCK_ROWS)):
                yield _block(path, named, names, block)
    except FileNotFoundError:
        raise TableError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise TableError(f"{path}: is a folder, want a file of tracks") from None
    except PermissionError:
        raise TableError(f"{path}: can not be read, permission denied") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise TableError(f"{path}: is no comma-separated text ({error})") from None


def _names(path: Path, line: int, row: list[str], unnamed: Sequence[str]) -> list[str]:
    """Names of the columns: `unnamed`, as far as they go, or where there are none the cells of the header `row`."""
    if len(row) == 1:
        raise TableError(f"{path}:{line}: a single column, want values with commas between them")
    if unnamed:
        return [*unnamed, *(f"column {i + 1}" for i in range(len(unnamed), len(row)))][: len(row)]
    names = [cell.strip() for cell in row]
    if len(set(names)) != len(names):
        raise TableError(f"{path}:{line}: a column stands twice in the header: {', '.join(names)}")
    return names


def _block(path: Path, named: bool, names: list[str], block: list[tuple[int, list[str]]]) -> TextBlock:
    for line, row in block:
        if len(row) != len(names):
            first = f"{len(names)} in the first row"
            raise TableError(f"{path}:{line}: {len(row)} columns, but {first}; is the file whole?")
    columns = dict(zip(names, zip(*(row for _, row in block), strict=True), strict=True))
    return TextBlock(path, named, columns, np.array([line for line, _ in block], np.int64))


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
