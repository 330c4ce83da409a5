"""What builds each stage where it is to work: small frozen values that can be sent to any process."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pipeline.detect.build import build_detector, depends_on_cameras
from pipeline.detect.config import DetectConfig
from pipeline.fusion.build import TravelMemory, build_fuser
from pipeline.fusion.config import FusionConfig
from pipeline.fusion.reorder import Reorder
from pipeline.fusion.travel import GivenTravel
from pipeline.geometry.camera import GroundCamera
from pipeline.reid.build import build_embedder
from pipeline.reid.config import ReidConfig
from pipeline.site import Region
from pipeline.site_process import SiteProcess
from pipeline.stages import DetectStage, EmbedStage, Ending, FuseStage, TrackStage
from pipeline.track.config import ClipConfig, TrackConfig


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
