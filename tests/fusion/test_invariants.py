"""What holds in every scene, however confusing."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.fusion.build import build_fuser
from pipeline.fusion.config import FusionConfig
from pipeline.fusion.online import OnlineFuser
from pipeline.geometry.camera import GroundCamera
from pipeline.types import EmbeddedFrame, FusedFrame
from tests.fusion.scenes import box, clip, frame, resolve

DIM = 8
CAMERAS = (None, *(GroundCamera.from_homography(np.diag([0.02, 0.02, 1.0])) for _ in range(2)), None)
OVERLAPS = frozenset({(1, 2), (3, 0)})


def chaos(seed: int, num_ticks: int = 45) -> list[list[EmbeddedFrame]]:
    """Tracklets of look-alikes that come, vanish, come back and end at random, with clips at random."""
    rng = np.random.default_rng(seed)
    people = np.array([clip(rng, np.ones(DIM), 0.4) for _ in range(4)])
    next_id = [1] * 4
    live: list[dict[int, list[float]]] = [{} for _ in range(4)]  # track_id -> person, x, y
    ticks = []
    for tick in range(num_ticks):
        items = []
        for camid in range(4):
            if rng.random() < 0.1:
                continue
            if rng.random() < 0.25:
                live[camid][next_id[camid]] = [float(rng.integers(4)), *rng.uniform(100, 500, 2)]
                next_id[camid] += 1
            ended = [tid for tid in live[camid] if rng.random() < 0.05]
            for tid in ended:
                del live[camid][tid]
            for state in live[camid].values():
                state[1:] = np.clip(np.array(state[1:]) + rng.normal(0, 15, 2), 90, 600).tolist()
            seen = {tid: box(s[1], s[2]) for tid, s in live[camid].items() if rng.random() < 0.7}
            clips = [(t, clip(rng, people[int(s[0])], 0.3)) for t, s in live[camid].items() if rng.random() < 0.3]
            items.append(frame(camid, tick, tick * 0.2, boxes=seen, clips=clips, ended=ended, dim=DIM))
        ticks.append(items)
    return ticks


def play(ticks: list[list[EmbeddedFrame]], **changes: float) -> list[FusedFrame]:
    config = FusionConfig(simultaneous_s=0.0, **changes)
    fuser = build_fuser(config, CAMERAS, OVERLAPS, DIM)
    return [fused for items in ticks for fused in fuser.step(items)] + fuser.flush()


def check_nobody_is_twice(rows: list[tuple[int, float, int]]) -> None:
    """rows: camid, time_s, global_id. Once per camera and time; in two cameras at once only if they overlap."""
    assert not [key for key, count in Counter(rows).items() if count > 1]
    cameras = defaultdict(set)
    for camid, time_s, global_id in rows:
        cameras[time_s, global_id].add(camid)
    both = OVERLAPS | {(b, a) for a, b in OVERLAPS}
    for together in cameras.values():
        assert all(a == b or (a, b) in both for a in together for b in together)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_nobody_is_twice_in_a_camera_or_at_once_in_two_that_do_not_overlap(seed: int) -> None:
    fused = play(chaos(seed), false_merge_rate=0.5)
    online = [(f.camid, f.time_s, gid) for f in fused for gid in f.global_tracks.global_id.tolist()]
    check_nobody_is_twice(online)
    when = {(f.camid, f.frame_idx): f.time_s for f in fused if len(f.tracks)}
    check_nobody_is_twice([(cam, when[cam, idx], gid) for (cam, idx, _), gid in resolve(fused).items()])


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_every_row_of_every_tracklet_has_an_identity_and_every_id_its_event(seed: int) -> None:
    ticks = chaos(seed)
    fused = play(ticks)
    assert [(f.camid, f.frame_idx) for f in fused][: sum(map(len, ticks))] == [
        (item.camid, item.frame_idx) for items in ticks for item in items
    ]
    table = resolve(fused)
    assert len(table) == sum(len(item.tracks) for items in ticks for item in items)
    known: set[int] = set()
    for event in (event for f in fused for event in f.events):
        if event.kind in ("create", "split"):
            assert event.global_id not in known, "an id was used again"
            assert event.global_id == len(known) + 1
            known.add(event.global_id)
        assert event.global_id in known
        if event.confidence == event.confidence:
            assert 0 <= event.confidence <= 1
    assert set(table.values()) <= known


def test_random_scenes_contain_every_kind_of_decision() -> None:
    """Else the invariants above would hold for nothing."""
    seen = Counter(e.kind for seed in range(12) for f in play(chaos(seed), false_merge_rate=0.5) for e in f.events)
    assert min(seen[kind] for kind in ("create", "link", "merge", "split")) >= 1


def test_memory_stays_bounded_over_two_thousand_tracklets() -> None:
    rng = np.random.default_rng(0)
    fuser = build_fuser(FusionConfig(open_s=30.0, revise_s=20.0), CAMERAS, OVERLAPS, DIM)
    assert isinstance(fuser, OnlineFuser)
    sizes = []
    people = np.array([clip(rng, np.ones(DIM), 1.5) for _ in range(50)])
    for turn in range(500):
        clips = [(turn + 1, clip(rng, people[rng.integers(50)], 0.2)) for _ in range(4)]
        boxes = [{turn + 1: box(*rng.uniform(100, 500, 2))} for _ in range(4)]
        fuser.step(
            [
                frame(c, turn, turn + 0.3 * c / 4, boxes=boxes[c], clips=[clips[c]], ended=[turn], dim=DIM)
                for c in range(4)
            ]
        )
        if turn % 100 == 99:
            state, vectors = fuser._state, len(fuser._state.gallery._vector)
            members = sum(map(len, state.book._members.values()))
            sizes.append((state.store.num_slots, vectors, len(fuser._changes.member_of), members))
    assert max(size[0] for size in sizes) <= 128
    assert max(size[1] for size in sizes) <= 512
    assert max(size[2] for size in sizes) <= 128
    assert max(size[3] for size in sizes) <= 400
    assert sizes[-1][3] <= 2 * sizes[0][3]
