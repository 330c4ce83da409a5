"""A folder of pictures as a camera."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from pipeline.ingest.config import IngestConfig
from pipeline.ingest.source import BrokenPictureError, Picture, SourceError
from pipeline.types import UInt8

_SUFFIXES: Final = frozenset((".jpg", ".jpeg", ".png", ".bmp", ".webp"))
_DIGITS: Final = re.compile(r"(\d+)")


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key by which `img2` comes before `img10`."""
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part.lower()) for part in _DIGITS.split(name))


class ImageFolder:
    """The pictures of a folder in natural order of their names. They carry no times; the camera's `fps` gives them."""

    def __init__(self, paths: list[Path]) -> None:
        self._paths = paths
        self.nominal_fps: float | None = None
        self.is_exact = self.is_finite = True
        self.duration_s = 0.0
        self.warning = ""
        self.expected_frames = len(paths)

    def pass_over(self, num_pictures: int) -> None:
        pass  # pictures are read when they are loaded

    def __iter__(self) -> Iterator[Picture]:
        for path in self._paths:
            yield Picture(None, partial(_load, path))

    def close(self) -> None:
        pass


def open_folder(source: str, config: IngestConfig, *, threads: int) -> ImageFolder:
    """List a folder's pictures. Raises SourceError where there are none."""
    folder = Path(source)
    paths = [p for p in folder.iterdir() if p.suffix.lower() in _SUFFIXES and not p.name.startswith(".")]
    if not paths:
        raise SourceError(f"no pictures (jpg, png, bmp, webp) in the folder {folder}; check the camera's source")
    return ImageFolder(sorted(paths, key=lambda p: (natural_key(p.name), p.name)))


def _load(path: Path) -> UInt8:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BrokenPictureError(f"{path.name} cannot be read: {error.strerror}") from None
    # A JPEG cut short decodes to a picture that is grey below; only the missing end-of-image marker shows it.
    cut_short = data[:2] == b"\xff\xd8" and data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda")
    image = None
    with suppress(cv2.error):  # a picture larger than OpenCV allows
        image = None if cut_short or not data else cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise BrokenPictureError(f"{path.name} is {'cut short' if cut_short else 'no readable picture'}")
    return np.asarray(image, np.uint8)
