"""Offline resolution: the search gets better and ends, and its events mean exactly what it found."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.fusion.archive import Parts, TrackletArchive
from pipeline.fusion.build import build_fuser
from pipeline.fusion.clustering import LocalSearch, feasible, score_clusters, total_score
from pipeline.fusion.config import FusionConfig
from pipeline.fusion.constraints import Presence, cannot_be_one
from pipeline.fusion.online import OnlineFuser
from pipeline.fusion.resolution import Resolver, name_clusters
from pipeline.fusion.tracklet_graph import TrackletGraph, forbidden_pairs, neighbours
from pipeline.invariants import ids_never_reused
from pipeline.sinks.events import Decision, resolve
from pipeline.types import EmbeddedFrame, Event
from tests.fusion.scenes import clip, look, walk
from tests.fusion.test_invariants import CAMERAS, DIM, OVERLAPS, chaos, check_nobody_is_twice


def some_parts(seed: int, count: int = 24) -> Parts:
    rng = np.random.default_rng(seed)
    first_s = np.sort(np.round(rng.uniform(0, 40, count), 1))
    nowhere = np.full((count, 2), np.nan)
    vector = rng.standard_normal((count, 8)).astype(np.float32)
    return Parts(
        camid=rng.integers(0, 4, count),
        track_id=np.arange(1, count + 1),
        from_s=np.full(count, -np.inf),
        first_s=first_s,
        last_s=first_s + np.round(rng.uniform(0, 8, count), 1),
        global_id=rng.integers(1, 9, count),
        entry_zone=np.full(count, -1),
        exit_zone=np.full(count, -1),
        vector=vector / np.linalg.norm(vector, axis=1, keepdims=True),
        entry_xyxy=np.full((count, 4), np.nan),
        exit_xyxy=np.full((count, 4), np.nan),
        velocity_px=nowhere,
        entry_velocity_px=nowhere,
        entry_ground_xy=nowhere,
        ground_xy=nowhere,
        ground_sigma_m=nowhere[:, 0],
        ground_velocity=nowhere,
    )


def some_graph(seed: int, count: int = 24) -> TrackletGraph:
    rng = np.random.default_rng(seed)
    parts = some_parts(seed, count)
    look = np.triu(rng.normal(-1, 3, (count, count)), 1)
    forbidden = forbidden_pairs(parts, frozenset({(0, 1)}), FusionConfig())
    chain = np.where(np.triu(~forbidden, 1), rng.normal(-1, 2, (count, count)), -np.inf)
    met = np.triu(rng.random((count, count)) < 0.05, 1)
    return TrackletGraph(
        look + look.T, chain, forbidden, np.where(met, 2.0, 0.0), met, np.ones(count, np.bool_), parts.last_s
    )


def plain_score(graph: TrackletGraph, rows: list[int]) -> float:
    """The definition, without any vectors."""
    if any(graph.forbidden[a, b] for a in rows for b in rows):
        return -math.inf
    total = sum(graph.look[a, b] for a in rows for b in rows) / max(len(rows), 1)
    for place, row in enumerate(rows[1:], 1):
        before = max(rows[:place], key=lambda r: (graph.last_s[r], r))
        total += graph.chain[before, row]
        agreed = [graph.floor[other, row] for other in rows[:place] if graph.met[other, row]]
        total += sum(agreed) / len(agreed) if agreed else 0.0
    return float(total)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_score_of_a_cluster_is_its_definition(seed: int) -> None:
    graph, rng = some_graph(seed), np.random.default_rng(seed)
    member = rng.random((5, len(graph))) < 0.15
    wanted = [plain_score(graph, np.flatnonzero(row).tolist()) for row in member]
    assert score_clusters(graph, np.arange(len(graph)), member) == pytest.approx(wanted)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_search_only_ever_raises_the_score_and_is_the_same_each_time(seed: int) -> None:
    graph, start = some_graph(seed), np.random.default_rng(seed).integers(0, 6, 24)
    searches = [LocalSearch(graph, start, neighbours(graph, 16)) for _ in range(2)]
    for search in searches:
        search.run()
    first, second = searches
    assert np.array_equal(first.label, second.label)
    assert (np.diff(first.trace) > 0).all()
    assert first.trace[0] == pytest.approx(total_score(graph, feasible(graph, start)))
    assert first.trace[-1] == pytest.approx(total_score(graph, first.label))
    assert math.isfinite(first.trace[-1])


def test_search_finds_the_best_partition_of_five_wherever_it_begins() -> None:
    graph = some_graph(5, 5)
    graph.forbidden[:] = False
    graph.chain[np.triu_indices(5, 1)] = -0.5
    graph.look[:] = np.where(np.add.outer(np.arange(5), np.arange(5)) % 2, -4.0, 4.0)
    np.fill_diagonal(graph.look, 0.0)
    for start in ([0, 0, 0, 0, 0], [0, 1, 2, 3, 4], [0, 0, 1, 1, 0]):
        search = LocalSearch(graph, np.array(start), neighbours(graph, 16))
        search.run()
        assert [search.label.tolist().index(one) for one in search.label.tolist()] == [0, 1, 0, 1, 0]


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_forbidden_pairs_are_those_of_the_online_mode(seed: int) -> None:
    parts, overlaps = some_parts(seed), frozenset({(0, 1), (3, 2)})
    config = FusionConfig(simultaneous_s=0.5, handover_s=1.0)
    seen = [
        Presence(int(c), float(a), float(b)) for c, a, b in zip(parts.camid, parts.first_s, parts.last_s, strict=True)
    ]
    wanted = [[a is not b and cannot_be_one((a,), (b,), overlaps, 0.5, 1.0) for b in seen] for a in seen]
    assert forbidden_pairs(parts, overlaps, config).tolist() == wanted


def played(
    ticks: list[list[EmbeddedFrame]], dim: int = DIM, **changes: float
) -> tuple[OnlineFuser, list[Event], list[Event]]:
    """-> the fuser, its events without and with those of the resolution."""
    config = FusionConfig(simultaneous_s=0.0, resolve="end", **changes)  # type: ignore[arg-type]
    fuser = build_fuser(config, CAMERAS, OVERLAPS, dim)
    assert isinstance(fuser, OnlineFuser)
    online = [event for items in ticks for fused in fuser.step(items) for event in fused.events]
    return fuser, online, online + [event for fused in fuser.flush() for event in fused.events]


@settings(max_examples=3, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), loose=st.booleans())
def test_events_come_to_exactly_the_partition_that_was_found(seed: int, loose: bool) -> None:
    ticks = chaos(seed, 30)
    changes = {"open_s": 1.5} if loose else {}
    fuser, _, events = played(ticks, **changes)
    assert fuser._state.archive is not None
    table = resolve(events)
    parts, pairs = fuser._state.archive.parts()
    made = {"calibration": fuser._state.calibration, "travel": fuser._resolver._travel, "mixed": fuser._resolver._mixed}
    label = Resolver(fuser._config, fuser._overlaps, **made).partition(parts, pairs)
    found: dict[int, set[int]] = {}
    for camid, track_id, from_s, cluster in zip(parts.camid, parts.track_id, parts.from_s, label, strict=True):
        (decision,) = [d for d in table[int(camid), int(track_id)] if d.from_s == from_s]
        found.setdefault(int(cluster), set()).add(decision.global_id)
    numbers = [number for own in found.values() for number in own]
    assert all(len(own) == 1 for own in found.values())
    assert len(set(numbers)) == len(numbers)
    assert ids_never_reused(events).holds, ids_never_reused(events).examples


@settings(max_examples=3, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_after_resolution_nobody_is_in_two_places(seed: int) -> None:
    ticks = chaos(seed, 30)
    table = resolve(played(ticks)[2])

    def worn(parts: list[Decision], time_s: float) -> int:
        return [part.global_id for part in parts if part.from_s <= time_s][-1]

    rows = [
        (item.camid, item.time_s, worn(table[item.camid, track_id], item.time_s))
        for items in ticks
        for item in items
        for track_id in item.tracks.track_id.tolist()
    ]
    check_nobody_is_twice(rows)


def test_random_scenes_do_change_in_resolution() -> None:
    """Else the properties above would hold for nothing."""
    kinds = set()
    for seed in range(8):
        ticks = chaos(seed, 30)
        plain = build_fuser(FusionConfig(simultaneous_s=0.0), CAMERAS, OVERLAPS, DIM)
        before = [event for items in ticks for fused in plain.step(items) for event in fused.events]
        before += [event for fused in plain.flush() for event in fused.events]
        after = played(ticks)[2]
        assert after[: len(before)] == before or str(after[: len(before)]) == str(before)
        kinds |= {event.kind for event in after[len(before) :]}
    assert {"link", "merge", "create"} <= kinds


def easy_ticks(num_people: int = 4, turns: int = 2) -> list[list[EmbeddedFrame]]:
    """Unlike people walk one after the other through two cameras, again and again."""
    rng = np.random.default_rng(3)
    people = look(rng, num_people)
    frames = []
    for turn in range(turns):
        for who, person in enumerate(people):
            for camid in (0, 2):
                start_s = 100.0 * turn + 20.0 * who + 4.0 * camid
                times = [round(start_s + 0.5 * i, 1) for i in range(6)]
                frames += walk(camid, turn * num_people + who + 1, times, person, rng, noise=0.05)
    return [[frame] for frame in sorted(frames, key=lambda frame: frame.time_s)]


def test_easy_scenes_are_resolved_as_they_were_decided_online() -> None:
    fuser, online, events = played(easy_ticks(), 32)
    assert [event for event in events[len(online) :] if event.kind != "close"] == []
    assert len({d.global_id for parts in resolve(events).values() for d in parts}) == 4
    assert len(fuser._resolver.traces) == 1 and len(fuser._resolver.traces[0]) == 1


def test_what_online_missed_is_found_when_all_is_known() -> None:
    """However wrong the identities are that it begins with, here everybody somebody new each time."""
    rng = np.random.default_rng(4)
    fuser, _, _ = played(easy_ticks(), 32)
    assert fuser._state.archive is not None
    parts, pairs = fuser._state.archive.parts()
    label = fuser._resolver.partition(
        Parts(
            **{n: getattr(parts, n) for n in parts.__dataclass_fields__}
            | {"global_id": rng.permutation(len(parts)) + 1}
        ),
        pairs,
    )
    truth = [(track_id - 1) % 4 for track_id in parts.track_id.tolist()]
    assert len(set(zip(label.tolist(), truth, strict=True))) == len(set(truth)) == len(set(label.tolist()))


def test_windows_of_a_long_run_join_to_one_partition() -> None:
    fuser, _, _ = played(easy_ticks(turns=6), 32)
    assert fuser._state.archive is not None
    parts, pairs = fuser._state.archive.parts()
    made = {"calibration": fuser._state.calibration, "travel": fuser._resolver._travel, "mixed": fuser._resolver._mixed}
    short = Resolver(fuser._config, fuser._overlaps, **made, step=8)
    label = short.partition(parts, pairs)
    truth = [(track_id - 1) % 4 for track_id in parts.track_id.tolist()]
    assert len(short.traces) > 3
    assert len(set(zip(label.tolist(), truth, strict=True))) == len(set(truth)) == len(set(label.tolist()))


def test_a_cluster_keeps_the_number_it_holds_most_of_and_new_ones_are_new() -> None:
    parts = some_parts(0, 4)
    seconds = np.array([5.0, 2.0, 4.0, 1.0])
    parts = Parts(
        **{n: getattr(parts, n) for n in parts.__dataclass_fields__}
        | {"last_s": parts.first_s + seconds, "global_id": np.array([1, 1, 2, 1])}
    )
    fresh = iter(range(7, 10))
    assert name_clusters(parts, np.array([0, 1, 1, 2]), lambda: next(fresh)) == {0: 1, 1: 2, 2: 7}


def test_archive_is_bounded_and_lets_closed_identities_go() -> None:
    fuser = build_fuser(FusionConfig(resolve="end", resolve_capacity=4, open_s=30.0), CAMERAS, OVERLAPS, 32)
    assert isinstance(fuser, OnlineFuser)
    rng = np.random.default_rng(0)
    closed = 0
    for turn in range(30):
        person = clip(rng, np.ones(32), 1.0)
        for frame in walk(0, turn + 1, [100.0 * turn, 100.0 * turn + 1], person, rng):
            closed += sum(event.kind == "close" for fused in fuser.step([frame]) for event in fused.events)
        archive = fuser._state.archive
        assert isinstance(archive, TrackletArchive)
        assert max(len(archive), len(archive._worn) - 1, len(archive._members) - 1, len(archive._closes)) <= 5
    assert closed >= 20
