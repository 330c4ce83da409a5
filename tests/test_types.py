"""The values between rooms: checked once, aligned, read-only."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from pipeline.types import (
    NO_PREVIEW,
    Clips,
    Detections,
    Embeddings,
    Frame,
    FusedFrame,
    GlobalTracks,
    Tracklet,
    Tracks,
)


def tracks(count: int) -> Tracks:
    return Tracks(np.arange(1, count + 1), np.zeros((count, 4), np.float32), np.ones(count, np.float32))


@pytest.mark.parametrize(
    "empty", [Detections.empty(), Tracks.empty(), GlobalTracks.empty(), Clips.empty(8, 256, 128), Embeddings.empty(512)]
)
def test_empty_values_have_no_rows(empty: object) -> None:
    assert len(empty) == 0  # type: ignore[arg-type]


def test_rows_must_be_aligned() -> None:
    with pytest.raises(ValueError, match=r"Detections\.score: 3 rows beside 2"):
        Detections(np.zeros((2, 4)), np.zeros(3))


def test_a_wrong_shape_names_value_and_field() -> None:
    with pytest.raises(ValueError, match=r"Tracks\.xyxy: want shape \(N, 4\), got \(2, 5\)"):
        Tracks(np.ones(2), np.zeros((2, 5)), np.ones(2))
    with pytest.raises(ValueError, match=r"Frame\.image: want \(H, W, 3\) uint8"):
        Frame(0, 0, 0.0, np.zeros((4, 4), np.uint8))


def test_arrays_are_read_only_and_the_callers_array_is_not() -> None:
    mine = np.zeros((2, 4), np.float32)
    value = Detections(mine, np.zeros(2, np.float32))
    with pytest.raises(ValueError, match="read-only"):
        value.xyxy[0] = 1
    mine[0] = 1


def test_values_are_read_only_again_after_pickling() -> None:
    value = pickle.loads(pickle.dumps(tracks(3)))
    assert value.track_id.tolist() == [1, 2, 3]
    with pytest.raises(ValueError, match="read-only"):
        value.track_id[0] = 7


def test_rows_can_be_picked_by_mask_slice_and_index() -> None:
    value = tracks(4)
    assert value[value.track_id > 2].track_id.tolist() == [3, 4]
    assert value[1:3].track_id.tolist() == [2, 3]
    assert value[np.array([3, 0])].track_id.tolist() == [4, 1]


def test_ground_positions_belong_to_tracks() -> None:
    with pytest.raises(ValueError, match=r"FusedFrame\.ground_xy: 1 rows for 2 tracks"):
        FusedFrame(0, 0, 0.0, tracks(2), np.zeros((1, 2)), GlobalTracks.empty(), (), NO_PREVIEW, 1.0)


def test_a_tracklet_is_as_long_as_it_was_seen() -> None:
    seen = Tracklet(0, 1, np.arange(3), np.arange(3) / 10, np.zeros((3, 4)), np.ones(8) / np.sqrt(8))
    assert len(seen) == 3
    with pytest.raises(ValueError, match=r"Tracklet\.time_s: 2 rows beside 3"):
        Tracklet(0, 1, np.arange(3), np.arange(2) / 10, np.zeros((3, 4)), np.ones(8))
