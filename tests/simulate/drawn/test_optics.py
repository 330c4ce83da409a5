from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.simulate.drawn.optics import SensorLook, apply_look, camera_at
from pipeline.simulate.drawn.staging import random_distortion


def _camera(seed: int = 0, bent: bool = True):  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(seed)
    lens = random_distortion(rng, (320, 180), 80.0) if bent else (0.0,) * 5
    return camera_at((4.0, 3.0, 3.0), (0.0, 0.0, 0.5), size_px=(320, 180), fov_deg=80.0, distortion=lens)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_bending_and_straightening_undo_each_other(seed: int) -> None:
    camera = _camera(seed)
    points = np.random.default_rng(seed).uniform((0, 0), (320, 180), (50, 2))
    np.testing.assert_allclose(camera.distorted(camera.undistorted(points)), points, atol=0.02)


def test_camera_is_the_one_that_the_pipeline_reads() -> None:
    """Floor points through the flat picture and the lens are where GroundCamera says."""
    camera = _camera(3)
    floor = np.random.default_rng(0).uniform(-1.5, 1.5, (30, 2))
    flat, depth = camera.flat_pixels(np.column_stack([floor, np.zeros(30)]))
    assert (depth > 0).all()
    np.testing.assert_allclose(camera.distorted(flat), camera.ground_camera.to_image(floor), atol=1e-3)


def test_projection_matrix_puts_points_where_the_pinhole_does() -> None:
    camera = _camera(1)
    window = camera.flat_window
    points = np.array([[0.0, 0.0, 0.0], [1.0, -0.5, 1.7], [-2.0, 1.0, 0.3]])
    clip = np.column_stack([points, np.ones(3)]) @ camera.projection(window).T
    size = np.array([window[2] - window[0], window[3] - window[1]])
    edges = (clip[:, :2] / clip[:, 3:] + 1) / 2 * size + window[:2]
    np.testing.assert_allclose(edges - 0.5, camera.flat_pixels(points)[0], atol=1e-6)


def test_flat_window_holds_all_that_the_lens_shows() -> None:
    camera = _camera(2)
    map_x, map_y = camera.bending(1)
    left, top, right, bottom = camera.flat_window
    assert map_x.min() >= 0 and map_x.max() <= right - left - 1
    assert map_y.min() >= 0 and map_y.max() <= bottom - top - 1


def test_a_perfect_lens_bends_nothing() -> None:
    camera = _camera(bent=False)
    map_x, _ = camera.bending(2)
    np.testing.assert_allclose(np.diff(map_x, axis=1), 1.0, atol=1e-4)


def test_looks_change_brightness_and_noise_as_told() -> None:
    grey = np.full((60, 80, 3), 128, np.uint8)
    plain = apply_look(grey, SensorLook(vignette=0, blur_px=0, noise=0, jpeg_quality=100), np.random.default_rng(0))
    noisy = apply_look(grey, SensorLook(vignette=0, blur_px=0, noise=0.05), np.random.default_rng(0))
    dark = apply_look(grey, SensorLook(vignette=0, gamma=2.0, noise=0), np.random.default_rng(0))
    assert np.abs(plain.astype(int) - 128).max() <= 1
    assert noisy.std() > 5 > plain.std()
    assert dark.mean() == pytest.approx(64, abs=3)
