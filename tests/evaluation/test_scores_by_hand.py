from __future__ import annotations

import json
from io import StringIO
from math import sqrt

import numpy as np
import pytest
from rich.console import Console

from pipeline.evaluation.scores import render, score
from tests.evaluation.scenes import Row, standing, table

TRUTH = table(standing(0, "a", [1, 1, 1, 1]))


def test_the_truth_itself_scores_one_in_everything() -> None:
    truth = table(standing(0, "a", [1, 1]) + standing(1, "a", [2, 2]) + standing(0, "b", [2, 2]))
    for row in (*score(truth, truth).cameras, score(truth, truth).overall):
        figures = row.figures()
        shares = ("idf1", "idp", "idr", "hota", "deta", "assa", "loca", "mota", "precision", "recall")
        assert [figures[name] for name in shares] == pytest.approx([1.0] * 10)
        assert row.clear.num_switches == 0


def test_one_switch_half_way_halves_idf1_and_costs_mota_one_box() -> None:
    row = score(TRUTH, table(standing(0, "a", [7, 7, 8, 8]))).overall
    assert (row.identity.num_right, row.identity.num_missed, row.identity.num_false) == (2, 2, 2)
    assert row.identity.idf1 == 0.5
    assert row.clear.num_switches == 1
    assert row.clear.mota == 0.75
    assert (row.hota.det_a, row.hota.ass_a) == (1.0, pytest.approx(2 / 4))  # each box: 2 right, 2 missed, 0 false
    assert row.hota.hota == pytest.approx(sqrt(0.5))


def test_one_miss_costs_recall_but_neither_precision_nor_a_switch() -> None:
    row = score(TRUTH, table(standing(0, "a", [7, None, 7, 7]))).overall
    assert (row.clear.recall, row.clear.precision, row.clear.num_switches) == (0.75, 1.0, 0)
    assert row.clear.mota == 0.75
    assert row.identity.idf1 == pytest.approx(6 / 7)
    assert (row.identity.idp, row.identity.idr) == (1.0, 0.75)
    assert row.hota.hota == pytest.approx(0.75)


def test_one_false_box_costs_precision_but_not_recall() -> None:
    row = score(TRUTH, table(standing(0, "a", [7, 7, 7, 7]) + standing(5, "a", [9]))).overall
    assert (row.clear.recall, row.clear.precision) == (1.0, 0.8)
    assert row.clear.mota == 0.75
    assert row.identity.idf1 == pytest.approx(8 / 9)
    assert (row.hota.det_a, row.hota.ass_a) == (pytest.approx(0.8), pytest.approx(1.0))


def test_a_box_of_iou_point_six_is_right_for_half_and_for_twelve_of_the_nineteen_alphas() -> None:
    pred = table(standing(0, "a", [7, 7, 7, 7], width=6.0))
    assert score(TRUTH, pred).overall.clear.mota == 1.0
    assert score(TRUTH, pred, iou=0.61).overall.clear.mota == -1.0
    assert score(TRUTH, pred, iou=0.61).overall.identity.num_right == 0
    assert score(TRUTH, pred).overall.hota.hota == pytest.approx(12 / 19)


def test_an_overlap_of_exactly_the_threshold_is_a_match() -> None:
    row = score(TRUTH, table(standing(0, "a", [7, 7, 7, 7], width=5.0))).overall
    assert (row.clear.recall, row.identity.idf1) == (1.0, 1.0)


def test_ids_swapped_between_cameras_lower_the_global_idf1_only() -> None:
    truth = table(
        [*standing(0, "a", [1, 1]), *standing(1, "a", [2, 2]), *standing(0, "b", [1, 1]), *standing(1, "b", [2, 2])]
    )
    pred = table(
        [*standing(0, "a", [5, 5]), *standing(1, "a", [6, 6]), *standing(0, "b", [6, 6]), *standing(1, "b", [5, 5])]
    )
    scores = score(truth, pred)
    assert [row.identity.idf1 for row in scores.cameras] == [1.0, 1.0]
    assert [row.clear.num_switches for row in scores.cameras] == [0, 0]
    assert scores.overall.identity.idf1 == 0.5
    assert scores.overall.clear.num_switches == 2  # each person changes identity from one camera to the next
    assert scores.overall.clear.mota == 0.75
    assert scores.overall.hota.ass_a == pytest.approx(2 / 6)


def test_a_pair_of_the_frame_before_is_kept_though_another_box_fits_better() -> None:
    truth = table([("a", 0, 1, (0, 0, 10, 10)), ("a", 1, 1, (0, 0, 10, 10))])
    pred = table([("a", 0, 5, (0, 0, 10, 10)), ("a", 1, 5, (0, 0, 10, 7)), ("a", 1, 6, (0, 0, 10, 10))])
    assert score(truth, pred).overall.clear.num_switches == 0
    apart = table([("a", 0, 5, (0, 0, 10, 10)), ("a", 1, 5, (0, 0, 10, 4)), ("a", 1, 6, (0, 0, 10, 10))])
    assert score(truth, apart).overall.clear.num_switches == 1


def test_a_frame_without_any_predicted_box_does_not_break_a_pair() -> None:
    box = (0.0, 0.0, 10.0, 10.0)
    truth = table([("a", frame, 1, box) for frame in range(3)])
    pred = table([("a", 0, 5, box), ("a", 2, 5, (0.0, 0.0, 10.0, 7.0)), ("a", 2, 6, box)])
    assert score(truth, pred).overall.clear.num_switches == 0


def test_a_tie_is_broken_by_place_whatever_the_names_and_the_order_of_rows() -> None:
    left, right, midway = (0.0, 0.0, 10.0, 10.0), (4.0, 0.0, 14.0, 10.0), (2.0, 0.0, 12.0, 10.0)
    pred = table([("a", 0, 5, midway), ("a", 1, 6, left)])
    for one, two in ((1, 2), (2, 1)):
        rows: list[Row] = [("a", 0, one, left), ("a", 0, two, right), ("a", 1, one, left)]
        for truth in (rows, rows[::-1]):
            assert score(table(truth), pred).overall.clear.num_switches == 1  # the left one was matched first


def test_an_identity_written_twice_into_a_frame_is_right_once_and_named_in_a_warning() -> None:
    pred = table([*standing(0, "a", [7, 7, 7, 7]), ("a", 2, 7, (0.0, 0.0, 10.0, 9.0))])
    scores = score(TRUTH, pred)
    row = scores.overall
    assert (row.identity.num_right, row.identity.num_missed, row.identity.num_false) == (4, 0, 1)
    assert (row.clear.num_false, row.clear.num_switches) == (1, 0)
    assert "camera 'a': identity 7 stands twice in frame 2" in scores.warnings[0]


def test_a_camera_missing_in_the_result_counts_as_all_missed_with_a_warning() -> None:
    truth = table(standing(0, "a", [1, 1]) + standing(0, "b", [1, 1]))
    scores = score(truth, table(standing(0, "a", [1, 1])))
    assert [row.clear.recall for row in scores.cameras] == [1.0, 0.0]
    assert scores.overall.clear.recall == 0.5
    assert scores.warnings == ("camera 'b' is not in the result: all of its people count as missed",)


def test_a_camera_without_ground_truth_is_left_out_with_a_warning() -> None:
    scores = score(TRUTH, table(standing(0, "a", [1, 1, 1, 1]) + standing(0, "z", [1, 1])))
    assert scores.overall.identity.idf1 == 1.0
    assert [row.name for row in scores.cameras] == ["a"]
    assert "camera 'z' has no ground truth" in scores.warnings[0]


def test_no_common_camera_is_an_error_that_names_both_sides() -> None:
    with pytest.raises(ValueError, match="no camera is in both: the ground truth has a, the result has cam0"):
        score(TRUTH, table(standing(0, "cam0", [1])))


@pytest.mark.parametrize("iou", [0.0, -1.0, 1.1, float("nan")])
def test_a_senseless_overlap_is_refused(iou: float) -> None:
    with pytest.raises(ValueError, match="iou is"):
        score(TRUTH, TRUTH, iou=iou)


def test_empty_sides_score_nothing_and_raise_nothing() -> None:
    nothing = table([], cameras=["a"])
    for row in (score(TRUTH, nothing).overall, score(nothing, TRUTH).overall, score(nothing, nothing).overall):
        assert (row.identity.idf1, row.hota.hota, row.clear.mota, row.clear.recall) == (0.0, 0.0, 0.0, 0.0)
    assert score(table([]), table([])).cameras == ()


def test_boxes_without_area_match_nothing() -> None:
    flat = table([("a", 0, 1, (3.0, 3.0, 3.0, 9.0))])
    assert score(flat, flat).overall.clear.num_matched == 0


def test_the_json_holds_every_row_and_the_printed_table_the_same_figures() -> None:
    scores = score(TRUTH, table(standing(0, "a", [7, 7, 8, 8])))
    data = json.loads(json.dumps(scores.to_dict()))
    assert data["overall"]["idf1"] == 0.5
    assert [row["name"] for row in data["cameras"]] == ["a"]
    console = Console(width=80, record=True, file=StringIO())
    console.print(render(scores, title="a title"))
    text = console.export_text()
    last = next(line for line in text.splitlines() if "all cameras" in line)
    assert last.split() == [
        *("all", "cameras", "0.500", "0.500", "0.500", "0.707", "1.000", "0.500", "0.750", "1.000", "1.000"),
        *("1", "1/2"),
    ]
    assert "a title" in text


def test_frames_are_compared_by_number_not_by_place_in_the_file() -> None:
    late = table([("a", frame + 1, 1, (0.0, 0.0, 10.0, 10.0)) for frame in range(4)])
    assert score(TRUTH, late).overall.clear.num_matched == 3


def test_the_arrays_of_a_table_can_not_be_written() -> None:
    with pytest.raises(ValueError, match="read-only"):
        TRUTH.xyxy[0, 0] = 3
    with pytest.raises(ValueError, match=r"TrackTable.frame: want shape \(4,\)"):
        type(TRUTH)(TRUTH.cameras, TRUTH.camid, np.arange(3), TRUTH.track_id, TRUTH.identity, TRUTH.xyxy)
