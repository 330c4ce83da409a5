"""Adapters between the runtime and the rooms: message in, domain call, message out. No logic of their own.

Each factory is a small frozen value that can be pickled and builds its stage where the stage is to work.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from pipeline.detect.build import build_detector, depends_on_cameras
from pipeline.detect.config import DetectConfig
from pipeline.detect.detector import Detector
from pipeline.fusion.build import TravelMemory, build_fuser
from pipeline.fusion.config import FusionConfig
from pipeline.fusion.fuser import Fuser
from pipeline.fusion.reorder import Reorder
from pipeline.fusion.travel import GivenTravel
from pipeline.geometry.camera import GroundCamera
from pipeline.reid.build import build_embedder
from pipeline.reid.config import ReidConfig
from pipeline.reid.embedder import Embedder
from pipeline.saved_state import VALUE_MODULES, load_state, save_state
from pipeline.site import Region, Site
from pipeline.site_process import STATE_MODULES, SiteProcess
from pipeline.track.build import build_clip_collector, build_tracker, restore_tracker
from pipeline.track.camera_motion import CameraMotion
from pipeline.track.clips import ClipCollector
from pipeline.track.config import ClipConfig, TrackConfig
from pipeline.track.cues import NO_CUES, Cues, ground_cue
from pipeline.track.tracker import Tracker
from pipeline.types import (
    NO_PREVIEW,
    Clips,
    DetectedFrame,
    EmbeddedFrame,
    Frame,
    FusedFrame,
    Int64,
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


@dataclass(slots=True)
class _Camera:
    """What the track stage keeps of one camera."""

    tracker: Tracker
    collector: ClipCollector
    ground: GroundCamera | None  # where its floor is used as a cue
    motion: CameraMotion | None
    live: Int64
    frame_idx: int
    time_s: float
    epoch: int = 0  # of `Site`


class TrackStage:
    """DetectedFrame -> TrackedFrame; one tracker and one clip collector per camera. Full images end here."""

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
        self._clip_config = clips
        self._clip_length = clip_length
        self._input_hw = input_hw
        self._grounds = tuple(grounds)
        self._preview_px = preview_px
        self._version = 0
        self._epochs: tuple[int, ...] = ()
        self._cameras: dict[int, _Camera] = {}

    def __call__(self, items: Sequence[DetectedFrame]) -> list[TrackedFrame]:
        return [self._track(item) for item in items]

    def follow(self, site: Site) -> list[TrackedFrame]:
        """The cameras of the run are these from now on. A frame for each that has gone ends its tracks; should it come
        back, its tracks are numbered on."""
        if site.version <= self._version:
            return []
        self._version, self._grounds, self._epochs = site.version, site.grounds, site.epochs
        farewell = []
        for camid, camera in sorted(self._cameras.items()):
            if camera.epoch == site.epochs[camid]:
                continue
            clips = camera.collector.finish(camera.live)
            farewell.append(self._message(camid, camera, Tracks.empty(), clips, camera.live, (NO_PREVIEW, 1.0)))
            anew = self._new_camera(camid)
            number_on = {**anew.tracker.state(), "next_id": camera.tracker.state()["next_id"]}
            self._cameras[camid] = replace(
                anew,
                tracker=restore_tracker(self._track_config, number_on),
                frame_idx=camera.frame_idx,
                time_s=camera.time_s,
            )
        return farewell

    def flush(self) -> list[TrackedFrame]:
        """The last clips of all tracks that are still open, one frame without tracks per camera."""
        rest = []
        for camid, camera in sorted(self._cameras.items()):
            clips = camera.collector.finish(camera.live)
            rest.append(self._message(camid, camera, Tracks.empty(), clips, camera.live, (NO_PREVIEW, 1.0)))
        return rest

    def state(self) -> dict[int, bytes]:
        """What `restore` needs, by camera."""
        return {
            camid: save_state(
                (
                    camera.tracker.state(),
                    camera.collector,
                    camera.motion,
                    camera.live,
                    camera.frame_idx,
                    camera.time_s,
                    camera.epoch,
                )
            )
            for camid, camera in self._cameras.items()
        }

    def restore(self, state: Mapping[int, bytes]) -> None:
        """Go on as the stage did whose `state()` this was. Raises StateError."""
        for camid, data in state.items():
            tracker, collector, motion, live, frame_idx, time_s, epoch = load_state(data, _TRACK_STATE)
            self._cameras[camid] = replace(
                self._new_camera(camid),
                tracker=restore_tracker(self._track_config, tracker),
                collector=collector,
                motion=motion,
                live=live,
                frame_idx=frame_idx,
                time_s=time_s,
                epoch=epoch,
            )

    def _track(self, item: DetectedFrame) -> TrackedFrame:
        frame = item.frame
        camera = self._cameras.get(frame.camid)
        if camera is None:
            camera = self._cameras[frame.camid] = self._new_camera(frame.camid)
        camera.frame_idx, camera.time_s = frame.frame_idx, frame.time_s
        tracks = camera.tracker.update(item.detections, frame.time_s, _cues(camera, item))
        ready = camera.collector.update(frame.image, tracks, frame.time_s)
        live = camera.tracker.live_ids()
        ended = np.setdiff1d(camera.live, live, assume_unique=True)
        camera.live = live
        clips = join_clips(ready, camera.collector.finish(ended)) if len(ended) else ready
        return self._message(frame.camid, camera, tracks, clips, ended, shrink(frame.image, self._preview_px))

    def _new_camera(self, camid: int) -> _Camera:
        collector = build_clip_collector(self._clip_config, self._clip_length, self._input_hw)
        known = camid < len(self._grounds)  # a restored worker is told of new cameras with the next tick
        ground = self._grounds[camid] if self._track_config.ground_gate and known else None
        motion = CameraMotion() if self._track_config.camera_motion else None
        return _Camera(
            build_tracker(self._track_config),
            collector,
            ground,
            motion,
            live=np.zeros(0, np.int64),
            frame_idx=0,
            time_s=0,
            epoch=self._epochs[camid] if camid < len(self._epochs) else 0,
        )

    @staticmethod
    def _message(
        camid: int, camera: _Camera, tracks: Tracks, clips: Clips, ended: Int64, preview: tuple[UInt8, float]
    ) -> TrackedFrame:
        return TrackedFrame(
            camid=camid,
            frame_idx=camera.frame_idx,
            time_s=camera.time_s,
            tracks=tracks,
            clips=clips,
            ended=ended,
            preview=preview[0],
            preview_scale=preview[1],
        )


def _cues(camera: _Camera, item: DetectedFrame) -> Cues:
    """What the tracker is told beside the boxes: nothing, unless the configuration asks for more."""
    if camera.ground is None and camera.motion is None:
        return NO_CUES
    xyxy, cues = item.detections.xyxy, NO_CUES
    if camera.motion is not None:
        cues = replace(cues, camera_motion=camera.motion.update(item.frame.image, xyxy))
    if camera.ground is not None:
        cues = replace(cues, ground=ground_cue(xyxy, camera.ground))
    return cues


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


@dataclass(frozen=True, slots=True)
class DetectFactory:
    config: DetectConfig
    camera_names: tuple[str, ...]
    regions: tuple[Region, ...]
    base_dir: Path

    def __call__(self) -> DetectStage:
        rebuild = partial(build_detector, self.config, base_dir=self.base_dir)
        by_camera = depends_on_cameras(self.config, self.base_dir)
        return DetectStage(rebuild(self.camera_names), self.regions, rebuild if by_camera else None)


@dataclass(frozen=True, slots=True)
class TrackFactory:
    track: TrackConfig
    clips: ClipConfig
    clip_length: int
    input_hw: tuple[int, int]
    grounds: tuple[GroundCamera | None, ...]
    preview_px: int

    def __call__(self) -> TrackStage:
        sizes = self.clip_length, self.input_hw
        return TrackStage(self.track, self.clips, *sizes, grounds=self.grounds, preview_px=self.preview_px)


@dataclass(frozen=True, slots=True)
class EmbedFactory:
    config: ReidConfig
    base_dir: Path

    def __call__(self) -> EmbedStage:
        return EmbedStage(build_embedder(self.config, self.base_dir))


@dataclass(frozen=True, slots=True)
class FuseFactory:
    """Builds the fuse stage; with a `folder`, the travel times that it has learned are in it at the end of the run."""

    config: FusionConfig
    cameras: tuple[GroundCamera | None, ...]
    overlaps: frozenset[tuple[int, int]]
    dim: int
    camera_names: tuple[str, ...] = ()  # by camid
    given: tuple[GivenTravel, ...] = ()
    base_dir: Path = Path()
    folder: Path | None = None

    def __call__(self) -> FuseStage:
        names = self.camera_names or tuple(map(str, range(len(self.cameras))))
        memory = TravelMemory(self.config, names, self.given, self.base_dir)
        fuser = build_fuser(self.config, self.cameras, self.overlaps, self.dim, memory, SiteProcess)
        reorder = Reorder(self.config.lateness_s, names) if self.config.lateness_s else None
        return FuseStage(fuser, reorder, Ending(memory, names, self.folder) if self.folder else None)


def join_clips(*parts: Clips) -> Clips:
    """All clips in one value, in order; the parts must agree on T, h and w."""
    filled = [part for part in parts if len(part)] or [parts[0]]
    if len(filled) == 1:
        return filled[0]
    return Clips(
        track_id=np.concatenate([part.track_id for part in filled]),
        image=np.concatenate([part.image for part in filled]),
        num_crops=np.concatenate([part.num_crops for part in filled]),
        quality=np.concatenate([part.quality for part in filled]),
    )


def shrink(image: UInt8, width_px: int) -> tuple[UInt8, float]:
    """The picture scaled down to at most `width_px`, with the scale; nothing where `width_px` is 0."""
    if not width_px:
        return NO_PREVIEW, 1.0
    scale = min(1.0, width_px / image.shape[1])
    if scale == 1.0:
        return image.copy(), 1.0
    size = (width_px, max(1, round(image.shape[0] * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8), scale
