from __future__ import annotations

import cv2
import numpy as np
import pytest

from tests.tiny_site.draw import Artist, View
from tests.tiny_site.people import LOOKS, paint, pose
from tests.tiny_site.world import Moment, walk

OPEN_FLOOR = {"hall-a": (6.6, 4.6), "hall-b": (6.0, 4.6), "corridor": (21.4, 7.0)}
EMPTY = Moment(0, *(np.zeros(0, np.int64) for _ in range(2)), np.zeros((0, 2)), *(np.zeros(0) for _ in range(3)))


def standing(camera: str, *people: tuple[int, tuple[float, float]], heading: float = 0.3, pace: float = 0.0) -> Moment:
    """People (person, position) who stand, or stride at `pace`, in the camera's room."""
    ordered = sorted(people)
    num = len(ordered)
    return Moment(
        0,
        np.array([person for person, _ in ordered], np.int64),
        np.full(num, int(camera != "corridor"), np.int64),
        np.array([xy for _, xy in ordered]),
        np.full(num, heading),
        np.full(num, 0.9),
        np.full(num, pace),
    )


def view(artist: Artist, moment: Moment) -> View:
    return artist.view(moment, np.random.default_rng(0))


def bounds(mask: np.ndarray) -> np.ndarray:
    rows, cols = np.nonzero(mask)
    return np.array([cols.min(), rows.min(), cols.max() + 1, rows.max() + 1])


def row_of(seen: View, person: int) -> int:
    return int(np.flatnonzero(seen.person == person)[0])


@pytest.mark.parametrize("camera", OPEN_FLOOR)
def test_an_empty_moment_shows_an_empty_room(artists: dict[str, Artist], camera: str) -> None:
    seen = view(artists[camera], EMPTY)
    assert seen.image.shape == (360, 640, 3)
    assert seen.image.dtype == np.uint8
    assert not seen.ids.any()
    assert len(seen.person) == len(seen.full_xyxy) == len(seen.visibility) == len(seen.ground_xy) == 0


@pytest.mark.parametrize("person", range(len(LOOKS)))
@pytest.mark.parametrize("camera", OPEN_FLOOR)
def test_boxes_agree_with_the_flat_id_picture(artists: dict[str, Artist], camera: str, person: int) -> None:
    """The id picture is drawn here once more, at the camera's own resolution and without the artist's patches."""
    artist, xy = artists[camera], OPEN_FLOOR[camera]
    seen = view(artist, standing(camera, (person, xy), heading=person * 1.1, pace=1.3))
    flat = np.zeros((360, 640), np.uint8)
    body = pose(LOOKS[person], np.array(xy), person * 1.1, 0.9, 1.3)
    for outline, _ in paint(LOOKS[person], body, artist.camera):
        cv2.fillPoly(flat, [np.round(outline * 16).astype(np.int32)], 1, cv2.LINE_8, 4)
    np.testing.assert_allclose(seen.full_xyxy[0], bounds(flat), atol=1.5)
    assert np.array_equal(seen.visible_xyxy[0], bounds(seen.ids == person + 1))
    assert np.array_equal(seen.full_xyxy[0], seen.visible_xyxy[0])
    assert seen.visibility[0] == 1.0


def test_only_where_the_ids_say_so_does_a_person_change_the_picture(artists: dict[str, Artist]) -> None:
    artist = artists["hall-a"]
    empty, seen = view(artist, EMPTY), view(artist, standing("hall-a", (0, OPEN_FLOOR["hall-a"])))
    changed = np.abs(seen.image.astype(int) - empty.image).max(axis=2) > 12
    left, _, right, bottom = seen.full_xyxy[0].astype(int)
    shadow = np.zeros_like(changed)
    shadow[bottom - 20 : bottom + 12, left - 25 : right + 25] = True
    edge = cv2.dilate((seen.ids > 0).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    assert not (changed & ~edge & ~shadow).any()
    assert changed[seen.ids > 0].mean() > 0.8


@pytest.mark.parametrize("camera", OPEN_FLOOR)
def test_shoes_stand_where_the_ground_truth_says(artists: dict[str, Artist], camera: str) -> None:
    """Toes point somewhere; over eight headings their middle is the spot on the floor, to 2 px."""
    artist, xy = artists[camera], np.array(OPEN_FLOOR[camera])
    (spot,), _ = artist.camera.project(np.array([[*xy, 0.03]]))  # half a shoe high
    (ankle,), _ = artist.camera.project(np.array([[*xy, 0.07]]))
    middles = []
    for heading in np.arange(8) * np.pi / 4:
        seen = view(artist, standing(camera, (3, (float(xy[0]), float(xy[1]))), heading=float(heading)))
        rows, cols = np.nonzero(seen.ids[int(ankle[1]) :])
        middles.append((cols.mean(), rows.mean() + int(ankle[1])))
    np.testing.assert_allclose(np.mean(middles, axis=0), spot, atol=2.0)


def test_feet_of_a_walker_stay_on_the_floor_around_the_ground_point() -> None:
    for phase in np.linspace(0, 2 * np.pi, 25):
        body = pose(LOOKS[0], np.array([3.0, 4.0]), 0.7, float(phase), 1.3)
        soles = np.concatenate([body.ankle, body.toe])
        assert soles[:, 2].min() == pytest.approx(0.03 * LOOKS[0].height_m)
        assert np.linalg.norm(body.ankle[:, :2].mean(axis=0) - (3.0, 4.0)) < 0.2


def test_who_stands_nearer_hides_who_stands_behind(artists: dict[str, Artist]) -> None:
    artist = artists["hall-a"]
    near = np.array([5.6, 4.4])
    behind = near + 0.12 * (near - artist.camera.position[:2])
    for person, other in ((0, 3), (3, 0)):
        seen = view(artist, standing("hall-a", (person, tuple(near)), (other, tuple(behind))))
        front, back = row_of(seen, person), row_of(seen, other)
        assert seen.visibility[front] == 1.0
        assert 0.0 < seen.visibility[back] < 0.7
        assert np.array_equal(seen.visible_xyxy[back], bounds(seen.ids == other + 1))
        outer, inner = seen.full_xyxy[back], seen.visible_xyxy[back]
        assert (outer[:2] <= inner[:2]).all()
        assert (outer[2:] >= inner[2:]).all()


def test_the_column_hides_part_of_a_person(artists: dict[str, Artist]) -> None:
    artist = artists["hall-a"]
    column = np.array([4.35, 4.45])
    away = (column - artist.camera.position[:2]) / np.linalg.norm(column - artist.camera.position[:2])
    aside = 0.25 * np.array([-away[1], away[0]])
    behind, before = column + 1.2 * away + aside, column - 1.0 * away
    assert 0.1 < view(artist, standing("hall-a", (1, tuple(behind)))).visibility[0] < 0.9
    assert len(view(artist, standing("hall-a", (1, tuple(behind - aside)))).person) == 0, "wholly hidden"
    assert view(artist, standing("hall-a", (1, tuple(before)))).visibility[0] == 1.0


@pytest.mark.parametrize(
    ("xy", "share"), [((5.7, 7.0), (1.0, 1.0)), ((5.7, 8.7), (0.4, 1.0)), ((8.3, 9.1), (0.0, 0.0))], ids=str
)
def test_a_person_is_seen_through_the_door_but_not_through_the_wall(
    artists: dict[str, Artist], xy: tuple[float, float], share: tuple[float, float]
) -> None:
    for camera in ("hall-a", "hall-b"):
        visibility = float(view(artists[camera], standing(camera, (2, xy))).visibility.sum())
        assert share[0] <= visibility <= share[1], camera


def test_a_person_at_the_edge_has_a_box_inside_the_picture(artists: dict[str, Artist]) -> None:
    seen = view(artists["corridor"], standing("corridor", (4, (21.6, 2.2))))
    assert seen.full_xyxy[0, 3] == 360
    assert 0.2 < seen.visibility[0] < 0.95


def test_a_person_behind_the_camera_is_not_drawn(artists: dict[str, Artist]) -> None:
    assert len(view(artists["corridor"], standing("corridor", (4, (21.6, -0.5)))).person) == 0


def test_the_same_moment_and_noise_give_the_same_pixels(artists: dict[str, Artist]) -> None:
    moment = list(walk(0, 3))[-1]
    artist = artists["hall-b"]
    again = Artist(artist.camera)
    one, two = artist.view(moment, np.random.default_rng(4)), again.view(moment, np.random.default_rng(4))
    assert np.array_equal(one.image, two.image)
    assert np.array_equal(one.ids, two.ids)
    other = artist.view(moment, np.random.default_rng(5))
    assert not np.array_equal(one.image, other.image), "the sensor's noise changes"
    assert np.array_equal(one.ids, other.ids)


def test_clothes_of_six_people_are_told_apart_across_the_hall_cameras(artists: dict[str, Artist]) -> None:
    """A mean colour of upper and lower half is enough, in spite of the cameras' colour casts."""
    halves = {}
    for camera in ("hall-a", "hall-b"):
        for person in range(len(LOOKS)):
            seen = view(artists[camera], standing(camera, (person, OPEN_FLOOR[camera])))
            _, top, _, bottom = seen.full_xyxy[0].astype(int)
            middle = (top + bottom) // 2
            mask = seen.ids > 0
            parts = [seen.image[a:b][mask[a:b]].mean(axis=0) for a, b in ((top, middle), (middle, bottom))]
            halves[camera, person] = np.concatenate(parts)
    a, b = (np.array([halves[camera, person] for person in range(len(LOOKS))]) for camera in ("hall-a", "hall-b"))
    distmat = np.linalg.norm(a[:, None] - b[None], axis=2)
    assert np.array_equal(distmat.argmin(axis=1), np.arange(len(LOOKS)))
