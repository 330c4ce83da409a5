"""A place in a table for every one of many numbers that rise by one, and go in about that order."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pipeline.fusion.vector_index import grow
from pipeline.types import Int64

_PAGE = 256  # numbers whose rows lie together


class NumberTable:
    """A row of `width` whole numbers for each number, all -1 where none has been set.

    Rows of consecutive numbers lie together in pages. A page is used again once no number on it is held any more.
    """

    def __init__(self, width: int) -> None:
        self._page_of: dict[int, int] = {}  # number // _PAGE -> page
        self._held: dict[int, int] = {}  # how many are held, by number // _PAGE
        self._free: list[int] = []
        self._num_pages = 0
        self._num_held = 0
        self._rows: Int64 = np.full((_PAGE, width), -1, np.int64)
        self._order: tuple[Int64, Int64] | None = None  # of `_page_of`, ascending

    def __len__(self) -> int:
        """How many numbers are held."""
        return self._num_held

    def __iter__(self) -> Iterator[int]:
        """The numbers held, ascending."""
        for page in sorted(self._page_of):
            at = self._page_of[page] * _PAGE
            held = np.flatnonzero((self._rows[at : at + _PAGE] >= 0).any(axis=1))
            yield from (page * _PAGE + held).tolist()

    def get(self, number: int) -> Int64:
        """The row (W,) of a number, to be read only."""
        page = self._page_of.get(number // _PAGE)
        return _nothing(self._rows.shape[1]) if page is None else self._rows[page * _PAGE + number % _PAGE]

    def of_all(self, numbers: Int64) -> Int64:
        """(N, W) rows of numbers (N,)."""
        if self._order is None:
            known = sorted(self._page_of.items())
            self._order = (np.array([n for n, _ in known], np.int64), np.array([page for _, page in known], np.int64))
        pages, page_at = self._order
        if not len(pages):
            return np.full((len(numbers), self._rows.shape[1]), -1, np.int64)
        wanted = numbers // _PAGE
        place = np.minimum(np.searchsorted(pages, wanted), len(pages) - 1)
        rows: Int64 = self._rows[page_at[place] * _PAGE + numbers % _PAGE]
        rows[pages[place] != wanted] = -1
        return rows

    def put(self, number: int, column: int, value: int) -> None:
        """Set one of the numbers in a row, to at least 0."""
        wanted, at = divmod(number, _PAGE)
        page = self._page_of.get(wanted)
        if page is None:
            page = self._page_of[wanted] = self._open()
            self._held[wanted] = 0
            self._order = None
        row = self._rows[page * _PAGE + at]
        if row.max() < 0:
            self._held[wanted] += 1
            self._num_held += 1
        row[column] = value

    def drop(self, number: int) -> None:
        """Forget a number; without effect if it is not held."""
        wanted, at = divmod(number, _PAGE)
        page = self._page_of.get(wanted)
        if page is None or self._rows[page * _PAGE + at].max() < 0:
            return
        self._rows[page * _PAGE + at] = -1
        self._num_held -= 1
        self._held[wanted] -= 1
        if not self._held[wanted]:
            del self._held[wanted]
            self._free.append(self._page_of.pop(wanted))
            self._order = None

    def _open(self) -> int:
        if self._free:
            return self._free.pop()
        size = len(self._rows)
        if self._num_pages * _PAGE == size:
            grow(self._rows, size + _PAGE * max(1, size // _PAGE // 64))
            self._rows[size:] = -1
        self._num_pages += 1
        return self._num_pages - 1


def _nothing(width: int) -> Int64:
    return np.full(width, -1, np.int64)
