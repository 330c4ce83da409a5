"""The arithmetic of the vector index as compiled loops. Only vector_index.py imports this file.

A vector is kept as D whole numbers in [-127, 127] and a scale; a product of two is exact in 32 bits, and each of their
numbers is off by at most half a scale. Rows of equal score are told apart by their number, so that results do not
depend on where a row lies.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

_CELLS = "Tuple((i1[:,::1], f4[::1], i8[::1], u8[:,:,::1], i8[::1], i8[::1], i1[:,::1], f4[::1], f4[::1]))"
_ROUNDS = 6  # of 2-means; more change little
_WIDER = 16  # so many times as many rows as wanted are compared in full

_compile = numba.njit(cache=True, error_model="numpy")


def _compile_as(*signatures: str) -> Any:
    """As `_compile`, at once and for these types, so that nothing has to wait for it later."""
    return numba.njit([form.replace("CELLS", _CELLS) for form in signatures], cache=True, error_model="numpy")


@_compile
def encode(vector, code, highest):  # type: ignore[no-untyped-def]
    """Write `vector` (D,) into `code` (D,), whole numbers up to `highest` -> the scale that gives it back."""
    top = np.float32(0.0)
    for d in range(len(vector)):
        top = max(top, abs(vector[d]))
    if top == 0:
        code[:] = 0
        return np.float32(0.0)
    factor = np.float32(highest) / top
    for d in range(len(vector)):
        code[d] = round(vector[d] * factor)
    return top / np.float32(highest)


@_compile
def dot(one, other):  # type: ignore[no-untyped-def]
    total = np.int32(0)
    for d in range(len(one)):
        total += np.int32(one[d]) * np.int32(other[d])
    return total


@numba.njit(cache=True, error_model="numpy", fastmath={"reassoc", "nsz", "contract"})
def _product(one, other):  # type: ignore[no-untyped-def]
    total = np.float32(0.0)
    for d in range(len(one)):
        total += one[d] * other[d]
    return total


@_compile
def _behind(score, row, other_score, other_row):  # type: ignore[no-untyped-def]
    return score < other_score or (score == other_score and row > other_row)


@_compile
def _sink(heap_score, heap_row, size, score, row):  # type: ignore[no-untyped-def]
    """Put (score, row) in place of the worst of a heap of `size` whose worst is on top."""
    at = 0
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        if child + 1 < size and _behind(heap_score[child + 1], heap_row[child + 1], heap_score[child], heap_row[child]):
            child += 1
        if not _behind(heap_score[child], heap_row[child], score, row):
            break
        heap_score[at], heap_row[at] = heap_score[child], heap_row[child]
        at = child
    heap_score[at], heap_row[at] = score, row


@_compile
def _sort_heap(heap_score, heap_row):  # type: ignore[no-untyped-def]
    """Turn the heap into a list, best first."""
    for size in range(len(heap_row) - 1, 0, -1):
        score, row = heap_score[size], heap_row[size]
        heap_score[size], heap_row[size] = heap_score[0], heap_row[0]
        _sink(heap_score, heap_row, size, score, row)


@_compile_as("i8[::1](i1[::1], f4, CELLS, i8, i8)")
def best_cells(code, scale, cells, num_cells, count):  # type: ignore[no-untyped-def]
    """The cells whose centres are nearest to a vector, best first; -1 where there are no more."""
    mean, mean_scale, bias = cells[6:]
    best_score = np.full(count, -np.inf, np.float32)
    best = np.full(count, -1, np.int64)
    for cell in range(1, num_cells):
        if bias[cell] == -np.inf:
            continue
        score = np.float32(dot(mean[cell], code)) * (mean_scale[cell] * scale) + bias[cell]
        if _behind(best_score[0], best[0], score, cell):
            _sink(best_score, best, count, score, cell)
    _sort_heap(best_score, best)
    return best


@_compile
def _near_cells(code, scale, cells, num_cells, count):  # type: ignore[no-untyped-def]
    """The cell of the fresh rows and about `count` cells whose centres are nearest, in the order in which they lie."""
    mean, mean_scale, bias = cells[6:]
    score = np.empty(num_cells, np.float32)
    score[0] = np.inf
    for cell in range(1, num_cells):
        score[cell] = bias[cell]
        if bias[cell] != -np.inf:
            score[cell] += np.float32(dot(mean[cell], code)) * (mean_scale[cell] * scale)
    least = np.partition(score, num_cells - min(count, num_cells))[num_cells - min(count, num_cells)]
    return np.flatnonzero(score >= least)


@_compile
def _ones(word):  # type: ignore[no-untyped-def]
    """How many bits of 64 are set; compilers know this form and use the processor's own instruction."""
    word = word - ((word >> np.uint64(1)) & np.uint64(0x5555555555555555))
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (word * np.uint64(0x0101010101010101)) >> np.uint64(56)


@_compile
def _bits(code, scale, origin, word):  # type: ignore[no-untyped-def]
    """In which of 64 directions a vector lies beyond the origin."""
    bits = np.uint64(0)
    for d in range(64):
        if code[64 * word + d] * scale > origin[64 * word + d]:
            bits |= np.uint64(1) << np.uint64(d)
    return bits


@_compile
def draw(cells, place, origins):  # type: ignore[no-untyped-def]
    """The sketch of what lies at a place."""
    codes, scale, _, sketch, _, version = cells[:6]
    cell, at = place // sketch.shape[2], place % sketch.shape[2]
    for word in range(sketch.shape[1]):
        sketch[cell, word, at] = _bits(codes[place], scale[place], origins[version[cell]], word)


@_compile
def _turned(vector, turn):  # type: ignore[no-untyped-def]
    out = np.zeros(turn.shape[1], np.float32)
    for d in range(len(vector)):
        for b in range(len(out)):
            out[b] += vector[d] * turn[d, b]
    return out


@_compile_as("void(f4[::1], f4[:,::1], CELLS, i8, f4[:,::1])")
def enter(vector, turn, cells, place, origins):  # type: ignore[no-untyped-def]
    """Write a vector (D,) to a place."""
    cells[1][place] = encode(_turned(vector, turn), cells[0][place], 127)
    draw(cells, place, origins)


@_compile
def _shortlists(sketches, wanted, cells, num_best, apart, places):  # type: ignore[no-untyped-def]
    """Write the `num_best` places whose sketches differ least, and their ties, into `places` (Q, room) -> how many.

    sketches (Q, 2, W): of the queries for either origin. wanted (Q, C): the cells that each looks at, as far as
    `places` has room. A cell is read once for all queries: what it takes is mostly the way from the memory.
    """
    _, _, _, sketch, size, version = cells[:6]
    num_queries, num_bits = len(sketches), 64 * sketch.shape[1]
    count = np.zeros((num_queries, num_bits + 2), np.int64)  # of places by difference
    looked, below, found = (
        np.zeros(num_queries, np.int64),
        np.zeros(num_queries, np.int64),
        np.zeros(num_queries, np.int64),
    )
    limit = np.full(num_queries, num_bits + 1)  # places that differ by less than `limit`: `below`
    differ = np.empty(sketch.shape[2], np.int64)
    for cell in range(wanted.shape[1]):
        num, start = size[cell], cell * sketch.shape[2]
        for q in range(num_queries):
            if not wanted[q, cell]:
                continue
            if looked[q] + num > places.shape[1]:
                wanted[q, cell:] = False
                continue
            looked[q] += num
            differ[:num] = 0
            for word in range(sketch.shape[1]):
                own = sketches[q, version[cell], word]
                for at in range(num):
                    differ[at] += np.int64(_ones(sketch[cell, word, at] ^ own))
            least, inside, at_end, counted = limit[q], below[q], found[q], count[q]
            for at in range(num):
                if differ[at] < least:
                    apart[q, at_end], places[q, at_end] = differ[at], start + at
                    at_end += 1
                    counted[differ[at]] += 1
                    inside += 1
                    while inside - counted[least - 1] >= num_best:
                        least -= 1
                        inside -= counted[least]
            limit[q], below[q], found[q] = least, inside, at_end
    kept = np.zeros(num_queries, np.int64)
    for q in range(num_queries):
        for n in range(found[q]):
            if apart[q, n] < limit[q]:
                places[q, kept[q]] = places[q, n]
                kept[q] += 1
    return kept


@_compile_as("Tuple((i8[:,::1], f4[:,::1]))(f4[:,::1], f4[:,::1], CELLS, i8, f4[:,::1], i8, i8, i2[:,::1], i4[:,::1])")
def nearest(query, turn, cells, num_cells, origins, budget, count, apart, places):  # type: ignore[no-untyped-def]
    """query (Q, D) -> row (Q, count), score (Q, count), best first; row -1 where there are no more.

    apart, places: (Q or more, room) to work in.
    """
    codes, scale, row_at, sketch, size = cells[:5]
    found = np.full((len(query), count), -1, np.int64)
    score = np.full((len(query), count), -np.inf, np.float32)
    code = np.empty((len(query), turn.shape[1]), np.int16)
    own = np.empty(len(query), np.float32)
    sketches = np.empty((len(query), 2, sketch.shape[1]), np.uint64)
    wanted = np.ones((len(query), num_cells), np.bool_)
    total = size[:num_cells].sum()
    for q in range(len(query)):
        own[q] = encode(_turned(query[q], turn), code[q], 8191)
        for version in range(2):
            for word in range(sketch.shape[1]):
                sketches[q, version, word] = _bits(code[q], own[q], origins[version], word)
        if total > budget:
            wanted[q] = False
            for cell in _near_cells(code[q], own[q], cells, num_cells, max(1, num_cells * budget // total)):
                wanted[q, cell] = True
    kept = _shortlists(sketches, wanted, cells, _WIDER * count, apart, places)
    for q in range(len(query)):
        for place in places[q, : kept[q]]:
            value = np.float32(dot(codes[place], code[q])) * (scale[place] * own[q])
            if _behind(score[q, 0], found[q, 0], value, row_at[place]):
                _sink(score[q], found[q], count, value, row_at[place])
        _sort_heap(score[q], found[q])
    return found, score


@_compile_as("void(CELLS, i8[::1], i8, i8, f4[:,::1])")
def move(cells, place_of, source, target, origins):  # type: ignore[no-untyped-def]
    """Copy what lies at place `source` to `target`."""
    codes, scale, row_at = cells[:3]
    codes[target] = codes[source]
    scale[target] = scale[source]
    row_at[target] = row_at[source]
    place_of[row_at[target]] = target
    draw(cells, target, origins)


@_compile_as("void(CELLS, i8[::1], i8, f4[:,::1])")
def take_out(cells, place_of, place, origins):  # type: ignore[no-untyped-def]
    """Close the gap that a row leaves in its cell."""
    cell_rows, size = cells[3].shape[2], cells[4]
    cell = place // cell_rows
    size[cell] -= 1
    last = cell * cell_rows + size[cell]
    if last != place:
        move(cells, place_of, last, place, origins)


@_compile
def recentre(cells, cell):  # type: ignore[no-untyped-def]
    """The centre of a cell becomes the mean of its rows."""
    codes, scale, _, sketch, size, _, means, mean_scale, bias = cells
    start = cell * sketch.shape[2]
    mean = np.zeros(codes.shape[1], np.float32)
    for place in range(start, start + size[cell]):
        for d in range(len(mean)):
            mean[d] += codes[place, d] * scale[place]
    mean /= np.float32(max(size[cell], 1))
    mean_scale[cell] = encode(mean, means[cell], 127)
    bias[cell] = -_product(mean, mean) / 2


@_compile_as("void(CELLS, i8, f4[:,::1], i8)")
def redraw(cells, cell, origins, version):  # type: ignore[no-untyped-def]
    """The sketches of a cell with another origin; and its centre where its rows are by now."""
    size, cell_rows = cells[4], cells[3].shape[2]
    cells[5][cell] = version
    for place in range(cell * cell_rows, cell * cell_rows + size[cell]):
        draw(cells, place, origins)
    if cell and size[cell]:
        recentre(cells, cell)


@_compile
def _two_means(table):  # type: ignore[no-untyped-def]
    """table (N, D) -> by how much each row is nearer to the first of two centres than to the second."""
    num, dim = table.shape
    centres = np.zeros((2, dim), np.float32)
    for n in range(num):
        centres[0] += table[n]
    centres[0] /= np.float32(num)
    for k in (1, 0):  # the row farthest from the mean, then the one farthest from that
        farthest, far = 0, np.float32(-1.0)
        for n in range(num):
            away = table[n] - centres[1 - k]
            apart = _product(away, away)
            if apart > far:
                farthest, far = n, apart
        centres[k] = table[farthest]
    lean = np.zeros(num, np.float32)
    for _ in range(_ROUNDS):
        across = centres[0] - centres[1]
        middle = (_product(centres[0], centres[0]) - _product(centres[1], centres[1])) / np.float32(2)
        for n in range(num):
            lean[n] = _product(table[n], across) - middle
        first = lean > 0
        share = first.sum()
        if share == 0 or share == num:
            break
        centres[:] = 0
        for n in range(num):
            centres[0 if first[n] else 1] += table[n]
        centres[0] /= np.float32(share)
        centres[1] /= np.float32(num - share)
    return lean


@_compile_as("void(CELLS, i8[::1], i8, i8, f4[:,::1])")
def halve(cells, place_of, cell, free, origins):  # type: ignore[no-untyped-def]
    """Part the rows of a cell between it and the empty cell `free`, neither getting less than an eighth."""
    codes, scale, _, sketch, size = cells[:5]
    cell_rows = sketch.shape[2]
    start, num = cell * cell_rows, size[cell]
    table = np.empty((num, codes.shape[1]), np.float32)
    for n in range(num):
        for d in range(codes.shape[1]):
            table[n, d] = codes[start + n, d] * scale[start + n]
    lean = _two_means(table)
    order = np.argsort(lean, kind="mergesort")
    num_moved = min(max((lean <= 0).sum(), num // 8), num - num // 8)
    moved = np.zeros(num, np.bool_)
    moved[order[:num_moved]] = True
    kept = start
    for n in range(num):
        if moved[n]:
            move(cells, place_of, start + n, free * cell_rows + size[free], origins)
            size[free] += 1
        else:
            if kept != start + n:
                move(cells, place_of, start + n, kept, origins)
            kept += 1
    size[cell] = kept - start
    recentre(cells, cell)
    recentre(cells, free)


@_compile_as("void(CELLS, i8[::1], i8[::1], f4[:,::1])")
def rehome(cells, place_of, near, origins):  # type: ignore[no-untyped-def]
    """Each row of the cells `near` goes to that of them whose centre is nearest, where there is room."""
    codes, scale, _, sketch, size, _, mean, mean_scale, bias = cells
    cell_rows = sketch.shape[2]
    for own in near:
        place = own * cell_rows + size[own] - 1
        while place >= own * cell_rows:
            best, best_score = own, -np.float32(np.inf)
            for cell in near:
                score = np.float32(dot(mean[cell], codes[place])) * (mean_scale[cell] * scale[place]) + bias[cell]
                if score > best_score:
                    best, best_score = cell, score
            if best != own and size[best] < cell_rows - cell_rows // 8:
                move(cells, place_of, place, best * cell_rows + size[best], origins)
                size[best] += 1
                take_out(cells, place_of, place, origins)
            place -= 1
