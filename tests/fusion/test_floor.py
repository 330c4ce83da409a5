"""Two calibrated views of one floor."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.fusion.build import build_fuser
from pipeline.fusion.config import FusionConfig
from pipeline.geometry.camera import GroundCamera
from pipeline.types import FusedFrame
from tests.fusion.scenes import DIM, clip, frame, look, of_track, resolve

# Both look straight down on the floor, 100 px per metre; the second one from the other side.
PLAN = GroundCamera.from_homography(np.diag([0.01, 0.01, 1.0]))
TURNED = GroundCamera.from_homography(np.array([[-0.01, 0, 10.0], [0, -0.01, 10.0], [0, 0, 1.0]]))


def seen_by(camid: int, place_m: tuple[float, float], jitter_px: np.ndarray) -> tuple[float, float, float, float]:
    foot = (TURNED if camid else PLAN).to_image(np.array([place_m]))[0] + jitter_px
    return foot[0] - 30, foot[1] - 160, foot[0] + 30, foot[1]


def watch(
    paths: list[list[tuple[float, float]]],
    looks: list[np.ndarray],
    *,
    noise: float,
    hidden: tuple[int, int] = (0, 0),
    cameras: tuple[GroundCamera | None, ...] = (PLAN, TURNED),
) -> list[FusedFrame]:
    """Everybody is seen by both cameras at 10 Hz, person p as tracklet p + 1 in camera 0 and 10 + p in camera 1;
    somebody at (0, -1) in the corner keeps the lower border of both pictures busy."""
    rng = np.random.default_rng(0)
    fuser = build_fuser(FusionConfig(), cameras, frozenset({(0, 1)}), DIM)
    fused = []
    for i in range(len(paths[0])):
        items = []
        for camid in (0, 1):
            ids = [p + (10 if camid else 1) for p in range(len(paths))]
            boxes = {tid: seen_by(camid, path[i], rng.normal(0, 4, 2)) for tid, path in zip(ids, paths, strict=True)}
            clips = [(tid, clip(rng, v, noise)) for tid, v in zip(ids, looks, strict=True)] if i % 10 == 9 else []
            items.append(frame(camid, i, 0.1 * i, boxes=boxes, clips=clips))
        fused += fuser.step(items)
    return fused + fuser.flush()


def line(start: tuple[float, float], end: tuple[float, float], num: int = 60) -> list[tuple[float, float]]:
    return [tuple(p) for p in np.linspace(start, end, num).tolist()]


def test_people_in_uniforms_are_told_apart_by_where_they_stand() -> None:
    same = look(np.random.default_rng(1), 1)[0]
    paths = [line((2, 3), (8, 3)), line((2, 6), (8, 6)), line((5, 1.5), (5, 1.5))]
    table = resolve(watch(paths, [same] * 3, noise=0.3))
    for p in range(3):
        assert of_track(table, 0, p + 1) == of_track(table, 1, p + 10)
    assert len(set(table.values())) == 3


def test_two_who_walk_side_by_side_are_not_exchanged() -> None:
    looks = list(look(np.random.default_rng(2), 2))
    paths = [line((2, 4), (8, 4)), line((2, 4.7), (8, 4.7))]
    table = resolve(watch(paths, looks, noise=0.5))
    assert of_track(table, 0, 1) == of_track(table, 1, 10) != of_track(table, 0, 2)
    assert of_track(table, 0, 2) == of_track(table, 1, 11)


def test_twins_who_stand_far_apart_are_two_people() -> None:
    same = look(np.random.default_rng(3), 1)[0]
    rng = np.random.default_rng(0)
    fuser = build_fuser(FusionConfig(), (PLAN, TURNED), frozenset({(0, 1)}), DIM)
    fused = []
    for i in range(60):
        clips = i % 10 == 9
        items = [
            frame(
                c,
                i,
                0.1 * i,
                boxes={1: seen_by(c, place, rng.normal(0, 4, 2))},
                clips=[(1, clip(rng, same, 0.05))] * clips,
            )
            for c, place in ((0, (2.0, 3.0)), (1, (7.0, 6.0)))
        ]
        fused += fuser.step(items)
    assert len(set(resolve(fused + fuser.flush()).values())) == 2


def test_ground_places_of_both_cameras_agree_and_are_nan_without_calibration() -> None:
    looks = list(look(np.random.default_rng(4), 1))
    fused = watch([line((2, 3), (8, 3))], looks, noise=0.2)
    xy = np.array([f.ground_xy[0] for f in fused if len(f.tracks)]).reshape(-1, 2, 2)
    assert np.abs(xy[:, 0] - xy[:, 1]).max() < 0.3
    assert np.allclose(xy[0, 0], (2, 3), atol=0.2)
    fused = watch([line((2, 3), (8, 3))], looks, noise=0.2, cameras=(PLAN, None))
    assert np.isnan(fused[1].ground_xy).all() and np.isfinite(fused[0].ground_xy).all()


def test_link_on_the_floor_names_the_distance() -> None:
    fused = watch([line((2, 3), (8, 3))], list(look(np.random.default_rng(5), 1)), noise=0.2)
    link = next(event for f in fused for event in f.events if event.kind == "link")
    assert link.ground_m == pytest.approx(0.08, abs=0.08) and link.gap_s == 0.0 and link.confidence > 0.99


def test_tracklet_that_slips_onto_somebody_else_leaves_its_identity() -> None:
    looks = list(look(np.random.default_rng(6), 1))
    together = line((2, 3), (5, 3), 40)
    rng = np.random.default_rng(0)
    fuser = build_fuser(FusionConfig(), (PLAN, TURNED), frozenset({(0, 1)}), DIM)
    fused = []
    for i in range(120):
        walker = together[i] if i < 40 else (5 + 0.05 * (i - 40), 3.0)
        places = (walker, walker if i < 40 else together[-1])  # the second camera's box stays on a chair
        items = [
            frame(
                c,
                i,
                0.1 * i,
                boxes={1: seen_by(c, places[c], rng.normal(0, 4, 2))},
                clips=[(1, clip(rng, looks[0], 0.2))] if i % 10 == 9 else [],
            )
            for c in (0, 1)
        ]
        fused += fuser.step(items)
    fused += fuser.flush()
    splits = [event for f in fused for event in f.events if event.kind == "split"]
    assert [(event.global_id, event.other_id, event.track_id) for event in splits] == [(2, 1, 1)]
    assert 4.0 < splits[0].time_s < 6.5
    table = resolve(fused)
    leaver = splits[0].camid
    assert table[leaver, 10, 1] == table[1 - leaver, 10, 1] == table[1 - leaver, 119, 1] == 1
    assert table[leaver, 119, 1] == 2
