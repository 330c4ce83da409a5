"""The online fuser on scenes that can be followed by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.fusion.build import build_fuser
from pipeline.fusion.config import FusionConfig
from pipeline.fusion.fuser import Fuser
from pipeline.types import EmbeddedFrame, Event, FusedFrame
from tests.fusion.scenes import DIM, box, clip, frame, look, of_track, resolve, walk


def play(fuser: Fuser, items: Sequence[EmbeddedFrame]) -> list[FusedFrame]:
    """All items in order of time, those of one time as one tick, and the flush."""
    fused = []
    for time_s in sorted({item.time_s for item in items}):
        fused += fuser.step([item for item in items if item.time_s == time_s])
    return fused + fuser.flush()


def events(fused: Sequence[FusedFrame], kind: str) -> list[Event]:
    return [event for f in fused for event in f.events if event.kind == kind]


def times(start_s: float, num: int = 6) -> list[float]:
    return [round(start_s + 0.5 * i, 3) for i in range(num)]


def fuser_of(num_cameras: int = 2, overlaps: frozenset[tuple[int, int]] = frozenset(), **settings: float) -> Fuser:
    return build_fuser(FusionConfig(**settings), [None] * num_cameras, overlaps, DIM)


def test_person_who_walks_from_one_camera_into_another_keeps_the_id() -> None:
    rng = np.random.default_rng(1)
    people = look(rng, 2)
    items = walk(0, 1, times(0), people[0], rng) + walk(0, 2, times(1), people[1], rng, left=300)
    items += walk(1, 1, times(6), people[1], rng) + walk(1, 2, times(7), people[0], rng, left=300)
    fused = play(fuser_of(), items)
    table = resolve(fused)
    assert of_track(table, 0, 1) == of_track(table, 1, 2) != of_track(table, 0, 2)
    assert of_track(table, 0, 2) == of_track(table, 1, 1)
    link = events(fused, "link")[0]
    assert (link.camid, link.track_id) == (1, 1)
    assert link.similarity > 0.8 and link.confidence > 0.9 and link.margin > 2
    assert abs(link.gap_s - 2.5) < 1e-6


def test_person_who_returns_after_ten_minutes_keeps_the_id() -> None:
    rng = np.random.default_rng(2)
    people = look(rng, 2)
    items = walk(0, 1, times(0), people[0], rng) + walk(0, 2, times(300), people[1], rng)
    items += walk(0, 3, times(600), people[0], rng)
    table = resolve(play(fuser_of(), items))
    assert of_track(table, 0, 1) == of_track(table, 0, 3) != of_track(table, 0, 2)


def test_identity_closes_after_open_s_and_its_number_is_never_used_again() -> None:
    rng = np.random.default_rng(3)
    person = look(rng, 1)[0]
    items = walk(0, 1, times(0), person, rng) + walk(0, 2, times(60), person, rng)
    fused = play(fuser_of(open_s=20.0), items)
    assert [event.global_id for event in events(fused, "close")] == [1]
    assert [event.global_id for event in events(fused, "create")] == [1, 2]


def test_people_seen_at_once_in_one_camera_never_share_an_id_even_as_twins() -> None:
    rng = np.random.default_rng(4)
    person = look(rng, 1)[0]
    items = walk(0, 1, times(0), person, rng, noise=0.05) + walk(0, 2, times(1), person, rng, noise=0.05, left=300)
    table = resolve(play(fuser_of(), items))
    assert of_track(table, 0, 1) != of_track(table, 0, 2)


def test_twins_seen_at_once_share_an_id_only_where_the_two_cameras_overlap() -> None:
    for overlaps, one in ((frozenset[tuple[int, int]](), False), (frozenset({(0, 1)}), True)):
        rng = np.random.default_rng(5)
        person = look(rng, 1)[0]
        items = walk(0, 1, times(0), person, rng, noise=0.05) + walk(1, 1, times(1), person, rng, noise=0.05)
        table = resolve(play(fuser_of(2, overlaps), items))
        assert (of_track(table, 0, 1) == of_track(table, 1, 1)) is one


def test_three_people_who_enter_two_overlapping_views_in_one_tick_get_three_ids() -> None:
    rng = np.random.default_rng(6)
    people = look(rng, 3)
    items = []
    for t in times(0):
        for camid, order in ((0, (0, 1, 2)), (1, (2, 0, 1))):
            clips = [(place + 1, clip(rng, people[p], 0.2)) for place, p in enumerate(order)]
            items.append(frame(camid, round(t * 10), t, boxes={i: box(100.0 * i, 200) for i in (1, 2, 3)}, clips=clips))
    table = resolve(play(fuser_of(2, frozenset({(0, 1)})), items))
    assert len(set(table.values())) == 3
    assert of_track(table, 0, 1) == of_track(table, 1, 2)
    assert of_track(table, 0, 3) == of_track(table, 1, 1)


def test_weak_create_is_mended_by_a_merge_when_better_clips_come() -> None:
    rng = np.random.default_rng(7)
    people = look(rng, 2)
    items = walk(0, 1, times(0), people[0], rng, noise=0.1)
    late = times(5, 12)
    for i, t in enumerate(late):
        poor = i == 0  # the first clip shows somebody else who stood in front
        vector = clip(rng, people[1] if poor else people[0], 0.1)
        items.append(frame(1, round(t * 10), t, boxes={1: box(10.0 * i, 200)}, clips=[(1, vector)]))
    fused = play(fuser_of(), items)
    assert [event.global_id for event in events(fused, "create")] == [1, 2]
    merge = events(fused, "merge")
    assert [(event.global_id, event.other_id) for event in merge] == [(1, 2)]
    assert merge[0].confidence >= 0.9
    assert set(resolve(fused).values()) == {1}


def test_merge_never_joins_people_who_were_seen_at_once() -> None:
    rng = np.random.default_rng(8)
    person = look(rng, 1)[0]
    items = walk(0, 1, times(0, 30), person, rng, noise=0.05) + walk(0, 2, times(0, 30), person, rng, left=400)
    assert not events(play(fuser_of(), items), "merge")


def test_tracklet_broken_by_an_occlusion_goes_on_by_motion_alone() -> None:
    items = [frame(0, i, 0.1 * i, boxes={1: box(50 + 4.0 * i, 200)}) for i in range(20)]
    items += [frame(0, 20, 2.0, ended=[1])]
    items += [frame(0, 30 + i, 3.0 + 0.1 * i, boxes={2: box(170 + 4.0 * i, 200)}) for i in range(20)]
    items += [frame(0, 50, 5.0, ended=[2])]
    fused = play(fuser_of(), items)
    assert [event.kind for f in fused for event in f.events] == ["create", "link"]
    assert len(set(resolve(fused).values())) == 1


def test_tracklet_that_begins_far_from_a_lost_one_is_somebody_new() -> None:
    items = [frame(0, i, 0.1 * i, boxes={1: box(50, 200)}) for i in range(20)]
    items += [frame(0, 20, 2.0, ended=[1]), frame(0, 25, 2.5, boxes={2: box(600, 200)}), frame(0, 26, 2.6, ended=[2])]
    assert len(set(resolve(play(fuser_of(), items)).values())) == 2


def test_tracklet_waits_while_its_best_candidate_may_still_come_back() -> None:
    rng = np.random.default_rng(9)
    person = look(rng, 1)[0]
    fuser = fuser_of()
    fused = []
    for t in times(0, 4):
        fused += fuser.step([frame(0, round(t * 10), t, boxes={1: box(0, 200)}, clips=[(1, clip(rng, person, 0.1))])])
    # Out of view, but its tracker has not ended it: the newcomer can neither be it nor be told from it.
    fused += fuser.step([frame(1, 30, 3.0, boxes={1: box(0, 200)}, clips=[(1, clip(rng, person, 0.1))])])
    assert len(fused[-1].global_tracks) == 0
    fused += fuser.step([frame(0, 35, 3.5, ended=[1]), frame(1, 35, 3.5, boxes={1: box(5, 200)})])
    assert fused[-1].global_tracks.global_id.tolist() == [1]
    assert [event.kind for f in fused for event in f.events] == ["create", "link"]


def test_similarities_of_a_poor_network_are_learned_and_stop_wrong_links() -> None:
    """Of a network that finds everybody 0.97 similar, a similarity of 0.97 means nothing."""

    def wrong_links(learn: bool) -> int:
        rng = np.random.default_rng(10)
        base = look(rng, 1)[0]
        people = np.array([clip(rng, base, 0.17) for _ in range(16)])
        items = []
        for turn in range(8):
            pair = [(k, people[2 * turn + k - 1]) for k in (1, 2)]
            for t in times(10.0 * turn):
                boxes = {2 * turn + k: box(300.0 * k, 200) for k, _ in pair}
                clips = [(2 * turn + k, clip(rng, person, 0.05)) for k, person in pair]
                items.append(frame(0, round(t * 10), t, boxes=boxes, clips=clips))
            items.append(frame(0, round((t + 1) * 10), t + 1, ended=list(boxes)))
        settings = {"calibration_weight": 10.0 if learn else 1e9, "false_merge_rate": 0.5}
        return 16 - len(set(resolve(play(fuser_of(1, frozenset(), **settings), items)).values()))

    assert wrong_links(learn=False) >= 10
    assert wrong_links(learn=True) <= 6


def test_clip_of_an_unknown_tracklet_is_ignored() -> None:
    rng = np.random.default_rng(11)
    fused = fuser_of().step([frame(0, 0, 0.0, clips=[(5, clip(rng, look(rng, 1)[0], 0.1))])])
    assert not fused[0].events


def test_camera_that_falls_silent_does_not_bar_its_people_for_ever() -> None:
    rng = np.random.default_rng(12)
    person = look(rng, 1)[0]
    fuser = fuser_of(stale_s=30.0)
    fused = []
    for t in times(0):
        fused += fuser.step([frame(0, round(t * 10), t, boxes={1: box(0, 200)}, clips=[(1, clip(rng, person, 0.1))])])
    for item in walk(1, 1, times(60), person, rng, noise=0.1):
        fused += fuser.step([item])
    assert events(fused, "link")[0].global_id == 1


def test_capacity_closes_the_longest_unseen_identity_first() -> None:
    rng = np.random.default_rng(13)
    people = look(rng, 5)
    items = [item for turn in range(5) for item in walk(0, turn + 1, times(20.0 * turn), people[turn], rng, noise=0.1)]
    fused = play(fuser_of(capacity=2), items)
    closed = [event.global_id for event in events(fused, "close")]
    assert closed == sorted(closed) and set(closed) >= {1, 2}


def test_a_person_taken_up_under_a_new_id_while_the_old_one_hangs_on_to_a_chair_keeps_the_identity() -> None:
    rng = np.random.default_rng(11)
    person = look(rng, 1)[0]
    old = [0.2 * i for i in range(16)]  # to 3.0 s; the last moments show a chair
    new = [2.8 + 0.2 * i for i in range(20)]
    items = []
    for index, time_s in enumerate(sorted({round(t, 3) for t in old + new})):
        boxes, clips = {}, []
        for track_id, times_s, left in ((1, old, 100.0), (2, new, 105.0)):
            if any(abs(time_s - t) < 1e-6 for t in times_s):
                boxes[track_id] = box(left, 200)
                if index % 4 == 0:
                    clips.append((track_id, clip(rng, person, 0.1)))
        items.append(frame(0, index, time_s, boxes=boxes, clips=clips, ended=[1] if index == 26 else []))
    fused = play(fuser_of(1), items)
    (split,) = events(fused, "split")
    assert (split.track_id, split.time_s) == (1, 2.8)
    table = resolve(fused)
    before = {gid for (_, idx, track_id), gid in table.items() if track_id == 1 and idx < 14}
    after = {gid for (_, idx, track_id), gid in table.items() if track_id == 1 and idx >= 14}
    assert before == of_track(table, 0, 2)
    assert after == {split.global_id} != before


def test_two_people_in_view_for_longer_than_a_handover_stay_two() -> None:
    rng = np.random.default_rng(12)
    person = look(rng, 1)[0]
    items = []
    for index in range(40):
        time_s = round(0.2 * index, 3)
        boxes = {1: box(100, 200)} if time_s <= 4.0 else {}
        boxes |= {2: box(105, 200)} if time_s >= 3.0 else {}
        clips = [(track_id, clip(rng, person, 0.1)) for track_id in boxes] if index % 4 == 0 else []
        items.append(frame(0, index, time_s, boxes=boxes, clips=clips, ended=[1] if index == 32 else []))
    fused = play(fuser_of(1), items)
    assert not events(fused, "split")
    table = resolve(fused)
    assert of_track(table, 0, 1) != of_track(table, 0, 2)


def test_tracklet_that_begins_to_look_like_somebody_else_is_split_since_its_last_good_clip() -> None:
    rng = np.random.default_rng(21)
    people = look(rng, 2)
    items = walk(0, 1, times(0), people[0], rng, noise=0.1)
    late = times(20, 16)
    for i, t in enumerate(late):
        who = people[1] if i < 8 else people[0]  # the tracker slips to the person seen before
        items.append(frame(1, round(t * 10), t, boxes={1: box(10.0 * i, 200)}, clips=[(1, clip(rng, who, 0.1))]))
    fused = play(fuser_of(), items)
    splits = events(fused, "split")
    assert [(event.camid, event.track_id) for event in splits] == [(1, 1)]
    assert late[7] <= splits[0].time_s < late[8] and splits[0].similarity < 0.8
    table = resolve(fused)
    own = [gid for (camid, _, _), gid in sorted(table.items()) if camid == 1]
    assert own[0] != own[-1] and {own[-1]} == of_track(table, 0, 1)
