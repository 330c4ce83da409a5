"""k-reciprocal similarity as a part of the evidence of looks."""

from __future__ import annotations

import pickle
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.fusion import reranking as module
from pipeline.fusion.build import build_fuser
from pipeline.fusion.config import FusionConfig
from pipeline.fusion.neighbourhoods import Neighbourhoods
from pipeline.fusion.online import OnlineFuser
from pipeline.fusion.reorder import Reorder
from pipeline.fusion.reranking import Reranking, UsualLooks, described, mix, similarity_of, without_camera
from pipeline.fusion.resolution import _with_heads
from pipeline.stages import FuseStage
from pipeline.types import EmbeddedFrame, Event
from tests.fusion.scenes import DIM, box, clip, events_of_saved, frame, look

CAMERAS = [None, None]
LATENESS_S = 2.0


def people(num: int = 10) -> np.ndarray:
    return np.eye(num, DIM, dtype=np.float32)


def crowd(num_people: int = 5, rounds: int = 2) -> list[list[EmbeddedFrame]]:
    """Ticks: people walk through camera 0 and then camera 1, again and again, a clip each half second."""
    rng = np.random.default_rng(1)
    looks = look(rng, num_people)
    ticks = []
    for index in range(rounds * 4 * num_people + 18):
        time_s, tick = 0.5 * index, []
        for camid in (0, 1):
            boxes, clips, ended = {}, [], []
            for walker in range(rounds * num_people):
                since_s = time_s - 2.0 * walker - 5.0 * camid
                if 0 <= since_s <= 3:
                    boxes[walker + 1] = box(20 + 100 * since_s, 200)
                    clips.append((walker + 1, clip(rng, looks[walker % num_people], 0.5)))
                elif since_s == 3.5:
                    ended.append(walker + 1)
            tick.append(frame(camid, index, time_s, boxes=boxes, clips=clips, ended=ended))
        ticks.append(tick)
    return ticks


def fuser_of(**settings: object) -> OnlineFuser:
    fuser = build_fuser(FusionConfig(**settings), CAMERAS, frozenset(), DIM)  # type: ignore[arg-type]
    assert isinstance(fuser, OnlineFuser)
    return fuser


def played(fuser: OnlineFuser, ticks: Sequence[Sequence[EmbeddedFrame]]) -> list[Event]:
    fused = [one for tick in ticks for one in fuser.step(tick)] + fuser.flush()
    return [event for one in fused for event in one.events]


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few tracklets are enough to re-rank."""
    monkeypatch.setattr(module, "_LEAST", 4)


def test_two_who_have_the_same_neighbours_are_alike_and_their_cosine_counts_for_the_rest() -> None:
    vector = np.repeat(people(3), 3, axis=0)  # three people, three tracklets each: everybody's two nearest are his own
    similar = similarity_of(described(vector, np.arange(9) % 3, 2))
    np.testing.assert_allclose(similar, np.kron(np.eye(3), np.ones((3, 3))), atol=1e-6)
    assert mix(np.array([0.6]), np.array([0.2]), 0.25) == pytest.approx([0.75 * 0.6 + 0.25 * 0.2])
    vector[4] = 0  # a tracklet without a clip has no neighbours
    assert described(vector, np.arange(9) % 3, 2)[[4]].nnz == 0


def test_what_all_people_of_a_camera_have_in_common_makes_no_neighbours() -> None:
    rng = np.random.default_rng(0)
    looks, light = look(rng, 12), 1.5 * look(rng, 2)
    camid, pid = np.arange(96) % 2, np.arange(96) // 2 % 12
    vector = looks[pid] + light[camid] + 0.05 * rng.standard_normal((96, DIM))
    vector = (vector / np.linalg.norm(vector, axis=1, keepdims=True)).astype(np.float32)
    same, across = pid[:, None] == pid, camid[:, None] != camid
    cosine = vector @ vector.T
    assert cosine[same & across].mean() < cosine[~same & ~across].mean()  # others in one's own camera are nearer
    assert similarity_of(described(vector, np.zeros(96, np.int64), 6))[same & across].mean() < 0.1
    similar = similarity_of(described(vector, camid, 6))
    assert similar[same & across].mean() > 0.6 and similar[~same].mean() < 0.05
    usual = UsualLooks(DIM)
    for row in range(96):
        usual.see(int(camid[row]), vector[row])
    online = np.array([usual.without(int(camid[row]), vector[row]) for row in range(96)])
    assert (online * without_camera(vector, camid)).sum(axis=1).min() > 0.95


def test_identities_are_compared_by_the_mean_of_their_tracklets_within_and_across_cameras() -> None:
    known = Reranking(FusionConfig(reranking=0.5, reranking_neighbours=2), DIM)
    for slot in range(30):  # ten people by turns in cameras 0, 1 and 0; the last tracklet of each is nobody's yet
        known.put(slot, slot // 10 % 2, 0 if slot >= 20 else slot % 10 + 1, people()[slot % 10])
    one, other = known.of_slots(np.array([20, 23])), known.of_identities([1, 2, 4])
    across, within = known.between(one, other, (2, 3))
    np.testing.assert_allclose(across, [[1, 0, 0], [0, 0, 1]], atol=5e-3)
    np.testing.assert_allclose(within, across, atol=5e-3)
    known.wear(20, 1)
    assert known.of_identities([1])[0].tolist() == [0, 10, 20]
    np.testing.assert_allclose(known.between(one, known.of_identities([1]), (2, 1))[1][0], 1.0, atol=5e-3)
    alone, _ = known.between(known.of_slots(np.array([0])), known.of_slots(np.array([0])), (1, 1))
    assert np.isnan(alone).all()  # nobody is compared with himself


def test_few_tracklets_say_nothing() -> None:
    known = Reranking(FusionConfig(reranking=0.5, reranking_neighbours=2), DIM)
    for slot in range(module._LEAST):
        assert np.isnan(known.between(known.of_slots(np.array([0])), known.of_slots(np.array([1])), (1, 1))).all()
        known.put(slot, slot % 2, 0, people()[slot % 10])
    assert np.isfinite(known.between(known.of_slots(np.array([0])), known.of_slots(np.array([1])), (1, 1))[0]).all()


def test_off_no_neighbour_is_sought_and_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("neighbours are sought")

    ticks = crowd()
    monkeypatch.setattr(module, "_LEAST", 4)
    on = played(fuser_of(reranking=0.5), ticks)
    monkeypatch.setattr(Neighbourhoods, "put", never)
    monkeypatch.setattr(Neighbourhoods, "similarities", never)
    fuser = fuser_of(reranking_neighbours=5)
    off = played(fuser, ticks)
    assert len(fuser._state.reranking) == 0
    assert "mixed_similarity" not in fuser.knowledge(["a", "b"])[0]
    assert [repr(event) for event in off] == [repr(event) for event in played(fuser_of(), ticks)]
    assert [repr(event) for event in off] != [repr(event) for event in on]


@pytest.mark.usefixtures("soon")
def test_what_mixed_similarities_mean_is_learned_without_labels() -> None:
    fuser = fuser_of(reranking=0.5, calibration_weight=5.0)
    played(fuser, crowd(rounds=3))
    learned = fuser.knowledge(["a", "b"])[0]["mixed_similarity"]
    assert learned["same"]["mean"] > learned["different_within"]["mean"] + 0.2
    assert learned["different_within"]["mean"] != module.mixed_calibration(fuser._config).different_within.mean
    mixed = fuser._state.reranking.calibration
    odds = mixed.log_odds(np.array([learned["different_across"]["mean"], 0.9]), across=True)
    assert odds[0] < 0 < odds[1]


@pytest.mark.usefixtures("soon")
def test_any_order_of_arrival_gives_the_same_frames_and_events_byte_for_byte() -> None:
    items = [item for tick in crowd() for item in tick]

    def written(arrived: Sequence[EmbeddedFrame], batch: int) -> bytes:
        stage = FuseStage(fuser_of(reranking=0.5), Reorder(LATENESS_S))
        fused = [one for at in range(0, len(arrived), batch) for one in stage(arrived[at : at + batch])]
        return b"".join(pickle.dumps(one) for one in fused + stage.flush())

    expected = written(items, 1)
    for seed in range(2):
        rng = np.random.default_rng(seed)
        late_s = [item.time_s for item in items] + rng.uniform(0, LATENESS_S, len(items))
        order = np.argsort(late_s, kind="stable").tolist()
        assert order != list(range(len(items)))
        assert written([items[place] for place in order], 1 + seed) == expected


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("resolve", ["off", "end"])
def test_a_fuser_that_was_saved_and_read_back_gives_the_same_events(resolve: str) -> None:
    ticks = crowd()

    def told(save_every: int) -> list[str]:
        return events_of_saved(fuser_of(reranking=0.5, resolve=resolve), ticks, save_every)

    expected = told(1000)
    assert len(expected) >= 8
    assert told(9) == expected


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_after_any_changes_every_tracklet_is_known_once_and_none_too_many(seed: int) -> None:
    rng = np.random.default_rng(seed)
    known = Reranking(FusionConfig(reranking=0.5), DIM, capacity=40)
    for _ in range(150):
        slot, gid, other = (int(n) for n in rng.integers((0, 1, 1), (20, 9, 9)))
        match int(rng.integers(0, 5)):
            case 0 | 1:
                known.put(slot, slot % 3, gid if rng.random() < 0.7 else 0, look(rng, 1)[0].astype(np.float32))
            case 2:
                known.leave(slot)
            case 3 if gid != other:
                known.merge(gid, other)
            case 4 if rng.random() < 0.3:
                known.close(gid)
        worn = {name: gid for gid, names in known._items.items() for name in names}
        assert len(worn) == sum(map(len, known._items.values()))
        assert worn == {name: gid for name, (_, gid) in known._place.items() if gid}
        assert all(0 < len(names) <= module._MOST and names == sorted(names) for names in known._items.values())
        assert len(known._near) == len(known._place) <= 40
        nobody = {name for name, (_, gid) in known._place.items() if not gid}
        assert nobody <= set(known._name.values())  # else nobody would ever take it out


def test_what_stands_for_earlier_parts_has_the_mean_of_their_neighbourhoods() -> None:
    near = described(look(np.random.default_rng(0), 12).astype(np.float32), np.zeros(12, np.int64), 3)
    rows = _with_heads(near, [[0, 2], [1]], 4, 12)
    assert rows.shape == (10, 12)
    np.testing.assert_allclose(rows[[0]].toarray(), near[[0, 2]].toarray().mean(axis=0, keepdims=True), atol=1e-6)
    np.testing.assert_allclose(rows[[1, 2]].toarray(), near[[1, 4]].toarray(), atol=1e-6)
