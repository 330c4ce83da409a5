"""The arithmetic of the vector index as compiled loops: how it is searched. Only the index uses it.

Sketches are compared first, 64 bits at a time, all of those in the cells that a query looks at; then the codes of the
rows whose sketches differ least; then the vectors of the best of these.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import types
from numba.extending import intrinsic

from pipeline.fusion.compiled import behind, bits, compile_as, compiled, dot, encode, product, sink, sort_heap, turned

_WIDER = 16  # so many times as many rows as wanted are compared in full
_LANES = 64  # differences compared with a limit at once
_NEVER = 2**15 - 1  # more than any sketches differ by
_LINE = 64  # bytes that come from the memory at once
_AHEAD = 6  # rows whose codes are on the way from the memory

_intrinsic: Any = intrinsic


@_intrinsic
def _mask_below(_, table, start, limit):  # type: ignore[no-untyped-def]
    """table (N,) int16 -> a word whose bit k says whether table[start + k] < limit, for k up to 63."""

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        array = context.make_array(signature.args[0])(context, builder, args[0])
        lanes, places = (ir.VectorType(ir.IntType(width), _LANES) for width in (16, 32))
        nothing = ir.Constant(lanes, ir.Undefined)
        at = builder.bitcast(builder.gep(array.data, [args[1]]), lanes.as_pointer())
        first = builder.insert_element(nothing, args[2], ir.Constant(ir.IntType(32), 0))
        limits = builder.shuffle_vector(first, nothing, ir.Constant(places, [0] * _LANES))
        return builder.bitcast(builder.icmp_signed("<", builder.load(at, align=2), limits), ir.IntType(64))

    return types.uint64(table, types.int64, types.int16), generate


@_intrinsic
def _fetch(_, table, place):  # type: ignore[no-untyped-def]
    """Let the memory bring what lies at a place of a table, counted through all its axes. Changes nothing but time."""

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        array = context.make_array(signature.args[0])(context, builder, args[0])
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        fetch = builder.module.declare_intrinsic("llvm.prefetch", [byte], kind)
        here = builder.bitcast(builder.gep(array.data, [args[1]]), byte)
        builder.call(fetch, [here, *(ir.Constant(number, value) for value in (0, 2, 1))])  # to read, not for long, data
        return context.get_dummy_value()

    return types.void(table, types.int64), generate


@compiled
def _ones(word):  # type: ignore[no-untyped-def]
    """How many bits of 64 are set; compilers know this form and use the processor's own instruction."""
    word = word - ((word >> np.uint64(1)) & np.uint64(0x5555555555555555))
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (word * np.uint64(0x0101010101010101)) >> np.uint64(56)


@compiled
def _differences(sketch, own, num, differ):  # type: ignore[no-untyped-def]
    """By how many bits the sketches (W, N) of the first `num` rows differ from `own` (W,), into `differ` (N,)."""
    one, two, three, four = own[0], own[1], own[2], own[3]
    for at in range(num):
        differ[at] = (
            _ones(sketch[0, at] ^ one)
            + _ones(sketch[1, at] ^ two)
            + _ones(sketch[2, at] ^ three)
            + _ones(sketch[3, at] ^ four)
        )
    for word in range(4, len(own)):
        for at in range(num):
            differ[at] += np.int16(_ones(sketch[word, at] ^ own[word]))
    differ[num : num + _LANES] = _NEVER


@compiled
def _fetch_sketches(sketch, cell, start):  # type: ignore[no-untyped-def]
    """Bring `_LANES` sketches of a cell (C, W, N)."""
    for word in range(sketch.shape[1]):
        for at in range(start, start + _LANES, _LINE // 8):
            _fetch(sketch, (cell * sketch.shape[1] + word) * sketch.shape[2] + at)


@compiled
def _compact(apart, places, found, limit):  # type: ignore[no-untyped-def]
    """Keep the places that differ by less than `limit`, at the front -> how many."""
    kept = 0
    for n in range(found):
        if apart[n] < limit:
            apart[kept], places[kept] = apart[n], places[n]
            kept += 1
    return kept


@compiled
def _shortlists(sketches, wanted, cells, num_best, most, apart, places):  # type: ignore[no-untyped-def]
    """The `num_best` places whose sketches differ least, and their ties -> places (Q, room), how many (Q,).

    sketches (Q, 2, W): of the queries for either origin. wanted (Q, C): the cells that each looks at, as far as these
    have no more than `most` rows. apart, places: (Q or more, room) to work in. A cell is read once for all queries:
    what it takes is mostly the way from the memory.
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
    differ = np.empty(sketch.shape[2] + _LANES, np.int16)
    cell_is_wanted = np.zeros(wanted.shape[1], np.bool_)
    for q in range(num_queries):
        cell_is_wanted |= wanted[q]
    for cell in range(wanted.shape[1]):
        num, start = size[cell], cell * sketch.shape[2]
        ahead = -1
        if cell_is_wanted[cell]:
            ahead = cell + 1
            while ahead < wanted.shape[1] and not cell_is_wanted[ahead]:
                ahead += 1
            if ahead == wanted.shape[1]:
                ahead = -1
        for q in range(num_queries):
            if not wanted[q, cell]:
                continue
            if looked[q] + num > most:
                wanted[q, cell:] = False
                continue
            looked[q] += num
            least, inside, at_end, counted = limit[q], below[q], found[q], count[q]
            if at_end + num > places.shape[1]:
                at_end = _compact(apart[q], places[q], at_end, least)
                if at_end + num > places.shape[1]:  # ever so many that differ equally
                    apart, places = _widened(apart), _widened(places)
            _differences(sketch[cell], sketches[q, version[cell]], num, differ)
            for base in range(0, num, _LANES):
                if ahead >= 0:
                    _fetch_sketches(sketch, ahead, base)
                mask = _mask_below(differ, base, np.int16(least))
                while mask:
                    lowest = mask & (~mask + np.uint64(1))
                    mask ^= lowest
                    at = base + np.int64(_ones(lowest - np.uint64(1)))
                    apart[q, at_end], places[q, at_end] = differ[at], start + at
                    at_end += 1
                    counted[differ[at]] += 1
                    inside += 1
            while inside - counted[least - 1] >= num_best:
                least -= 1
                inside -= counted[least]
            ahead = -1
            limit[q], below[q], found[q] = least, inside, at_end
    for q in range(num_queries):
        found[q] = _compact(apart[q], places[q], found[q], limit[q])
    return places, found


@compiled
def _widened(table):  # type: ignore[no-untyped-def]
    wide = np.empty((table.shape[0], 2 * table.shape[1]), table.dtype)
    wide[:, : table.shape[1]] = table
    return wide


@compiled
def _near_cells(code, own, cells, num_cells, count, wanted):  # type: ignore[no-untyped-def]
    """Mark in `wanted` (Q, C) the cell of the fresh rows and about `count` cells whose centres are nearest."""
    mean, mean_scale, bias = cells[6:]
    score = np.empty((len(code), num_cells), np.float32)
    score[:, 0] = np.inf
    for cell in range(1, num_cells):
        for q in range(len(code)):
            score[q, cell] = bias[cell]
            if bias[cell] != -np.inf:
                score[q, cell] += np.float32(dot(mean[cell], code[q])) * (mean_scale[cell] * own[q])
    place = num_cells - min(count, num_cells)
    for q in range(len(code)):
        wanted[q] = score[q] >= np.partition(score[q], place)[place]


@compile_as(
    "Tuple((i8[:,::1], f4[:,::1]))"
    "(f4[:,::1], f4[:,::1], CELLS, i8, f4[:,::1], Tuple((i8, i8, i8)), i2[:,::1], i4[:,::1])"
)
def nearest(query, turn, cells, num_cells, origins, sizes, apart, places):  # type: ignore[no-untyped-def]
    """query (Q, D) -> row (Q, count), score (Q, count), best first; row -1 where there are no more.

    sizes: about how many rows a query may look at, how many at the very most, and `count`. apart, places: (Q or more,
    room) to work in; room is that for `work_room` rows at least.
    """
    budget, most, count = sizes
    codes, scale, row_at, sketch, size = cells[:5]
    found = np.full((len(query), count), -1, np.int64)
    score = np.full((len(query), count), -np.inf, np.float32)
    code = np.empty((len(query), turn.shape[1]), np.int16)
    own = np.empty(len(query), np.float32)
    sketches = np.empty((len(query), 2, sketch.shape[1]), np.uint64)
    wanted = np.ones((len(query), num_cells), np.bool_)
    total = size[:num_cells].sum()
    for q in range(len(query)):
        own[q] = encode(turned(query[q], turn), code[q], 8191)
        for version in range(2):
            for word in range(sketch.shape[1]):
                sketches[q, version, word] = bits(code[q], own[q], origins[version], word)
    if total > budget:
        _near_cells(code, own, cells, num_cells, max(1, num_cells * budget // total), wanted)
    listed, kept = _shortlists(sketches, wanted, cells, _WIDER * count, most, apart, places)
    for q in range(len(query)):
        for n in range(kept[q]):
            ahead = np.int64(listed[q, min(n + _AHEAD, kept[q] - 1)])
            for byte in range(0, codes.shape[1], _LINE):
                _fetch(codes, ahead * codes.shape[1] + byte)
            _fetch(scale, ahead)
            place = listed[q, n]
            value = np.float32(dot(codes[place], code[q])) * (scale[place] * own[q])
            if value >= score[q, 0] and behind(score[q, 0], found[q, 0], value, row_at[place]):
                sink(score[q], found[q], count, value, row_at[place])
        sort_heap(score[q], found[q])
    return found, score


def work_room(count: int, num_rows: int, cell_rows: int) -> int:
    """Columns of the tables that `nearest` works in."""
    return min(8 * _WIDER * count, num_rows) + cell_rows


@compile_as("f4[:,::1](f4[:,::1], f4[:,::1], i8[:,::1])")
def cosines(query, vectors, rows):  # type: ignore[no-untyped-def]
    """(Q, K) products of each query (Q, D) with its rows (Q, K) of `vectors`; -inf where a row is -1."""
    found = np.full(rows.shape, -np.inf, np.float32)
    for q in range(len(rows)):
        for n in range(rows.shape[1]):
            if n + 2 < rows.shape[1]:
                for at in range(0, vectors.shape[1], _LINE // 4):
                    _fetch(vectors, max(rows[q, n + 2], 0) * vectors.shape[1] + at)
            if rows[q, n] >= 0:
                found[q, n] = product(vectors[rows[q, n]], query[q])
    return found


@compile_as("f4[::1](f4[:,::1], i8[::1], f4[:,::1], i8[::1])")
def pair_cosines(ones, one, others, other):  # type: ignore[no-untyped-def]
    """(N,) products of the rows `one` of a table and the rows `other` of another one."""
    found = np.empty(len(one), np.float32)
    for n in range(len(one)):
        if n + _AHEAD < len(one):
            for at in range(0, others.shape[1], _LINE // 4):
                _fetch(others, other[n + _AHEAD] * others.shape[1] + at)
        found[n] = product(ones[one[n]], others[other[n]])
    return found
