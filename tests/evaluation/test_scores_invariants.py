from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from pipeline.evaluation.identity import _most_explained
from pipeline.evaluation.overlaps import overlaps, paired_iou
from pipeline.evaluation.scores import Scores, association_ceiling, score, without_association
from pipeline.evaluation.tables import TrackTable, concatenate
from tests.evaluation.scenes import crowd, fake_tracker

seeds = st.integers(0, 2**32 - 1)
quick = settings(max_examples=25, deadline=None, derandomize=True)


def world(seed: int) -> tuple[TrackTable, TrackTable]:
    """The truth of two cameras that share people, and a tracker's output."""
    rng = np.random.default_rng(seed)
    people, frames = int(rng.integers(1, 8)), int(rng.integers(1, 20))
    cameras = [crowd(rng, people=people, frames=frames, camera=name) for name in ("a", "b")]
    found = [fake_tracker(camera, rng, jitter=float(rng.uniform(0, 0.2))) for camera in cameras]
    return concatenate(cameras), concatenate(found)


def figures(scores: Scores) -> list[dict[str, float | int | str]]:
    return [row.figures() for row in (*scores.cameras, scores.overall)]


@given(seeds)
@quick
def test_every_share_lies_between_nought_and_one(seed: int) -> None:
    for row in figures(score(*world(seed))):
        for name in ("idf1", "idp", "idr", "hota", "deta", "assa", "loca", "precision", "recall"):
            assert 0.0 <= float(row[name]) <= 1.0, name
        assert float(row["mota"]) <= float(row["recall"])
        assert int(row["tp"]) + int(row["fn"]) == row["truth_boxes"] == int(row["idtp"]) + int(row["idfn"])
        assert int(row["tp"]) + int(row["fp"]) == row["pred_boxes"] == int(row["idtp"]) + int(row["idfp"])


@given(seeds)
@quick
def test_neither_the_names_of_people_nor_the_order_of_rows_matters(seed: int) -> None:
    truth, pred = world(seed)
    rng = np.random.default_rng(seed)

    def other(table: TrackTable) -> TrackTable:
        names, place = np.unique(table.identity, return_inverse=True)
        renamed = table.with_identity(rng.permutation(10**12 + np.arange(len(names)))[place])
        return renamed[rng.permutation(len(table))]

    before, after = score(truth, pred).to_dict(), score(other(truth), other(pred)).to_dict()
    for one, two in zip([before["overall"], *before["cameras"]], [after["overall"], *after["cameras"]], strict=True):
        assert one.keys() == two.keys()
        for name, value in one.items():
            assert value == two[name] if isinstance(value, (int, str)) else abs(value - two[name]) < 1e-12, name


@given(seeds)
@quick
def test_one_mapping_over_all_cameras_explains_no_more_than_one_per_camera(seed: int) -> None:
    scores = score(*world(seed))
    assert scores.overall.identity.num_right <= sum(row.identity.num_right for row in scores.cameras)
    assert scores.overall.num_truth_boxes == sum(row.num_truth_boxes for row in scores.cameras)


@given(seeds)
@quick
def test_the_scores_of_a_camera_do_not_depend_on_the_other_cameras(seed: int) -> None:
    truth, pred = world(seed)
    both, alone = score(truth, pred), score(truth.of_camera("b"), pred.of_camera("b"))
    assert both.cameras[1] == alone.cameras[0]
    assert alone.overall.figures() == {**alone.cameras[0].figures(), "name": "all cameras"}


@given(seeds)
@quick
def test_cutting_a_tracker_s_identities_apart_never_explains_more_than_true_identities_do(seed: int) -> None:
    truth, _ = world(seed)
    rng = np.random.default_rng(seed)
    pieces = truth.frame // max(1, int(rng.integers(1, 6)))
    pred = TrackTable(truth.cameras, truth.camid, truth.frame, truth.identity * 1000 + pieces, pieces, truth.xyxy)
    low, high = without_association(truth, pred).overall, association_ceiling(truth, pred).overall
    assert low.identity.num_right <= high.identity.num_right
    assert high.identity.idf1 == 1.0


@given(seeds)
@quick
def test_the_sparse_mapping_explains_as_much_as_the_dense_assignment(seed: int) -> None:
    rng = np.random.default_rng(seed)
    counts = rng.poisson(0.7, rng.integers(1, 12, 2)) * rng.integers(1, 50)
    row, column = np.nonzero(counts)
    persons, row = np.unique(np.repeat(row, counts[row, column]), return_inverse=True)
    labels, column = np.unique(np.repeat(column, counts[np.nonzero(counts)]), return_inverse=True)
    best = counts[linear_sum_assignment(counts, maximize=True)].sum()
    assert _most_explained(row, column, len(persons), len(labels)) == best


@given(seeds)
@quick
def test_the_list_of_overlaps_is_complete(seed: int) -> None:
    truth, pred = world(seed)
    truth, pred = truth.of_camera("a"), pred.of_camera("a")
    same_frame = [(g, p) for g in range(len(truth)) for p in range(len(pred)) if truth.frame[g] == pred.frame[p]]
    rows = np.array(same_frame, np.int64).reshape(-1, 2)
    iou = paired_iou(truth.xyxy[rows[:, 0]], pred.xyxy[rows[:, 1]])
    pairs = overlaps(truth, pred)
    assert sorted(pairs.iou.tolist()) == sorted(iou[iou > 0].tolist())
    assert (pairs.truth_slot[pairs.truth_row] == pairs.pred_slot[pairs.pred_row]).all()
