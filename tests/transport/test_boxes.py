"""All boxes as one stream: joined by tick, silent boxes, late ones, ends."""

from __future__ import annotations

import threading
import time

import pytest

from pipeline.ingest.spec import CameraSpec
from pipeline.transport import boxes
from pipeline.transport.boxes import BoxReader
from pipeline.transport.config import TransportConfig
from pipeline.transport.messages import TickMessage
from tests.transport.frames import DIM, embedded

FLUSH = 1 << 60
SPECS = [CameraSpec(0, "a", "box:west"), CameraSpec(1, "b", "box:east"), CameraSpec(2, "c", "box:west")]
OF_BOX = {"west": (0, 2), "east": (1,)}


class Box:
    """Stands in for a box's stream; `send` and `end` from the test's thread."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.refused: dict[str, int] = {}
        self.acked = -1
        self._items: list[object] = []
        self._news = threading.Condition()

    def send(self, *indices: int, kind: str = "tick") -> None:
        for index in indices:
            frames = tuple(embedded(camid, index, index / 10) for camid in OF_BOX[self.name])
            self._put(TickMessage(index, frames, kind))  # type: ignore[arg-type]

    def end(self) -> None:
        self._put(None)

    def fail(self, error: Exception) -> None:
        self._put(error)

    def _put(self, item: object) -> None:
        with self._news:
            self._items.append(item)
            self._news.notify_all()

    def ack(self, index: int) -> None:
        self.acked = index

    def __iter__(self):
        while True:
            with self._news:
                if not self._news.wait_for(lambda: self._items, timeout=10):
                    return
                item = self._items.pop(0)
            if item is None:
                return
            if isinstance(item, Exception):
                raise item
            yield item


@pytest.fixture
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> dict[str, Box]:
    made = {name: Box(name) for name in OF_BOX}
    monkeypatch.setattr(boxes, "connect", lambda config: None)
    monkeypatch.setattr(boxes, "TickSource", lambda client, name, config, camids, **options: made[name])
    return made


def reader(**settings: object) -> BoxReader:
    config = TransportConfig.model_validate({"sources": "redis", **settings})
    return BoxReader(config, SPECS, dim=DIM, tick_s=0.1, flush_index=FLUSH)


def shown(ticks) -> list[tuple[int, list[int]]]:
    return [(tick.index, [frame.camid for frame in tick.frames]) for tick in ticks]


def test_boxes_that_send_nothing_but_their_end_give_no_tick(stand_ins) -> None:
    for box in stand_ins.values():
        box.end()
    with reader() as one:
        assert list(one) == []
        assert {status.state for status in one.status()} == {"ended"}


def test_ticks_of_all_boxes_are_joined_by_index_and_camera_and_the_rest_comes_last(stand_ins) -> None:
    stand_ins["west"].send(0, 1, 4)
    stand_ins["east"].send(1, 3)
    for box in stand_ins.values():
        box.send(9, kind="flush")
        box.end()
    with reader() as one:
        found = shown(one)
        one.done(3)
    assert found == [(0, [0, 2]), (1, [0, 1, 2]), (3, [1]), (4, [0, 2]), (FLUSH, [0, 1, 2])]
    assert [box.acked for box in stand_ins.values()] == [3, 3]


def test_a_silent_box_holds_up_the_others_and_nothing_is_lost(stand_ins) -> None:
    stand_ins["west"].send(0, 1)
    stand_ins["west"].end()
    late = threading.Timer(0.3, lambda: (stand_ins["east"].send(0), stand_ins["east"].end()))
    late.start()
    with reader() as one:
        assert shown(one) == [(0, [0, 1, 2]), (1, [0, 2])]
        assert one.num_late == 0


def test_a_silent_box_is_waited_for_only_so_long_and_what_it_sends_later_is_counted(stand_ins) -> None:
    stand_ins["west"].send(0, 1)
    with reader(max_wait_s=0.05) as one:
        ticks = iter(one)
        assert shown([next(ticks), next(ticks)]) == [(0, [0, 2]), (1, [0, 2])]
        assert one.status()[1].state == "reconnecting" and "east is silent" in one.status()[1].message
        stand_ins["east"].send(0, 1, 2)
        stand_ins["west"].end()
        assert shown([next(ticks)]) == [(2, [1])]
        assert one.num_late == 2 and one.status()[1].num_dropped == 2 and one.status()[1].state == "running"
        stand_ins["east"].end()
        assert next(ticks, None) is None


def test_a_box_may_end_and_come_back_where_the_reader_follows(stand_ins) -> None:
    with reader(follow=True) as one:
        ticks = iter(one)
        for box in stand_ins.values():
            box.send(0)
            box.send(1, kind="flush")
            box.send(7)
        assert shown([next(ticks) for _ in range(3)]) == [(0, [0, 1, 2]), (1, [0, 1, 2]), (7, [0, 1, 2])]


def test_who_is_closed_ends_at_once(stand_ins) -> None:
    one = reader()
    one.open()
    threading.Timer(0.1, one.close).start()
    began = time.monotonic()
    assert list(one) == [] and time.monotonic() - began < 5
    for box in stand_ins.values():
        box.end()


def test_what_goes_wrong_with_a_box_comes_out_where_ticks_are_taken(stand_ins) -> None:
    stand_ins["east"].fail(RuntimeError("refused"))
    with reader() as one, pytest.raises(RuntimeError, match="refused"):
        list(one)
    stand_ins["west"].end()


def test_many_ticks_of_one_box_wait_in_redis_and_not_here(stand_ins) -> None:
    stand_ins["west"].send(*range(500))
    with reader() as one:
        deadline_s = time.monotonic() + 5
        while one.waiting()["west"] < boxes._MAX_AHEAD and time.monotonic() < deadline_s:
            time.sleep(0.01)
        time.sleep(0.05)
        assert one.waiting() == {"west": boxes._MAX_AHEAD, "east": 0}
