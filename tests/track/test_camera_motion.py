from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.track.camera_motion import CameraMotion, CameraMotionConfig, no_motion, warp_boxes, warp_means
from pipeline.track.kalman import MotionNoise, boxes_of, correct, initiate, predict, xyxy_to_cxcywh
from pipeline.types import Float64, UInt8
from tests.shared import SHARED, needs_shared

VIDEO = "data/pets_s2l1/vtest.avi"
NOBODY = np.zeros((0, 4))
WIDTH, HEIGHT = 320, 240


def texture(seed: int = 0) -> UInt8:
    """A picture full of corners that is smooth enough to be followed, larger than the view by 100 px a side."""
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 256, (HEIGHT + 200, WIDTH + 200, 3), dtype=np.uint8)
    blurred = cv2.GaussianBlur(noise, (0, 0), 3)
    return np.asarray(cv2.normalize(blurred, None, 0, 255, cv2.NORM_MINMAX), np.uint8)  # type: ignore[call-overload]


def similarity(zoom: float = 1.0, angle_deg: float = 0.0, shift: tuple[float, float] = (0, 0)) -> Float64:
    """(2, 3) turned and zoomed about the middle of the view, then shifted."""
    about = cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), angle_deg, zoom)
    about[:, 2] += shift
    return np.asarray(about, np.float64)


def view(scene: UInt8, affine: Float64 | None = None) -> UInt8:
    """What the camera sees when the picture it would see at rest has moved by `affine`."""
    at_rest = np.array([[1, 0, -100], [0, 1, -100]], np.float64)
    moved = np.vstack((no_motion() if affine is None else affine, [0, 0, 1])) @ np.vstack((at_rest, [0, 0, 1]))
    return np.asarray(cv2.warpAffine(scene, moved[:2], (WIDTH, HEIGHT)), np.uint8)


def corner_error_px(found: Float64, true: Float64, width: int = WIDTH, height: int = HEIGHT) -> float:
    corners = np.array([[0, 0], [width, 0], [0, height], [width, height]], np.float64)
    miss = corners @ (found[:, :2] - true[:, :2]).T + found[:, 2] - true[:, 2]
    return float(np.abs(miss).max())


def test_the_first_frame_moves_nothing() -> None:
    assert np.array_equal(CameraMotion().update(view(texture()), NOBODY), no_motion())


def test_a_camera_that_stands_still_gives_exactly_the_identity() -> None:
    rng = np.random.default_rng(0)
    scene, camera = texture(), CameraMotion()
    for _ in range(3):
        noisy = np.clip(view(scene) + rng.normal(0, 3, (HEIGHT, WIDTH, 3)), 0, 255).astype(np.uint8)
        assert np.array_equal(camera.update(noisy, NOBODY), no_motion())


@pytest.mark.parametrize(
    "true",
    [
        similarity(shift=(12, -5)),
        similarity(shift=(0.6, 0.3)),
        similarity(zoom=1.06),
        similarity(zoom=0.93, shift=(-6, 4)),
        similarity(angle_deg=3),
        similarity(1.04, -2, (9, 7)),
        similarity(shift=(70, -45)),
    ],
    ids=["pan", "slow pan", "zoom in", "zoom out and pan", "roll", "all at once", "leap"],
)
def test_pan_zoom_and_roll_are_measured_to_half_a_pixel(true: Float64) -> None:
    scene, camera = texture(), CameraMotion()
    camera.update(view(scene), NOBODY)
    assert corner_error_px(camera.update(view(scene, true), NOBODY), true) < 0.5


def test_the_motion_is_in_pixels_of_the_image_though_it_is_measured_on_a_smaller_one() -> None:
    scene, camera, true = texture(), CameraMotion(CameraMotionConfig(least_height_px=100)), similarity(1.03, 1, (8, 6))
    camera.update(view(scene), NOBODY)
    assert corner_error_px(camera.update(view(scene, true), NOBODY), true) < 1.0


def test_people_who_walk_through_the_picture_do_not_count_as_its_motion() -> None:
    """A crowd fills two thirds of the view and moves to the right, the scene to the left."""
    scene, crowd, true = texture(), texture(1), similarity(shift=(-6, 0))
    crowded = CameraMotionConfig(min_inlier_share=0.2)
    box = np.array([[0.0, 0, 220, HEIGHT]])
    first, second = view(scene), view(scene, true)
    first[:, :220] = view(crowd)[:, :220]
    second[:, :220] = view(crowd, similarity(shift=(8, 0)))[:, :220]
    masked, unmasked = CameraMotion(crowded), CameraMotion(crowded)
    masked.update(first, box)
    unmasked.update(first, NOBODY)
    assert corner_error_px(masked.update(second, box), true) < 0.5
    assert corner_error_px(unmasked.update(second, NOBODY), true) > 5


def test_nothing_to_hold_on_to_gives_the_identity() -> None:
    scene = texture()
    blank = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    everywhere = np.array([[-10.0, -10, WIDTH + 10, HEIGHT + 10]])
    for first, second, boxes in (
        (blank, blank, NOBODY),
        (view(scene), blank, NOBODY),
        (blank, view(scene), NOBODY),
        (view(scene), view(texture(5)), NOBODY),
        (view(scene), view(scene, similarity(shift=(9, 0))), everywhere),
        (view(scene), view(scene)[:100], NOBODY),
        (blank[:1, :1], blank[:1, :1], NOBODY),
    ):
        camera = CameraMotion()
        camera.update(first, boxes)
        assert np.array_equal(camera.update(second, boxes), no_motion())


def test_the_same_frames_give_the_same_numbers_whatever_seed_opencv_has() -> None:
    scene = texture()
    frames = [view(scene, similarity(1 + 0.01 * k, k, (5 * k, 2 * k))) for k in range(4)]
    runs = []
    for seed in (1, 77):
        cv2.setRNGSeed(seed)
        camera = CameraMotion()
        runs.append(np.stack([camera.update(frame, NOBODY) for frame in frames]))
    np.testing.assert_array_equal(runs[0], runs[1])


def test_images_and_boxes_that_make_no_sense_are_refused_and_change_nothing() -> None:
    scene, true = texture(), similarity(shift=(7, 3))
    camera = CameraMotion()
    camera.update(view(scene), NOBODY)
    with pytest.raises(ValueError, match="uint8"):
        camera.update(view(scene)[..., 0], NOBODY)
    with pytest.raises(ValueError, match="boxes"):
        camera.update(view(scene), np.array([[0, 0, np.nan, 5]]))
    assert corner_error_px(camera.update(view(scene, true), NOBODY), true) < 0.5


def test_inputs_stay_untouched_and_read_only_ones_will_do() -> None:
    camera, image, boxes = CameraMotion(), view(texture()), np.array([[5.0, 5, 60, 90]])
    before = image.copy()
    image.flags.writeable = boxes.flags.writeable = False
    camera.update(image, boxes)
    camera.update(image, boxes)
    assert np.array_equal(image, before)


@needs_shared(VIDEO)
def test_a_window_moved_over_real_footage_is_followed_to_a_pixel() -> None:
    video = cv2.VideoCapture(str(SHARED / VIDEO))
    camera, place, last = CameraMotion(), np.array([60, 60]), np.array([60, 60])
    rng = np.random.default_rng(4)
    for step in range(12):
        frame = video.read()[1]
        move = rng.integers(-25, 26, 2) if step else np.zeros(2, np.int64)
        place = np.clip(place + move, 0, (256, 192))
        window = np.ascontiguousarray(frame[place[1] : place[1] + 384, place[0] : place[0] + 512])
        found = camera.update(np.asarray(window, np.uint8), NOBODY)
        if step:
            true = np.column_stack((np.eye(2), last - place))
            assert corner_error_px(found, true, 512, 384) < 1.0
        last = place
    video.release()


def test_warping_by_the_identity_changes_nothing_and_no_filters_stay_none() -> None:
    mean, cov = initiate(np.array([[10.0, 20, 40, 100]]), MotionNoise())
    moved, spread = warp_means(mean, cov, no_motion())
    np.testing.assert_array_equal(moved, mean)
    np.testing.assert_array_equal(spread, cov)
    moved, spread = warp_means(np.zeros((0, 2, 4)), np.zeros((0, 3, 4)), similarity(1.1, 5))
    assert (moved.shape, spread.shape) == ((0, 2, 4), (0, 3, 4))
    assert warp_boxes(NOBODY, no_motion()).shape == (0, 4)


def test_warping_by_hand() -> None:
    """A quarter turn with double zoom: (x, y) -> (-2 y + 100, 2 x)."""
    affine = np.array([[0.0, -2, 100], [2, 0, 0]])
    mean = np.array([[[10.0, 20, 4, 8], [1, 3, 0.5, 0.25]]])
    cov = np.array([[[1.0, 2, 3, 4], [0.1, 0.2, 0.3, 0.4], [5, 6, 7, 8]]])
    moved, spread = warp_means(mean, cov, affine)
    np.testing.assert_allclose(moved, np.array([[[60.0, 20, 8, 16], [-6, 2, 1, 0.5]]]))
    np.testing.assert_allclose(spread, [[[8, 4, 12, 16], [0.8, 0.4, 1.2, 1.6], [24, 20, 28, 32]]])
    np.testing.assert_allclose(warp_boxes(boxes_of(mean), affine), boxes_of(moved))


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    zoom=st.floats(0.8, 1.25),
    angle_deg=st.floats(-30, 30),
    shift=st.tuples(st.floats(-200, 200), st.floats(-200, 200)),
)
def test_a_moved_camera_sees_the_same_filter(
    seed: int, zoom: float, angle_deg: float, shift: tuple[float, float]
) -> None:
    """Filtering, then warping, equals warping what is measured, then filtering: all noise is in heights."""
    rng = np.random.default_rng(seed)
    affine, noise, dt_s = similarity(zoom, angle_deg, shift), MotionNoise(), np.full(4, 0.2)
    low = rng.uniform(0, 300, (4, 2))
    boxes = np.concatenate((low, low + rng.uniform(30, 120, (4, 2))), axis=1)
    later = boxes + rng.uniform(-5, 5, (4, 2))[:, [0, 1, 0, 1]]

    mean, cov = predict(*initiate(boxes, noise), dt_s, noise)
    one = warp_means(*correct(mean, cov, later, noise), affine)
    mean, cov = predict(*warp_means(*initiate(boxes, noise), affine), dt_s, noise)
    other = correct(mean, cov, warp_boxes(later, affine), noise)
    np.testing.assert_allclose(one[0], other[0], rtol=1e-9, atol=1e-7)
    np.testing.assert_allclose(one[1], other[1], rtol=1e-9, atol=1e-9)
    assert (one[1][:, [0, 2]] > 0).all()
    np.testing.assert_allclose(xyxy_to_cxcywh(boxes_of(one[0]))[:, :2], one[0][:, 0, :2])
