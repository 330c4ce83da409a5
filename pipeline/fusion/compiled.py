"""The arithmetic of the vector index as compiled loops: how its cells are kept. Only the index uses it.

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

compiled = numba.njit(cache=True, error_model="numpy")


def compile_as(*signatures: str) -> Any:
    """As `compiled`, at once and for these types, so that nothing has to wait for it later."""
    return numba.njit([form.replace("CELLS", _CELLS) for form in signatures], cache=True, error_model="numpy")


@compiled
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


@compiled
def dot(one, other):  # type: ignore[no-untyped-def]
    """The product of two rows of whole numbers. All casts are needed: else numba multiplies 64 bits, thrice as slow."""
    total = np.int32(0)
    for d in range(len(one)):
        total = np.int32(total + np.int32(np.int32(one[d]) * np.int32(other[d])))
    return total


@numba.njit(cache=True, error_model="numpy", fastmath={"reassoc", "nsz", "contract"})
def product(one, other):  # type: ignore[no-untyped-def]
    total = np.float32(0.0)
    for d in range(len(one)):
        total += one[d] * other[d]
    return total


@compiled
def behind(score, row, other_score, other_row):  # type: ignore[no-untyped-def]
    return score < other_score or (score == other_score and row > other_row)


@compiled
def sink(heap_score, heap_row, size, score, row):  # type: ignore[no-untyped-def]
    """Put (score, row) in place of the worst of a heap of `size` whose worst is on top."""
    at = 0
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        if child + 1 < size and behind(heap_score[child + 1], heap_row[child + 1], heap_score[child], heap_row[child]):
            child += 1
        if not behind(heap_score[child], heap_row[child], score, row):
            break
        heap_score[at], heap_row[at] = heap_score[child], heap_row[child]
        at = child
    heap_score[at], heap_row[at] = score, row


@compiled
def sort_heap(heap_score, heap_row):  # type: ignore[no-untyped-def]
    """Turn the heap into a list, best first."""
    for size in range(len(heap_row) - 1, 0, -1):
        score, row = heap_score[size], heap_row[size]
        heap_score[size], heap_row[size] = heap_score[0], heap_row[0]
        sink(heap_score, heap_row, size, score, row)


@compile_as("i8[::1](i1[::1], f4, CELLS, i8, i8)")
def best_cells(code, scale, cells, num_cells, count):  # type: ignore[no-untyped-def]
    """The cells whose centres are nearest to a vector, best first; -1 where there are no more."""
    mean, mean_scale, bias = cells[6:]
    best_score = np.full(count, -np.inf, np.float32)
    best = np.full(count, -1, np.int64)
    for cell in range(1, num_cells):
        if bias[cell] == -np.inf:
            continue
        score = np.float32(dot(mean[cell], code)) * (mean_scale[cell] * scale) + bias[cell]
        if behind(best_score[0], best[0], score, cell):
            sink(best_score, best, count, score, cell)
    sort_heap(best_score, best)
    return best


@compiled
def bits(code, scale, origin, word):  # type: ignore[no-untyped-def]
    """In which of 64 directions a vector lies beyond the origin."""
    bits = np.uint64(0)
    for d in range(64):
        if code[64 * word + d] * scale > origin[64 * word + d]:
            bits |= np.uint64(1) << np.uint64(d)
    return bits


@compiled
def draw(cells, place, origins):  # type: ignore[no-untyped-def]
    """The sketch of what lies at a place."""
    codes, scale, _, sketch, _, version = cells[:6]
    cell, at = place // sketch.shape[2], place % sketch.shape[2]
    for word in range(sketch.shape[1]):
        sketch[cell, word, at] = bits(codes[place], scale[place], origins[version[cell]], word)


@compiled
def turned(vector, turn):  # type: ignore[no-untyped-def]
    out = np.zeros(turn.shape[1], np.float32)
    for d in range(len(vector)):
        for b in range(len(out)):
            out[b] += vector[d] * turn[d, b]
    return out


@compile_as("void(f4[::1], f4[:,::1], CELLS, i8, f4[:,::1])")
def enter(vector, turn, cells, place, origins):  # type: ignore[no-untyped-def]
    """Write a vector (D,) to a place."""
    cells[1][place] = encode(turned(vector, turn), cells[0][place], 127)
    draw(cells, place, origins)


@compile_as("void(CELLS, i8[::1], i8, i8, f4[:,::1])")
def move(cells, place_of, source, target, origins):  # type: ignore[no-untyped-def]
    """Copy what lies at place `source` to `target`."""
    codes, scale, row_at = cells[:3]
    codes[target] = codes[source]
    scale[target] = scale[source]
    row_at[target] = row_at[source]
    place_of[row_at[target]] = target
    draw(cells, target, origins)


@compile_as("void(CELLS, i8[::1], i8, f4[:,::1])")
def take_out(cells, place_of, place, origins):  # type: ignore[no-untyped-def]
    """Close the gap that a row leaves in its cell."""
    cell_rows, size = cells[3].shape[2], cells[4]
    cell = place // cell_rows
    size[cell] -= 1
    last = cell * cell_rows + size[cell]
    if last != place:
        move(cells, place_of, last, place, origins)


@compiled
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
    bias[cell] = -product(mean, mean) / 2


@compile_as("void(CELLS, i8, f4[:,::1], i8)")
def redraw(cells, cell, origins, version):  # type: ignore[no-untyped-def]
    """The sketches of a cell with another origin; and its centre where its rows are by now."""
    size, cell_rows = cells[4], cells[3].shape[2]
    cells[5][cell] = version
    for place in range(cell * cell_rows, cell * cell_rows + size[cell]):
        draw(cells, place, origins)
    if cell and size[cell]:
        recentre(cells, cell)


@compiled
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
            apart = product(away, away)
            if apart > far:
                farthest, far = n, apart
        centres[k] = table[farthest]
    lean = np.zeros(num, np.float32)
    for _ in range(_ROUNDS):
        across = centres[0] - centres[1]
        middle = (product(centres[0], centres[0]) - product(centres[1], centres[1])) / np.float32(2)
        for n in range(num):
            lean[n] = product(table[n], across) - middle
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


@compile_as("void(CELLS, i8[::1], i8, i8, f4[:,::1])")
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


@compile_as("void(CELLS, i8[::1], i8[::1], f4[:,::1])")
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
