from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.geometry.boxes import (
    area,
    clip_to,
    covered_share,
    foot_point,
    in_polygon,
    iou,
    tlwh_to_xyxy,
    xyxy_to_tlwh,
)
from pipeline.types import Float64

EMPTY = np.zeros((0, 4))


def random_boxes(rng: np.random.Generator, num: int) -> Float64:
    low = rng.uniform(0, 60, (num, 2))
    return np.concatenate((low, low + rng.uniform(1, 60, (num, 2))), axis=1)


def test_no_boxes_work_everywhere() -> None:
    assert area(EMPTY).shape == (0,)
    assert iou(EMPTY, np.ones((3, 4))).shape == (0, 3)
    assert iou(np.ones((3, 4)), EMPTY).shape == (3, 0)
    assert foot_point(EMPTY).shape == (0, 2)
    assert covered_share(EMPTY).shape == (0,)
    assert clip_to(EMPTY, 10, 10).shape == xyxy_to_tlwh(EMPTY).shape == tlwh_to_xyxy(EMPTY).shape == (0, 4)
    assert in_polygon(np.zeros((0, 2)), np.array([[0, 0], [1, 0], [0, 1]], np.float64)).shape == (0,)


def test_iou_by_hand() -> None:
    a = np.array([[0, 0, 10, 10], [0, 0, 0, 0]], np.float32)
    b = np.array([[0, 0, 10, 10], [5, 5, 15, 15], [10, 0, 20, 10]], np.float32)
    np.testing.assert_allclose(iou(a, b), [[1, 25 / 175, 0], [0, 0, 0]], rtol=1e-6)
    assert iou(a, b).dtype == np.float32


def test_iou_equals_counted_pixels() -> None:
    rng = np.random.default_rng(0)
    boxes = np.floor(random_boxes(rng, 12))
    ys, xs = np.mgrid[:130, :130]
    masks = [(xs >= left) & (xs < right) & (ys >= top) & (ys < bottom) for left, top, right, bottom in boxes]
    counted = np.array([[(m & n).sum() / max((m | n).sum(), 1) for n in masks] for m in masks])
    np.testing.assert_allclose(iou(boxes, boxes), counted, atol=1e-12)


@given(seed=st.integers(0, 1000))
def test_corner_form_and_size_form_are_inverse(seed: int) -> None:
    boxes = random_boxes(np.random.default_rng(seed), 5)
    before = boxes.copy()
    np.testing.assert_allclose(tlwh_to_xyxy(xyxy_to_tlwh(boxes)), boxes)
    np.testing.assert_allclose(area(boxes), xyxy_to_tlwh(boxes)[:, 2:].prod(axis=1))
    np.testing.assert_array_equal(boxes, before)


def test_clipping_and_foot_point_by_hand() -> None:
    boxes = np.array([[-5, -5, 50, 200], [120, 10, 130, 20]], np.float32)
    assert clip_to(boxes, 100, 90).tolist() == [[0, 0, 50, 90], [100, 10, 100, 20]]
    assert foot_point(boxes).tolist() == [[22.5, 200], [125, 20]]


def test_who_stands_lower_in_the_picture_hides_who_stands_higher() -> None:
    boxes = np.array([[0, 0, 10, 20], [5, 0, 15, 25], [100, 0, 110, 20]], np.float32)
    assert covered_share(boxes).tolist() == pytest.approx([0.5, 0, 0])


def test_of_equal_feet_the_lower_index_stands_in_front() -> None:
    boxes = np.array([[0, 0, 10, 20], [0, 0, 10, 20]], np.float32)
    assert covered_share(boxes).tolist() == pytest.approx([0, 1])


def test_what_two_people_hide_twice_counts_once() -> None:
    boxes = np.array([[0, 0, 8, 8], [0, 0, 4, 9], [0, 0, 4, 10]], np.float64)
    assert covered_share(boxes).tolist() == pytest.approx([0.5, 1.0, 0])


def test_box_without_area_neither_hides_nor_is_hidden() -> None:
    boxes = np.array([[0, 0, 10, 20], [5, 5, 5, 30], [0, 30, 10, 30], [2, 2, 4, 40]], np.float64)
    share = covered_share(boxes)
    assert np.isfinite(share).all()
    assert share[1:3].tolist() == [0, 0]


@given(seed=st.integers(0, 1000), num=st.integers(0, 8))
def test_covered_share_is_near_the_share_of_covered_pixels(seed: int, num: int) -> None:
    boxes = random_boxes(np.random.default_rng(seed), num)
    grid = (np.arange(40) + 0.5) / 40
    for row, share in enumerate(covered_share(boxes)):
        left, top, right, bottom = boxes[row]
        ys, xs = np.meshgrid(top + grid * (bottom - top), left + grid * (right - left), indexing="ij")
        hidden = np.zeros(xs.shape, np.bool_)
        for a, b, c, d in boxes[boxes[:, 3] > bottom]:
            hidden |= (xs > a) & (xs < c) & (ys > b) & (ys < d)
        assert share == pytest.approx(hidden.mean(), abs=0.1)


def test_points_in_a_concave_polygon_by_hand() -> None:
    horseshoe = np.array([[0, 0], [10, 0], [10, 10], [7, 10], [7, 3], [3, 3], [3, 10], [0, 10]], np.float64)
    points = np.array([[1, 9], [5, 9], [9, 9], [5, 1], [-1, 5], [11, 5], [5, -1], [5, 11]], np.float64)
    want = [True, False, True, True, False, False, False, False]
    assert in_polygon(points, horseshoe).tolist() == want
    assert in_polygon(points, horseshoe[::-1]).tolist() == want


def test_polygons_that_share_an_edge_share_no_point() -> None:
    left = np.array([[0, 0], [5, 0], [5, 10], [0, 10]], np.float64)
    right = np.array([[5, 0], [10, 0], [10, 10], [5, 10]], np.float64)
    points = np.array([[x, y] for x in range(10) for y in range(10)], np.float64)
    assert (in_polygon(points, left) ^ in_polygon(points, right)).all()
