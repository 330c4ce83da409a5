"""What can be set about mending tracklets after the fact; defaults in one place."""

from __future__ import annotations

from pydantic import Field

from pipeline.settings import Settings


class SmoothingConfig(Settings):
    """Joining, filling and smoothing the tracklets of one camera, offline. Lengths are in box heights."""

    merge_gap_s: float = Field(4.0, ge=0, le=600, description="tracklets further apart in time are not joined; 0: none")
    merge_slack: float = Field(
        1.0, gt=0, le=20, description="how far the next tracklet may begin from where motion expects it, in heights"
    )
    merge_slack_per_s: float = Field(0.5, ge=0, le=20, description="by how much that grows per second of the gap")
    merge_size_ratio: float = Field(
        1.6, gt=1, le=10, description="greatest ratio of the heights of two that are joined"
    )
    merge_distance: float = Field(
        0.2, gt=0, le=2, description="greatest cosine distance of two that are joined; depends on the network"
    )
    blind_share: float = Field(
        0.0, ge=0, le=1, description="share of the slack for tracklets without appearance; 0: those are not joined"
    )
    motion_window_s: float = Field(1.0, gt=0, le=60, description="the motion at an end is that of so much of the path")
    max_gap_s: float = Field(1.0, ge=0, le=600, description="longer gaps in a path stay open; 0: all of them")
    fill_presence: float = Field(
        0.7, ge=0, le=1, description="gaps of a path that was seen in fewer of the frames around stay open"
    )
    presence_window_s: float = Field(1.0, gt=0, le=60, description="so long before and after a gap counts as around")
    centre_sigma_s: float = Field(0.2, ge=0, le=60, description="width of the kernel that smooths the centre; 0: none")
    size_sigma_s: float = Field(0.4, ge=0, le=60, description="width of the kernel that smooths the size; 0: none")
