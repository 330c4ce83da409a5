"""What a fuser is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from pipeline.fusion.travel import GivenTravel
from pipeline.geometry.camera import GroundCamera
from pipeline.types import EmbeddedFrame, FusedFrame


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
