from __future__ import annotations

import numpy as np
import pytest

from pipeline.geometry.boxes import iou, tlwh_to_xyxy
from tests.tiny_site.draw import View
from tests.tiny_site.imperfect import detect_imperfectly

BOX = (200.0, 100.0, 240.0, 220.0)


def seen(*people: tuple[tuple[float, ...], tuple[float, ...], float]) -> View:
    """A view of people: full box, visible box, visibility."""
    return View(
        np.zeros((360, 640, 3), np.uint8),
        np.zeros((360, 640), np.uint8),
        np.arange(len(people)),
        np.array([p[0] for p in people]).reshape(-1, 4),
        np.array([p[1] for p in people]).reshape(-1, 4),
        np.array([p[2] for p in people]),
        np.zeros((len(people), 2)),
    )


def found(view: View, times: int = 1000) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [detect_imperfectly(view, rng) for _ in range(times)]


def hits(view: View, times: int = 1000) -> np.ndarray:
    """The detections that lie on the first person, one per run at most."""
    rows = [d[iou(tlwh_to_xyxy(d[:, :4]), view.visible_xyxy[:1])[:, 0] > 0.3][:1] for d in found(view, times)]
    return np.concatenate(rows)


def test_an_empty_view_gives_now_and_then_a_false_box() -> None:
    counts = [len(d) for d in found(seen())]
    assert all(d.shape == (n, 5) for d, n in zip(found(seen()), counts, strict=True))
    assert 0.01 < np.mean(counts) < 0.06


def test_a_person_in_plain_view_is_nearly_always_found_and_in_the_right_place() -> None:
    boxes = hits(seen((BOX, BOX, 1.0)))
    assert 0.95 < len(boxes) / 1000 < 0.995
    overlap = iou(tlwh_to_xyxy(boxes[:, :4]), np.array([BOX]))[:, 0]
    assert overlap.mean() > 0.9
    assert np.abs(np.array(BOX) - tlwh_to_xyxy(boxes[:, :4]).mean(axis=0)).max() < 1.0, "no bias"


def test_a_hidden_person_is_found_less_often_with_less_trust_and_a_shorter_box() -> None:
    legs_hidden = (200.0, 100.0, 240.0, 160.0)
    clear, half, hardly = (hits(seen((BOX, legs_hidden, share))) for share in (1.0, 0.45, 0.1))
    assert len(clear) > len(half) + 50 > len(hardly) + 100
    assert clear[:, 4].mean() > half[:, 4].mean() + 0.1
    assert clear[:, 3].mean() > half[:, 3].mean() + 15


def test_of_two_boxes_on_one_spot_only_one_is_kept() -> None:
    view = seen((BOX, BOX, 1.0), (BOX, BOX, 0.9))
    runs = [d for d in found(view, 200) if len(d) and (d[:, 0] > 150).all()]
    assert np.mean([len(d) for d in runs]) < 1.4


@pytest.mark.parametrize("corner", [(0.0, 0.0, 40.0, 120.0), (600.0, 240.0, 640.0, 360.0)])
def test_boxes_stay_in_the_picture_best_first_and_rounded_as_in_the_file(corner: tuple[float, ...]) -> None:
    for rows in found(seen((corner, corner, 1.0), (BOX, BOX, 0.6)), 200):
        xyxy = tlwh_to_xyxy(rows[:, :4])
        assert (xyxy >= 0).all()
        assert (xyxy <= np.array([640, 360, 640, 360]) + 1e-9).all()
        assert (np.diff(rows[:, 4]) <= 0).all()
        assert np.array_equal(rows[:, :4], np.round(rows[:, :4], 1))
