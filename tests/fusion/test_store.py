"""The table of live tracklets."""

from __future__ import annotations

import numpy as np

from pipeline.fusion.store import TrackletStore
from pipeline.types import Int64
from tests.fusion.scenes import box


def observe(store: TrackletStore, camid: int, time_s: float, boxes: dict[int, tuple[float, ...]]) -> Int64:
    count = len(boxes)
    return store.observe(
        np.full(count, camid),
        np.full(count, time_s),
        np.array(list(boxes), np.int64),
        np.array(list(boxes.values()), np.float32).reshape(count, 4),
        ground_xy=np.full((count, 2), np.nan),
        ground_sigma_m=np.full(count, np.nan),
    )


def test_empty_frame_leaves_the_store_empty() -> None:
    store = TrackletStore(4)
    assert observe(store, 0, 0.0, {}).tolist() == []
    assert len(store) == 0 and store.slots().tolist() == []


def test_tracklets_of_two_cameras_with_one_number_are_two() -> None:
    store = TrackletStore(4)
    first, second = observe(store, 0, 0.0, {7: box(0, 90)}), observe(store, 1, 0.0, {7: box(5, 90)})
    assert first[0] != second[0] and len(store) == 2
    assert store.slot_of(1, 7) == second[0] and store.slot_of(2, 7) == -1


def test_tracklet_remembers_entry_exit_and_times() -> None:
    store = TrackletStore(4)
    observe(store, 0, 1.0, {1: box(0, 90)})
    slot = int(observe(store, 0, 1.5, {1: box(20, 95)})[0])
    assert (store.first_s[slot], store.last_s[slot], store.global_id[slot]) == (1.0, 1.5, 0)
    assert store.entry_xyxy[slot].tolist() == list(box(0, 90)) and store.exit_xyxy[slot].tolist() == list(box(20, 95))
    assert not store.vectors(np.array([slot])).any()


def test_velocity_of_a_steady_walk_is_found_in_a_second() -> None:
    store = TrackletStore(4)
    for i in range(20):
        slot = int(observe(store, 0, 0.1 * i, {1: box(3.0 * i, 90)})[0])
    assert np.allclose(store.velocity_px[slot], (30, 0), atol=1.0)


def test_mean_vector_weighs_clips_by_quality() -> None:
    store = TrackletStore(2)
    slot = observe(store, 0, 0.0, {1: box(0, 90)})
    slots = np.repeat(slot, 2)
    store.add_vectors(slots, np.array([[1, 0], [0, 1]], np.float32), np.array([0.6, 0.8], np.float32), 0.0)
    assert np.allclose(store.vectors(slot), [[0.6, 0.8]]) and store.num_clips[slot[0]] == 2


def test_released_slot_is_used_again_without_a_trace() -> None:
    store = TrackletStore(2)
    slot = observe(store, 0, 0.0, {1: box(0, 90)})
    store.add_vectors(slot, np.array([[1, 0]], np.float32), np.ones(1, np.float32), 0.0)
    store.global_id[slot] = 5
    store.release(int(slot[0]))
    again = observe(store, 3, 9.0, {2: box(9, 90)})
    assert again[0] == slot[0] and len(store) == 1
    row = int(again[0])
    assert (store.camid[row], store.track_id[row], store.global_id[row], store.num_clips[row]) == (3, 2, 0, 0)
    assert store.first_s[row] == 9.0
    assert not store.vector_sum[again].any()


def test_store_grows_for_a_crowd_and_keeps_what_it_knew() -> None:
    store = TrackletStore(2)
    observe(store, 0, 0.0, {1: box(0, 90)})
    slots = observe(store, 0, 1.0, {i: box(float(i), 90) for i in range(1, 101)})
    assert len(set(slots.tolist())) == 100
    assert store.first_s[slots[0]] == 0.0 and store.first_s[slots[1]] == 1.0
