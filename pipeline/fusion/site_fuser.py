"""The fuser of one site, as `SiteFusers` uses it: asked first, answering later, so that several work side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from pipeline.fusion.association_file import Knowledge
from pipeline.fusion.config import FusionConfig
from pipeline.fusion.online import OnlineFuser
from pipeline.fusion.travel_parts import Part
from pipeline.geometry.camera import GroundCamera
from pipeline.types import EmbeddedFrame, FusedFrame


@dataclass(frozen=True, slots=True)
class SiteJob:
    """What a site's fuser is made of; cameras are numbered as in the site. `known` becomes the fuser's own."""

    name: str
    config: FusionConfig
    cameras: tuple[GroundCamera | None, ...]
    overlaps: frozenset[tuple[int, int]]
    dim: int
    known: Part

    def build(self) -> OnlineFuser:
        travel, zones = self.known
        return OnlineFuser(self.config, self.cameras, self.overlaps, self.dim, travel=travel, zones=zones)


class SiteFuser(Protocol):
    """A fuser that is asked with `begin` or `begin_flush` and gives its answer at `frames`."""

    def begin(self, items: Sequence[EmbeddedFrame]) -> None:
        """The frames of one tick."""
        ...

    def begin_flush(self) -> None:
        """There are no more."""
        ...

    def frames(self) -> list[FusedFrame]:
        """The answer to what was asked last."""
        ...

    def learned(self) -> Part:
        """What is known of travel times by now; not to be changed."""
        ...

    def knowledge(self, cameras: Sequence[str]) -> Knowledge:
        """As `OnlineFuser.knowledge`."""
        ...

    def sizes(self) -> dict[str, int]:
        """How much is kept; quick, and from any thread."""
        ...


StartSite = Callable[[SiteJob], SiteFuser]


class NearSite:
    """A site's fuser in this process."""

    def __init__(self, job: SiteJob) -> None:
        self._known = job.known
        self.fuser = job.build()
        self._answer: list[FusedFrame] = []

    def begin(self, items: Sequence[EmbeddedFrame]) -> None:
        self._answer = self.fuser.step(items)

    def begin_flush(self) -> None:
        self._answer = self.fuser.flush()

    def frames(self) -> list[FusedFrame]:
        answer, self._answer = self._answer, []
        return answer

    def learned(self) -> Part:
        return self._known

    def knowledge(self, cameras: Sequence[str]) -> Knowledge:
        return self.fuser.knowledge(cameras)

    def sizes(self) -> dict[str, int]:
        return self.fuser.sizes()
