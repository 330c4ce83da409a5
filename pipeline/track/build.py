"""Trackers and clip collectors by configuration."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.track.bytetrack import ByteTrack
from pipeline.track.clips import ClipCollector
from pipeline.track.config import ClipConfig, TrackConfig
from pipeline.track.tracker import Tracker

TRACKERS: dict[str, Callable[[TrackConfig], Tracker]] = {"bytetrack": ByteTrack}


def build_tracker(config: TrackConfig) -> Tracker:
    """A new tracker for one camera."""
    return TRACKERS[config.kind](config)


def build_clip_collector(config: ClipConfig, clip_length: int, input_hw: tuple[int, int]) -> ClipCollector:
    """A new clip collector for one camera; clips of `clip_length` crops of (height, width) px `input_hw`."""
    return ClipCollector(config, clip_length, input_hw)
