"""Builds the fuser."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.fusion.config import FusionConfig
from pipeline.fusion.fuser import Fuser
from pipeline.fusion.online import OnlineFuser
from pipeline.geometry.camera import GroundCamera


def build_fuser(
    config: FusionConfig, cameras: Sequence[GroundCamera | None], overlaps: frozenset[tuple[int, int]], dim: int
) -> Fuser:
    """A fuser for `cameras` (by camid, None where not calibrated), of which the pairs `overlaps` look at one place.

    dim: length of the appearance vectors. Raises ValueError for a pair that names a camera which does not exist.
    """
    for pair in sorted(overlaps):
        if not all(0 <= camid < len(cameras) for camid in pair) or pair[0] == pair[1]:
            raise ValueError(f"overlaps: {pair} is no pair of two of the {len(cameras)} cameras")
    return OnlineFuser(config, cameras, overlaps, dim)
