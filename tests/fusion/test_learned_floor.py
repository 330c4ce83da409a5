"""A floor learned from people seen at once: exact cameras, noisy boxes, misses, nobody says who is who."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from pipeline.fusion.association_file import learned_floors
from pipeline.fusion.config import FusionConfig
from pipeline.fusion.learned_floor import LearnedFloor, is_good
from pipeline.fusion.online import OnlineFuser
from pipeline.fusion.self_calibration import PairFit, explained, learn_pair
from pipeline.fusion.self_calibration_feet import Feet, FeetBuffer
from pipeline.fusion.self_calibration_metric import ground_of_one
from pipeline.geometry.camera import GroundCamera
from pipeline.types import EmbeddedFrame, Float32, Float64
from tests.fusion.scenes import frame, of_track, resolve
from tests.shared import SHARED, needs_shared

WIDTH, HEIGHT = 1280.0, 720.0
FPS = 4.0
TALL_M = 1.7


class Eye:
    """A camera at `at` (x, y, height in metres) that looks at the floor point `to`, with its exact projection."""

    def __init__(self, at: tuple[float, float, float], to: tuple[float, float], focal_px: float = 1000.0) -> None:
        forward = np.array([to[0], to[1], 0.9]) - at
        forward /= np.linalg.norm(forward)
        right = np.cross(forward, (0.0, 0.0, 1.0))
        right /= np.linalg.norm(right)
        rotation = np.stack((right, np.cross(forward, right), forward))
        self._pose = np.column_stack((rotation, -rotation @ at))
        self._intrinsic = np.array([[focal_px, 0, WIDTH / 2], [0, focal_px, HEIGHT / 2], [0, 0, 1]])
        self.true = GroundCamera.from_projection(self._intrinsic, np.zeros(5), self._pose)

    def sees(self, xyz: Float64) -> Float64:
        """(N, 3) metres -> (N, 2) px, NaN behind the camera."""
        seen = np.column_stack((xyz, np.ones(len(xyz)))) @ (self._intrinsic @ self._pose).T
        return np.where(seen[:, 2:] > 0.1, seen[:, :2] / seen[:, 2:], np.nan)

    def boxes(self, places: Float64, rng: np.random.Generator, miss: float = 0.1) -> tuple[np.ndarray, Float32]:
        """People at (N, 2) m -> who is seen, (K,) ascending; boxes (K, 4), their edges off by 2 % of the height."""
        feet = self.sees(np.column_stack((places, np.zeros(len(places)))))
        head = self.sees(np.column_stack((places, np.full(len(places), TALL_M))))
        tall = feet[:, 1] - head[:, 1]
        noise = rng.normal(0, 0.02, (len(places), 2)) * tall[:, None]
        middle, low = feet[:, 0] + noise[:, 0], feet[:, 1] + noise[:, 1]
        boxes = np.column_stack((middle - 0.2 * tall, head[:, 1], middle + 0.2 * tall, low))
        boxes = np.clip(boxes, 0, (WIDTH, HEIGHT, WIDTH, HEIGHT))
        inside = np.isfinite(feet).all(axis=1) & (middle > 0) & (middle < WIDTH) & (head[:, 1] < HEIGHT - 40)
        seen = np.flatnonzero(inside & (rng.random(len(places)) > miss) & (boxes[:, 3] > boxes[:, 1] + 20))
        return seen, boxes[seen].astype(np.float32)


EYES = (
    Eye((-1.0, -2.0, 3.0), (5.0, 4.0)),
    Eye((11.0, -2.0, 2.6), (5.0, 4.0)),
    Eye((5.0, 11.0, 3.4), (5.0, 3.0), 850.0),
)


def crowd(rng: np.random.Generator, num_people: int, seconds: float) -> Float64:
    """(T, P, 2) people who walk from place to place on a floor of 10 x 8 m."""
    steps = int(seconds * FPS)
    paths = np.zeros((steps, num_people, 2))
    for person in range(num_people):
        place, goal = rng.uniform((0, 0), (10, 8)), rng.uniform((0, 0), (10, 8))
        speed = rng.uniform(0.7, 1.4) / FPS
        for step in range(steps):
            if np.linalg.norm(goal - place) < speed:
                goal = rng.uniform((0, 0), (10, 8))
            place = place + speed * (goal - place) / np.linalg.norm(goal - place)
            paths[step, person] = place
    return paths


def watch(paths: Float64, eyes: tuple[Eye, ...], rng: np.random.Generator) -> Iterator[list[EmbeddedFrame]]:
    """What the cameras show; tracklet numbers say nothing of who it is."""
    names = [1 + rng.permutation(paths.shape[1]) for _ in eyes]
    for step, places in enumerate(paths):
        items = []
        for camid, eye in enumerate(eyes):
            seen, boxes = eye.boxes(places, rng)
            tracks = dict(zip(names[camid][seen].tolist(), map(tuple, boxes.tolist()), strict=True))
            items.append(frame(camid, step, step / FPS, boxes=tracks))
        yield items


def feet_of(paths: Float64, eyes: tuple[Eye, ...], seed: int) -> list[Feet]:
    buffers = [FeetBuffer(600.0) for _ in eyes]
    for items in watch(paths, eyes, np.random.default_rng(seed)):
        for item in items:
            buffers[item.camid].add(item.time_s, item.tracks.track_id, item.tracks.xyxy)
    return [buffer.feet() for buffer in buffers]


def learned(paths: Float64, eyes: tuple[Eye, ...], overlaps: set[tuple[int, int]]) -> LearnedFloor:
    floor = LearnedFloor(FusionConfig(learn_every_s=15.0), [None] * len(eyes), frozenset(overlaps))
    for items in watch(paths, eyes, np.random.default_rng(1)):
        floor.observe(items)
        floor.update(items[0].time_s)
    return floor


def aligned(found: Float64, true: Float64) -> tuple[Float64, float]:
    """(N, 2) points turned, moved, mirrored and scaled onto others -> their errors (N,), and the scale."""
    a, b = found - found.mean(axis=0), true - true.mean(axis=0)
    u, s, v = np.linalg.svd(a.T @ b)
    scale = float(s.sum() / (a**2).sum())
    return np.linalg.norm(scale * a @ u @ v - b, axis=1), scale


def grid_seen_by(*eyes: Eye) -> Float64:
    grid = np.stack(np.meshgrid(np.linspace(1, 9, 17), np.linspace(1, 7, 13)), axis=-1).reshape(-1, 2)
    for eye in eyes:
        seen = eye.true.to_image(grid)
        grid = grid[((seen > 0) & (seen < (WIDTH, HEIGHT))).all(axis=1)]
    return grid


def test_homography_of_two_views_is_right_to_some_centimetres() -> None:
    a, b = feet_of(crowd(np.random.default_rng(0), 7, 40), EYES[:2], seed=3)
    fit = learn_pair(a, b, np.random.default_rng(0))
    assert fit is not None and is_good(fit, FusionConfig())
    assert fit.num_confirmed == fit.num_people >= 5
    assert fit.residual < 0.1 and fit.gain > 2
    grid = grid_seen_by(*EYES[:2])
    there = EYES[0].true.to_image(grid)
    there = np.column_stack((there, np.ones(len(grid)))) @ fit.a_to_b.T
    error_m = np.linalg.norm(EYES[1].true.to_ground(there[:, :2] / there[:, 2:]) - grid, axis=1)
    assert np.median(error_m) < 0.06 and error_m.max() < 0.3
    share, count = explained(fit, a, b)
    assert count > 100 and share > 0.7 > 0.4 > explained(fit, a, b.late(0.5, a))[0]


def test_three_cameras_stand_on_one_floor_of_about_metres() -> None:
    floor = learned(crowd(np.random.default_rng(4), 7, 31), EYES, {(0, 1), (1, 2), (0, 2)})
    assert [q.cameras for q in floor.quality] == [(0, 1), (0, 2), (1, 2)]
    told = learned_floors(floor, ("a", "b", "c"))
    assert [(entry["cameras"], entry["used"]) for entry in told] == [
        (["a", "b"], True),
        (["a", "c"], True),
        (["b", "c"], True),
    ]
    assert all(entry["num_confirmed"] >= 4 and entry["residual_m"] < 0.3 for entry in told)
    assert floor.allowed().sum() == 6
    grid = grid_seen_by(*EYES)
    places = []
    for camid, eye in enumerate(EYES):
        camera = floor.camera(camid)
        assert camera is not None
        places.append(camera.to_ground(eye.true.to_image(grid)))
        error, scale = aligned(places[-1], grid)
        assert 0.8 < scale < 1.25 and np.median(error) < 0.3
    for other in places[1:]:
        assert np.median(np.linalg.norm(other - places[0], axis=1)) < 0.15
    assert all(q.residual_m < 0.3 and q.explained > 2 * q.explained_by_chance for q in floor.quality)


@pytest.mark.parametrize("seed", [0, 1])
def test_views_of_different_places_get_no_floor(seed: int) -> None:
    here, there = (crowd(np.random.default_rng(10 * seed + i), 7, 40) for i in (5, 6))
    a = feet_of(here, EYES[:1], seed)[0]
    b = feet_of(there, EYES[1:2], seed + 1)[0]
    fit = learn_pair(a, b, np.random.default_rng(seed))
    assert fit is None or not is_good(fit, FusionConfig())


def test_no_floor_without_people_at_once() -> None:
    a, b = feet_of(crowd(np.random.default_rng(0), 3, 10), EYES[:2], seed=3)
    assert learn_pair(a, replace(b, moment=b.moment + 1000), np.random.default_rng(0)) is None
    assert learn_pair(a, b[b.moment < 0], np.random.default_rng(0)) is None
    (told,) = learned_floors(LearnedFloor(FusionConfig(), [None, None], frozenset({(0, 1)})), ("a", "b"))
    assert told["cameras"] == ["a", "b"] and not told["used"] and told["reason"]


def test_floor_is_forgotten_when_a_camera_is_turned() -> None:
    turned = (EYES[0], Eye((11.0, -2.0, 2.6), (2.0, 5.5)))
    paths = crowd(np.random.default_rng(2), 7, 60)
    rng = np.random.default_rng(1)
    floor = LearnedFloor(FusionConfig(learn_every_s=15.0), (None, None), frozenset({(0, 1)}))
    history = []
    for step, (before, after) in enumerate(zip(watch(paths, EYES[:2], rng), watch(paths, turned, rng), strict=True)):
        items = before if step < 25 * FPS else after
        floor.observe(items)
        if floor.update(items[0].time_s):
            history.append((items[0].time_s, len(floor.quality), bool(floor.allowed().any())))
    assert history[0] == (15.0, 1, True)
    assert (30.0, 0, False) in history or (45.0, 0, False) in history


def test_learning_is_deterministic() -> None:
    paths = crowd(np.random.default_rng(0), 6, 20)
    one, two = (learned(paths, EYES[:2], {(0, 1)}) for _ in range(2))
    assert one.quality == two.quality
    for camid in (0, 1):
        first, second = one.camera(camid), two.camera(camid)
        assert (first is None) == (second is None)
        if first is not None and second is not None:
            assert np.array_equal(first.image_to_ground, second.image_to_ground)


def test_people_without_any_picture_are_one_person_in_both_views_once_the_floor_is_known() -> None:
    paths = crowd(np.random.default_rng(7), 6, 40)
    fuser = OnlineFuser(FusionConfig(learn_every_s=15.0), (None, None), frozenset({(0, 1)}), 8)
    rng = np.random.default_rng(1)
    names = [1 + np.random.default_rng(1).permutation(6)]  # the first draw of `watch`
    fused = []
    for items in watch(paths, EYES[:2], rng):
        items = [replace(item, embeddings=frame(0, 0, 0.0, dim=8).embeddings) for item in items]
        fused += fuser.step(items)
    fused += fuser.flush()
    assert fuser.learned_floor.quality
    assert all(np.isnan(f.ground_xy).all() for f in fused)  # what is written stays metres of calibrated cameras
    table = resolve(fused)
    number = names[0].tolist()
    both = np.random.default_rng(1)
    other = [both.permutation(6) for _ in range(2)][1] + 1
    last = {(c, t): gid for (c, _, t), gid in sorted(table.items(), key=lambda row: row[0][1])}
    same = [last[0, number[p]] == last[1, int(other[p])] for p in range(6) if (0, number[p]) in last]
    assert sum(same) >= 5
    assert len({gid for (c, _), gid in last.items() if c == 0}) == len([key for key in last if key[0] == 0])


def test_frozen_floor_learns_no_more_and_switched_off_learns_nothing() -> None:
    paths = crowd(np.random.default_rng(0), 6, 20)
    off = LearnedFloor(FusionConfig(learn_floor=False), (None, None), frozenset({(0, 1)}))
    frozen = LearnedFloor(FusionConfig(), (None, None), frozenset({(0, 1)}))
    frozen.freeze()
    for items in watch(paths, EYES[:2], np.random.default_rng(1)):
        for floor in (off, frozen):
            floor.observe(items)
            assert not floor.update(items[0].time_s + 100)
    assert off.camera(0) is None and not off.allowed().any() and not frozen.quality


def test_calibrated_cameras_need_nothing_learned() -> None:
    floor = LearnedFloor(FusionConfig(), [eye.true for eye in EYES], frozenset({(0, 1), (1, 2)}))
    assert not floor.update(1e6) and not floor.allowed().any()


def test_an_uncalibrated_camera_joins_the_metres_of_a_calibrated_one() -> None:
    paths = crowd(np.random.default_rng(0), 7, 36)
    floor = LearnedFloor(FusionConfig(learn_every_s=15.0), (EYES[0].true, None), frozenset({(0, 1)}))
    for items in watch(paths, EYES[:2], np.random.default_rng(1)):
        floor.observe(items)
        floor.update(items[0].time_s)
    camera = floor.camera(1)
    assert camera is not None and floor.camera(0) is EYES[0].true
    grid = grid_seen_by(*EYES[:2])
    assert np.median(np.linalg.norm(camera.to_ground(EYES[1].true.to_image(grid)) - grid, axis=1)) < 0.1


def test_buffer_is_bounded_keeps_one_frame_per_moment_and_leaves_out_who_is_cut_off() -> None:
    buffer = FeetBuffer(window_s=10.0, capacity=50)
    boxes = np.array([[100, 100, 150, 300], [300, 100, 350, 720], [1200, 100, 1280, 300]], np.float32)
    for step in range(400):
        buffer.add(0.1 * step, np.array([1, 2, 3]), boxes)
    feet = buffer.feet()
    assert len(buffer) <= 50
    assert set(feet.track_id.tolist()) == {1}  # 2 reaches the lowest, 3 the rightmost line ever seen
    assert len(set(feet.moment.tolist())) == len(feet) and feet.moment.max() - feet.moment.min() < 20


@pytest.mark.parametrize("share_standing", [0.3, 0.0])
def test_floor_lies_below_the_horizon_even_where_boxes_of_most_people_shrink_towards_the_camera(
    share_standing: float,
) -> None:
    rng = np.random.default_rng(0)
    foot_y = rng.uniform(400, 700, 300)
    stands = rng.random(300) < share_standing
    # The horizon is at 100 px. Who sits in front has feet behind the row of seats: the nearer, the less is seen.
    tall = np.where(stands, 0.5 * (foot_y - 100), 350 - 0.3 * foot_y) * rng.normal(1, 0.03, 300)
    xy = np.column_stack((rng.uniform(100, 1200, 300), foot_y))
    feet = Feet(np.arange(300), np.arange(300), xy, tall, np.array([WIDTH, HEIGHT]))
    camera = GroundCamera.from_homography(ground_of_one(feet))
    places = camera.to_ground(xy)
    assert np.isfinite(places).all()
    apart = camera.to_ground(np.array([[640.0, 400.0], [640.0, 700.0], [640.0, 100.0]]))
    assert np.linalg.norm(apart[0] - apart[1]) > 0.5
    if share_standing:
        near, far = ground_of_one(feet[stands]) @ (640, 690, 1), ground_of_one(feet) @ (640, 690, 1)
        np.testing.assert_allclose(far / far[2], near / near[2], rtol=0.1, atol=0.1)


def auditorium_feet(view: str, seconds: float) -> Feet:
    rows = np.loadtxt(SHARED / "data/auditorium" / f"{view}.gt.csv", delimiter=",", skiprows=1)
    rows = rows[(rows[:, 6] == 0) & (rows[:, 0] < seconds * 29.97)]
    buffer = FeetBuffer(600.0)
    for number in np.unique(rows[:, 0]):
        here = rows[rows[:, 0] == number]
        buffer.add(number / 29.97, here[:, 1].astype(np.int64), here[:, 2:6].astype(np.float32))
    return buffer.feet()


def people_right(fit: PairFit) -> float:
    """Share of the people most likely matched, by all their common way, whom the ground truth gives one identity."""
    best = {}
    for a_id, b_id, odds in zip(fit.a_id.tolist(), fit.b_id.tolist(), fit.log_odds.tolist(), strict=True):
        if odds > 5 and odds > best.get(a_id, (0.0, 0))[0]:
            best[a_id] = (odds, b_id)
    return sum(a_id == b_id for a_id, (_, b_id) in best.items()) / max(1, len(best))


@needs_shared("data/auditorium/HC3.gt.csv", "data/auditorium/HC4.gt.csv", "data/auditorium/IP2.gt.csv")
def test_real_views_of_one_hall_are_found_and_others_refused() -> None:
    hc3, hc4, ip2 = (auditorium_feet(view, 30.0) for view in ("HC3", "HC4", "IP2"))
    fit = learn_pair(hc3, hc4, np.random.default_rng(0))
    assert fit is not None and is_good(fit, FusionConfig()) and people_right(fit) == 1.0
    none = learn_pair(hc3, ip2, np.random.default_rng(0))
    assert none is None or not is_good(none, FusionConfig())


def test_identity_of_tracklets_without_clips_is_decided_while_they_are_in_view() -> None:
    fuser = OnlineFuser(FusionConfig(decide_s=2.0), (None,), frozenset(), 8)
    frames = [frame(0, i, 0.25 * i, boxes={1: (100.0, 100.0, 150.0, 300.0)}, dim=8) for i in range(12)]
    fused = [fused for item in frames for fused in fuser.step([item])]
    created = [f.time_s for f in fused for event in f.events if event.kind == "create"]
    assert created == [2.0]
    assert of_track(resolve(fused), 0, 1) == {1}
