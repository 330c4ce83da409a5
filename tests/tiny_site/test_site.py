from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import yaml

from pipeline.geometry.camera import GroundCamera
from tests.tiny_site.site import CAMERAS, Camera, look_at
from tests.tiny_site.tiny import cams_yaml_lines

FLOOR = np.array([[3.0, 3.0], [5.5, 4.0], [7.5, 5.5], [5.0, 7.5]])


def calibration(camera: Camera) -> dict[str, Any]:
    """What the site's cams.yaml says about the camera."""
    cameras = yaml.safe_load("\n".join(cams_yaml_lines("")))["cameras"]
    return next(entry for entry in cameras if entry["id"] == camera.name).get("calibration", {})


def by_hand(told: dict[str, Any], x: float, y: float) -> tuple[float, float]:
    """A floor point through a yaml's pinhole camera with radial distortion, written out."""
    a, b, c = ((row[0] * x + row[1] * y + row[3]) for row in told["world_to_camera"][:3])
    u, v = a / c, b / c
    k1, k2, _, _, k3 = told["distortion"]
    r2 = u * u + v * v
    bend = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3
    (fx, _, cx), (_, fy, cy), _ = told["intrinsic"]
    return fx * u * bend + cx, fy * v * bend + cy


@pytest.mark.parametrize("camera", [c for c in CAMERAS if c.calibrated], ids=lambda c: c.name)
def test_the_written_calibration_is_exactly_the_camera_that_draws(camera: Camera) -> None:
    told = calibration(camera)
    assert np.array_equal(np.array(told["intrinsic"]), camera.intrinsic)
    assert np.array_equal(np.array(told["distortion"]), camera.distortion)
    assert np.array_equal(np.array(told["world_to_camera"]), camera.world_to_camera)

    drawn, _ = camera.project(np.column_stack([FLOOR, np.zeros(len(FLOOR))]))
    np.testing.assert_allclose([by_hand(told, x, y) for x, y in FLOOR], drawn, atol=1e-6)


@pytest.mark.parametrize("camera", [c for c in CAMERAS if c.calibrated], ids=lambda c: c.name)
def test_the_pipelines_camera_finds_drawn_floor_points_again(camera: Camera) -> None:
    told = calibration(camera)
    ground = GroundCamera.from_projection(told["intrinsic"], told["distortion"], told["world_to_camera"])
    pixels, _ = camera.project(np.column_stack([FLOOR, np.zeros(len(FLOOR))]))
    np.testing.assert_allclose(ground.to_ground(pixels), FLOOR, atol=1e-3)


def test_only_the_corridor_keeps_its_calibration_to_itself() -> None:
    assert [bool(calibration(c)) for c in CAMERAS] == [True, True, False]


def test_a_camera_that_looks_at_a_point_has_it_in_the_middle_of_its_picture() -> None:
    pose = look_at((1.0, 2.0, 3.0), (5.0, 6.0, 0.5))
    told = CAMERAS[0]
    camera = Camera("any", "hall", told.intrinsic, told.distortion, pose)
    (pixel,), (depth,) = camera.project(np.array([[5.0, 6.0, 0.5]]))
    np.testing.assert_allclose(pixel, (319.5, 179.5), atol=1e-5)
    assert depth == pytest.approx(math.sqrt(4**2 + 4**2 + 2.5**2), abs=1e-6)
    np.testing.assert_allclose(camera.position, (1, 2, 3), atol=1e-6)
    above, _ = camera.project(np.array([[5.0, 6.0, 1.0]]))
    assert above[0, 1] < pixel[1], "up in the world is up in the picture"


@pytest.mark.parametrize("camera", CAMERAS, ids=lambda c: c.name)
def test_rays_are_the_inverse_of_projection(camera: Camera) -> None:
    rays = camera.rays()
    for row, col in ((5, 7), (179, 320), (355, 630)):
        (pixel,), (depth,) = camera.project((camera.position + 4.0 * rays[row, col])[None])
        np.testing.assert_allclose(pixel, (col, row), atol=0.01)
        assert depth == pytest.approx(4.0)


def test_hall_cameras_see_the_same_floor() -> None:
    for camera in CAMERAS[:2]:
        pixels, depth = camera.project(np.column_stack([FLOOR, np.zeros(len(FLOOR))]))
        assert (depth > 0).all()
        assert ((pixels >= 0) & (pixels < (640, 360))).all()
