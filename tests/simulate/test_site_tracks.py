"""What cameras, detectors and trackers make of the people of a site."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.evaluation.scores import score
from pipeline.evaluation.tables import TrackTable
from pipeline.simulate.detecting import NOBODY, crowding
from pipeline.simulate.floor import calibrations, ground_camera
from pipeline.simulate.graph import Arrivals, Exit, Site, SiteCamera
from pipeline.simulate.noise import DetectorNoise, Noise, TrackerNoise
from pipeline.simulate.ready_sites import corridor, square, station
from pipeline.simulate.run import SiteRun, simulate_site
from pipeline.simulate.scoring import final_identities, score_identities
from pipeline.simulate.tracklets import Boxes
from pipeline.simulate.truth import TruthTracks
from pipeline.types import Event

BUSY = station(5, rate_per_s=0.6)


@pytest.fixture(scope="module")
def run() -> SiteRun:
    return simulate_site(BUSY, 300, seed=1)


@pytest.fixture(scope="module")
def perfect() -> SiteRun:
    return simulate_site(BUSY.model_copy(update={"noise": Noise.perfect()}), 300, seed=1)


def same_bytes(one: SiteRun, two: SiteRun) -> bool:
    return all(
        getattr(a, field.name).tobytes() == getattr(b, field.name).tobytes()
        for a, b in zip(
            (one.visits, one.truth, one.detections, one.boxes, one.tracklets),
            (two.visits, two.truth, two.detections, two.boxes, two.tracklets),
            strict=True,
        )
        for field in fields(a)
    )


def test_two_runs_with_one_seed_are_equal_to_the_byte(run: SiteRun) -> None:
    assert same_bytes(run, simulate_site(BUSY, 300, seed=1))
    assert not same_bytes(run, simulate_site(BUSY, 300, seed=2))


def test_other_noise_leaves_the_truth_as_it_is(run: SiteRun, perfect: SiteRun) -> None:
    assert run.truth.xyxy.tobytes() == perfect.truth.xyxy.tobytes()
    assert run.visits.enter_s.tobytes() == perfect.visits.enter_s.tobytes()


def test_arrays_can_not_be_written_to(run: SiteRun) -> None:
    with pytest.raises(ValueError, match="read-only"):
        run.truth.pid[0] = 5


def test_a_person_stands_in_a_frame_once_and_inside_the_picture(run: SiteRun) -> None:
    truth = run.truth
    assert len(np.unique(np.stack([truth.camid, truth.frame_idx, truth.pid]), axis=1).T) == len(truth)
    assert (truth.xyxy >= 0).all()
    assert (truth.xyxy[:, [0, 2]] <= 1280).all() and (truth.xyxy[:, [1, 3]] <= 720).all()
    assert (truth.xyxy[:, 2:] > truth.xyxy[:, :2]).all()
    assert (truth.time_s == truth.frame_idx / 5.0).all()


def test_people_appear_at_the_gate_through_which_they_come() -> None:
    site = Site(
        cameras=(SiteCamera(id="a", fps=10),),
        exits=(Exit(leave="a.right"),),
        arrivals=(Arrivals(enter="a.left", rate_per_s=0.1),),
        groups={1: 1.0},
    )
    truth = simulate_site(site, 600).truth
    starts = np.flatnonzero(np.diff(truth.visit_row, prepend=-1))
    ends = np.append(starts[1:], len(truth)) - 1
    done = truth.time_s[ends] < 595
    assert (truth.xyxy[starts, 0] < 5).all()
    assert (truth.xyxy[ends[done], 2] > 1275).all()


def test_truth_stands_on_the_floor_where_the_calibration_says() -> None:
    site = square(4)
    truth = simulate_site(site, 200).truth
    seen_by = 0
    for camid, ground in enumerate(calibrations(site)):
        if ground is None:
            continue
        mine = truth[truth.camid == camid]
        feet = ground.to_image(mine.ground_xy.astype(np.float64))
        whole = (mine.xyxy[:, 0] > 0) & (mine.xyxy[:, 2] < 1280) & (mine.xyxy[:, 3] < 720) & (mine.xyxy[:, 1] > 0)
        assert np.abs(mine.xyxy[whole, 3] - feet[whole, 1]).max() < 0.1
        seen_by += 1
    assert seen_by == 2
    assert site.overlaps() == {(0, 1)}
    both = np.unique(np.stack([truth.frame_idx, truth.pid])[:, truth.camid < 2], axis=1, return_counts=True)[1]
    assert (both == 2).mean() > 0.5
    assert ground_camera(site.cameras[2]).to_ground(np.array([[640.0, 700.0]]))[0, 1] > 3.0


def test_crowding_is_that_of_boxes_compared_one_by_one(run: SiteRun) -> None:
    truth = run.truth[(run.truth.camid == 2) & (run.truth.frame_idx < 400)]
    crowd = crowding(truth, 0.3)
    pairs = set(zip(crowd.first.tolist(), crowd.second.tolist(), strict=True))
    num_pairs = 0
    for a in range(len(truth)):
        covered = 0.0
        for b in np.flatnonzero(truth.frame_idx == truth.frame_idx[a]).tolist():
            if a == b:
                continue
            one, two = truth.xyxy[a].astype(float), truth.xyxy[b].astype(float)
            cut = np.maximum(np.minimum(one[2:], two[2:]) - np.maximum(one[:2], two[:2]), 0).prod()
            areas = [(box[2:] - box[:2]).prod() for box in (one, two)]
            if two[3] > one[3]:
                covered = max(covered, cut / areas[0])
            close = cut >= 0.3 * (sum(areas) - cut)
            num_pairs += close
            assert close == ((a, b) in pairs or (b, a) in pairs)
        assert crowd.covered[a] == pytest.approx(covered, abs=1e-4)
    assert num_pairs > 10


def test_a_perfect_detector_and_tracker_lose_nothing(perfect: SiteRun) -> None:
    assert len(perfect.boxes) == len(perfect.truth) == len(perfect.detections)
    key = np.stack([perfect.boxes.camid, perfect.boxes.frame_idx, perfect.boxes.pid])
    truth = np.stack([perfect.truth.camid, perfect.truth.frame_idx, perfect.truth.pid])
    assert (key[:, np.lexsort(key)] == truth[:, np.lexsort(truth)]).all()
    for k in range(len(perfect.tracklets)):
        first, count = perfect.tracklets.first_row[k], perfect.tracklets.num_boxes[k]
        assert set(perfect.boxes.pid[first : first + count].tolist()) == {int(perfect.tracklets.pid[k])}


def test_misses_bursts_and_false_boxes_are_as_frequent_as_given() -> None:
    site = corridor(2, rate_per_s=0.5)
    noise = DetectorNoise(miss=0.1, burst_per_s=0.0, covered_from=1.0, false_per_frame=0.3, jitter=0.03)
    run = simulate_site(site.with_noise(detector=noise), 1000)
    found = run.detections
    people = found[found.truth_row != NOBODY]
    assert len(people) / len(run.truth) == pytest.approx(0.9, abs=0.01)
    assert (len(found) - len(people)) / (2 * 5000) == pytest.approx(0.3, abs=0.02)
    true = run.truth.xyxy[people.truth_row]
    free = (true[:, 0] > 60) & (true[:, 2] < 1220)
    error = (people.xyxy - true)[free, 0] / (true[free, 2] - true[free, 0])
    assert error.std() == pytest.approx(0.03, abs=0.003)

    bursts = DetectorNoise(miss=0.0, burst_per_s=0.05, burst_s=1.0, covered_from=1.0, false_per_frame=0.0)
    run = simulate_site(site.with_noise(detector=bursts), 2000)
    missing = np.ones(len(run.truth), bool)
    missing[run.detections.truth_row] = False
    assert 0.02 < missing.mean() < 0.06
    starts = missing & ~np.concatenate([[False], missing[:-1]])
    assert missing.sum() / starts.sum() > 2.5  # frames at 5 fps, so bursts and not single misses


def test_a_share_of_tracklets_is_cut_and_ids_change_places_where_people_cross() -> None:
    quiet = DetectorNoise(miss=0, burst_per_s=0, covered_from=1, jitter=0, false_per_frame=0)
    base = TrackerNoise(cut_probability=0, swap_probability=0, false_per_min=0, min_boxes=1)

    def tracklets(**noise: float) -> SiteRun:
        tracker = base.model_copy(update=noise)
        return simulate_site(BUSY.with_noise(detector=quiet, tracker=tracker), 600, seed=3)

    whole, cut, swapped = tracklets(), tracklets(cut_probability=0.3), tracklets(swap_probability=0.5)
    assert len(cut.tracklets) / len(whole.tracklets) == pytest.approx(1.3, abs=0.06)
    assert len(cut.boxes) < len(whole.boxes)

    def mixed(run: SiteRun) -> int:
        first, count = run.tracklets.first_row, run.tracklets.num_boxes
        return sum(len(np.unique(run.boxes.pid[a : a + n])) > 1 for a, n in zip(first, count, strict=True))

    assert mixed(whole) == mixed(cut) == 0
    assert mixed(swapped) > 5
    assert len(swapped.boxes) == len(whole.boxes)
    false = tracklets(false_per_min=2.0)
    assert (false.tracklets.pid == NOBODY).sum() / (5 * 10) == pytest.approx(2.0, abs=0.6)


@given(seed=st.integers(0, 1000), lost_s=st.sampled_from([0.5, 2.0]))
@settings(max_examples=6, deadline=None)
def test_tracklets_are_numbered_by_appearance_and_never_go_on_after_being_lost(seed: int, lost_s: float) -> None:
    tracker = TrackerNoise(max_lost_s=lost_s, cut_probability=0.3, swap_probability=0.3, false_per_min=1.0)
    run = simulate_site(BUSY.with_noise(tracker=tracker), 120, seed)
    boxes, tracklets = run.boxes, run.tracklets
    same = boxes.tracklet[1:] == boxes.tracklet[:-1]
    steps = np.diff(boxes.time_s)[same]
    assert (steps > 0).all() and (steps <= lost_s + 1e-9).all()
    for camid in range(5):
        mine = tracklets.camid == camid
        assert tracklets.track_id[mine].tolist() == list(range(1, mine.sum() + 1))
        assert (np.diff(tracklets.first_s[mine]) >= 0).all()
    assert (boxes.camid == tracklets.camid[boxes.tracklet]).all()
    key = np.stack([boxes.camid, boxes.frame_idx, boxes.track_id])
    assert len(np.unique(key, axis=1).T) == len(boxes)


def test_the_empty_site_is_empty_everywhere() -> None:
    site = corridor(2).model_copy(update={"arrivals": (), "noise": Noise.perfect()})
    run = simulate_site(site, 30)
    assert run.num_people == len(run.truth) == len(run.detections) == len(run.boxes) == len(run.tracklets) == 0
    assert run.person_of() == {}
    assert score_identities(run, {}).idf1 == 1.0


def test_score_is_one_for_perfect_identities_and_lower_for_merges_and_splits(perfect: SiteRun) -> None:
    truth = perfect.person_of()
    assert score_identities(perfect, truth).idf1 == pytest.approx(1.0)
    alone = score_identities(perfect, {})
    assert alone.pair_precision == 1.0 and alone.pair_recall == 0.0
    assert 0.1 < alone.idf1 < 0.9
    together = score_identities(perfect, dict.fromkeys(truth, 7))
    assert together.num_identities == 1 and together.pair_recall == 1.0
    assert together.idf1 < alone.idf1


def test_events_come_to_the_identities_that_hold_at_the_end() -> None:
    events = [
        Event("create", 0.0, 1, camid=0, track_id=1),
        Event("create", 1.0, 2, camid=1, track_id=1),
        Event("link", 2.0, 2, camid=0, track_id=2),
        Event("merge", 3.0, 1, other_id=2),
        Event("split", 4.0, 3, camid=0, track_id=2, other_id=1),
        Event("close", 5.0, 1),
        Event("create", 6.0, 4, camid=1, track_id=2),
        Event("merge", 7.0, 3, other_id=4),
    ]
    assert final_identities(events) == {(0, 1): 1, (1, 1): 1, (0, 2): 3, (1, 2): 3}
    assert final_identities([]) == {}


@pytest.mark.parametrize(("seed", "num_ids"), [(0, 3), (1, 40), (2, 400)])
def test_score_equals_the_scorer_of_boxes(run: SiteRun, seed: int, num_ids: int) -> None:
    rng = np.random.default_rng(seed)
    given_ids = {key: int(rng.integers(num_ids)) for key, pid in run.person_of().items() if pid != NOBODY}
    truth, names = run.truth, run.site.camera_names
    boxes = run.boxes[run.tracklets.pid[run.boxes.tracklet] != NOBODY]
    gid = np.array([given_ids[key] for key in zip(boxes.camid.tolist(), boxes.track_id.tolist(), strict=True)])

    def table(of: Boxes | TruthTracks, track_id: np.ndarray, identity: np.ndarray) -> TrackTable:
        """Each person in a column of the picture, so that every box matches the person it shows and no other."""
        left = 100.0 * of.pid
        xyxy = np.stack([left, 0 * left, left + 50, 0 * left + 100], axis=1)
        return TrackTable(names, of.camid, of.frame_idx, track_id, identity, xyxy)

    reference = score(table(truth, truth.pid, truth.pid), table(boxes, boxes.track_id, gid)).overall.identity
    false = (run.tracklets.pid == NOBODY)[run.boxes.tracklet].sum() / 5.0
    got = score_identities(run, given_ids, count_unseen=True)
    assert got.right_s * 5 == pytest.approx(reference.num_right)
    assert got.missed_s * 5 == pytest.approx(reference.num_missed)
    assert (got.false_s - false) * 5 == pytest.approx(reference.num_false)
