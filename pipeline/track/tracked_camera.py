"""One camera between its frames: its tracker, its clip collector, its own movement, and who is visible in it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from pipeline.geometry.camera import GroundCamera
from pipeline.track.build import build_tracker, restore_tracker
from pipeline.track.camera_motion import CameraMotion
from pipeline.track.clips import ClipCollector, join_clips
from pipeline.track.config import TrackConfig
from pipeline.track.cues import NO_CUES, Cues, ground_cue
from pipeline.types import Clips, Detections, Float32, Frame, Int64, Tracks, UInt8


class TrackedCamera:
    """Follows the people of one camera and collects their clips. One instance per camera.

    collector: a new one. ground: of a calibrated camera; a cue where the configuration asks for it. epoch: how often
    the camera had come or gone when this was made.
    """

    def __init__(
        self, config: TrackConfig, collector: ClipCollector, ground: GroundCamera | None = None, epoch: int = 0
    ) -> None:
        self._config = config
        self._tracker = build_tracker(config)
        self._collector = collector
        self._ground = ground if config.ground_gate else None
        self._motion = CameraMotion() if config.camera_motion else None
        self._live: Int64 = np.zeros(0, np.int64)
        self.epoch = epoch
        self.frame_idx = 0  # of the last frame
        self.time_s = 0.0

    def update(self, frame: Frame, detections: Detections) -> tuple[Tracks, Clips, Int64]:
        """The tracks visible in the frame, the clips that became ready, and (E,) ids of the tracks that have ended,
        whose last clips are among those. Raises ValueError as `Tracker.update` does."""
        self.frame_idx, self.time_s = frame.frame_idx, frame.time_s
        tracks = self._tracker.update(detections, frame.time_s, self._cues(frame.image, detections.xyxy))
        clips = self._collector.update(frame.image, tracks, frame.time_s)
        live = self._tracker.live_ids()
        ended = np.setdiff1d(self._live, live, assume_unique=True)
        self._live = live
        if len(ended):
            clips = join_clips(clips, self._collector.finish(ended))
        return tracks, clips, ended

    def finish(self) -> tuple[Clips, Int64]:
        """The last clips of all tracks that are still open, and their ids (L,). There is no frame after that."""
        return self._collector.finish(self._live), self._live

    def number_on(self, before: TrackedCamera) -> None:
        """Number the tracks on where `before`, which this new one comes after, has ended; none of them is kept."""
        state = {**self._tracker.state(), "next_id": before._tracker.state()["next_id"]}
        self._tracker = restore_tracker(self._config, state)
        self.frame_idx, self.time_s = before.frame_idx, before.time_s

    def state(self) -> tuple[Any, ...]:
        """What `restore` needs. It holds objects that the next frame changes: to be written down before that."""
        tracker = self._tracker.state()
        return tracker, self._collector, self._motion, self._live, self.frame_idx, self.time_s, self.epoch

    def restore(self, state: tuple[Any, ...]) -> None:
        """Go on as the one did whose `state()` this was."""
        tracker, self._collector, self._motion, self._live, self.frame_idx, self.time_s, self.epoch = state
        self._tracker = restore_tracker(self._config, tracker)

    def _cues(self, image: UInt8, xyxy: Float32) -> Cues:
        """What the tracker is told beside the boxes: nothing, unless the configuration asks for more."""
        cues = NO_CUES
        if self._motion is not None:
            cues = replace(cues, camera_motion=self._motion.update(image, xyxy))
        if self._ground is not None:
            cues = replace(cues, ground=ground_cue(xyxy, self._ground))
        return cues
