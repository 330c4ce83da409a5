"""From crops to the network's input."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.reid.manifest import Manifest
from pipeline.types import UInt8


class CropBuffer:
    """The network's input (B, 3, h, w), filled crop by crop and used again; one per thread."""

    def __init__(self, manifest: Manifest, batch_size: int, dtype: npt.DTypeLike = np.float32) -> None:
        self.blob: npt.NDArray[Any] = np.zeros((batch_size, 3, *manifest.input_size), dtype)
        self._order = (2, 1, 0) if manifest.colour == "rgb" else (0, 1, 2)
        mean, std = np.array(manifest.mean), np.array(manifest.std)
        self._gain = (manifest.scale / std).astype(dtype)  # (pixel * scale - mean) / std = pixel * gain + shift
        self._shift = (-mean / std).astype(dtype)

    def put(self, slot: int, crop: UInt8) -> None:
        """Write the crop (h, w, 3) BGR into place `slot` of the batch."""
        planes = cv2.split(crop)
        for channel, source in enumerate(self._order):
            target = self.blob[slot, channel]
            np.multiply(planes[source], self._gain[channel], out=target, casting="unsafe")
            target += self._shift[channel]
