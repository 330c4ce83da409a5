"""Capture devices: Video4Linux through PyAV, OpenCV's capture on other systems."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import cv2
import numpy as np

from pipeline.ingest.config import IngestConfig
from pipeline.ingest.source import Picture, Source, SourceError
from pipeline.ingest.video import open_v4l2


class CaptureDevice:
    """A device read by OpenCV; its frames are timed by their arrival."""

    def __init__(self, capture: cv2.VideoCapture, number: str) -> None:
        self._capture = capture
        self._number = number
        self.expected_frames = 0
        self.is_exact = self.is_finite = False
        self.duration_s = 0.0
        self.warning = ""
        self.nominal_fps: float | None = capture.get(cv2.CAP_PROP_FPS) or None

    def __iter__(self) -> Iterator[Picture]:
        while True:
            whole, image = self._capture.read()
            if not whole:
                raise SourceError(f"capture device {self._number} stopped; is it still plugged in?")
            yield Picture(None, lambda image=image: np.asarray(image, np.uint8))  # type: ignore[misc]

    def close(self) -> None:
        self._capture.release()


def open_device(source: str, config: IngestConfig, *, threads: int) -> Source:
    """Open the capture device of that number. Raises SourceError where there is none."""
    number = str(int(source))
    if sys.platform.startswith("linux"):
        return open_v4l2(number, config, threads=threads)
    capture = cv2.VideoCapture(int(number))
    if not capture.isOpened():
        capture.release()
        raise SourceError(f"cannot open capture device {number}; is it plugged in, and free?")
    return CaptureDevice(capture, number)
