"""Adapters between the runtime and the rooms: message in, domain call, message out. No logic of their own."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from pipeline.detect.detector import Detector
from pipeline.fusion.build import TravelMemory
from pipeline.fusion.fuser import Fuser
from pipeline.fusion.reorder import Reorder
from pipeline.geometry.camera import GroundCamera
from pipeline.reid.embedder import Embedder
from pipeline.saved_state import VALUE_MODULES, load_state, save_state
from pipeline.site import Region, Site
from pipeline.site_process import STATE_MODULES
from pipeline.track.build import build_clip_collector
from pipeline.track.clips import join_clips
from pipeline.track.config import ClipConfig, TrackConfig
from pipeline.track.tracked_camera import TrackedCamera
from pipeline.types import (
    NO_PREVIEW,
    DetectedFrame,
    EmbeddedFrame,
    Frame,
    FusedFrame,
    TrackedFrame,
    Tracks,
    UInt8,
)

log = logging.getLogger(__name__)

_TRACK_STATE = *VALUE_MODULES, "pipeline.track."  # modules whose objects make up what a stage remembers
_FUSE_STATE = *STATE_MODULES, "pipeline.site_process"


class DetectStage:
    """Frame -> DetectedFrame, one batch per tick."""

    def __init__(
        self,
        detector: Detector,
        regions: Sequence[Region],
        rebuild: Callable[[Sequence[str]], Detector] | None = None,
    ) -> None:
        """rebuild: makes the detector for other cameras (names by camid), where it depends on them."""
        self._detector = detector
        self._regions = tuple(regions)
        self._rebuild = rebuild
        self._version = 0

    def follow(self, site: Site) -> tuple[DetectedFrame, ...]:
        """The cameras of the run are these from now on."""
        if site.version > self._version:
            self._version, self._regions = site.version, site.regions
            if self._rebuild is not None:
                self._detector = self._rebuild(site.names)
        return ()

    def __call__(self, items: Sequence[Frame]) -> list[DetectedFrame]:
        found = self._detector.detect(items)
        return [
            DetectedFrame(frame, self._regions[frame.camid].filter(detections))
            for frame, detections in zip(items, found, strict=True)
        ]

    def flush(self) -> list[DetectedFrame]:
        return []


class TrackStage:
    """DetectedFrame -> TrackedFrame; one `TrackedCamera` per camera. Full images end here."""

    def __init__(
        self,
        track: TrackConfig,
        clips: ClipConfig,
        clip_length: int,
        input_hw: tuple[int, int],
        *,
        grounds: Sequence[GroundCamera | None],
        preview_px: int,
    ) -> None:
        self._track_config = track
        self._new_collector = partial(build_clip_collector, clips, clip_length, input_hw)
        self._grounds = tuple(grounds)
        self._preview_px = preview_px
        self._version = 0
        self._epochs: tuple[int, ...] = ()
        self._cameras: dict[int, TrackedCamera] = {}

    def __call__(self, items: Sequence[DetectedFrame]) -> list[TrackedFrame]:
        return [self._track(item) for item in items]

    def follow(self, site: Site) -> list[TrackedFrame]:
        """The cameras of the run are these from now on. A frame for each that has gone ends its tracks; should it come
        back, its tracks are numbered on."""
        if site.version <= self._version:
            return []
        self._version, self._grounds, self._epochs = site.version, site.grounds, site.epochs
        gone = [camid for camid, camera in sorted(self._cameras.items()) if camera.epoch != site.epochs[camid]]
        farewell = [_last_frame(camid, self._cameras[camid]) for camid in gone]
        for camid in gone:
            anew = self._new_camera(camid)
            anew.number_on(self._cameras[camid])
            self._cameras[camid] = anew
        return farewell

    def flush(self) -> list[TrackedFrame]:
        """The last clips of all tracks that are still open, one frame without tracks per camera."""
        return [_last_frame(camid, camera) for camid, camera in sorted(self._cameras.items())]

    def state(self) -> dict[int, bytes]:
        """What `restore` needs, by camera."""
        return {camid: save_state(camera.state()) for camid, camera in self._cameras.items()}

    def restore(self, state: Mapping[int, bytes]) -> None:
        """Go on as the stage did whose `state()` this was. Raises StateError."""
        for camid, data in state.items():
            camera = self._cameras[camid] = self._new_camera(camid)
            camera.restore(load_state(data, _TRACK_STATE))

    def _track(self, item: DetectedFrame) -> TrackedFrame:
        frame = item.frame
        camera = self._cameras.get(frame.camid)
        if camera is None:
            camera = self._cameras[frame.camid] = self._new_camera(frame.camid)
        tracks, clips, ended = camera.update(frame, item.detections)
        preview, scale = shrink(frame.image, self._preview_px)
        return TrackedFrame(frame.camid, frame.frame_idx, frame.time_s, tracks, clips, ended, preview, scale)

    def _new_camera(self, camid: int) -> TrackedCamera:
        # A worker that replaces a lost one is told with the next tick of cameras that are new.
        ground = self._grounds[camid] if camid < len(self._grounds) else None
        epoch = self._epochs[camid] if camid < len(self._epochs) else 0
        return TrackedCamera(self._track_config, self._new_collector(), ground, epoch)


def _last_frame(camid: int, camera: TrackedCamera) -> TrackedFrame:
    """A frame without tracks that ends all that are open."""
    clips, ended = camera.finish()
    return TrackedFrame(camid, camera.frame_idx, camera.time_s, Tracks.empty(), clips, ended, NO_PREVIEW, 1.0)


class EmbedStage:
    """TrackedFrame -> EmbeddedFrame, the clips of all cameras of a tick in one batch."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    def __call__(self, items: Sequence[TrackedFrame]) -> list[EmbeddedFrame]:
        if not items:
            return []
        embedded = self._embedder.embed(join_clips(*(item.clips for item in items)))
        ends = np.cumsum([len(item.clips) for item in items])
        out = []
        for item, end in zip(items, ends, strict=True):
            rows = slice(int(end) - len(item.clips), int(end))
            out.append(
                EmbeddedFrame(
                    camid=item.camid,
                    frame_idx=item.frame_idx,
                    time_s=item.time_s,
                    tracks=item.tracks,
                    embeddings=embedded[rows],
                    ended=item.ended,
                    preview=item.preview,
                    preview_scale=item.preview_scale,
                )
            )
        return out

    def flush(self) -> list[EmbeddedFrame]:
        return []


@dataclass(frozen=True, slots=True)
class Ending:
    """Leaves in `folder` what was learned in a run: travel times, what the association knows."""

    memory: TravelMemory
    camera_names: tuple[str, ...]
    folder: Path

    def follow(self, site: Site) -> Ending:
        self.memory.follow(site.names)
        return replace(self, camera_names=site.names)

    def save(self, fuser: Fuser) -> None:
        """What was learned is worth a warning, but not the results of the run."""
        try:
            self.memory.save(self.folder)
            fuser.save(self.folder, self.camera_names)
        except OSError as error:
            reason = error.strerror or error
            log.warning("%s: what the association has learned could not be saved: %s", self.folder, reason)


class FuseStage:
    """EmbeddedFrame -> FusedFrame, all cameras of a site.

    With a `reorder`, frames leave some time after they came, and those that came too late never do.
    """

    def __init__(self, fuser: Fuser, reorder: Reorder | None = None, ending: Ending | None = None) -> None:
        """ending: what is done when the run ends as it should."""
        self._fuser = fuser
        self._reorder = reorder
        self._ending = ending
        self._version = 0

    def follow(self, site: Site) -> tuple[FusedFrame, ...]:
        """The cameras of the run are these from now on."""
        if site.version > self._version:
            self._version = site.version
            self._fuser.follow(site.grounds, site.overlaps, site.given)
            if self._reorder is not None:
                self._reorder.follow(site.names)
            if self._ending is not None:
                self._ending = self._ending.follow(site)
        return ()

    def __call__(self, items: Sequence[EmbeddedFrame]) -> list[FusedFrame]:
        if self._reorder is None:
            return self._fuser.step(items)
        return [fused for tick in self._reorder.add(items) for fused in self._fuser.step(tick)]

    def sizes(self) -> dict[str, int]:
        """How much is kept at this moment."""
        return {**self._fuser.sizes(), "frames_reordered": len(self._reorder) if self._reorder else 0}

    def flush(self) -> list[FusedFrame]:
        rest = self._reorder.flush() if self._reorder else []
        fused = [frame for tick in rest for frame in self._fuser.step(tick)] + self._fuser.flush()
        if self._ending is not None:
            self._ending.save(self._fuser)
        return fused

    def state(self) -> bytes:
        """All that is remembered: identities, what was learned, frames that wait."""
        memory = self._ending.memory if self._ending else None
        return save_state((self._fuser, self._reorder, memory, self._version))

    def restore(self, state: bytes) -> None:
        """Go on as the stage did whose `state()` this was. Raises StateError."""
        self._fuser, self._reorder, memory, self._version = load_state(state, _FUSE_STATE)
        if self._ending is not None:
            self._ending = replace(self._ending, memory=memory)


def shrink(image: UInt8, width_px: int) -> tuple[UInt8, float]:
    """The picture scaled down to at most `width_px`, with the scale; nothing where `width_px` is 0."""
    if not width_px:
        return NO_PREVIEW, 1.0
    scale = min(1.0, width_px / image.shape[1])
    if scale == 1.0:
        return image.copy(), 1.0
    size = (width_px, max(1, round(image.shape[0] * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8), scale
