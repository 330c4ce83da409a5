"""Several cameras out of one picture."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from pipeline.ingest.spec import CameraSpec
from pipeline.ingest.status import StatusBoard
from pipeline.types import UInt8

logger = logging.getLogger(__name__)


class Cropper:
    """Owns the list of a source's cameras: one whose crop does not fit the picture fails and leaves it."""

    def __init__(self, specs: Sequence[CameraSpec], board: StatusBoard) -> None:
        self.camids = [s.camid for s in specs]
        self._specs = {s.camid: s for s in specs}
        self._board = board
        self._size: tuple[int, int] | None = None

    def cut(self, image: UInt8) -> tuple[tuple[int, UInt8], ...]:
        """The (H, W, 3) picture as each camera sees it: (camid, image) for those that are left.

        Crops are copies, so that a small one does not keep a large picture alive and every image is contiguous; a
        camera without a crop gets the picture itself.
        """
        height, width = image.shape[:2]
        if (width, height) != self._size:
            self._resize(width, height)
        images: list[tuple[int, UInt8]] = []
        for camid in self.camids:
            if (crop := self._specs[camid].crop) is None:
                images.append((camid, image))
            else:
                x, y, w, h = crop
                images.append((camid, image[y : y + h, x : x + w].copy()))
        return tuple(images)

    def _resize(self, width: int, height: int) -> None:
        names = ", ".join(self._specs[c].name for c in self.camids)
        if self._size is not None:
            message = f"pictures changed from {self._size[0]}x{self._size[1]} to {width}x{height}"
            self._board.set(self.camids, message=message)
            logger.warning("camera %s: %s", names, message)
        self._size = (width, height)
        for camid in list(self.camids):
            spec = self._specs[camid]
            x, y, w, h = spec.crop or (0, 0, width, height)
            if x + w <= width and y + h <= height:
                self._board.set([camid], width=w, height=h)
                continue
            message = (
                f"camera {spec.name}: crop (x {x}, y {y}, w {w}, h {h}) reaches outside the picture of "
                f"{width}x{height}; correct the camera's crop"
            )
            self._board.set([camid], state="failed", message=message)
            logger.error("%s", message)
            self.camids.remove(camid)
