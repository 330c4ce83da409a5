"""What a fuser is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from pipeline.types import EmbeddedFrame, FusedFrame


class Fuser(Protocol):
    """Gives tracklets of all cameras their identities. One instance for all cameras of a site."""

    def step(self, items: Sequence[EmbeddedFrame]) -> list[FusedFrame]:
        """The frames of one tick with identities, one for each item, in order.

        The events of the tick all ride on the first frame: their order matters.
        """
        ...

    def flush(self) -> list[FusedFrame]:
        """At the end of the run: decides what is undecided; frames without tracks that carry the last events."""
        ...

    def save(self, folder: Path, cameras: Sequence[str]) -> None:
        """After the end: writes what was learned into the folder, for people and tools. cameras: names by camid.

        Raises OSError.
        """
        ...
