"""What the flow adds to the rooms: the closing figures, and the floor that its cameras see."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.cameras import Camera
from pipeline.config import Regions
from pipeline.floor_bounds import floor_bounds
from pipeline.geometry.camera import GroundCamera
from pipeline.ingest.status import CameraStatus
from pipeline.summary import summarize


def camera(name: str, ground: GroundCamera | None = None) -> Camera:
    return Camera(name, f"{name}.mp4", None, 0.0, None, None, Regions(), ground, (), None)


def test_a_tracklet_that_was_split_counts_once_in_the_report(tmp_path: Path) -> None:
    (tmp_path / "tracklets.csv").write_text("camera,track_id,global_id\na,1,1\na,1,2\na,2,3\nb,1,1\n")
    (tmp_path / "identities.csv").write_text("global_id,cameras\n1,a>b>a\n2,a\n3,a\n")
    cameras = [camera("a"), camera("b"), camera("c")]
    status = tuple(CameraStatus(camid, c.name) for camid, c in enumerate(cameras))
    report = summarize(tmp_path, status, (), wall_s=2.0, interrupted=False)
    assert report.num_tracklets == (2, 1, 0)
    assert (report.num_identities, report.num_cross_camera_links) == (3, 2)


def test_the_floor_map_covers_what_calibrated_cameras_see_well() -> None:
    above = GroundCamera.from_homography(np.diag([0.01, 0.01, 1.0]))  # straight down, 1 cm a pixel
    status = (CameraStatus(0, "a", width=641, height=361), CameraStatus(1, "b", width=9999, height=9999))
    bounds = floor_bounds([camera("a", above), camera("b")], status)
    assert bounds == pytest.approx((0.0, 0.0, 6.4, 3.6))


def test_without_calibration_or_pictures_there_is_no_floor_map() -> None:
    above = GroundCamera.from_homography(np.diag([0.01, 0.01, 1.0]))
    assert floor_bounds([camera("a")], (CameraStatus(0, "a", width=640, height=360),)) is None
    assert floor_bounds([camera("a", above)], (CameraStatus(0, "a"),)) is None
