"""Settings of what a run leaves behind."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from pipeline.settings import Settings


class OutputConfig(Settings):
    """The part `output` of pipeline.yaml."""

    mot: bool = Field(True, description="also write MOTChallenge text, mot/<camera>.txt, with global ids")
    report: bool = Field(True, description="also write report.html, the run in pictures")
    journal: bool = Field(
        True, description="while it runs, keep in journal/ what `--resume` needs after a crash; crops are in it"
    )
    snapshot_s: float = Field(
        10.0, ge=0, le=86_400, description="save the run's state so often, seconds; live cameras can lose as much"
    )
    rotate: Literal["never", "hour", "day"] = Field(
        "never", description="of a long run: also whole tables of every hour or day (UTC) when it is over"
    )
    retention_s: float | None = Field(
        None, gt=0, description="with rotate: hours or days that ended so long ago are removed, rows and tables"
    )
    retention_bytes: int | None = Field(
        None, gt=0, description="with rotate: the oldest hours or days are removed when all have more bytes than this"
    )
    count_window_s: float = Field(3.0, ge=0.1, le=86_400, description="length of the windows of counts.csv, seconds")
    visit_gap_s: float = Field(
        3.0, ge=0, le=3600, description="who is unseen in a camera for no longer has not left it (counts, transitions)"
    )
    video_width_px: int = Field(1920, ge=320, le=7680, description="the mosaic video is at most this wide")
    video_height_px: int = Field(1080, ge=240, le=4320, description="the mosaic video is at most this high")
    video_crf: int = Field(23, ge=0, le=51, description="H.264 quality: lower is better and larger")
    trail_s: float = Field(5.0, ge=0, le=60, description="length of the paths drawn on the floor map, seconds")
    stale_s: float = Field(
        1.0, gt=0, le=60, description="a camera without a frame for this long (or 2.5 of its steps) is shown as silent"
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.rotate == "never" and (self.retention_s or self.retention_bytes):
            raise ValueError("retention_s and retention_bytes count whole hours or days: set rotate to hour or day")
        return self
