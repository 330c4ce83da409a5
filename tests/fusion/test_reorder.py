"""Arrival order does not matter within the allowed lateness."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Sequence

import numpy as np
import pytest

from pipeline.factories import FuseFactory
from pipeline.fusion.build import build_fuser
from pipeline.fusion.config import FusionConfig
from pipeline.fusion.reorder import Dropped, Reorder
from pipeline.runtime.chain import END, Node, StageError, Tick
from pipeline.runtime.worker import Worker
from pipeline.stages import FuseStage
from pipeline.types import EmbeddedFrame, FusedFrame
from tests.fusion.scenes import DIM, box, frame, look, of_track, resolve, walk

LATENESS_S = 2.0


def at(time_s: float, camid: int = 0, track_id: int = 1) -> EmbeddedFrame:
    return frame(camid, round(10 * time_s), time_s, boxes={track_id: box(0, 200)})


def scene() -> list[EmbeddedFrame]:
    """Two people go from camera 0 to camera 1, in order of time; some frames of both cameras at one time."""
    rng = np.random.default_rng(3)
    people = look(rng, 2)
    items = walk(0, 1, [0.0, 0.5, 1.0], people[0], rng) + walk(0, 2, [1.6, 2.0, 2.5], people[1], rng, left=300)
    items += walk(1, 1, [3.0, 3.5, 4.0], people[0], rng) + walk(1, 2, [5.0, 5.5, 6.0], people[1], rng, left=300)
    items += [frame(0, 50, 5.0), frame(0, 55, 5.5)]
    return sorted(items, key=lambda item: (item.time_s, item.camid))


def shuffled(items: Sequence[EmbeddedFrame], rng: np.random.Generator) -> list[EmbeddedFrame]:
    """An order in which each frame comes at most `LATENESS_S` after the newest one before it."""
    delay_s = rng.uniform(0, LATENESS_S, len(items))
    order = np.argsort([item.time_s + late for item, late in zip(items, delay_s, strict=True)], kind="stable")
    return [items[i] for i in order]


def fused_of(items: Sequence[EmbeddedFrame], rng: np.random.Generator | None = None) -> list[FusedFrame]:
    stage = FuseStage(build_fuser(FusionConfig(), [None, None], frozenset(), DIM), Reorder(LATENESS_S))
    fused: list[FusedFrame] = []
    start = 0
    while start < len(items):
        stop = start + (int(rng.integers(1, 4)) if rng else 1)
        fused += stage(items[start:stop])
        start = stop
    return fused + stage.flush()


def written(fused: Sequence[FusedFrame]) -> bytes:
    return b"".join(pickle.dumps(one) for one in fused)


def test_nothing_in_nothing_out() -> None:
    reorder = Reorder(LATENESS_S)
    assert reorder.add([]) == [] and reorder.flush() == [] and len(reorder) == 0


def test_a_thousand_arrival_orders_give_the_same_frames_and_events_byte_for_byte() -> None:
    items = scene()
    expected = fused_of(items)
    table = resolve(expected)
    assert of_track(table, 0, 1) == of_track(table, 1, 1) != of_track(table, 0, 2)
    assert of_track(table, 0, 2) == of_track(table, 1, 2)
    bytes_of_order = written(expected)
    num_others, in_order = 0, [(item.camid, item.frame_idx) for item in items]
    for seed in range(1000):
        rng = np.random.default_rng(seed)
        arrived = shuffled(items, rng)
        num_others += [(item.camid, item.frame_idx) for item in arrived] != in_order
        if seed < 40:  # the fuser sees nothing but the ticks: that they are equal is checked for all orders
            assert written(fused_of(arrived, rng)) == bytes_of_order, seed
        assert ticks_of(arrived) == ticks_of(items), seed
    assert num_others > 990


def ticks_of(items: Sequence[EmbeddedFrame]) -> list[tuple[int, ...]]:
    reorder = Reorder(LATENESS_S)
    return [tuple(map(id, tick)) for tick in [*reorder.add(items), *reorder.flush()]]


def test_frames_wait_for_the_watermark_and_no_longer() -> None:
    reorder = Reorder(1.0, moment_s=0.05)
    assert reorder.add([at(0.0), at(0.5), at(1.0)]) == []
    (tick,) = reorder.add([at(1.1)])
    assert [item.time_s for item in tick] == [0.0]
    assert len(reorder) == 3


def test_frames_of_one_moment_are_one_tick_and_no_camera_comes_twice_in_it() -> None:
    reorder = Reorder(1.0)
    ticks = reorder.add([at(0.02, 1), at(0.1, 0), at(0.0, 0), at(0.04, 2), at(9.0)])
    assert [[(item.camid, item.time_s) for item in tick] for tick in ticks] == [
        [(0, 0.0), (1, 0.02), (2, 0.04)],
        [(0, 0.1)],
    ]


def test_what_comes_too_late_is_dropped_counted_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    reorder = Reorder(1.0, ["door", "hall"])
    with caplog.at_level(logging.WARNING):
        reorder.add([at(5.0), at(3.9, 1), at(3.0, 1), at(4.0, 1)])
    assert reorder.dropped == {1: Dropped(late=2)}
    (record,) = caplog.records
    assert "hall" in record.getMessage() and "1 s late" in record.getMessage()
    assert [item.time_s for tick in reorder.flush() for item in tick] == [4.0, 5.0]


def test_a_copy_is_dropped_and_another_message_of_the_same_frame_is_not() -> None:
    reorder = Reorder(1.0)
    last = frame(0, 10, 1.0, ended=[1])
    reorder.add([at(1.0), at(1.0), last])
    assert reorder.dropped == {0: Dropped(twice=1)}
    assert [len(item.tracks) for tick in reorder.flush() for item in tick] == [1, 0]


def test_a_late_word_that_a_tracklet_ended_is_passed_on() -> None:
    reorder = Reorder(1.0)
    reorder.add([at(50.0, 1)])
    (tick,) = reorder.add([frame(0, 10, 1.0, ended=[1])])
    assert tick[0].ended.tolist() == [1] and not reorder.dropped


def test_no_more_frames_wait_than_there_is_room_for(caplog: pytest.LogCaptureFixture) -> None:
    reorder = Reorder(1e9, capacity=10)
    with caplog.at_level(logging.WARNING):
        out = [item.time_s for i in range(100) for tick in reorder.add([at(float(i))]) for item in tick]
    assert len(reorder) == 10 and out == [float(i) for i in range(90)]
    assert len(caplog.records) == 1


def test_a_worker_takes_a_stage_that_holds_and_its_flush_gives_the_rest() -> None:
    config = FusionConfig(lateness_s=LATENESS_S)
    factory = FuseFactory(config, (None, None), frozenset(), DIM)
    items = scene()

    def through(holds: bool) -> list[FusedFrame]:
        worker = Worker(Node("fuse", factory, merges=True, holds=holds), [0])
        ticks = [Tick(0, i, (item,)) for i, item in enumerate(items)] + [Tick(0, END, ())]
        return [fused for tick in ticks for out in worker.handle(tick) for fused in out.items]

    fused = through(holds=True)
    assert [(f.camid, f.frame_idx) for f in fused[: len(items)]] == [(i.camid, i.frame_idx) for i in items]
    with pytest.raises(StageError, match="1 items in, 0 items out"):
        through(holds=False)


def test_without_lateness_frames_pass_at_once() -> None:
    stage = FuseFactory(FusionConfig(), (None, None), frozenset(), DIM)()
    assert len(stage([at(1.0)])) == 1 and len(stage([at(0.5)])) == 1
