"""Trackers and clip collectors by configuration."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.track.box_tracker import BoxTracker
from pipeline.track.clips import ClipCollector
from pipeline.track.config import ClipConfig, TrackConfig
from pipeline.track.tracker import Tracker
from pipeline.types import AnyArray

TRACKERS: dict[str, type[BoxTracker]] = {"boxes": BoxTracker}


def build_tracker(config: TrackConfig) -> Tracker:
    """A new tracker for one camera."""
    return TRACKERS[config.kind](config)


def restore_tracker(config: TrackConfig, state: Mapping[str, AnyArray]) -> Tracker:
    """A tracker that goes on from a `state()`. Raises ValueError where the state does not fit."""
    return TRACKERS[config.kind].from_state(config, state)


def build_clip_collector(config: ClipConfig, clip_length: int, input_hw: tuple[int, int]) -> ClipCollector:
    """A new clip collector for one camera; clips of `clip_length` crops of (height, width) px `input_hw`."""
    return ClipCollector(config, clip_length, input_hw)
