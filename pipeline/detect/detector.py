"""What a detector is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pipeline.types import Detections, Frame


class Detector(Protocol):
    """Finds people in the frames of a tick; stateless, so that frames may come in any grouping."""

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """One `Detections` per frame, in order, boxes clipped to the picture. `[]` for no frames."""
        ...
