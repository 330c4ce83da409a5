"""Several sites, each with a fuser of its own, and people who walk from one into the next."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.fusion.association_file import calibration_of, load_known, load_tracklets
from pipeline.fusion.build import TravelMemory, build_fuser
from pipeline.fusion.config import FusionConfig
from pipeline.fusion.reorder import Reorder
from pipeline.fusion.sites import SiteFusers, SitesError
from pipeline.fusion.zones import NUM_ZONES
from pipeline.invariants import ids_never_reused
from pipeline.saved_state import load_state, save_state
from pipeline.types import EmbeddedFrame, FusedFrame
from tests.fusion.scenes import DIM, look, of_track, resolve, walk
from tests.fusion.test_invariants import CAMERAS, OVERLAPS, chaos
from tests.fusion.test_invariants import DIM as CHAOS_DIM

NORTH_SOUTH = {"north": {"cameras": ["a", "b"]}, "south": {"cameras": ["c", "d"]}}
NEIGHBOURS = {"north": {"cameras": ["a", "b"], "guests": ["c"]}, "south": {"cameras": ["c", "d"], "guests": ["b"]}}


def fuser_of(
    sites: dict[str, dict[str, list[str]]],
    names: Sequence[str] = "abcd",
    overlaps: frozenset[tuple[int, int]] = frozenset(),
) -> SiteFusers:
    config = FusionConfig.model_validate({"sites": sites})
    fuser = build_fuser(config, [None] * len(names), overlaps, DIM, TravelMemory(config, names))
    assert isinstance(fuser, SiteFusers)
    return fuser


def play(fuser: object, frames: Sequence[EmbeddedFrame]) -> list[FusedFrame]:
    ticks = defaultdict(list)
    for frame in frames:
        ticks[frame.time_s].append(frame)
    return [f for time_s in sorted(ticks) for f in fuser.step(ticks[time_s])] + fuser.flush()  # type: ignore[attr-defined]


def events_of(fused: Sequence[FusedFrame]) -> list[tuple[object, ...]]:
    return [
        (e.kind, e.time_s, e.global_id, e.camid, e.track_id, e.other_id, round(e.confidence, 9))
        for f in fused
        for e in f.events
    ]


def crowd(camids: Sequence[int], rng: np.random.Generator, people: np.ndarray) -> list[EmbeddedFrame]:
    """Everybody walks through two of the cameras, one after the other."""
    frames = []
    for number, person in enumerate(people):
        start = 3.0 * number
        one, other = camids[number % 2], camids[1 - number % 2]
        frames += walk(one, number + 1, [start + 0.5 * i for i in range(4)], person, rng)
        frames += walk(other, number + 1, [start + 12 + 0.5 * i for i in range(4)], person, rng)
    return frames


def test_one_site_of_all_cameras_decides_like_no_sites() -> None:
    ticks = chaos(3)
    names = tuple("abcd")
    told = []
    for sites in ({}, {"all": {"cameras": list(names)}}):
        config = FusionConfig.model_validate({"sites": sites, "simultaneous_s": 0.0})
        fuser = build_fuser(config, CAMERAS, OVERLAPS, CHAOS_DIM, TravelMemory(config, names))
        told.append([f for items in ticks for f in fuser.step(items)] + fuser.flush())
    assert events_of(told[0]) == events_of(told[1])
    for one, other in zip(*told, strict=True):
        assert (one.camid, one.frame_idx, one.time_s) == (other.camid, other.frame_idx, other.time_s)
        np.testing.assert_array_equal(one.global_tracks.global_id, other.global_tracks.global_id)
        np.testing.assert_array_equal(one.ground_xy, other.ground_xy)


def test_sites_that_share_nobody_decide_like_two_runs() -> None:
    rng = np.random.default_rng(0)
    people = look(rng, 12)
    north, south = crowd([0, 1], rng, people[:6]), crowd([2, 3], rng, people[6:])
    together = resolve(play(fuser_of(NORTH_SOUTH), [*north, *south]))
    apart = {}
    for frames, names, first in ((north, "ab", 0), (south, "cd", 2)):
        config = FusionConfig()
        fuser = build_fuser(config, [None] * 2, frozenset(), DIM)
        moved = [_moved(frame, frame.camid - first) for frame in frames]
        apart[names] = {(c + first, f, t): gid for (c, f, t), gid in resolve(play(fuser, moved)).items()}
    for alone in apart.values():
        pairs = {(gid, together[key]) for key, gid in alone.items()}
        assert len(pairs) == len({gid for gid, _ in pairs}) == len({gid for _, gid in pairs})
    assert not {together[key] for key in apart["ab"]} & {together[key] for key in apart["cd"]}


def _moved(frame: EmbeddedFrame, camid: int) -> EmbeddedFrame:
    return replace(frame, camid=camid)


def test_a_person_who_crosses_the_border_keeps_the_number_and_brings_it_back() -> None:
    rng = np.random.default_rng(1)
    people = look(rng, 3)
    frames = []
    way = [(0, 1), (1, 1), (2, 1), (3, 1), (3, 2), (2, 2), (1, 2), (0, 2)]  # camid, track_id of the traveller
    for step, (camid, track_id) in enumerate(way):
        frames += walk(camid, track_id, [10.0 * step + 0.5 * i for i in range(4)], people[0], rng)
    for step in range(4):  # others, who stay in the south
        frames += walk(
            2 + step % 2, 10 + step, [4 + 10.0 * step + 0.5 * i for i in range(4)], people[1 + step % 2], rng
        )
    fused = play(fuser_of(NEIGHBOURS), frames)
    table = resolve(fused)
    assert {gid for camid, track_id in way for gid in of_track(table, camid, track_id)} == {1}
    assert 1 not in {gid for step in range(4) for gid in of_track(table, 2 + step % 2, 10 + step)}
    without = resolve(play(fuser_of(NORTH_SOUTH), frames))
    assert of_track(without, 0, 1) != of_track(without, 3, 1)
    for frame in fused:  # what is shown while it happens is what the events say
        for track_id, gid in zip(frame.global_tracks.track_id, frame.global_tracks.global_id, strict=True):
            assert gid == table[frame.camid, frame.frame_idx, track_id]


SITES_OF_CHAOS = {"one": {"cameras": ["a", "d"], "guests": ["b", "c"]}, "two": {"cameras": ["b", "c"], "guests": ["d"]}}


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_nobody_is_in_two_places_whatever_the_sites_say_and_every_id_has_its_event(seed: int) -> None:
    config = FusionConfig.model_validate({"sites": SITES_OF_CHAOS, "simultaneous_s": 0.0, "false_merge_rate": 0.5})
    fuser = build_fuser(config, CAMERAS, OVERLAPS, CHAOS_DIM, TravelMemory(config, "abcd"))
    ticks = chaos(seed, 35)
    fused = [f for items in ticks for f in fuser.step(items)] + fuser.flush()
    when = {(f.camid, f.frame_idx): f.time_s for f in fused if len(f.tracks)}
    table = resolve(fused)
    assert len(table) == sum(len(item.tracks) for items in ticks for item in items)
    both = OVERLAPS | {(b, a) for a, b in OVERLAPS}
    shown = [(f.camid, f.time_s, gid) for f in fused for gid in f.global_tracks.global_id.tolist()]
    for rows in (shown, [(cam, when[cam, index], gid) for (cam, index, _), gid in table.items()]):
        assert max(Counter(rows).values()) == 1
        cameras = defaultdict(set)
        for camid, time_s, gid in rows:
            cameras[time_s, gid].add(camid)
        for there in cameras.values():
            assert all(a == b or (a, b) in both for a in there for b in there)
    events = [event for f in fused for event in f.events]
    assert ids_never_reused(events).holds
    given_ids = [event.global_id for event in events if event.kind in ("create", "split")]
    assert sorted(given_ids) == list(range(1, len(given_ids) + 1))
    assert set(table.values()) <= set(given_ids)


def test_the_order_of_arrival_changes_nothing() -> None:
    rng = np.random.default_rng(5)
    people = look(rng, 8)
    frames = [*crowd([0, 2], rng, people[:4]), *crowd([1, 3], rng, people[4:])]
    told = set()
    for _ in range(6):
        late = sorted(frames, key=lambda frame: frame.time_s + rng.uniform(0, 4))
        reorder, fuser = Reorder(5.0), fuser_of(NEIGHBOURS)
        ticks = [tick for frame in late for tick in reorder.add([frame])] + reorder.flush()
        told.add(tuple(events_of([f for tick in ticks for f in fuser.step(tick)] + fuser.flush())))
    assert len(told) == 1


def test_a_run_goes_on_from_its_state_with_the_same_numbers() -> None:
    rng = np.random.default_rng(2)
    frames = crowd([1, 2], rng, look(rng, 8))
    ticks = defaultdict(list)
    for frame in frames:
        ticks[frame.time_s].append(frame)
    times = sorted(ticks)
    whole = fuser_of(NEIGHBOURS)
    expected = [f for t in times for f in whole.step(ticks[t])] + whole.flush()
    first = fuser_of(NEIGHBOURS)
    fused = [f for t in times[:40] for f in first.step(ticks[t])]
    again = load_state(save_state(first), ("pipeline.types", "pipeline.fusion.", "pipeline.geometry.", "pathlib"))
    fused += [f for t in times[40:] for f in again.step(ticks[t])] + again.flush()
    assert events_of(fused) == events_of(expected)


def test_what_sites_learn_of_travel_times_is_kept_under_the_cameras_names() -> None:
    rng = np.random.default_rng(4)
    names = tuple("abcd")
    config = FusionConfig.model_validate({"sites": NEIGHBOURS})
    memory = TravelMemory(config, names)
    fuser = build_fuser(config, [None] * 4, frozenset(), DIM, memory)
    play(fuser, crowd([1, 2], rng, look(rng, 14)))
    ways = {(a, b): count.sum() for a, b, count in memory.travel.cameras.pairs()}
    assert ways[1, 2] > 1 and ways[2, 1] > 1  # over the border: each learned by the site that is entered
    assert memory.travel.cameras.arrivals[[1, 2]].min() > 0
    further = fuser_of(NEIGHBOURS)  # and it is handed out again
    next_one = build_fuser(config, [None] * 4, frozenset(), DIM, memory)
    assert isinstance(next_one, SiteFusers)
    south = next_one._fusers[1].fuser._changes._evidence._travel  # cameras b, c, d are 0, 1, 2 there
    assert south.cameras.rows(np.array([0]), np.array([1]))[0] >= 0
    assert further._fusers[1].fuser._changes._evidence._travel.cameras.rows(np.array([0]), np.array([1]))[0] < 0
    assert len(south.zones.arrivals) == 3 * NUM_ZONES


def test_what_sites_know_is_written_as_one(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    fuser = fuser_of(NEIGHBOURS)
    fused = play(fuser, crowd([1, 2], rng, look(rng, 6)))
    fuser.save(tmp_path, tuple("abcd"))
    known, parts = load_known(tmp_path), load_tracklets(tmp_path)
    seen = {(f.camid, tid) for f in fused for tid in f.tracks.track_id.tolist()}
    assert set(zip(parts.camid.tolist(), parts.track_id.tolist(), strict=True)) == seen
    assert len(parts) == known["tracklets"] == len(seen)
    assert (parts.entry_zone // NUM_ZONES == parts.camid).all()
    assert set(known["sites"]) == {"north", "south"}
    assert calibration_of(known, FusionConfig()).same.mean > 0.5


@pytest.mark.parametrize(
    ("sites", "said"),
    [
        ({"n": {"cameras": ["a", "b"]}}, "camera 'c' is in none"),
        ({"n": {"cameras": ["a", "b", "c", "dd"]}}, "no camera 'dd', did you mean 'd'"),
        ({"n": {"cameras": list("abcd")}, "s": {"cameras": ["a"]}}, "'a' is in 'n' already"),
    ],
)
def test_sites_that_do_not_fit_the_cameras_are_refused(sites: dict[str, dict[str, list[str]]], said: str) -> None:
    with pytest.raises(SitesError, match=said):
        fuser_of(sites)


def test_a_border_between_two_views_of_one_place_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    fuser_of(NEIGHBOURS, overlaps=frozenset({(1, 2)}))
    assert not caplog.messages
    fuser_of(NORTH_SOUTH, overlaps=frozenset({(1, 2)}))
    assert "b and c" in caplog.text


def test_sites_and_offline_resolution_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="resolve: end"):
        FusionConfig.model_validate({"sites": NORTH_SOUTH, "resolve": "end"})


def test_memory_of_numbers_stays_bounded() -> None:
    rng = np.random.default_rng(7)
    config = FusionConfig.model_validate({"sites": NEIGHBOURS, "open_s": 12.0, "revise_s": 8.0})
    fuser = build_fuser(config, [None] * 4, frozenset(), DIM, TravelMemory(config, "abcd"))
    assert isinstance(fuser, SiteFusers)
    sizes = []
    for turn in range(40):
        for camid in range(4):
            for frame in walk(camid, turn + 1, [4.0 * turn + camid, 4.0 * turn + camid + 0.5], look(rng, 1)[0], rng):
                fuser.step([frame])
        names = fuser.names
        sizes.append([len(names), len(names._tracks), len(names._parts_of), len(names._guest_of), len(names._seen_s)])
    assert np.max(sizes[20:], axis=0).max() <= 1.5 * np.max(sizes[8:20], axis=0).max()
    assert max(sizes[-1]) < 120
