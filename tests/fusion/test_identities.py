"""What the book of identities does as time passes, against looking at every identity."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.fusion.identities import IdentityBook, Member


def member(first_s: float, last_s: float, *, in_view: bool = False, zone: int = -1) -> Member:
    return Member(0, 1, first_s, last_s, 0, in_view, zone, zone)


def exit_of(book: IdentityBook, global_id: int) -> tuple[int, float]:
    row = book.row(global_id)
    return int(book.exit_zone[row]), float(book.exit_s[row])


def test_longest_unseen_comes_first_and_who_is_in_view_not_at_all() -> None:
    book = IdentityBook()
    for last_s in (5.0, 3.0, 9.0, 3.0):
        book.found(member(0.0, last_s))
    book.found(member(0.0, 1.0, in_view=True))
    assert book.unseen_since(6.0) == [2, 4, 1]
    assert book.unseen_since(math.inf, 2) == [2, 4]
    book.last_s[book.row(2)] = 20.0
    book.close(4)
    assert book.unseen_since(math.inf) == [1, 3, 2]


def test_forgotten_tracklet_leaves_behind_where_it_went_out() -> None:
    book = IdentityBook()
    book.found(member(0.0, 5.0, zone=3))
    book.join(1, member(10.0, 12.0, zone=4))
    book.prune(11.0)
    assert (exit_of(book, 1), len(book.members(1))) == ((3, 5.0), 1)
    book.prune(13.0)
    assert (exit_of(book, 1), len(book.members(1))) == ((4, 12.0), 0)


def _unseen(book: IdentityBook, before_s: float) -> list[int]:
    last_s = {gid: book.last_s[book.row(gid)] for gid in book._row_of}
    found = [gid for gid, s in last_s.items() if s < before_s and not any(m.open for m in book.members(gid))]
    return sorted(found, key=lambda gid: (last_s[gid], gid))


def _check_columns(book: IdentityBook) -> None:
    """What the table says of the latest tracklets is what follows from them."""
    for gid, row in zip(list(book._row_of), book.rows(list(book._row_of)).tolist(), strict=True):
        members = book.members(gid)
        assert book.in_view[row] == any(m.open for m in members)
        last = max(members, key=lambda m: m.last_s, default=None)
        if last is None or last.last_s < book.exit_s[row]:
            assert (book.live_slot[row], book.left_zone[row]) == (-1, book.exit_zone[row])
        else:
            assert book.live_slot[row] == (last.slot if last.open else -1)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_book_finds_and_forgets_what_looking_at_everybody_finds_and_forgets(seed: int) -> None:
    rng = np.random.default_rng(seed)
    book = IdentityBook()
    live: list[tuple[int, Member]] = []
    for now_s in range(120):
        for _ in range(2):
            new = member(now_s, now_s, in_view=True)
            known = sorted(book._row_of)
            if known and rng.random() < 0.5:
                gid = int(rng.choice(known))
                book.join(gid, new)
            else:
                gid = book.found(new)
            live.append((gid, new))
        for gid, seen in live:
            if gid in book:
                book.see(gid, seen, float(now_s))
        for _ in range(int(rng.integers(3))):
            gid, gone = live.pop(int(rng.integers(len(live))))
            gone.open = False
            book.touch(gid)
        if rng.random() < 0.3 and len(book) > 2:
            kept, gone = sorted(rng.choice(sorted(book._row_of), 2, replace=False).tolist())
            book.merge(kept, gone)
            live = [(kept if gid == gone else gid, seen) for gid, seen in live]
        before_s = now_s - 20.0
        true = {gid: [id(m) for m in book.members(gid) if m.open or m.last_s >= before_s] for gid in book._row_of}
        book.prune(before_s)
        assert {gid: [id(m) for m in book.members(gid)] for gid in book._row_of} == true
        _check_columns(book)
        assert book.unseen_since(before_s) == _unseen(book, before_s)
        assert book.unseen_since(math.inf, 3) == _unseen(book, math.inf)[:3]
        for gid in book.unseen_since(now_s - 40.0):
            book.close(gid)
    assert len(book._to_prune) <= 4 * sum(map(len, book._members.values())) + 300
    assert len(book._unseen) <= len(book) + 120
