"""What every fuser must do, whatever is inside."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.fusion.build import build_fuser
from pipeline.fusion.config import FusionConfig
from pipeline.fusion.fuser import Fuser
from tests.fusion.scenes import DIM, box, clip, frame, look, resolve, walk


@pytest.fixture(params=["online"])
def fuser(request: pytest.FixtureRequest) -> Fuser:
    return build_fuser(FusionConfig(), [None, None, None], frozenset(), DIM)


def test_no_frames_give_no_frames(fuser: Fuser) -> None:
    assert fuser.step([]) == []
    assert fuser.flush() == []


def test_empty_frames_come_back_empty_one_for_one(fuser: Fuser) -> None:
    fused = fuser.step([frame(0, 3, 0.3), frame(2, 4, 0.3)])
    assert [(f.camid, f.frame_idx, f.time_s, len(f.tracks), len(f.global_tracks)) for f in fused] == [
        (0, 3, 0.3, 0, 0),
        (2, 4, 0.3, 0, 0),
    ]
    assert fused[0].ground_xy.shape == (0, 2)


def test_frames_keep_their_order_their_tracks_and_their_place(fuser: Fuser) -> None:
    items = [frame(1, 0, 0.0, boxes={7: box(0, 90), 3: box(99, 90)}), frame(0, 0, 0.0, boxes={7: box(0, 90)})]
    fused = fuser.step(items)
    assert [f.camid for f in fused] == [1, 0]
    assert all(f.tracks is item.tracks for f, item in zip(fused, items, strict=True))
    assert np.isnan(fused[0].ground_xy).all() and fused[0].ground_xy.shape == (2, 2)


def test_global_tracks_are_a_subset_of_the_tracks_in_their_order(fuser: Fuser) -> None:
    rng = np.random.default_rng(0)
    person = look(rng, 1)[0]
    boxes = {9: box(0, 90), 4: box(99, 90), 6: box(200, 90)}
    fused = fuser.step(
        [frame(0, 0, 0.0, boxes=boxes, clips=[(6, clip(rng, person, 0.1)), (9, clip(rng, -person, 0.1))])]
    )
    tracks = fused[0].global_tracks
    assert tracks.track_id.tolist() == [9, 6]
    assert np.array_equal(tracks.xyxy, fused[0].tracks.xyxy[[0, 2]])
    assert tracks.global_id.min() >= 1 and len(set(tracks.global_id.tolist())) == 2
    assert ((tracks.confidence >= 0) & (tracks.confidence <= 1)).all()


def test_every_tracklet_has_an_identity_when_it_ends_even_without_a_clip(fuser: Fuser) -> None:
    fused = fuser.step([frame(0, 0, 0.0, boxes={1: box(0, 90)})])
    fused += fuser.step([frame(0, 1, 0.1, ended=[1])])
    assert [(e.kind, e.camid, e.track_id) for f in fused for e in f.events] == [("create", 0, 1)]


def test_flush_decides_what_is_undecided(fuser: Fuser) -> None:
    fused = fuser.step([frame(0, 0, 0.0, boxes={1: box(0, 90)}), frame(1, 0, 0.0, boxes={1: box(0, 90)})])
    assert not [e for f in fused for e in f.events]
    last = fuser.flush()
    assert all(not len(f.tracks) for f in last)
    assert set(resolve(fused + last)) == {(0, 0, 1), (1, 0, 1)}
    assert fuser.flush() == []


def test_the_events_of_a_tick_ride_on_its_first_frame_in_their_order(fuser: Fuser) -> None:
    rng = np.random.default_rng(0)
    person = look(rng, 1)[0]
    people = (person, -person)
    items = [frame(c, 0, 0.0, boxes={1: box(0, 90)}, clips=[(1, clip(rng, people[c], 0.1))]) for c in (0, 1)]
    first, second = fuser.step(items)
    assert [(event.kind, event.camid, event.global_id) for event in first.events] == [
        ("create", 0, 1),
        ("create", 1, 2),
    ]
    assert second.events == ()


def test_same_input_gives_the_same_output() -> None:
    def play() -> list[tuple[object, ...]]:
        rng = np.random.default_rng(5)
        people = look(rng, 3)
        fuser = build_fuser(FusionConfig(), [None, None, None], frozenset(), DIM)
        out = []
        for turn, person in enumerate([0, 1, 0, 2, 1]):
            for item in walk(
                turn % 3, turn + 1, np.arange(turn * 5.0, turn * 5.0 + 2, 0.5).tolist(), people[person], rng
            ):
                out += fuser.step([item])
        out += fuser.flush()
        return [(f.camid, f.frame_idx, f.global_tracks.global_id.tolist(), repr(f.events)) for f in out]

    assert play() == play()
