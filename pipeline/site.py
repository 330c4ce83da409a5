"""The cameras of a run as the stages know them, by camid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.fusion.travel import GivenTravel
from pipeline.geometry.boxes import foot_point, in_polygon
from pipeline.geometry.camera import GroundCamera
from pipeline.types import Detections, Float64


@dataclass(frozen=True, slots=True)
class Region:
    """Where in a camera's picture people count: inside any `keep` polygon (or none given) and in no `ignore` one."""

    keep: tuple[Float64, ...] = ()  # each (P, 2) px
    ignore: tuple[Float64, ...] = ()

    def filter(self, detections: Detections) -> Detections:
        """The detections whose foot point counts."""
        if not (self.keep or self.ignore) or not len(detections):
            return detections
        feet = foot_point(detections.xyxy)
        kept = np.zeros(len(feet), np.bool_) if self.keep else np.ones(len(feet), np.bool_)
        for polygon in self.keep:
            kept |= in_polygon(feet, polygon)
        for polygon in self.ignore:
            kept &= ~in_polygon(feet, polygon)
        return detections[kept]


@dataclass(frozen=True, slots=True)
class Site:
    """All cameras of a run by camid, where some came or went while it ran; `version` rises with each such change.

    `epochs`: how often a camera has come or gone: it is there where the number is even. Who has gone keeps its place.
    """

    version: int
    names: tuple[str, ...]
    regions: tuple[Region, ...]
    grounds: tuple[GroundCamera | None, ...]
    overlaps: frozenset[tuple[int, int]]
    epochs: tuple[int, ...]
    given: tuple[GivenTravel, ...] = ()  # of the ways to and from cameras that are new
