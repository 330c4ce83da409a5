"""Clips taken in a tick at a time, against one item at a time."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.fusion.build import build_fuser
from pipeline.fusion.config import FusionConfig
from pipeline.fusion.online import OnlineFuser
from pipeline.types import EmbeddedFrame
from tests.fusion.scenes import DIM, box, clip, frame, look

NUM_CAMERAS, PER_CAMERA = 6, 4


def ticks(seed: int) -> list[list[EmbeddedFrame]]:
    """Twelve ticks of six cameras; now and then a tracklet begins to show somebody else, or has two clips at once."""
    rng = np.random.default_rng(seed)
    people = look(rng, 2 * NUM_CAMERAS * PER_CAMERA)
    shown = np.arange(NUM_CAMERAS * PER_CAMERA)
    found = []
    for step in range(12):
        items = []
        for camid in range(NUM_CAMERAS):
            clips = []
            for n in range(PER_CAMERA):
                place = camid * PER_CAMERA + n
                if step > 4 and rng.random() < 0.03:
                    shown[place] = rng.integers(len(people))
                clips += [(n + 1, clip(rng, people[shown[place]], 0.1))] * int(rng.choice(3, p=(0.4, 0.5, 0.1)))
            boxes = {n + 1: box(150.0 * n + step, 200) for n in range(PER_CAMERA)}
            items.append(frame(camid, step, 0.5 * step, boxes=boxes, clips=clips))
        found.append(items)
    return found


def fuser_of() -> OnlineFuser:
    fuser = build_fuser(FusionConfig(), [None] * NUM_CAMERAS, frozenset({(0, 1)}), DIM)
    assert isinstance(fuser, OnlineFuser)
    return fuser


@pytest.mark.parametrize("seed", range(3))
def test_clips_of_a_tick_teach_what_they_teach_one_item_after_the_other(seed: int) -> None:
    together, singly = fuser_of(), fuser_of()
    learn = singly._looks.learn
    singly._looks.learn = lambda items, since_s: sorted(  # type: ignore[method-assign]
        {gid for item in items for gid in learn([item], since_s)}
    )
    num_splits = 0
    for items in ticks(seed):
        frames = [fuser.step(items) for fuser in (together, singly)]
        kinds = [[(e.kind, e.global_id, e.track_id, e.other_id) for f in own for e in f.events] for own in frames]
        assert kinds[0] == kinds[1]
        num_splits += sum(kind == "split" for kind, *_ in kinds[0])
        for name in ("same", "different_within", "different_across"):
            one, other = getattr(together._state.calibration, name), getattr(singly._state.calibration, name)
            assert (one.mean, one.std) == pytest.approx((other.mean, other.std), abs=1e-6)
        slots = together._state.store.slots()
        assert np.allclose(together._state.store.vector_sum[slots], singly._state.store.vector_sum[slots], atol=1e-6)
    assert num_splits
