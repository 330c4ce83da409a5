"""`--mode`: whether identities are made anew when all footage is in."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum


class Mode(StrEnum):
    """When identities are final."""

    ONLINE = "online"
    OFFLINE = "offline"

    def settings(self, others: Sequence[str] | None) -> tuple[str, ...]:
        """The settings of a command line, with what the mode means; said by `--set` it counts more."""
        own = ("fusion.resolve=end",) if self is Mode.OFFLINE else ()
        return (*own, *(others or ()))
