"""States as bytes: what comes back, and what is refused."""

from __future__ import annotations

import os
import pickle
from collections import deque

import numpy as np
import pytest

from pipeline.fusion.build import build_fuser
from pipeline.fusion.config import FusionConfig
from pipeline.saved_state import StateError, load_state, save_state
from pipeline.types import NO_PREVIEW, EmbeddedFrame, Embeddings, Tracks
from tests.fusion.scenes import events_of_saved, look
from tests.fusion.scenes import frame as scene

DIM = 16


def frame(index: int, camid: int, rng: np.random.Generator) -> EmbeddedFrame:
    """Two people who walk; each has a look of its own, a clip comes every fifth frame."""
    left = np.array([10.0 + index, 300.0 - index])
    boxes = np.stack([left, np.full(2, 50.0), left + 30, np.full(2, 150.0)], axis=1).astype(np.float32)
    ids = np.array([1, 2]) + 2 * (index // 25)
    vectors = np.eye(DIM, dtype=np.float32)[:2] + 0.1 * rng.normal(size=(2, DIM)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    seen = Embeddings(ids, vectors, np.ones(2, np.float32)) if index % 5 == 4 else Embeddings.empty(DIM)
    ended = ids - 2 if index % 25 == 0 and index else np.zeros(0, np.int64)
    tracks = Tracks(ids, boxes, np.ones(2, np.float32))
    return EmbeddedFrame(camid, index, index / 10, tracks, seen, ended, NO_PREVIEW, 1.0)


@pytest.mark.parametrize("resolve", ["never", "end"])
def test_a_fuser_that_was_saved_and_read_back_gives_the_same_events(resolve: str) -> None:
    config = FusionConfig(resolve=resolve) if resolve == "end" else FusionConfig()
    rng = np.random.default_rng(0)
    ticks = [[frame(index, camid, rng) for camid in range(2)] for index in range(100)]

    def told(save_every: int) -> list[str]:
        return events_of_saved(build_fuser(config, [None, None], frozenset(), DIM), ticks, save_every)

    expected = told(1000)
    assert len(expected) >= 4
    assert told(7) == expected


def test_a_fuser_that_was_read_back_gets_to_know_many_more_people() -> None:
    looks = look(np.random.default_rng(0), 300, 64).astype(np.float32)
    ticks = [
        [scene(0, n, float(n), boxes={n + 1: (10, 10, 40, 90)}, clips=[(n + 1, looks[n])], ended=[n], dim=64)]
        for n in range(300)
    ]

    def told(save_every: int) -> list[str]:
        return events_of_saved(build_fuser(FusionConfig(), [None], frozenset(), 64), ticks, save_every)

    expected = told(1000)
    assert sum("create" in event for event in expected) > 64  # more than tables have room for at the start
    assert told(40) == expected


def test_what_is_shared_stays_shared_and_generators_go_on() -> None:
    shared = np.arange(5.0)
    rng = np.random.default_rng(3)
    rng.random()
    back = load_state(save_state({"a": shared, "b": deque([shared]), "rng": rng, "set": {1, 2}}), ())
    assert back["a"] is back["b"][0] and back["set"] == {1, 2}
    assert back["rng"].random() == rng.random()


class Hostile:
    def __reduce__(self):
        return os.system, ("true",)


@pytest.mark.parametrize(
    "data",
    [
        pickle.dumps(Hostile()),
        pickle.dumps(Tracks.empty()),  # a class of ours, but not allowed here
        b"cpipeline.saved_state\nimportlib\n.",
        b"cbuiltins\neval\n.",
        b"",
        save_state([1, 2, 3])[:-3],
    ],
)
def test_bytes_that_name_anything_else_or_are_damaged_are_refused(data: bytes) -> None:
    with pytest.raises(StateError):
        load_state(data, ())


def test_an_allowed_module_gives_its_own_classes_and_nothing_that_it_imported() -> None:
    with pytest.raises(StateError, match="none of ours"):
        load_state(b"cpipeline.fusion.build\nPath\n.", ("pipeline.fusion.",))


def test_what_can_not_be_saved_is_said_at_once() -> None:
    with pytest.raises(StateError, match="can not be saved"):
        save_state({"file": open(os.devnull)})  # noqa: SIM115
