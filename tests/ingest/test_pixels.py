from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from av.video.reformatter import VideoReformatter

from pipeline.ingest.pixels import to_bgr
from pipeline.ingest.spec import CameraSpec
from pipeline.ingest.ticks import TickReader
from tests.ingest.clips import make_clip


@pytest.mark.parametrize("color_range", [1, 2])
@pytest.mark.parametrize("colorspace", [1, 2, 5])
def test_full_chroma_frames_equal_the_scalers_within_one_grey_level(colorspace: int, color_range: int) -> None:
    rng = np.random.default_rng(0)
    yuv = rng.integers(16, 236, (3, 40, 50), np.uint8)
    frame = av.VideoFrame.from_ndarray(yuv, format="yuv444p")
    frame.colorspace, frame.color_range = colorspace, color_range
    reference = frame.to_ndarray(format="bgr24", src_color_range=color_range, dst_color_range=2)
    assert np.abs(to_bgr(frame, VideoReformatter()).astype(int) - reference).max() <= 1


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_rotation_metadata_is_applied_as_opencv_does(tmp_path: Path, rotation: int) -> None:
    clip = make_clip(tmp_path / "turned.mp4", 1, rotation=rotation)
    with TickReader([CameraSpec(0, "a", str(clip))]) as reader:
        image = next(iter(reader)).frames[0].image
    whole, reference = cv2.VideoCapture(str(clip)).read()
    assert whole
    np.testing.assert_array_equal(image, reference)


def test_a_width_that_needs_padding_gives_a_contiguous_image(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "odd.mp4", 1, size=(70, 46))
    with TickReader([CameraSpec(0, "a", str(clip))]) as reader:
        image = next(iter(reader)).frames[0].image
    assert image.shape == (46, 70, 3)
    assert image.flags.c_contiguous
