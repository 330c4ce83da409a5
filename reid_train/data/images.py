"""Images from disk: decoded, cut and resized by Pillow, with errors that name the file."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, UnidentifiedImageError

from pipeline.types import UInt8
from reid_train.data.config import Interpolation

FRAGMENT = "#xywh="
RESAMPLING = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


class ImageError(ValueError):
    """An image is missing or can not be decoded."""


def read_image(path: str, input_hw: tuple[int, int] | None = None, interpolation: Interpolation = "bicubic") -> UInt8:
    """(H, W, 3) RGB uint8, resized to `input_hw` where given. `path#xywh=left,top,width,height` reads that part.

    Raises ImageError that names the file and what to do.
    """
    file, fragment, numbers = path.partition(FRAGMENT)
    try:
        with Image.open(file) as opened:
            image = opened if opened.mode == "RGB" else opened.convert("RGB")
            if fragment:
                left, top, width, height = (int(n) for n in numbers.split(","))
                image = image.crop((left, top, left + width, top + height))
            if input_hw is not None and (image.height, image.width) != tuple(input_hw):
                image = image.resize((input_hw[1], input_hw[0]), RESAMPLING[interpolation])
            return np.asarray(image)
    except FileNotFoundError as error:
        raise ImageError(f"image {file} is missing; copy or unpack the data set again") from error
    except (UnidentifiedImageError, ImportError) as error:  # a format whose plug-in is not installed
        raise ImageError(f"{file} is not an image that can be read; copy it again") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ImageError(f"image {file} can not be decoded ({error}); it is damaged: copy it again") from error


@dataclass(slots=True)
class ImageReader:
    """Reads and resizes images, and keeps the most recently used ones up to `cache_bytes` (0: none)."""

    input_hw: tuple[int, int]
    interpolation: Interpolation = "bicubic"
    cache_bytes: int = 0
    _kept: OrderedDict[str, UInt8] = field(default_factory=OrderedDict, repr=False)
    _held: int = 0

    def __post_init__(self) -> None:
        if self.cache_bytes < 0:
            raise ValueError(f"cache_bytes must be 0 (no cache) or the size of the cache, not {self.cache_bytes}")

    def read(self, path: str) -> UInt8:
        """(H, W, 3) RGB uint8, not to be written to."""
        image = self._kept.get(path)
        if image is not None:
            self._kept.move_to_end(path)
            return image
        image = read_image(path, self.input_hw, self.interpolation)
        if image.nbytes <= self.cache_bytes:
            self._kept[path] = image
            self._held += image.nbytes
            while self._held > self.cache_bytes:
                self._held -= self._kept.popitem(last=False)[1].nbytes
        return image

    def clip(self, paths: Sequence[str]) -> UInt8:
        """(T, H, W, 3); an image that stands several times is decoded once."""
        images: dict[str, UInt8] = {}
        for path in paths:
            if path not in images:
                images[path] = self.read(path)
        return np.stack([images[path] for path in paths])

    @property
    def held_bytes(self) -> int:
        return self._held
