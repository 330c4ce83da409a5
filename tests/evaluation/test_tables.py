from __future__ import annotations

import numpy as np
import pytest

from pipeline.evaluation.tables import concatenate, crop_table, numbered
from tests.evaluation.scenes import standing, table


def test_a_crop_takes_the_boxes_whose_centre_it_holds_and_moves_the_origin() -> None:
    whole = table([("a", 0, 1, (90.0, 10.0, 110.0, 30.0)), ("a", 0, 2, (80.0, 10.0, 110.0, 30.0))])
    left, right = crop_table(whole, (0, 0, 100, 50)), crop_table(whole, (100, 0, 100, 50))
    assert left.identity.tolist() == [2]
    assert left.xyxy.tolist() == [[80.0, 10.0, 110.0, 30.0]]  # reaches beyond the crop, not cut
    assert right.identity.tolist() == [1]  # a centre on the border belongs to the right-hand crop
    assert right.xyxy.tolist() == [[-10.0, 10.0, 10.0, 30.0]]


def test_a_clipping_crop_cuts_boxes_at_its_border() -> None:
    whole = table([("a", 0, 1, (90.0, -5.0, 120.0, 60.0))])
    assert crop_table(whole, (100, 0, 100, 50), clip=True).xyxy.tolist() == [[0.0, 0.0, 20.0, 50.0]]


def test_boxes_centred_outside_a_crop_belong_to_nobody() -> None:
    assert len(crop_table(table(standing(0, "a", [1, 1])), (50, 0, 100, 100))) == 0


def test_concatenated_cameras_of_one_name_become_one() -> None:
    both = concatenate([table(standing(0, "a", [1])), table(standing(0, "b", [2])), table(standing(0, "a", [3]))])
    assert both.cameras == ("a", "b")
    assert both.of_camera("a").identity.tolist() == [1, 3]
    assert len(both.of_camera("c")) == 0
    assert len(concatenate([])) == 0


def test_only_a_table_of_one_camera_can_be_renamed() -> None:
    assert table(standing(0, "a", [1])).renamed("door").cameras == ("door",)
    with pytest.raises(ValueError, match="only a table of one camera"):
        table(standing(0, "a", [1]) + standing(0, "b", [1])).renamed("door")


def test_combinations_are_numbered_in_their_order() -> None:
    assert numbered(np.array([9, 3, 9, 3]), np.array([1, 7, -2, 7])).tolist() == [2, 0, 1, 0]
    assert numbered(np.zeros(0, np.int64), np.zeros(0, np.int64)).tolist() == []


def test_a_table_refuses_a_camera_twice_and_a_row_of_an_unknown_one() -> None:
    good = table(standing(0, "a", [1]))
    for cameras, camid, complaint in ((("a", "a"), [0], "stands twice"), (("a",), [1], "must lie in 0..0")):
        with pytest.raises(ValueError, match=complaint):
            type(good)(cameras, np.array(camid), good.frame, good.track_id, good.identity, good.xyxy)
