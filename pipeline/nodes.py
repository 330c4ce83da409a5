"""The four stages as nodes of a runner, by configuration."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from pipeline.cameras import Camera, overlapping_pairs
from pipeline.config import PipelineConfig
from pipeline.factories import DetectFactory, EmbedFactory, FuseFactory, TrackFactory
from pipeline.fusion.travel import GivenTravel
from pipeline.reid.build import build_embedder
from pipeline.runtime.chain import Node
from pipeline.runtime.config import available_cores
from pipeline.site import Region

PREPARE = partial(cv2.setNumThreads, 1)
"""Called first in each process that has stages, which share the cores: OpenCV is to have no threads of its own."""


def build_nodes(
    cameras: Sequence[Camera],
    config: PipelineConfig,
    base_dir: Path,
    preview_px: int,
    num_shards: int = 1,
    *,
    given: tuple[GivenTravel, ...] = (),
    folder: Path | None = None,
) -> list[Node]:
    """The four stages, the first three with a worker for each of `num_shards` groups of cameras.

    given: what is known of travel times. folder: where the fuse stage leaves those that it has learned.
    What the embedder takes (clip length, size, dimension) is what the others are built for.
    """
    embedder = build_embedder(config.reid, base_dir)
    names = tuple(camera.name for camera in cameras)
    regions = tuple(region_of(camera) for camera in cameras)
    grounds = tuple(camera.ground for camera in cameras)
    crops = embedder.clip_length, embedder.input_hw
    detect, reid = config.detect, config.reid
    if num_shards > 1:  # each worker has its share of the cores, if nobody said otherwise
        share = max(1, available_cores() // num_shards)
        detect = detect.model_copy(update={"threads": detect.threads or share})
        reid = reid.model_copy(update={"threads": reid.threads or max(1, share // 2)})
    site = grounds, overlapping_pairs(cameras), embedder.dim
    fuse = FuseFactory(config.fusion, *site, names, given, base_dir, folder.resolve() if folder else None)
    return [
        Node("detect", DetectFactory(detect, names, regions, base_dir), num_shards, stateless=True),
        Node("track", TrackFactory(config.track, config.clips, *crops, grounds, preview_px), num_shards),
        Node("embed", EmbedFactory(reid, base_dir), num_shards, stateless=True),
        Node("fuse", fuse, merges=True, holds=config.fusion.lateness_s > 0),
    ]


def region_of(camera: Camera) -> Region:
    keep = tuple(np.asarray(polygon, np.float64) for polygon in camera.regions.keep)
    return Region(keep, tuple(np.asarray(polygon, np.float64) for polygon in camera.regions.ignore))
