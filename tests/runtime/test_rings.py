"""Shared memory: what goes in comes out, is read-only, is free again when nobody looks, and never exceeds its cap."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.runtime.rings import INLINE_BYTES, Ring, Span, Views, _Segment, dump


@pytest.fixture
def ring():
    ring = Ring(32 << 20)
    yield ring
    ring.unlink()


def image(height: int = 200, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (height, 300, 3), dtype=np.uint8)


def test_large_arrays_travel_beside_the_message_and_come_back_equal_and_read_only(ring: Ring) -> None:
    freed: list[Span] = []
    views = Views(freed.append)
    value = {"image": image(), "small": np.arange(5), "words": "x"}
    head, large = dump(value)
    assert len(head) < 1000 and [b.nbytes for b in large] == [value["image"].nbytes]
    back = views.load(head, ring.put(large))
    np.testing.assert_array_equal(back["image"], value["image"])
    np.testing.assert_array_equal(back["small"], value["small"])
    assert not back["image"].flags.writeable
    with pytest.raises(ValueError):
        back["image"][0, 0, 0] = 1
    del back
    views.close()


def test_a_cut_out_of_an_array_travels_beside_the_message_too(ring: Ring) -> None:
    views = Views(lambda span: None)
    cut = image(400)[:, 50:250]
    head, large = dump(cut)
    assert not cut.flags.c_contiguous and len(large) == 1
    np.testing.assert_array_equal(views.load(head, ring.put(large)), cut)
    views.close()


@pytest.mark.parametrize(
    "view_of",
    [
        lambda a: a[3:4, :2],
        lambda a: a.view(),
        lambda a: a.reshape(-1)[7:],
        lambda a: np.asarray(a.T),
        lambda a: memoryview(a),
        lambda a: np.frombuffer(a, np.uint8),
        lambda a: [a[0], a[1]],
    ],
)
def test_memory_is_free_only_when_the_last_view_of_it_is_gone(ring: Ring, view_of) -> None:
    freed: list[Span] = []
    views = Views(freed.append)
    head, large = dump(image())
    spans = ring.put(large)
    array = views.load(head, spans)
    view = view_of(array)
    del array
    gc.collect()
    assert freed == []
    del view
    gc.collect()
    assert freed == spans
    views.close()


def test_a_full_ring_says_so_and_takes_again_what_was_freed() -> None:
    ring = Ring(1 << 20)
    first, second = np.zeros(600_000, np.uint8), np.ones(600_000, np.uint8)
    spans = ring.put([first.data])
    assert spans is not None and ring.put([second.data]) is None
    for span in spans:
        ring.free(span)
    assert ring.put([second.data]) is not None
    ring.unlink()


def test_arrays_that_fit_only_in_part_take_no_memory_at_all() -> None:
    ring = Ring(1 << 20)
    assert ring.put([np.zeros(600_000, np.uint8).data, np.zeros(600_000, np.uint8).data]) is None
    assert ring.put([np.zeros(1 << 20, np.uint8).data]) is not None
    ring.unlink()


def test_memory_that_the_system_has_not_is_told_once_and_done_without(monkeypatch, caplog) -> None:
    def nothing_left(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", nothing_left)
    ring = Ring(64 << 20)
    assert ring.put([np.zeros(INLINE_BYTES, np.uint8).data]) is None
    assert ring.put([np.zeros(INLINE_BYTES, np.uint8).data]) is None
    assert len(caplog.records) == 1 and "/dev/shm" in caplog.text
    ring.unlink()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(1, 3000)), max_size=60), st.randoms())
def test_blocks_never_overlap_and_all_room_comes_back(steps, random) -> None:
    segment = _Segment(16384)
    taken: list[tuple[int, int]] = []
    for take, size in steps:
        if take:
            offset = segment.take(size)
            if offset is not None:
                assert offset >= 0 and offset + size <= 16384
                assert all(offset + size <= o or o + s <= offset for o, s in taken)
                taken.append((offset, size))
        elif taken:
            segment.give_back(*taken.pop(random.randrange(len(taken))))
    for block in taken:
        segment.give_back(*block)
    assert segment.is_free
    segment.memory.close()
    segment.memory.unlink()
