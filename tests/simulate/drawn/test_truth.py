"""The truth agrees with the pixels, the ids and the calibration."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from pipeline.simulate.drawn.light import random_light
from pipeline.simulate.drawn.meshes import quad
from pipeline.simulate.drawn.optics import DrawnCamera, SensorLook, camera_at
from pipeline.simulate.drawn.people import Person, Posed, pose, random_person
from pipeline.simulate.drawn.places import PLACES, Place, PlaceKind, build_place
from pipeline.simulate.drawn.renderer import MAX_PEOPLE, Drawing, Renderer
from pipeline.simulate.drawn.staging import is_free, random_camera, random_cast, random_scene
from pipeline.simulate.drawn.truth import Truth, read_truth

Shot = tuple[DrawnCamera, list[Posed], Drawing, Truth]


def _shoot(renderer: Renderer, place: Place, camera: DrawnCamera, posed: list[Posed], seed: int = 0) -> Shot:
    rng = np.random.default_rng(seed)
    loaded_place = renderer.load_place(place)
    loaded = [renderer.load_person(p.person) for p in posed]
    light = random_light("indoor" if place.indoor else "sunny", rng)
    renderer.set_stage(loaded_place, light, list(zip(loaded, posed, strict=True)))
    drawing = renderer.draw(camera)
    truth = read_truth(renderer, camera, posed, drawing)
    for item in loaded:
        item.release()
    loaded_place.release()
    return camera, posed, drawing, truth


@pytest.fixture(scope="module")
def shots(renderer: Renderer) -> list[Shot]:
    """A random frame of every kind of place."""
    found = []
    for seed, kind in enumerate(PLACES):
        rng = np.random.default_rng([seed, 77])
        scene = random_scene(rng, kind)
        people = [random_person(rng) for _ in range(7)]
        cast = [posed for _, posed in random_cast(scene.place, people, rng)]
        found.append(_shoot(renderer, scene.place, random_camera(scene.place, rng, (320, 180)), cast, seed))
    return found


def _floor_place() -> Place:
    """A floor without anything in the way."""
    floor = quad((0, 0, 0), (60, 0, 0), (0, 60, 0), (0.5, 0.5, 0.5))
    square = build_place("square", np.random.default_rng(0))
    return dataclasses.replace(square, surfaces={"CONCRETE": floor}, obstacles=np.zeros((0, 3)))


@pytest.fixture(scope="module")
def person() -> Person:
    return random_person(np.random.default_rng(21))


def test_visible_boxes_are_the_extents_of_the_ids(shots: list[Shot]) -> None:
    assert sum(len(truth.row) for *_, truth in shots) >= 10, "the random frames show people"
    for _, _, drawing, truth in shots:
        for row, box in zip(truth.row, truth.visible_xyxy, strict=True):
            rows, cols = np.nonzero(drawing.ids == row + 1)
            assert box.tolist() == [cols.min(), rows.min(), cols.max() + 1, rows.max() + 1]


def test_everybody_with_a_sample_has_a_row_and_nobody_else(shots: list[Shot]) -> None:
    for _, _, drawing, truth in shots:
        assert set((truth.row + 1).tolist()) == set(np.unique(drawing.ids).tolist()) - {0}


def test_whole_boxes_hold_the_visible_ones(shots: list[Shot]) -> None:
    for camera, _, _, truth in shots:
        assert (truth.box_xyxy[:, :2] <= truth.visible_xyxy[:, :2]).all()
        assert (truth.box_xyxy[:, 2:] >= truth.visible_xyxy[:, 2:]).all()
        assert (truth.full_xyxy[:, :2] <= truth.box_xyxy[:, :2] + 1.5).all()
        assert (truth.full_xyxy[:, 2:] >= truth.box_xyxy[:, 2:] - 1.5).all()
        assert (truth.box_xyxy >= 0).all() and (truth.box_xyxy <= [camera.width_px, camera.height_px] * 2).all()
        assert ((truth.visibility > 0) & (truth.visibility <= 1)).all()


def test_people_stand_on_the_floor_point_that_the_calibration_gives(shots: list[Shot]) -> None:
    """The floor below the hips appears inside the box, near its lower edge, for all who are whole in the picture."""
    checked = 0
    for camera, _, _, truth in shots:
        whole = truth.in_picture > 0.999
        feet = camera.ground_camera.to_image(truth.ground_xy[whole])
        for (x, y), box in zip(feet, truth.full_xyxy[whole], strict=True):
            assert box[0] - 2 <= x <= box[2] + 2
            assert box[1] + 0.6 * (box[3] - box[1]) <= y <= box[3] + 0.05 * (box[3] - box[1])
            checked += 1
    assert checked >= 5


def test_ids_lie_where_colours_change(renderer: Renderer, person: Person) -> None:
    """Without the person the picture is another one exactly where the ids say (and in the shadow)."""
    camera = camera_at((0.0, -6.0, 2.0), (0.0, 0.0, 0.9), size_px=(160, 160), fov_deg=30)
    posed = pose(person, (0.0, 0.0), 0.4, cycle=0.2, stir=1.0)
    *_, with_person, _ = _shoot(renderer, _floor_place(), camera, [posed])
    *_, without, truth = _shoot(renderer, _floor_place(), camera, [])
    differs = np.abs(with_person.samples.astype(int) - without.samples.astype(int)).max(axis=2) > 0
    on_person = with_person.ids == 1
    assert on_person.sum() > 1000 and len(truth.row) == 0
    assert differs[on_person].mean() > 0.97
    assert not differs[: np.flatnonzero(on_person.any(axis=1))[0]].any(), "above the head nothing changes"


def test_a_person_behind_another_keeps_the_whole_box(renderer: Renderer, person: Person) -> None:
    other = random_person(np.random.default_rng(22))
    camera = camera_at((0.0, -7.0, 1.2), (0.0, 0.0, 0.9), size_px=(320, 240), fov_deg=40)
    place = _floor_place()
    behind = pose(person, (0.0, 1.0), -1.5, cycle=0.0, stir=0.0)
    alone = _shoot(renderer, place, camera, [behind])[3]
    both = _shoot(renderer, place, camera, [behind, pose(other, (0.05, -0.5), -1.5, cycle=0.0, stir=0.0)])[3]
    assert alone.visibility[0] == pytest.approx(1.0)
    assert both.visibility[both.row == 0][0] < 0.6
    np.testing.assert_allclose(both.box_xyxy[both.row == 0], alone.box_xyxy)


def test_a_person_cut_by_the_edge_is_partly_in_the_picture(renderer: Renderer, person: Person) -> None:
    camera = camera_at((0.0, -5.0, 1.0), (0.0, 0.0, 0.9), size_px=(120, 200), fov_deg=24)
    half_m = 5.0 * np.tan(np.radians(12))
    posed = pose(person, (half_m, 0.0), -1.5, cycle=0.0, stir=0.0)
    truth = _shoot(renderer, _floor_place(), camera, [posed])[3]
    assert 0.2 < truth.in_picture[0] < 0.8
    assert truth.box_xyxy[0, 2] == 120 < truth.full_xyxy[0, 2]


def test_boxes_know_the_height_of_a_person(renderer: Renderer, person: Person) -> None:
    """Seen level from afar, the box is as high as the person; shoes, hair and hats add a little."""
    camera = camera_at((0.0, -30.0, 0.9), (0.0, 0.0, 0.9), size_px=(400, 400), fov_deg=8)
    truth = _shoot(renderer, _floor_place(), camera, [pose(person, (0.0, 0.0), 0.0, cycle=0.0, stir=0.0)])[3]
    height_m = (truth.box_xyxy[0, 3] - truth.box_xyxy[0, 1]) * 30.0 / camera.intrinsic[0, 0]
    assert -0.02 < height_m - person.body.height_m < 0.12


def test_a_frame_with_nobody_is_empty_and_whole(renderer: Renderer) -> None:
    _, _, drawing, truth = _shoot(
        renderer, _floor_place(), camera_at((0.0, -6.0, 2.0), (0.0, 0.0, 0.9), size_px=(64, 48), fov_deg=60), []
    )
    assert drawing.samples.shape == (48, 64, 3) and not drawing.ids.any()
    assert len(truth.row) == 0 and truth.box_xyxy.shape == (0, 4) and truth.ground_xy.shape == (0, 2)


def test_somebody_behind_the_camera_is_not_seen(renderer: Renderer, person: Person) -> None:
    camera = camera_at((0.0, -6.0, 2.0), (0.0, 0.0, 0.9), size_px=(64, 48), fov_deg=60)
    truth = _shoot(renderer, _floor_place(), camera, [pose(person, (0.0, -9.0), 0.0, cycle=0.0, stir=0.0)])[3]
    assert len(truth.row) == 0


def test_more_people_than_ids_are_refused(renderer: Renderer, person: Person) -> None:
    place, loaded = renderer.load_place(_floor_place()), renderer.load_person(person)
    posed = pose(person, (0.0, 0.0), 0.0, cycle=0.0, stir=0.0)
    light = random_light("sunny", np.random.default_rng(0))
    with pytest.raises(ValueError, match="at most 254"):
        renderer.set_stage(place, light, [(loaded, posed)] * (MAX_PEOPLE + 1))


def test_drawing_the_same_stage_twice_gives_the_same_bytes(renderer: Renderer, person: Person) -> None:
    camera = camera_at((3.0, -5.0, 2.0), (0.0, 0.0, 0.9), size_px=(96, 96), fov_deg=40, look=SensorLook(exposure=1.2))
    place = build_place("platform", np.random.default_rng(4))
    posed = [pose(person, (0.0, 0.0), 0.4, cycle=0.2, stir=1.0)]
    first, second = (_shoot(renderer, place, camera, posed)[2] for _ in range(2))
    assert first.samples.tobytes() == second.samples.tobytes() and first.ids.tobytes() == second.ids.tobytes()


@pytest.mark.parametrize("kind", list(PLACES))
def test_people_are_put_where_they_can_stand(kind: PlaceKind) -> None:
    rng = np.random.default_rng(9)
    place = build_place(kind, rng)
    cast = random_cast(place, [random_person(rng)] * 8, rng)
    spots = np.array([posed.xy for _, posed in cast])
    gaps = np.hypot(*(spots[:, None] - spots).transpose(2, 0, 1)) + 9 * np.eye(len(spots))
    assert len(cast) >= 6 and gaps.min() > 0.5
    assert all(is_free(place, spot) for spot in spots)
