"""What a tracker is."""

from __future__ import annotations

from typing import Protocol

from pipeline.types import Detections, Int64, Tracks


class Tracker(Protocol):
    """Follows people through one camera. One instance per camera; ids start at 1 and are never reused."""

    def update(self, detections: Detections, time_s: float) -> Tracks:
        """The confirmed tracks that were detected in this frame.

        Raises ValueError where a box is not finite or inverted (naming its row), or where `time_s` does not
        lie after the last one. The state is unchanged then.
        """
        ...

    def live_ids(self) -> Int64:
        """(L,) ascending ids of the confirmed tracks that are visible or may still be found again."""
        ...
