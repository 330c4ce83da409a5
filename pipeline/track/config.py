"""What can be set about following people and choosing their crops; defaults in one place."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from pipeline.settings import Settings


class TrackConfig(Settings):
    """The tracker of one camera. Costs lie in [0, 1]: 0 is a perfect fit, 1 no overlap at all."""

    kind: Literal["boxes"] = Field("boxes", description="which tracker follows people")
    high_score: float = Field(0.4, ge=0, le=1, description="detections from here on are sure: matched first, to all")
    low_score: float = Field(
        0.1, ge=0, le=1, description="detections below are ignored; between, they keep tracks alive"
    )
    new_score: float = Field(0.65, ge=0, le=1, description="least score of a detection that begins a track")
    first_max_cost: float = Field(
        0.9, gt=0, le=1, description="gate of sure detections to tracks; the score is fused in"
    )
    second_max_cost: float = Field(0.4, gt=0, le=1, description="gate of unsure detections to tracks just seen")
    tentative_max_cost: float = Field(0.8, gt=0, le=1, description="gate of sure detections to unconfirmed tracks")
    buffer: float = Field(
        0.2, ge=0, le=2, description="boxes are compared as if this share of their size were added on every side"
    )
    direction_weight: float = Field(
        0.07, ge=0, le=1, description="how much a detection ahead of a track gains over one behind it"
    )
    max_lost_s: float = Field(
        2.0, gt=0, le=60, description="how long an unseen track may be found again; in proportion longer below 7.5 fps"
    )
    confirm_hits: int = Field(2, ge=1, le=50, description="detections it takes to show a track, in the first frame one")
    tentative_s: float = Field(0.0, ge=0, le=5, description="how long an unconfirmed track outlives a miss")
    duplicate_iou: float = Field(
        0.7, gt=0, le=1, description="an unconfirmed track that overlaps an older visible one beyond this ends"
    )
    camera_motion: bool = Field(
        False, description="measure how the picture moved, for cameras that pan, shake or are carried; 4 ms a frame"
    )
    ground_gate: bool = Field(
        False, description="in calibrated cameras nobody is taken to have moved faster than max_speed_mps on the floor"
    )
    appearance_max_distance: float = Field(
        0.25, ge=0, le=2, description="looks given with the boxes count only up to this cosine distance"
    )
    appearance_max_cost: float = Field(0.5, ge=0, le=1, description="and only where the boxes cost less than this")
    max_speed_mps: float = Field(
        5.0, gt=0, le=50, description="metres per second that nobody exceeds on the floor, with ground_gate"
    )
    compiled: bool = Field(True, description="use numba's compiled arithmetic where numba is installed")
    min_height_px: float = Field(8.0, ge=0, description="lower boxes are ignored")
    min_width_px: float = Field(3.0, ge=0, description="narrower boxes are ignored")

    @model_validator(mode="after")
    def _scores_in_order(self) -> Self:
        if not self.low_score <= self.high_score <= self.new_score:
            scores = f"{self.low_score}, {self.high_score}, {self.new_score}"
            raise ValueError(f"want low_score <= high_score <= new_score, got {scores}")
        return self


class ClipConfig(Settings):
    """Which crops of a person are embedded, and how often."""

    spacing_s: float = Field(0.25, gt=0, le=60, description="each crop is the best of a span this long, at first")
    spacing_growth: float = Field(2.0, ge=1, le=10, description="factor on the span after each clip of a track")
    max_spacing_s: float = Field(1.0, gt=0, le=600, description="the span grows no further")
    first_clip_crops: int = Field(
        4, ge=1, le=64, description="crops in a track's first clip: fewer give it an identity sooner"
    )
    min_quality: float = Field(0.25, ge=0, lt=1, description="worse crops are used only where a track has no better")
    full_height_px: float = Field(160.0, gt=0, description="more height than this does not make a crop better")

    @model_validator(mode="after")
    def _spans_in_order(self) -> Self:
        if self.max_spacing_s < self.spacing_s:
            raise ValueError(f"want spacing_s <= max_spacing_s, got {self.spacing_s}, {self.max_spacing_s}")
        return self
