"""Decoding by hand, row by row, without a network."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.detect.heads import Candidates, Head, decode, make_grid, num_cells, recognise, suppress, vote
from pipeline.detect.letterbox import RULES, LetterboxBuffer, place
from pipeline.types import Float32

HW = (64, 64)  # 64 + 16 + 4 cells
CELLS = num_cells(HW, (8, 16, 32))
PERSON = np.array([0])


def decoded_boxes() -> Float32:
    cell_xy, stride_px = make_grid(HW, (8, 16, 32))
    return np.concatenate([(cell_xy + 0.5) * stride_px[:, None], stride_px[:, None], stride_px[:, None]], axis=1)


def rows_of(columns: int, *, is_decoded: bool = False) -> Float32:
    rows = np.zeros((1, CELLS, columns), np.float32)
    if is_decoded:
        rows[0, :, :4] = decoded_boxes()
    return rows


def test_the_grid_runs_stride_by_stride_and_row_by_row() -> None:
    cell_xy, stride_px = make_grid((64, 96), (8, 16, 32))
    assert len(cell_xy) == num_cells((64, 96), (8, 16, 32)) == 96 + 24 + 6
    assert cell_xy[13].tolist() == [1, 1] and stride_px[13] == 8  # second row of 12 cells
    assert cell_xy[96 + 7].tolist() == [1, 1] and stride_px[96 + 7] == 16
    assert cell_xy[-1].tolist() == [2, 1] and stride_px[-1] == 32


def test_a_grid_row_becomes_a_box_by_the_equations_of_yolox() -> None:
    output = rows_of(7)
    row = 64 + 4 * 2 + 1  # stride 16, column 1, row 2
    output[0, row] = [0.25, -0.5, np.log(2.0), np.log(3.0), 0.8, 0.9, 0.1]
    head = recognise([output], HW)
    assert head is not None and head.kind == "grid"
    found = decode(head, output[0], PERSON, 0.1)
    # centre (1.25 * 16, 1.5 * 16) = (20, 24), size (32, 48)
    np.testing.assert_allclose(found.xyxy, [[4, 0, 36, 48]], atol=1e-4)
    np.testing.assert_allclose(found.score, [0.72], rtol=1e-6)


def test_a_column_becomes_a_box_from_centre_and_size() -> None:
    output = np.zeros((1, 6, CELLS), np.float32)
    output[0, :, 5] = [30, 20, 10, 8, 0.6, 0.9]
    head = recognise([output], HW)
    assert head is not None and head.kind == "columns" and head.num_classes == 2
    found = decode(head, output[0], PERSON, 0.5)
    np.testing.assert_allclose(found.xyxy, [[25, 16, 35, 24]])
    assert found.score.tolist() == pytest.approx([0.6])  # of the person, though the other class is stronger


def test_of_several_wanted_classes_a_box_belongs_to_the_best() -> None:
    columns = np.zeros((1, 7, CELLS), np.float32)
    columns[0, :, 5] = [30, 20, 10, 8, 0.9, 0.3, 0.6]
    columns[0, :, 6] = [30, 20, 10, 8, 0.9, 0.7, 0.6]
    rows = rows_of(8)
    rows[0, 5:7, 4:] = [[1, 0.9, 0.3, 0.6], [1, 0.9, 0.7, 0.6]]
    for output in (columns, rows):
        head = recognise([output], HW)
        assert head is not None
        found = decode(head, output[0], np.array([1, 2]), 0.1)
        assert found.class_id.tolist() == [1, 2]
        assert found.score.tolist() == pytest.approx([0.7, 0.6])


def test_end_to_end_rows_are_taken_as_they_are() -> None:
    output = np.zeros((1, 300, 6), np.float32)
    output[0, :3] = [[1, 2, 3, 4, 0.4, 0], [5, 6, 7, 8, 0.9, 0], [5, 6, 7, 8, 0.9, 3]]
    head = recognise([output], HW)
    assert head is not None and head.kind == "end_to_end"
    found = decode(head, output[0], PERSON, 0.3)
    assert found.xyxy.tolist() == [[5, 6, 7, 8], [1, 2, 3, 4]]


@pytest.mark.parametrize(
    ("output", "num_names", "task", "kind", "letterbox"),
    [
        (rows_of(85), None, None, "grid", "yolox"),
        (rows_of(6), None, None, "grid", "yolox"),
        (rows_of(85, is_decoded=True), None, None, "objectness", "yolox"),
        (np.tile(rows_of(85, is_decoded=True), (1, 3, 1)), None, None, "objectness", "ultralytics"),
        (np.zeros((1, 84, CELLS), np.float32), 80, "detect", "columns", "ultralytics"),
        (np.zeros((1, 5, CELLS), np.float32), None, None, "columns", "ultralytics"),
        (np.zeros((1, 116, CELLS), np.float32), 80, "segment", "columns", "ultralytics"),
        (np.zeros((1, 300, 6), np.float32), 80, "detect", "end_to_end", "ultralytics"),
        (np.zeros((1, 300, 38), np.float32), 80, "segment", "end_to_end", "ultralytics"),
    ],
)
def test_outputs_are_told_apart_by_shape_values_and_metadata(
    output: Float32, num_names: int | None, task: str | None, kind: str, letterbox: str
) -> None:
    head = recognise([np.zeros((1, 7), np.float32), output], HW, num_names, task)
    assert head is not None
    assert (head.output_idx, head.kind, head.letterbox) == (1, kind, letterbox)


@pytest.mark.parametrize(
    ("output", "num_names", "task"),
    [
        (np.zeros((1, 1000), np.float32), None, None),
        (np.zeros((1, 300, 84), np.float32), 80, "detect"),  # RT-DETR: boxes in shares of the picture
        (np.full((1, 84, CELLS), 7.0, np.float32), None, None),  # "scores" of 7
        (np.full((1, CELLS, 85), np.nan, np.float32), None, None),
        (np.zeros((1, 84, CELLS), np.float32), 3, "detect"),  # 84 rows, but three names
        (np.zeros((1, 85, CELLS), np.float32), 80, "obb"),
    ],
)
def test_an_output_that_is_not_understood_gives_no_head(
    output: Float32, num_names: int | None, task: str | None
) -> None:
    assert recognise([output], HW, num_names, task) is None


def test_nothing_above_the_threshold_decodes_to_nothing_in_every_head() -> None:
    for kind, shape in (
        ("grid", (CELLS, 85)),
        ("objectness", (CELLS, 85)),
        ("columns", (84, CELLS)),
        ("end_to_end", (300, 6)),
    ):
        head = Head(0, kind, 80, "yolox", *make_grid(HW, (8, 16, 32)))  # type: ignore[arg-type]
        found = decode(head, np.zeros(shape, np.float32), PERSON, 0.1)
        assert found.xyxy.shape == (0, 4) and len(suppress(found, 0.5)) == 0


def test_the_weaker_of_two_overlapping_boxes_goes_but_only_within_a_class() -> None:
    boxes = np.array([[0, 0, 10, 20], [1, 0, 11, 20], [0, 0, 10, 20], [50, 50, 60, 60]], np.float32)
    score = np.array([0.9, 0.8, 0.7, 0.2], np.float32)
    same = Candidates(boxes, score, np.zeros(4, np.int64))
    assert suppress(same, 0.5).tolist() == [0, 3]
    assert suppress(same, 0.9).tolist() == [0, 1, 3]
    two = Candidates(boxes, score, np.array([0, 0, 1, 0]))
    assert suppress(two, 0.5).tolist() == [0, 2, 3]


def test_of_equal_boxes_with_equal_scores_the_first_stays() -> None:
    boxes = np.tile(np.array([[0, 0, 10, 20]], np.float32), (5, 1))
    assert suppress(Candidates(boxes, np.full(5, 0.5, np.float32), np.zeros(5, np.int64)), 0.5).tolist() == [0]


@given(
    height=st.integers(20, 2000),
    width=st.integers(20, 2000),
    family=st.sampled_from(["yolox", "ultralytics"]),
    share=st.tuples(*[st.floats(0, 1)] * 4),
)
def test_a_place_in_the_picture_is_found_again_through_the_letterbox(
    height: int, width: int, family: str, share: tuple[float, float, float, float]
) -> None:
    spot = place(RULES[family], (height, width), (416, 640))  # type: ignore[index]
    assert spot.left >= 0 and spot.left + spot.width <= 640 and spot.top >= 0 and spot.top + spot.height <= 416
    assert spot.width == 640 or spot.height == 416  # as large as it can be
    inside = np.array(share, np.float32) * [width, height, width, height]
    scale = np.array([spot.width / width, spot.height / height] * 2)
    in_input = (inside * scale + [spot.left, spot.top, spot.left, spot.top]).astype(np.float32)
    np.testing.assert_allclose(spot.to_image(in_input[None])[0], inside, atol=0.05 + 1e-3 * max(width, height) / 416)


def test_a_used_buffer_holds_nothing_of_the_picture_before() -> None:
    wide, tall = np.full((32, 64, 3), 250, np.uint8), np.full((64, 32, 3), 250, np.uint8)
    for rule in RULES.values():
        used, fresh = LetterboxBuffer(rule, 1, HW), LetterboxBuffer(rule, 1, HW)
        used.put(0, wide)
        used.put(0, tall)
        fresh.put(0, tall)
        np.testing.assert_array_equal(used.blob, fresh.blob)
        assert np.isclose(fresh.blob, 114 * rule.scale).any()  # there is a border


def test_yolox_pictures_lie_top_left_and_ultralytics_pictures_in_the_middle() -> None:
    left = place(RULES["yolox"], (50, 100), (64, 64))
    assert (left.left, left.top, left.width, left.height) == (0, 0, 64, 32)
    middle = place(RULES["ultralytics"], (50, 100), (64, 64))
    assert (middle.left, middle.top, middle.width, middle.height) == (0, 16, 64, 32)


def test_a_kept_box_moves_towards_its_rivals_in_proportion_to_their_scores() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [50, 0, 60, 10], [0, 0, 10, 10], [7, 7, 7, 9]], np.float32)
    score = np.array([0.8, 0.4, 0.6, 0.5, 0.3], np.float32)
    candidates = Candidates(boxes, score, np.array([0, 0, 0, 1, 0]))
    moved = vote(candidates, np.array([0, 2, 4]), 0.65)
    np.testing.assert_allclose(moved[0], [1 / 3, 0, 10 + 1 / 3, 10], atol=1e-5)
    np.testing.assert_array_equal(moved[1:], boxes[[2, 4]])
