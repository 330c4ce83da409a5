"""Slots by hand, from feeds whose queues are written down: no thread, no clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence

import numpy as np
import pytest

from pipeline.ingest.config import IngestConfig
from pipeline.ingest.items import FeedPlan, Item
from pipeline.ingest.plans import ChangeError, Playback, plan_of_added, plans_at_start
from pipeline.ingest.slots import Slots
from pipeline.ingest.spec import CameraSpec
from pipeline.ingest.status import StatusBoard

IMAGE = np.zeros((4, 4, 3), np.uint8)


class WrittenFeed:
    """A feed that has read all it will."""

    def __init__(self, camid: int, times_s: Sequence[float], *, dropping: bool, overflowed: bool = False) -> None:
        self.plan = FeedPlan("file", "a", (CameraSpec(camid, "a", "a"),), 0.0, 0.0 if dropping else None, dropping, 1)
        self.queue = deque(Item(i, time_s, 0.0, ((camid, IMAGE),)) for i, time_s in enumerate(times_s))
        self.settled = self.opened = self.connected = self.finished = True
        self.overflowed = overflowed
        self.interval_s, self.last_time_s = 0.1, 0.0
        self.camids = [camid]

    def leave_out(self, camids: Collection[int]) -> None: ...

    def start(self) -> None: ...

    def pop(self) -> Item:
        return self.queue.popleft()

    def stop(self) -> None: ...

    def join(self, timeout_s: float) -> bool:
        return True


@pytest.fixture
def board() -> StatusBoard:
    return StatusBoard([CameraSpec(camid, "a", "a") for camid in (0, 1)])


def drawn(slots: Slots, feed: WrittenFeed) -> list[tuple[int, int]]:
    """(slot, frame_idx) of all the feed has."""
    told = []
    while (slot := slots.of_next(feed, None)) is not None:
        told.append((slot, slots.take(feed).frame_idx))
    return told


def test_a_feed_without_pictures_has_no_slot(board: StatusBoard) -> None:
    assert drawn(Slots(0.1, board), WrittenFeed(0, [], dropping=True)) == []


def test_two_pictures_of_one_slot_come_one_slot_after_the_other_where_none_may_be_lost(board: StatusBoard) -> None:
    feed = WrittenFeed(0, [0.0, 0.03, 0.06, 0.1], dropping=False)
    assert drawn(Slots(0.1, board), feed) == [(0, 0), (1, 1), (2, 2), (3, 3)]
    assert board[0].num_dropped == 0


def test_a_live_camera_that_is_faster_than_the_ticks_gives_up_what_would_be_more_than_a_slot_late(
    board: StatusBoard,
) -> None:
    feed = WrittenFeed(0, [0.0, 0.03, 0.06, 0.1], dropping=True)
    assert drawn(Slots(0.1, board), feed) == [(0, 0), (1, 1), (2, 3)]
    assert board[0].num_dropped == 1


def test_a_picture_in_real_time_that_comes_after_its_tick_has_the_next_one(board: StatusBoard) -> None:
    slots = Slots(0.1, board)
    assert slots.of_next(WrittenFeed(0, [0.2], dropping=True), 5) == 6
    assert slots.of_next(WrittenFeed(0, [0.2], dropping=False), 5) == 2


def test_cameras_that_kept_up_give_up_the_pictures_of_the_time_that_another_lost(board: StatusBoard) -> None:
    behind = WrittenFeed(0, [1.0, 1.1], dropping=True, overflowed=True)
    kept_up = WrittenFeed(1, [0.7, 0.8, 0.9, 1.0, 1.1], dropping=True)
    Slots(0.1, board).drop_together([behind, kept_up])
    assert [item.time_s for item in kept_up.queue] == [1.0, 1.1] and len(behind.queue) == 2
    assert (board[0].num_dropped, board[1].num_dropped) == (0, 3)


def test_one_live_camera_has_recordings_played_in_real_time_from_the_earliest_on() -> None:
    live, early, late = (
        (CameraSpec(0, "live", "rtsp://10.0.0.7/x"),),
        (CameraSpec(1, "early", "a.mp4", start_time_s=100.0),),
        (CameraSpec(2, "late", "b.mp4", start_time_s=104.0),),
    )
    playback, plans = plans_at_start([live, early, late], IngestConfig(), 100.0)
    assert playback == Playback(any_live=True, paced_from_s=0.0)
    assert [(plan.zero_s, plan.paced_from_s, plan.dropping) for plan in plans] == [
        (-100.0, None, True),
        (0.0, 0.0, False),
        (4.0, 0.0, False),
    ]
    playback, plans = plans_at_start([early, late], IngestConfig(), 100.0)
    assert playback == Playback(any_live=False, paced_from_s=None) and not any(plan.realtime for plan in plans)


def test_a_live_camera_that_comes_back_is_numbered_on_and_a_recording_can_not_come_back() -> None:
    def added(source: str, last: tuple[int, float] | None) -> FeedPlan:
        spec, playback = CameraSpec(3, "d", source), Playback(any_live=True)
        others = {"clock_zero_s": 100.0, "now_s": 8.0, "elapsed_s": 6.0}
        return plan_of_added(spec, IngestConfig(decode_threads=2), playback, **others, num_others=1, last=last)

    back = added("rtsp://10.0.0.7/x", (41, 7.5))
    assert (back.first_idx, back.after_s, back.zero_s, back.dropping) == (42, 7.5, -100.0, True)
    new = added("d.mp4", None)
    assert (new.first_idx, new.after_s, new.zero_s, new.dropping) == (0, float("-inf"), 8.0, False)
    with pytest.raises(ChangeError, match="camera d: there was a camera of that id"):
        added("d.mp4", (41, 7.5))
