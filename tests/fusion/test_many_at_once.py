"""More than 64 identities in view at once: who is compared with whom then, and how comparisons are taken over."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from pipeline.fusion.build import build_fuser
from pipeline.fusion.config import FusionConfig
from pipeline.fusion.online import OnlineFuser
from pipeline.fusion.parties import Pairs, Scores
from pipeline.types import EmbeddedFrame
from tests.fusion.scenes import DIM, box, clip, frame, look

NUM_CAMERAS, PER_CAMERA = 8, 10


def crowd(people: np.ndarray, rng: np.random.Generator) -> list[EmbeddedFrame]:
    """80 people in view of eight cameras, ten in each, for four seconds."""
    frames = []
    for step in range(8):
        for camid in range(NUM_CAMERAS):
            own = range(PER_CAMERA)
            clips = [(n + 1, clip(rng, people[camid * PER_CAMERA + n], 0.1)) for n in own] if step % 3 == 0 else []
            boxes = {n + 1: box(150.0 * n + step, 200) for n in own}
            frames.append(frame(camid, step, 0.5 * step, boxes=boxes, clips=clips))
    return frames


def played(frames: list[EmbeddedFrame], fuser: OnlineFuser) -> list[object]:
    by_time: dict[float, list[EmbeddedFrame]] = {}
    for item in frames:
        by_time.setdefault(item.time_s, []).append(item)
    return [fused for time_s in sorted(by_time) for fused in fuser.step(by_time[time_s])]


@pytest.fixture
def busy() -> tuple[OnlineFuser, np.ndarray, np.random.Generator]:
    rng = np.random.default_rng(0)
    people = look(rng, NUM_CAMERAS * PER_CAMERA + 2)
    fuser = build_fuser(FusionConfig(), [None] * NUM_CAMERAS, frozenset({(0, 1)}), DIM)
    assert isinstance(fuser, OnlineFuser)
    played(crowd(people, rng), fuser)
    return fuser, people, rng


def test_of_eighty_people_in_view_no_two_of_a_camera_are_one(
    busy: tuple[OnlineFuser, np.ndarray, np.random.Generator],
) -> None:
    store = busy[0]._state.store
    slots = store.slots()
    worn = list(zip(store.camid[slots].tolist(), store.global_id[slots].tolist(), strict=True))
    assert len(worn) == len(set(worn)) == NUM_CAMERAS * PER_CAMERA
    assert 76 <= len({gid for _, gid in worn}) <= 80  # look-alikes of the two cameras that overlap may be one


def test_of_many_only_those_near_by_or_alike_are_candidates(
    busy: tuple[OnlineFuser, np.ndarray, np.random.Generator],
) -> None:
    fuser, people, rng = busy
    fuser.step([frame(0, 8, 4.0, boxes={50: box(1700, 200)})])  # a newcomer without a clip: by place alone
    store = fuser._state.store
    slot = np.array([store.slot_of(0, 50)])
    candidates = fuser._changes._candidates
    ids, table = candidates.of(fuser._decisions._evidence.tracklets(slot))
    cameras = {int(store.camid[s]) for s in store.slots() if int(store.global_id[s]) in ids[table[0]].tolist()}
    assert cameras == {0, 1}  # its own camera and the one that overlaps with it
    away = people[7 * PER_CAMERA]  # looks like somebody in camera 7
    fuser.step([frame(0, 9, 4.1, boxes={51: box(1900, 200)}, clips=[(51, clip(rng, away, 0.1))])])
    slot = np.array([store.slot_of(0, 51)])
    candidates.look_up(slot, 4.1)
    ids, table = candidates.of(fuser._decisions._evidence.tracklets(slot))
    alike = int(store.global_id[store.slot_of(7, 1)])
    assert alike in ids[table[0]].tolist()


def test_a_camera_that_people_come_from_is_looked_at_too(
    busy: tuple[OnlineFuser, np.ndarray, np.random.Generator],
) -> None:
    fuser, _, _ = busy
    candidates = fuser._changes._candidates
    assert not candidates._ways()[5, 0]
    counts = fuser._state.travel.cameras
    for _ in range(3):
        counts.add(np.array([5]), 0, np.array([6.0]), np.array([1.0]))
    assert candidates._ways()[5, 0] and candidates._ways()[0, 5]


def test_of_many_a_part_is_reviewed_in_turn_until_all_were(
    busy: tuple[OnlineFuser, np.ndarray, np.random.Generator],
) -> None:
    fuser, _, _ = busy
    decisions = fuser._decisions
    seen: set[int] = set()
    for _ in range(-(-NUM_CAMERAS * PER_CAMERA // 16)):
        turn = decisions._due()
        assert len(turn) <= 16
        seen |= set(turn)
    assert seen == set(fuser._state.store.global_id[fuser._state.store.slots()].tolist())


def scores(global_ids: list[int], at: list[list[int]], log_odds: list[float]) -> Scores:
    num = len(log_odds)
    columns = {column.name: np.zeros(num) for column in fields(Pairs)}
    columns |= {"log_odds": np.array(log_odds), "pending": np.zeros(num, np.bool_), "left_at": np.full(num, -1)}
    table = np.array(at, np.int64).reshape(len(at), len(global_ids))
    return Scores(len(table), np.array(global_ids, np.int64), table, Pairs(**columns))


def test_newer_comparisons_replace_older_ones_and_those_with_new_identities_are_added() -> None:
    old = scores([2, 5], [[0, -1], [1, 2]], [1.0, 2.0, 3.0])
    old.replace(scores([5, 9], [[0, 1], [-1, 2]], [-4.0, 7.0, 8.0]))
    assert old.global_ids.tolist() == [2, 5, 9]
    assert old.log_odds.tolist() == [[1.0, -4.0, 7.0], [2.0, -np.inf, 8.0]]
    assert old.compared().tolist() == [[True, True, True], [True, False, True]]
    (log_odds,) = old.told(0, ("log_odds",))
    assert log_odds.tolist() == [1.0, -4.0, 7.0]
    assert old.ranking(0, 2)[1:] == (2, 6.0)  # the runner-up and by how much it is behind


def test_comparisons_can_be_taken_over_where_there_were_none() -> None:
    old = scores([], [[], []], [])
    old.replace(scores([3], [[-1], [0]], [2.5]))
    assert old.global_ids.tolist() == [3]
    assert old.log_odds.tolist() == [[-np.inf], [2.5]]


def test_no_identity_is_founded_for_what_is_left_after_the_last_row_of_a_tracklet() -> None:
    rng = np.random.default_rng(3)
    people = look(rng, 2)
    fuser = build_fuser(FusionConfig(), [None], frozenset(), DIM)
    fused = []
    for index in range(8):
        clips = [(1, clip(rng, people[0], 0.1))]
        fused += fuser.step([frame(0, index, 0.2 * index, boxes={1: box(10.0 * index, 200)}, clips=clips)])
    # its last clip comes with the news of its end, when there are no more rows, and shows somebody else
    fused += fuser.step([frame(0, 9, 1.8, clips=[(1, clip(rng, people[1], 0.1))], ended=[1])])
    fused += fuser.flush()
    assert [event.kind for f in fused for event in f.events] == ["create"]
    alike = fuser._state.gallery.exemplars([1])[0] @ people.T
    assert alike[0, 0] > 0.95  # and the clip is not taken for the first person's
