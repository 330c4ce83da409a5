"""When two tracklets are one person: the settings of the count."""

from __future__ import annotations

from pydantic import Field

from pipeline.settings import Settings


class CountConfig(Settings):
    """When two tracklets are one person. Calibrate `min_cosine` for a network: count validation videos at several."""

    interval_s: float = Field(3.0, gt=0, description="length of a window")
    min_cosine: float = Field(0.4, ge=-1, le=1, description="recognised from here on; depends on the network")
    ttl_windows: int | None = Field(5, ge=1, description="windows after which a person is forgotten; null: never")
    num_stored: int = Field(5, ge=1, description="latest embeddings kept of each person")
    min_boxes: int = Field(3, ge=1, description="a tracklet of fewer boxes in a window is not counted there")
    min_share: float = Field(0.2, ge=0, le=1, description="nor one in a smaller share of the window's frames")
    num_crops: int = Field(16, ge=1, description="evenly spaced crops that are embedded")
    join_fragments: bool = Field(
        False, description="a tracklet may also be a person of this window whose tracklets it does not meet in time"
    )
