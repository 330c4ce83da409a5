"""What a tracker is."""

from __future__ import annotations

from typing import Protocol

from pipeline.track.cues import NO_CUES, Cues
from pipeline.types import AnyArray, Detections, Int64, Tracks


class Tracker(Protocol):
    """Follows people through one camera. One instance per camera; ids start at 1 and are never reused."""

    def update(self, detections: Detections, time_s: float, cues: Cues = NO_CUES) -> Tracks:
        """The confirmed tracks that were detected in this frame.

        Raises ValueError where a box is not finite or inverted (naming its row), where `time_s` does not lie after
        the last one, or where cues do not fit the detections. The state is unchanged then.
        """
        ...

    def state(self) -> dict[str, AnyArray]:
        """All that `pipeline.track.build.restore_tracker` needs to go on as if nothing had happened."""
        ...

    def live_ids(self) -> Int64:
        """(L,) ascending ids of the confirmed tracks that are visible or may still be found again."""
        ...
