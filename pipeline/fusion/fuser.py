"""What a fuser is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from pipeline.fusion.travel import GivenTravel
from pipeline.geometry.camera import GroundCamera
from pipeline.types import NO_PREVIEW, EmbeddedFrame, Event, FusedFrame, GlobalTracks, Tracks


class Fuser(Protocol):
    """Gives tracklets of all cameras their identities. One instance for all cameras of a site."""

    def step(self, items: Sequence[EmbeddedFrame]) -> list[FusedFrame]:
        """The frames of one tick with identities, one for each item, in order.

        The events of the tick all ride on the first frame: their order matters.
        """
        ...

    def follow(
        self,
        cameras: Sequence[GroundCamera | None],
        overlaps: frozenset[tuple[int, int]],
        given: Sequence[GivenTravel] = (),
    ) -> None:
        """The cameras are these from now on: those so far, with their camids, and more. given: travel times between
        cameras that are new. Raises ValueError where the fuser can not take more."""
        ...

    def sizes(self) -> dict[str, int]:
        """How much is remembered: `gallery` vectors that new tracklets are compared with, `identities` that have some,
        `tracklets` in the store."""
        ...

    def flush(self) -> list[FusedFrame]:
        """At the end of the run: decides what is undecided; frames without tracks that carry the last events."""
        ...

    def save(self, folder: Path, cameras: Sequence[str]) -> None:
        """After the end: writes what was learned into the folder, for people and tools. cameras: names by camid.

        Raises OSError.
        """
        ...


def last_words(events: Sequence[Event], last_frame: Mapping[int, int], now_s: float) -> list[FusedFrame]:
    """A frame without tracks that carries events after the last frames, or nothing where there are none.

    last_frame: the number of the last frame of each camera, by camid.
    """
    if not events:
        return []
    camid = min(last_frame)
    return [
        FusedFrame(
            camid=camid,
            frame_idx=last_frame[camid],
            time_s=now_s,
            tracks=Tracks.empty(),
            ground_xy=np.zeros((0, 2)),
            global_tracks=GlobalTracks.empty(),
            events=tuple(events),
            preview=NO_PREVIEW,
            preview_scale=1.0,
        )
    ]
