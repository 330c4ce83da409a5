"""The picture of all cameras, the floor map and the colours."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.sinks.colours import BLACK, UNDECIDED, WHITE, colour_of, readable_on
from pipeline.sinks.drawing import shortened, text_width
from pipeline.sinks.floor_map import FloorMap, letter_of
from pipeline.sinks.layout import GAP_PX, Layout, grid_layout
from pipeline.sinks.mosaic import Mosaic, clock
from pipeline.types import FusedFrame, UInt8
from tests.sinks.frames import fused_frame, picture


def mosaic(num_cameras: int, *, floor: FloorMap | None = None, stale_s: float = 1.0) -> Mosaic:
    names = [f"cam{n}" for n in range(num_cameras)]
    return Mosaic(names, max_size=(1920, 1080), stale_s=stale_s, floor=floor)


def shows(image: UInt8, colour: Sequence[int]) -> bool:
    return bool((image == np.array(colour, np.uint8)).all(axis=2).any())


def tile(image: UInt8, layout: Layout, number: int) -> UInt8:
    left, top = layout.corner(number)
    top += layout.strip_h
    return image[top : top + layout.picture_h, left : left + layout.picture_w]


@pytest.mark.parametrize("num_cameras", range(1, 10))
def test_every_camera_has_its_place(num_cameras: int) -> None:
    frames = [fused_frame(c, preview=picture(320, 180, 20 * c + 40)) for c in range(num_cameras)]
    image = mosaic(num_cameras).draw(frames, 0.0)
    layout = grid_layout(num_cameras, 16 / 9, (1920, 1080), 480)
    assert image.shape == (layout.size[1], layout.size[0], 3)
    for camid in range(num_cameras):
        assert abs(np.median(tile(image, layout, camid)) - (20 * camid + 40)) <= 2


@given(
    num_tiles=st.integers(1, 60), aspect=st.floats(0.4, 3.0), largest_w=st.integers(100, 2000),
    max_size=st.tuples(st.integers(640, 2000), st.integers(480, 1200)),
)  # fmt: skip
def test_the_grid_is_even_within_bounds_and_without_overlap(
    num_tiles: int, aspect: float, largest_w: int, max_size: tuple[int, int]
) -> None:
    layout = grid_layout(num_tiles, aspect, max_size, largest_w)
    width, height = layout.size
    assert width % 2 == height % 2 == 0
    assert width <= max_size[0]
    assert height <= max_size[1]
    assert layout.columns * (layout.rows - 1) < num_tiles <= layout.columns * layout.rows
    left, top = layout.corner(num_tiles - 1)
    assert left + layout.picture_w <= width
    assert top + layout.strip_h + layout.picture_h == height
    if num_tiles > layout.columns:
        assert layout.corner(layout.columns) == (0, layout.strip_h + layout.picture_h + GAP_PX)


def test_forty_cameras_fit_into_full_hd() -> None:
    frames = [fused_frame(c, preview=picture()) for c in range(40)]
    height, width, _ = mosaic(40).draw(frames, 0.0).shape
    assert (width <= 1920, height <= 1080) == (True, True)


def test_boxes_have_the_colour_of_the_identity_and_grey_where_undecided() -> None:
    boxes = {1: (100.0, 100.0, 200.0, 300.0), 2: (400.0, 100.0, 500.0, 300.0)}
    frame = fused_frame(track_ids=[1, 2], boxes=boxes, known={1: 7}, preview=picture(480, 270))
    image = mosaic(1).draw([frame], 0.0)
    assert shows(image, colour_of(7))
    assert shows(image, UNDECIDED)
    assert not shows(mosaic(1).draw([fused_frame(preview=picture(480, 270))], 0.0), colour_of(7))


def test_a_box_lies_where_the_person_is_in_the_scaled_picture() -> None:
    frame = fused_frame(track_ids=[1], boxes={1: (200, 100, 300, 400)}, known={1: 7}, preview=picture(480, 270))
    image = mosaic(1).draw([frame], 0.0)
    layout = grid_layout(1, 480 / 270, (1920, 1080), 480)
    rows, columns = np.nonzero((tile(image, layout, 0) == colour_of(7)).all(axis=2))
    assert abs(columns.min() - 100) <= 2  # half the camera's pixels: preview_scale is 0.5
    assert abs(columns.max() - 150) <= 2
    assert abs(rows.max() - 200) <= 2


def test_a_camera_of_a_slower_rate_does_not_flicker() -> None:
    view = mosaic(2)
    slow = fused_frame(1, 0, time_s=0.0, preview=picture(320, 180, 200))
    view.draw([fused_frame(0, 0, preview=picture(320, 180)), slow], 0.0)
    layout = grid_layout(2, 16 / 9, (1920, 1080), 480)
    for n in range(1, 10):
        image = view.draw([fused_frame(0, n, preview=picture(320, 180))], n / 10)
        assert np.median(tile(image, layout, 1)) >= 195


def test_a_silent_camera_is_dimmed_once_and_lights_up_again() -> None:
    view = mosaic(2)
    view.draw([fused_frame(c, 0, preview=picture(320, 180, 200)) for c in (0, 1)], 0.0)
    layout = grid_layout(2, 16 / 9, (1920, 1080), 480)
    levels = []
    for n in (5, 11, 12, 30):
        image = view.draw([fused_frame(0, n, preview=picture(320, 180, 200))], n / 10)
        levels.append(float(np.median(tile(image, layout, 1))))
    assert levels[0] >= 195
    assert levels[1] == levels[2] == levels[3] < 90
    image = view.draw([fused_frame(1, 31, preview=picture(320, 180, 200))], 3.1)
    assert np.median(tile(image, layout, 1)) >= 195


def test_a_camera_of_one_frame_in_ten_seconds_is_not_called_silent_between_them() -> None:
    view = mosaic(1)
    for second in (0, 10, 20):
        view.draw([fused_frame(0, second, time_s=second, preview=picture(320, 180, 200))], second)
    image = view.draw([], 29.0)
    assert np.median(image) >= 195


def test_a_camera_that_comes_late_in_another_size_is_fitted_in() -> None:
    view = mosaic(2)
    shape = view.draw([fused_frame(0, preview=picture(320, 180))], 0.0).shape
    image = view.draw([fused_frame(1, 1, preview=picture(90, 200, 180))], 0.1)
    assert image.shape == shape
    layout = grid_layout(2, 16 / 9, (1920, 1080), 480)
    upright = tile(image, layout, 1)
    assert np.median(upright[:, 200:280]) >= 175
    assert upright[:, :100].max() == 0


def test_a_frame_without_a_picture_keeps_the_last_one() -> None:
    view = mosaic(1)
    before = view.draw([fused_frame(0, 0, preview=picture(320, 180))], 0.0).copy()
    assert (view.draw([fused_frame(0, 1)], 0.1) == before).all()


def floor_picture(frames: Sequence[FusedFrame], time_s: float, floor: FloorMap | None = None) -> UInt8:
    floor = floor or FloorMap((0, 0, 10, 10), 2, trail_s=5.0)
    image = np.zeros((300, 300, 3), np.uint8)
    floor.update(frames)
    floor.draw(image, time_s, text_px=10)
    return image


def centre_of(image: UInt8, colour: Sequence[int]) -> tuple[float, float]:
    rows, columns = np.nonzero((image == np.array(colour, np.uint8)).all(axis=2))
    return float(np.median(columns)), float(np.median(rows))


def test_the_floor_map_has_x_to_the_right_and_y_up() -> None:
    known = {1: 5}
    image = floor_picture([fused_frame(track_ids=[1], known={}, ground={1: (9, 9)})], 0.0)
    x, y = centre_of(image, UNDECIDED)
    assert x > 240
    assert y < 60
    x, y = centre_of(floor_picture([fused_frame(track_ids=[1], known=known, ground={1: (1, 5)})], 0.0), colour_of(5))
    assert x < 100
    assert 120 < y < 180


def test_people_outside_the_floor_map_or_without_a_place_draw_nothing_and_break_nothing() -> None:
    ground = {1: (1e9, -1e9), 2: (float("nan"), 1.0), 3: (-4.0, 20.0)}
    frame = fused_frame(track_ids=[1, 2, 3], known={1: 1, 2: 2, 3: 3}, ground=ground)
    image = floor_picture([frame], 0.0)
    assert not any(shows(image, colour_of(global_id)) for global_id in (1, 2, 3))


def test_paths_on_the_floor_fade_after_their_time_and_are_forgotten() -> None:
    floor = FloorMap((0, 0, 10, 10), 1, trail_s=2.0)
    for n in range(400):
        floor.update([fused_frame(0, n, track_ids=[n // 10 + 1], ground={n // 10 + 1: (5.0, 5.0)})])
        floor_picture([], n / 10, floor)
    assert len(floor._trails) <= 3
    assert (floor_picture([], 60.0, floor) == floor_picture([], 0.0)).all()


def test_a_dot_goes_when_the_track_is_no_longer_in_its_cameras_last_frame() -> None:
    floor = FloorMap((0, 0, 10, 10), 1, trail_s=2.0)
    floor_picture([fused_frame(0, 0, track_ids=[1], known={1: 4}, ground={1: (5, 5)})], 0.0, floor)
    assert not shows(floor_picture([fused_frame(0, 1)], 0.1, floor), colour_of(4))


def test_bounds_without_area_are_refused() -> None:
    with pytest.raises(ValueError, match="floor bounds"):
        FloorMap((0, 0, 0, 5), 1, trail_s=1.0)


def test_cameras_have_letters_like_columns_of_a_sheet() -> None:
    assert [letter_of(n) for n in (0, 25, 26, 51, 52, 701, 702)] == ["A", "Z", "AA", "AZ", "BA", "ZZ", "AAA"]


def test_neighbouring_ids_have_colours_that_can_be_told_apart() -> None:
    colours = np.array([colour_of(n) for n in range(1, 200)], float)
    for apart in (*range(1, 13), 21):
        assert np.linalg.norm(colours[apart:] - colours[:-apart], axis=1).min() >= 30
    assert colour_of(0) == colour_of(-3) == UNDECIDED
    assert len({colour_of(n) for n in range(1, 2000)}) > 1000


def test_text_on_a_plate_is_black_on_light_and_white_on_dark() -> None:
    assert readable_on((250, 250, 250)) == BLACK
    assert readable_on((120, 30, 30)) == WHITE


@given(st.text(max_size=40), st.integers(0, 200))
def test_shortened_text_fits(text: str, width_px: int) -> None:
    fitted = shortened(text, 12, width_px)
    assert fitted == "" or text_width(fitted, 12) <= width_px


@pytest.mark.parametrize(
    ("time_s", "text"),
    [
        (0, "00:00.0"),
        (59.96, "01:00.0"),
        (3723.4, "1:02:03.4"),
        (-1.5, "-00:01.5"),
        (1753800000.25, "2025-07-29 14:40:00.2Z"),
    ],
)
def test_the_clock_can_be_read(time_s: float, text: str) -> None:
    assert clock(time_s) == text
