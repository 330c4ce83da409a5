from __future__ import annotations

import json
from typing import Any

import cv2
import numpy as np
import pytest

from pipeline.geometry.camera import GroundCamera
from pipeline.types import Float64
from tests.shared import SHARED, needs_shared

INTRINSIC = np.array([[800.0, 0, 640], [0, 820.0, 360], [0, 0, 1]])
LENS = np.array([-0.22, 0.2, 0.001, -0.0005, -0.1])


def pose(height_m: float = 3.0, pitch_deg: float = 30.0) -> Float64:
    """world_to_camera of a camera above the origin that looks along +y and down."""
    down = np.radians(pitch_deg)
    forward = np.array([0, np.cos(down), -np.sin(down)])
    right = np.array([1.0, 0, 0])
    rotation = np.stack((right, np.cross(forward, right), forward))
    matrix = np.eye(4)
    matrix[:3, :3] = rotation
    matrix[:3, 3] = -rotation @ np.array([0, 0, height_m])
    return matrix


def lab_cameras() -> list[dict[str, Any]]:
    cameras: list[dict[str, Any]] = json.loads((SHARED / "data/lab4/calibration.json").read_text())
    return cameras


@pytest.fixture(params=["no lens", "lens"])
def camera(request: pytest.FixtureRequest) -> GroundCamera:
    return GroundCamera.from_projection(INTRINSIC, LENS if request.param == "lens" else np.zeros(5), pose())


def test_no_points_give_no_points(camera: GroundCamera) -> None:
    none = np.zeros((0, 2))
    assert camera.to_ground(none).shape == camera.to_image(none).shape == (0, 2)
    assert camera.ground_sigma_m(none, 3.0).shape == (0,)


def test_middle_of_the_picture_meets_the_floor_where_the_axis_does() -> None:
    camera = GroundCamera.from_projection(INTRINSIC, np.zeros(5), pose(3.0, 45.0))
    np.testing.assert_allclose(camera.to_ground(np.array([[640.0, 360.0]])), [[0, 3]], atol=1e-9)


def test_pixels_go_to_the_floor_and_back(camera: GroundCamera) -> None:
    rng = np.random.default_rng(0)
    points = np.stack((rng.uniform(0, 1280, 300), rng.uniform(0, 720, 300)), axis=1)
    ground = camera.to_ground(points)
    seen = np.isfinite(ground[:, 0])
    assert seen.mean() > 0.8
    np.testing.assert_allclose(camera.to_image(ground[seen]), points[seen], atol=1e-3)


def test_points_on_or_above_the_horizon_have_no_ground() -> None:
    level = GroundCamera.from_projection(INTRINSIC, np.zeros(5), pose(2.0, 0.0))
    ground = level.to_ground(np.array([[640.0, 300.0], [640.0, 360.0], [640.0, 400.0]]))
    assert np.isnan(ground).all(axis=1).tolist() == [True, True, False]
    assert np.isnan(level.ground_sigma_m(np.array([[640.0, 300.0], [640.0, 400.0]]), 2.0)).tolist() == [True, False]


def test_ground_behind_the_camera_has_no_pixel(camera: GroundCamera) -> None:
    pixels = camera.to_image(np.array([[0.0, -20.0], [0.0, 5.0], [np.nan, 0.0]]))
    assert np.isnan(pixels).all(axis=1).tolist() == [True, False, True]


def test_ground_so_far_aside_that_the_lens_folds_has_no_pixel() -> None:
    camera = GroundCamera.from_projection(INTRINSIC, np.array([-0.3, 0, 0, 0, 0.0]), pose())
    pixels = camera.to_image(np.array([[40.0, 8.0], [1.0, 8.0]]))
    assert np.isnan(pixels).all(axis=1).tolist() == [True, False]


def test_to_image_equals_the_reference_projection(camera: GroundCamera) -> None:
    ground = np.random.default_rng(1).uniform((-3, 3), (3, 15), (50, 2))
    world = np.concatenate((ground, np.zeros((50, 1))), axis=1)
    turn, _ = cv2.Rodrigues(pose()[:3, :3])
    want, _ = cv2.projectPoints(world, turn, pose()[:3, 3], INTRINSIC, camera.distortion)
    np.testing.assert_allclose(camera.to_image(ground), want[:, 0], atol=1e-8)


def test_cropping_moves_pixels_and_nothing_else(camera: GroundCamera) -> None:
    points = np.array([[200.0, 500.0], [700.0, 650.0], [1100.0, 420.0]])
    shift = np.array([416.0, 30.0])
    cut = camera.cropped(416, 30)
    np.testing.assert_allclose(cut.to_ground(points - shift), camera.to_ground(points), atol=1e-9)
    np.testing.assert_allclose(cut.to_image(np.array([[1.0, 6.0]])), camera.to_image(np.array([[1.0, 6.0]])) - shift)
    np.testing.assert_allclose(cut.ground_sigma_m(points - shift, 2.0), camera.ground_sigma_m(points, 2.0), rtol=1e-6)


def test_homography_alone_gives_the_same_floor_whatever_its_scale_and_sign() -> None:
    full = GroundCamera.from_projection(INTRINSIC, np.zeros(5), pose())
    points = np.array([[100.0, 700.0], [640.0, 50.0], [640.0, -2000.0]])
    for factor in (1.0, -3.0):
        camera = GroundCamera.from_homography(full.image_to_ground * factor)
        np.testing.assert_allclose(camera.to_ground(points), full.to_ground(points), atol=1e-9)
        np.testing.assert_allclose(camera.to_image(np.array([[1.0, 6.0]])), full.to_image(np.array([[1.0, 6.0]])))
    assert np.isnan(camera.to_ground(points)[2]).all()


def test_sigma_equals_how_far_a_pixel_error_really_moves_the_point(camera: GroundCamera) -> None:
    points = np.array([[640.0, 600.0], [300.0, 400.0], [1000.0, 300.0]])
    angles = np.linspace(0, np.pi, 181)
    ring = 0.2 * np.stack((np.cos(angles), np.sin(angles)), axis=1)
    for point, sigma in zip(points, camera.ground_sigma_m(points, 5.0), strict=True):
        ends = camera.to_ground(point + ring) - camera.to_ground(point - ring)
        assert sigma == pytest.approx(np.linalg.norm(ends, axis=1).max() / 0.4 * 5.0, rel=1e-2)


def test_far_points_are_trusted_less(camera: GroundCamera) -> None:
    sigma = camera.ground_sigma_m(np.array([[640.0, 700.0], [640.0, 400.0], [640.0, 150.0]]), 3.0)
    assert sigma[0] < sigma[1] < sigma[2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"intrinsic": np.eye(2)}, "intrinsic"),
        ({"intrinsic": np.diag([-1.0, 1, 1])}, "focal"),
        ({"distortion": np.zeros(3)}, "distortion"),
        ({"world_to_camera": np.eye(3)}, "world_to_camera"),
        ({"world_to_camera": np.diag([2.0, 1, 1, 1])}, "rotation"),
        ({"world_to_camera": np.full((4, 4), np.nan)}, "rotation"),
        ({"world_to_camera": pose(height_m=0.0)}, "floor"),
    ],
)
def test_wrong_calibration_is_refused_by_name(change: dict[str, Float64], message: str) -> None:
    good = {"intrinsic": INTRINSIC, "distortion": LENS, "world_to_camera": pose()}
    with pytest.raises(ValueError, match=message):
        GroundCamera.from_projection(**{**good, **change})


@pytest.mark.parametrize("matrix", [np.zeros((3, 3)), np.ones((3, 3)), np.eye(4), np.full((3, 3), np.nan)])
def test_wrong_homography_is_refused_by_name(matrix: Float64) -> None:
    with pytest.raises(ValueError, match="image_to_ground"):
        GroundCamera.from_homography(matrix)


def test_camera_is_a_frozen_value() -> None:
    camera = GroundCamera.from_homography(np.eye(3))
    with pytest.raises(ValueError, match="read-only"):
        camera.image_to_ground[0, 0] = 2.0


@needs_shared("data/lab4/calibration.json")
def test_four_real_cameras_go_to_the_floor_and_back_and_agree() -> None:
    floor = np.stack(np.meshgrid(np.linspace(-2, 2, 9), np.linspace(-2, 2, 9)), axis=-1).reshape(-1, 2)
    for entry in lab_cameras():
        camera = GroundCamera.from_projection(entry["intrinsic"], entry["distortion"], entry["world_to_camera"])
        pixels = camera.to_image(floor)
        inside = ((pixels > 0) & (pixels < (entry["width"], entry["height"]))).all(axis=1)
        assert inside.sum() > 10
        np.testing.assert_allclose(camera.to_ground(pixels[inside]), floor[inside], atol=1e-6)
        moved = camera.cropped(101, 57).to_ground(pixels[inside] - (101, 57))
        np.testing.assert_allclose(moved, floor[inside], atol=1e-6)
