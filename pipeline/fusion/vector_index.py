"""Finds the vectors most similar to a query among millions of them that come, change and go.

The vectors lie in cells of a few hundred neighbours each (an inverted file: Sivic and Zisserman, "Video Google", ICCV
2003). There is nothing to train: a cell that is full is parted by 2-means, and rows of the cells around it move to
whichever is the nearest by then (as SPFresh does, Xu et al., SOSP 2023). A query looks at the rows of the nearest cells
until it has seen so many as it may. So one cost bounds every step, however many vectors there are; with fewer of them
than it may look at, it looks at all.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from pipeline.fusion.kernels import kernels
from pipeline.types import AnyArray, Float32, Int64

_GROWTH = 64  # a table grows by this part of itself: what it does not need yet stays small
_MIN_BITS = 256  # of a sketch
_NEIGHBOURS = 12  # cells around a parted one whose rows are looked at again
_TOGETHER = 32  # queries that are answered in one go


class VectorIndex:
    """Rows, numbered by the caller, each with a vector (D,) of unit norm, found by cosine similarity.

    Takes about 1.5 D + 20 bytes a row. The newest rows are kept together and always looked at; they enter a cell one
    by one as newer ones come. All orders of the same calls give the same answers to the same questions.
    """

    def __init__(self, dim: int, *, cell_rows: int = 512, budget: int = 131_072) -> None:
        """cell_rows: most rows of a cell; budget: about how many rows a query looks at."""
        self.dim = dim
        self._cell_rows = cell_rows
        self._budget = budget
        self._num_rows = 0
        self._oldest = 0  # the place of the fresh row that enters a cell next
        self._num_cells = 1  # the first one holds the fresh rows and has no centre
        self._num_used = 0  # cells with a centre
        self._free: list[int] = []
        num_words = max(_MIN_BITS, dim + 63) // 64
        self._turn = _isometry(dim, 64 * num_words)
        self._origins: Float32 = np.zeros((2, 64 * num_words), np.float32)
        self._version = 0  # of the origin that sketches are drawn with
        self._swept = 0  # cells before this one have got it
        self._next_sweep = cell_rows  # after so many more puts
        self._place_of: Int64 = np.full(cell_rows, -1, np.int64)
        self._cells: tuple[AnyArray, ...] = (
            np.zeros((cell_rows, 64 * num_words), np.int8),  # code, a row per place
            np.zeros(cell_rows, np.float32),  # its scale
            np.zeros(cell_rows, np.int64),  # whose it is
            np.zeros((1, num_words, cell_rows), np.uint64),  # sketch, a block per cell
            np.zeros(1, np.int64),  # rows of a cell
            np.zeros(1, np.int64),  # version of its sketches
            np.zeros((1, 64 * num_words), np.int8),  # centre
            np.zeros(1, np.float32),  # its scale
            np.full(1, -np.inf, np.float32),  # minus half its squared length, -inf: not in use
        )
        self._scratch = _no_scratch()
        self._kernels, self._search = kernels("compiled"), kernels("compiled_search")

    @property
    def usable(self) -> bool:
        """Whether numba works here. Without it an index takes nothing in and finds nothing."""
        return self._kernels is not None

    def __len__(self) -> int:
        return self._num_rows

    def put(self, row: int, vector: Float32) -> None:
        """A new row, or the new vector (D,) of one that is here."""
        loops = self._kernels
        if loops is None:
            return
        if row >= len(self._place_of):
            old = len(self._place_of)
            grow(self._place_of, max(row + 1, old + max(old // _GROWTH, 4096)))
            self._place_of[old:] = -1
        self._sweep()
        place = int(self._place_of[row])
        if not 0 <= place < self._cell_rows:
            if place < 0:
                self._num_rows += 1
            else:
                self._take_out(place)
            place = self._fresh_place()
            self._cells[2][place] = row
            self._place_of[row] = place
        loops.enter(np.ascontiguousarray(vector, np.float32), self._turn, self._cells, place, self._origins)

    def drop(self, row: int) -> None:
        """Forget a row; without effect if it is not here."""
        place = int(self._place_of[row]) if row < len(self._place_of) else -1
        if place < 0:
            return
        self._num_rows -= 1
        self._place_of[row] = -1
        self._take_out(place)

    def nearest(self, vectors: Float32, count: int) -> tuple[Int64, Float32]:
        """The most similar rows to each vector (Q, D) -> row (Q, K), cosine (Q, K) to about 1e-3, best first.

        Filled up with row -1, cosine -inf.
        """
        if self._search is None:
            return np.full((len(vectors), count), -1, np.int64), np.full((len(vectors), count), -np.inf, np.float32)
        queries = np.array(vectors, np.float32, order="C")
        found = [self._nearest(queries[at : at + _TOGETHER], count) for at in range(0, len(queries), _TOGETHER)]
        if len(found) == 1:
            return found[0]
        rows, scores = [part[0] for part in found], [part[1] for part in found]
        nobody = np.zeros((0, count), np.int64), np.zeros((0, count), np.float32)
        return np.concatenate((nobody[0], *rows)), np.concatenate((nobody[1], *scores))

    def _nearest(self, queries: Float32, count: int) -> tuple[Int64, Float32]:
        assert self._search is not None
        room = self._search.work_room(count, self._num_rows, self._cell_rows)
        if self._scratch[0].shape[1] < room:
            self._scratch = np.zeros((_TOGETHER, room), np.int16), np.zeros((_TOGETHER, room), np.int32)
        found: tuple[Int64, Float32] = self._search.nearest(
            queries,
            self._turn,
            self._cells,
            self._num_cells,
            self._origins,
            (self._budget, 2 * self._budget, count),  # cells are not all equally full
            *self._scratch,
        )
        return found

    def cosines(self, queries: Float32, vectors: Float32, rows: Int64) -> Float32:
        """queries (Q, D), rows (Q, K) -> (Q, K) products with those rows of `vectors` (N, D), -inf where one is -1."""
        assert self._search is not None
        found: Float32 = self._search.cosines(queries, vectors, rows)
        return found

    def pair_cosines(self, ones: Float32, one: Int64, others: Float32, other: Int64) -> Float32:
        """(N,) products of the rows `one` (N,) of a table and the rows `other` (N,) of another one."""
        if self._search is None:
            return np.asarray(np.einsum("nd,nd->n", ones[one], others[other]), np.float32)
        found: Float32 = self._search.pair_cosines(np.ascontiguousarray(ones), one, others, other)
        return found

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_scratch": _no_scratch()}

    def _fresh_place(self) -> int:
        """A free place among the fresh rows; the oldest of them makes room if need be."""
        size = self._cells[4]
        if size[0] < self._cell_rows:
            size[0] += 1
            return int(size[0]) - 1
        place = self._oldest
        self._oldest = (place + 1) % self._cell_rows
        self._settle(place)
        return place

    def _take_out(self, place: int) -> None:
        """A row leaves its cell; a cell that has become small is given up."""
        assert self._kernels is not None
        self._kernels.take_out(self._cells, self._place_of, place, self._origins)
        cell, size = place // self._cell_rows, self._cells[4]
        if not cell or size[cell] >= self._cell_rows // 8 or self._num_used == 1:
            return
        self._cells[8][cell] = -np.inf  # so that its rows go elsewhere
        while size[cell]:
            self._settle(cell * self._cell_rows + int(size[cell]) - 1)
            size[cell] -= 1
        self._give_up(cell)

    def _settle(self, place: int) -> None:
        """Copy the row at a place into the nearest cell."""
        loops = self._kernels
        assert loops is not None
        cells = self._cells
        (cell,) = loops.best_cells(cells[0][place], cells[1][place], cells, self._num_cells, 1).tolist()
        if cell < 0:
            cell = self._open()
            cells[6][cell], cells[7][cell], cells[8][cell] = cells[0][place], cells[1][place], 0.0
        elif cells[4][cell] == self._cell_rows:
            self._part(cell)
            self._settle(place)
            return
        target = cell * self._cell_rows + int(cells[4][cell])
        cells[4][cell] += 1
        loops.move(cells, self._place_of, place, target, self._origins)

    def _part(self, cell: int) -> None:
        """Make two of a full cell."""
        loops = self._kernels
        assert loops is not None
        free, cells = self._open(), self._cells
        loops.halve(cells, self._place_of, cell, free, self._origins)
        around = [
            loops.best_cells(cells[6][half], cells[7][half], cells, self._num_cells, _NEIGHBOURS)
            for half in (cell, free)
        ]
        near = np.unique(np.concatenate(around))
        near = near[near >= 0]
        loops.rehome(cells, self._place_of, near, self._origins)
        for empty in near[cells[4][near] == 0].tolist():
            self._give_up(empty)

    def _open(self) -> int:
        """An empty cell."""
        self._num_used += 1
        if self._free:
            cell = self._free.pop()
        else:
            cell = self._num_cells
            if cell == len(self._cells[4]):
                size = cell + max(cell // _GROWTH, 8)
                for place, column in enumerate(self._cells):
                    grow(column, size * self._cell_rows if place < 3 else size)
                self._cells[8][cell:] = -np.inf
            self._num_cells += 1
        self._cells[5][cell] = self._version
        return cell

    def _give_up(self, cell: int) -> None:
        self._num_used -= 1
        self._cells[8][cell] = -np.inf
        self._free.append(cell)

    def _sweep(self) -> None:
        """Keep the origin of the sketches amid the vectors: when as many have come as were here, move it, cell by cell.

        A query has a sketch for either origin, and they compare well enough until the last cell has been drawn anew.
        """
        if self._swept < self._num_cells:
            assert self._kernels is not None
            self._kernels.redraw(self._cells, self._swept, self._origins, self._version)
            self._swept += 1
        elif self._next_sweep:
            self._next_sweep -= 1
        else:
            codes, scale, _, _, size, _, mean, mean_scale, _ = self._cells
            fresh = slice(0, int(size[0]))
            total = scale[fresh] @ codes[fresh] + (mean_scale * size) @ mean
            self._version = 1 - self._version
            self._origins[self._version] = total / max(int(size.sum()), 1)
            self._swept = 0
            self._next_sweep = max(self._num_rows, self._cell_rows)


@cache
def _isometry(dim: int, num_bits: int) -> Float32:
    """(D, B) turns vectors at random into B >= D dimensions and leaves their products as they are."""
    square = np.random.default_rng(0).standard_normal((num_bits, num_bits))
    turn: Float32 = np.ascontiguousarray(np.linalg.qr(square)[0][:dim], np.float32)
    return turn


def _no_scratch() -> tuple[np.ndarray, np.ndarray]:
    return np.zeros((_TOGETHER, 0), np.int16), np.zeros((_TOGETHER, 0), np.int32)


def grow(column: AnyArray, size: int) -> None:
    """Lengthen an array in place to `size` rows, zeros at the end; where the system can, without copying it."""
    column.resize((size, *column.shape[1:]), refcheck=False)
