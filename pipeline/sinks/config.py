"""Settings of what a run leaves behind."""

from __future__ import annotations

from pydantic import Field

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
