"""Batches of an epoch: who is in them, how many there are, and that nothing but seed and epoch decides."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from reid_train.data import samplers
from reid_train.data.config import SamplerConfig
from reid_train.data.samplers import ClipBatches, ClipKey, epoch_batches
from tests.shared import SHARED, needs_shared

PIDS = [0] * 9 + [1] * 4 + [2] * 2 + [3] * 5 + [4] * 6  # 26 tracklets of 5 people


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def people(rows: np.ndarray) -> list[int]:
    return [PIDS[row] for row in rows]


def test_identity_batches_show_every_person_once_with_k_tracklets() -> None:
    batches = samplers.identity_batches(PIDS, 2, 4, rng())
    assert [len(b) for b in batches] == [8, 8]
    shown = [p for batch in batches for p in people(batch)]
    assert set(Counter(shown).values()) == {4}
    for batch in batches:
        pids = people(batch)
        assert pids[:4] == [pids[0]] * 4 and pids[4:] == [pids[4]] * 4 and pids[0] != pids[4]


def test_identity_batches_repeat_a_tracklet_only_where_a_person_has_too_few() -> None:
    for seed in range(20):
        for batch in samplers.identity_batches(PIDS, 5, 4, rng(seed)):
            for person, rows in ((people(batch)[k], batch[k : k + 4]) for k in range(0, 20, 4)):
                assert len(set(rows.tolist())) == 4 or person == 2


def test_identity_batches_with_replacement_repeat_tracklets() -> None:
    repeats = 0
    for seed in range(20):
        (batch,) = samplers.identity_batches(PIDS, 5, 4, rng(seed), replace=True)
        repeats += sum(len(set(batch[k : k + 4].tolist())) < 4 for k in range(0, 20, 4) if PIDS[batch[k]] != 2)
    assert repeats > 10


def test_chunks_use_every_tracklet_at_most_once_but_for_people_with_too_few() -> None:
    batches = samplers.chunk_batches(PIDS, 1, 4, rng())
    groups = [people(b) for b in batches]
    assert sorted(g[0] for g in groups) == [0, 0, 1, 2, 3, 4]  # 9 // 4, 4 // 4, one of too few, 5 // 4, 6 // 4
    assert all(len(set(g)) == 1 for g in groups)
    rows = [r for b in batches if PIDS[b[0]] != 2 for r in b.tolist()]
    assert len(rows) == len(set(rows))


def test_two_chunks_of_one_person_may_share_a_batch() -> None:
    pids = [0] * 40 + [1] * 4
    assert any(len({pids[r] for r in b}) == 1 for b in samplers.chunk_batches(pids, 2, 4, rng()))


def test_shuffled_batches_show_every_image_once_and_drop_a_lonely_last_one() -> None:
    batches = samplers.shuffled_batches(10, 4, rng())
    assert [len(b) for b in batches] == [4, 4, 2]
    assert sorted(np.concatenate(batches).tolist()) == list(range(10))
    assert [len(b) for b in samplers.shuffled_batches(9, 4, rng())] == [4, 4]
    assert [len(b) for b in samplers.shuffled_batches(2, 1, rng())] == [1, 1]


@needs_shared("data/mars_info/tracks_train_info.mat")
@pytest.mark.parametrize(
    ("name", "num_batches"), [("chunk", 235), ("identity", 78), ("identity_replacement", 78), ("shuffled", 260)]
)
def test_an_epoch_of_mars_has_as_many_batches_as_the_published_code(name: str, num_batches: int) -> None:
    scipy_io = pytest.importorskip("scipy.io")
    rows = scipy_io.loadmat(SHARED / "data/mars_info/tracks_train_info.mat")["track_train_info"]
    config = SamplerConfig.model_validate({"name": name, "num_ids": 8, "per_id": 4})
    batches = epoch_batches(rows[:, 2].tolist(), config, seed=1, epoch=0)
    assert len(batches) == num_batches
    assert {len(b) for b in batches[:-1]} == {32}


@needs_shared("data/mars_info/tracks_train_info.mat")
def test_the_chunks_of_mars_are_7532_tracklets() -> None:
    scipy_io = pytest.importorskip("scipy.io")
    pids = scipy_io.loadmat(SHARED / "data/mars_info/tracks_train_info.mat")["track_train_info"][:, 2].tolist()
    assert 4 * len(samplers.chunk_batches(pids, 1, 4, rng())) == 7532


@pytest.mark.parametrize("name", ["identity", "identity_replacement", "chunk", "shuffled"])
def test_batches_depend_on_seed_and_epoch_alone(name: str) -> None:
    config = SamplerConfig.model_validate({"name": name, "num_ids": 2, "per_id": 4})

    def flat(seed: int, epoch: int) -> list[int]:
        return np.concatenate(epoch_batches(PIDS, config, seed, epoch)).tolist()

    assert flat(3, 5) == flat(3, 5)
    assert flat(3, 5) != flat(3, 6)
    assert flat(3, 5) != flat(4, 5)


def test_a_resumed_epoch_continues_with_the_same_items() -> None:
    config = SamplerConfig(name="chunk", num_ids=2, per_id=4)
    batches = ClipBatches(PIDS, config, seed=7)
    batches.set_epoch(3)
    whole = list(batches)
    assert len(whole) == len(batches) == batches.num_batches == 3
    resumed = ClipBatches(PIDS, config, seed=7)
    resumed.set_epoch(3, first_batch=1)
    assert len(resumed) == 2 and resumed.num_batches == 3
    assert list(resumed) == whole[1:]


def test_positions_count_through_the_epoch() -> None:
    batches = ClipBatches(PIDS, SamplerConfig(name="shuffled", num_ids=2, per_id=4), seed=7)
    batches.set_epoch(2)
    keys = [key for batch in batches for key in batch]
    assert [key.position for key in keys] == list(range(26))
    assert {key.epoch for key in keys} == {2}
    assert sorted(key.row for key in keys) == list(range(26))


def test_ranks_share_the_batches_evenly() -> None:
    config = SamplerConfig(name="chunk", num_ids=1, per_id=4)  # six batches
    whole = list(ClipBatches(PIDS, config, seed=7))
    shares = [list(ClipBatches(PIDS, config, seed=7, rank=r, num_ranks=4)) for r in range(4)]
    assert shares == [[whole[r]] for r in range(4)]
    first, second = (list(ClipBatches(PIDS, config, seed=7, rank=r, num_ranks=2)) for r in range(2))
    assert [b for pair in zip(first, second, strict=True) for b in pair] == whole


def test_clip_generators_differ_by_seed_epoch_position_and_row() -> None:
    keys = [(0, ClipKey(1, 2, 3)), (1, ClipKey(1, 2, 3)), (0, ClipKey(2, 2, 3)), (0, ClipKey(1, 3, 3)),
            (0, ClipKey(1, 2, 4))]  # fmt: skip
    first = [samplers.clip_rng(seed, key).random() for seed, key in keys]
    assert len(set(first)) == len(keys)
    assert first == [samplers.clip_rng(seed, key).random() for seed, key in keys]


def test_too_few_people_for_a_batch_say_so() -> None:
    with pytest.raises(ValueError, match=r"26 training tracklets of 5 people.*8\s+people x 4.*smaller"):
        epoch_batches(PIDS, SamplerConfig(num_ids=8, per_id=4), 0, 0)
    with pytest.raises(ValueError, match="too few"):
        epoch_batches([], SamplerConfig(name="shuffled"), 0, 0)
    with pytest.raises(ValueError, match="ranks"):
        ClipBatches(PIDS, SamplerConfig(num_ids=5, per_id=4), 0, num_ranks=2)
    with pytest.raises(ValueError, match="batch 9"):
        ClipBatches(PIDS, SamplerConfig(num_ids=5, per_id=4), 0).set_epoch(0, first_batch=9)


def test_neighbours_stand_together_in_batches_and_everybody_is_still_shown_once() -> None:
    pids = np.repeat(np.arange(100), 2).tolist()
    for seed in range(10):
        batches = samplers.identity_batches(pids, 20, 2, rng(seed), neighbours=10)
        shown = np.concatenate([[pids[row] for row in batch[::2]] for batch in batches])
        assert len(batches) == 5 and sorted(shown) == list(range(100))
        assert (np.diff(shown) == 1).sum() >= 100 - 12  # 11 runs at most, cut at a place of their own
    starts = {samplers.identity_batches(pids, 20, 2, rng(seed), neighbours=10)[0][0] % 20 for seed in range(20)}
    assert len(starts) > 2
