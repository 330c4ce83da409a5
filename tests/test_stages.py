"""The adapters: what goes through them, what ends in them."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.detect.config import DetectConfig
from pipeline.factories import DetectFactory, EmbedFactory, FuseFactory, TrackFactory
from pipeline.fusion.config import FusionConfig
from pipeline.reid.config import ReidConfig
from pipeline.site import Region
from pipeline.stages import DetectStage, TrackStage, shrink
from pipeline.track.config import ClipConfig, TrackConfig
from pipeline.types import DetectedFrame, Detections, Frame

IMAGE = np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8)
SQUARE = np.array([[0.0, 100.0], [100.0, 100.0], [100.0, 240.0], [0.0, 240.0]])


def detections(*lefts: float) -> Detections:
    boxes = [[left, 100.0, left + 40.0, 200.0] for left in lefts]
    return Detections(np.array(boxes, np.float32).reshape(-1, 4), np.full(len(lefts), 0.9, np.float32))


def detected(index: int, *lefts: float, camid: int = 0) -> DetectedFrame:
    return DetectedFrame(Frame(camid, index, index / 10, IMAGE), detections(*lefts))


def track_stage(preview_px: int = 0) -> TrackStage:
    return TrackFactory(TrackConfig(max_lost_s=0.5), ClipConfig(), 4, (64, 32), (None,) * 4, preview_px)()


def test_people_count_where_their_feet_are_inside_keep_and_outside_ignore() -> None:
    found = detections(10, 150)
    assert Region().filter(found) is found
    assert Region(keep=(SQUARE,)).filter(found).xyxy[:, 0].tolist() == [10]
    assert Region(ignore=(SQUARE,)).filter(found).xyxy[:, 0].tolist() == [150]
    assert len(Region(keep=(SQUARE,), ignore=(SQUARE,)).filter(found)) == 0


def test_each_camera_has_its_own_region() -> None:
    class Everywhere:
        def detect(self, frames: Sequence[Frame]) -> list[Detections]:
            return [detections(10, 150) for _ in frames]

    stage = DetectStage(Everywhere(), [Region(), Region(keep=(SQUARE,))])
    out = stage([Frame(1, 0, 0.0, IMAGE), Frame(0, 0, 0.0, IMAGE)])
    assert [len(item.detections) for item in out] == [1, 2]


def test_two_cameras_number_their_tracks_by_themselves() -> None:
    stage = track_stage()
    out = [stage([detected(i, 10, 150), detected(i, 60, camid=1)]) for i in range(3)][-1]
    assert [item.tracks.track_id.tolist() for item in out] == [[1, 2], [1]]


def test_a_track_that_is_gone_for_good_is_reported_as_ended_with_its_last_clip() -> None:
    stage = track_stage()
    for i in range(3):
        stage([detected(i, 10)])
    out = [stage([detected(i)])[0] for i in range(3, 12)]
    (end,) = [item for item in out if len(item.ended)]
    assert end.ended.tolist() == [1]
    assert end.clips.track_id.tolist() == [1]
    assert 0.5 < end.time_s - 0.2 < 0.8


def test_what_is_open_at_the_end_is_flushed_once_per_camera() -> None:
    stage = track_stage()
    for i in range(3):
        stage([detected(i, 10), detected(i, 60, camid=4)])
    rest = stage.flush()
    assert [(item.camid, item.ended.tolist(), item.clips.track_id.tolist()) for item in rest] == [
        (0, [1], [1]),
        (4, [1], [1]),
    ]
    assert all(len(item.tracks) == 0 for item in rest)


def test_a_preview_is_made_only_where_a_video_is_wanted() -> None:
    assert track_stage()([detected(0, 10)])[0].preview.size == 0
    item = track_stage(preview_px=160)([detected(0, 10)])[0]
    assert item.preview.shape == (120, 160, 3) and item.preview_scale == 0.5


def test_a_preview_is_never_larger_than_the_picture() -> None:
    preview, scale = shrink(IMAGE, 1000)
    assert preview.shape == IMAGE.shape and scale == 1.0
    assert preview is not IMAGE


def test_factories_survive_pickling_and_build_working_stages() -> None:
    factories = (
        DetectFactory(DetectConfig(model="{camera}.csv"), ("a",), (Region(),), Path(".")),
        TrackFactory(TrackConfig(), ClipConfig(), 4, (64, 32), (None,), 0),
        EmbedFactory(ReidConfig(), Path(".")),
        FuseFactory(FusionConfig(), (None,), frozenset(), 8),
    )
    copies = pickle.loads(pickle.dumps(factories))
    for stage in (copies[1](), copies[2](), copies[3]()):
        assert list(stage([])) == [] and list(stage.flush()) == []
