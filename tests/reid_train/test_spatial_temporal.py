from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from pipeline.evaluation.retrieval import evaluate
from pipeline.fusion.rerank import k_reciprocal
from pipeline.types import Float32
from reid_train import spatial_temporal
from reid_train.data.market1501 import parse
from reid_train.data.tracklet import LabelledTracklet
from reid_train.spatial_temporal import (
    JointDistances,
    Sightings,
    SpatialTemporalConfig,
    estimate_transitions,
    joint_scores,
    reranked_distances,
)

FPS = 25
TRAVEL_S = {(0, 1): 120.0, (1, 2): 300.0, (2, 3): 60.0, (3, 0): 600.0}  # from, to: a round of four cameras
NUM_CAMS = 4


@dataclass(frozen=True)
class Walkers:
    tracklets: tuple[LabelledTracklet, ...]
    features: Float32


def walkers(seed: int, first_pid: int, num_people: int, noise: float) -> Walkers:
    """People on a round through four cameras during six hours, walking times 10 % apart; one tracklet per camera."""
    rng = np.random.default_rng(seed)
    tracklets, features = [], []
    for pid in range(first_pid, first_pid + num_people):
        look = rng.standard_normal(32)
        camid, time_s = int(rng.integers(NUM_CAMS)), rng.uniform(0, 6 * 3600)
        for _ in range(3):
            frames = tuple(int(FPS * (time_s + second)) for second in range(8))
            tracklets.append(LabelledTracklet(tuple(f"{pid}-{camid}-{f}.jpg" for f in frames), pid, camid, frames))
            features.append(look + noise * rng.standard_normal(32))
            towards = (camid + 1) % NUM_CAMS
            time_s += TRAVEL_S[camid, towards] * rng.normal(1, 0.1)
            camid = towards
    return Walkers(tuple(tracklets), np.array(features, np.float32))


def split(people: Walkers) -> tuple[Any, Any, tuple[Any, ...]]:
    """The first tracklet of each person asks for the others -> query, gallery and the labels for `evaluate`."""
    asks = np.arange(len(people.tracklets)) % 3 == 0
    query, gallery = (
        Sightings.of([t for t, mine in zip(people.tracklets, part, strict=True) if mine], people.features[part])
        for part in (asks, ~asks)
    )
    pids, camids = (np.array([getattr(t, name) for t in people.tracklets]) for name in ("pid", "camid"))
    return query, gallery, (pids[asks], pids[~asks], camids[asks], camids[~asks])


def test_known_walking_times_lift_the_map_of_weak_appearance() -> None:
    transitions = estimate_transitions(walkers(0, 0, 150, 1.0).tracklets, NUM_CAMS)
    query, gallery, labels = split(walkers(1, 1000, 150, 1.1))
    appearance = evaluate(-query.unit @ gallery.unit.T, *labels, "trapezoidal")
    joint = evaluate(-joint_scores(query, gallery, transitions), *labels, "trapezoidal")
    assert 0.2 < appearance.mAP < 0.7
    assert joint.mAP > appearance.mAP + 0.1
    assert joint.rank(1) > appearance.rank(1) + 0.1
    reranked = evaluate(reranked_distances(query, gallery, transitions, k1=3, k2=2), *labels, "trapezoidal")
    assert reranked.mAP > appearance.mAP + 0.1


def test_the_learned_travel_times_are_those_that_people_walked() -> None:
    config = SpatialTemporalConfig(bin_frames=FPS, num_bins=1500, sigma_bins=10)  # bins of a second
    transitions = estimate_transitions(walkers(0, 0, 400, 1.0).tracklets, NUM_CAMS, config)
    for (origin, to), travel_s in TRAVEL_S.items():
        density = transitions.density(to, origin)
        mean_s = float((np.arange(len(density)) + 0.5) @ density)
        assert mean_s == pytest.approx(travel_s, rel=0.05)


def test_a_clean_appearance_is_not_spoilt_by_travel_times() -> None:
    transitions = estimate_transitions(walkers(0, 0, 150, 1.0).tracklets, NUM_CAMS)
    query, gallery, labels = split(walkers(1, 1000, 100, 0.3))
    assert evaluate(-joint_scores(query, gallery, transitions), *labels, "trapezoidal").mAP > 0.97


def test_reranking_uses_all_joint_scores_without_their_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    transitions = estimate_transitions(walkers(0, 0, 60, 1.0).tracklets, NUM_CAMS)
    query, gallery, _ = split(walkers(1, 1000, 40, 1.0))
    gallery_first = joint_scores(gallery, query, transitions)
    distmat = [
        2 - 2 * s for s in (gallery_first.T, *(joint_scores(part, part, transitions) for part in (query, gallery)))
    ]
    expected = k_reciprocal(*distmat, square=False)
    np.testing.assert_allclose(reranked_distances(query, gallery, transitions), expected, atol=1e-5)
    monkeypatch.setattr(spatial_temporal, "_BLOCK_CELLS", 500)
    np.testing.assert_allclose(reranked_distances(query, gallery, transitions), expected, atol=1e-5)
    np.testing.assert_allclose(joint_scores(query, gallery, transitions), 1 - distmat[0] / 2, atol=1e-6)


def test_the_scores_of_all_pairs_are_those_of_single_pairs() -> None:
    transitions = estimate_transitions(walkers(0, 0, 60, 1.0).tracklets, NUM_CAMS)
    people = walkers(1, 1000, 20, 1.0)
    distances = JointDistances(Sightings.of(people.tracklets, people.features), transitions, SpatialTemporalConfig())
    rows, columns = np.divmod(np.arange(60 * 60), 60)
    np.testing.assert_allclose(distances.pairs(rows, columns).reshape(60, 60), distances.block(0, 60), rtol=1e-5)


def test_names_of_market_1501_give_travel_times_over_its_sequences() -> None:
    names = [
        "0002_c1s1_000451_01.jpg", "0002_c1s1_000551_02.jpg",  # mean 501
        "0002_c2s2_000100_01.jpg",  # 163,691 + 100
        "0007_c1s3_000100_01.jpg",  # 147,327
        "0007_c6s4_000001_01.jpg",  # 314,636 + 1
    ]  # fmt: skip
    tracklets = []
    for name in names:
        pid, camid, frame = parse(name)
        tracklets.append(LabelledTracklet((name,), pid, camid, (frame,)))
    assert [tracklet.frames[0] for tracklet in tracklets] == [451, 551, 163_791, 147_327, 314_637]
    histogram = estimate_transitions(tracklets, 8).histogram
    assert list(zip(histogram.to_camid, histogram.from_camid, strict=True)) == [(1, 0), (5, 0)]
    assert histogram.count.argmax(axis=1).tolist() == [(163_791 - 501) // 100, (314_637 - 147_327) // 100]


def test_tracklets_of_many_images_weigh_them_all() -> None:
    tracklets = [
        LabelledTracklet(("a", "b", "c"), 1, 0, (100, 200, 900)),
        LabelledTracklet(("d",), 1, 0, (1200,)),
        LabelledTracklet(("e",), 1, 1, (5050,)),
    ]
    assert estimate_transitions(tracklets, 2).histogram.count.argmax() == (5050 - 600) // 100
    assert Sightings.of(tracklets[:1], [[3.0, 4.0]]).frames.tolist() == [400.0]


def test_tracklets_without_frame_numbers_are_named() -> None:
    unknown = LabelledTracklet(("x/0001.jpg",), 1, 0)
    with pytest.raises(ValueError, match=r"x/0001\.jpg: its frame number is not known"):
        estimate_transitions([unknown], 2)
    with pytest.raises(ValueError, match=r"x/0001\.jpg: its frame number is not known"):
        Sightings.of([unknown], [[1.0, 0.0]])


def test_no_tracklets_have_no_scores() -> None:
    nothing = Sightings.of([], np.zeros((0, 4)))
    transitions = estimate_transitions([], 2)
    assert joint_scores(nothing, nothing, transitions).shape == (0, 0)
    assert reranked_distances(nothing, nothing, transitions).shape == (0, 0)
