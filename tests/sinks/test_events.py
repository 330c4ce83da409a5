"""events.jsonl, and the identities that events come to."""

from __future__ import annotations

import json
import math
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.sinks.events import EventLog, read_events, resolve
from pipeline.types import Event
from tests.sinks.frames import fused_frame, lines_of


def create(track_id: int, global_id: int, camid: int = 0, confidence: float = 0.9) -> Event:
    return Event("create", 0.0, global_id, camid, track_id, confidence=confidence)


def link(track_id: int, global_id: int, camid: int = 0, confidence: float = 0.9) -> Event:
    return Event("link", 0.0, global_id, camid, track_id, confidence=confidence)


def merge(global_id: int, other_id: int, confidence: float = 0.9) -> Event:
    return Event("merge", 0.0, global_id, other_id=other_id, confidence=confidence)


def split(track_id: int, global_id: int, other_id: int, camid: int = 0) -> Event:
    return Event("split", 0.0, global_id, camid, track_id, other_id, confidence=0.6)


def ids(*events: Event) -> dict[tuple[int, int], int]:
    """The last identity of every tracklet."""
    return {tracklet: parts[-1].global_id for tracklet, parts in resolve(events).items()}


def test_no_events_come_to_no_identities() -> None:
    assert resolve([]) == {}


def test_a_link_gives_a_tracklet_the_identity_that_another_founded() -> None:
    assert ids(create(1, 5), link(4, 5, camid=1)) == {(0, 1): 5, (1, 4): 5}


def test_merges_add_up_over_several_steps() -> None:
    assert ids(create(1, 1), create(2, 2), create(3, 3), merge(2, 3), merge(1, 2)) == {(0, n): 1 for n in (1, 2, 3)}


def test_who_joins_a_merged_identity_late_belongs_to_what_it_became() -> None:
    assert ids(create(1, 1), create(2, 2), merge(1, 2), link(3, 2)) == {(0, n): 1 for n in (1, 2, 3)}


def test_a_split_tracklet_does_not_follow_later_merges_of_the_identity_it_left() -> None:
    events = create(1, 1), create(2, 2), link(3, 2), split(3, 9, 2), merge(1, 2)
    assert ids(*events) == {(0, 1): 1, (0, 2): 1, (0, 3): 9}


def test_a_split_after_a_merge_takes_one_tracklet_out_and_leaves_the_others() -> None:
    assert ids(create(1, 1), create(2, 2), merge(1, 2), split(2, 7, 1)) == {(0, 1): 1, (0, 2): 7}


def test_a_split_may_bring_a_merged_identity_back() -> None:
    events = create(1, 1), create(2, 2), merge(1, 2), split(2, 2, 1), link(3, 2)
    assert ids(*events) == {(0, 1): 1, (0, 2): 2, (0, 3): 2}


def test_a_split_holds_from_its_time_on() -> None:
    events = create(1, 1), create(2, 2), link(3, 2), Event("split", 5.0, 9, 0, 3, 2, confidence=0.6), merge(1, 2)
    parts = resolve(events)[0, 3]
    assert [(part.from_s, part.global_id) for part in parts] == [(-math.inf, 1), (5.0, 9)]


def test_a_split_holds_up_to_the_next_one_whichever_came_first() -> None:
    later, earlier = Event("split", 5.0, 9, 0, 1, 1), Event("split", 3.0, 8, 0, 1, 1)
    for order in ((later, earlier), (earlier, later)):
        parts = resolve([create(1, 1), *order])[0, 1]
        assert [(part.from_s, part.global_id) for part in parts] == [(-math.inf, 1), (3.0, 8), (5.0, 9)]


def test_close_and_merges_of_unknown_identities_change_nothing() -> None:
    assert ids(create(1, 1), Event("close", 3.0, 1), merge(1, 1), merge(1, 77)) == {(0, 1): 1}


def test_confidence_is_that_of_the_weakest_decision_in_the_chain() -> None:
    nothing = float("nan")
    founded = create(1, 1, confidence=0.9), create(2, 2, confidence=0.8), create(3, 3, confidence=nothing)
    decisions = resolve([*founded, merge(1, 2, confidence=0.7), merge(1, 3, confidence=0.6)])
    assert decisions[0, 1][0].confidence == 0.9
    assert decisions[0, 2][0].confidence == 0.7
    assert decisions[0, 3][0].confidence == 0.6
    assert math.isnan(resolve([create(1, 1, confidence=nothing), merge(2, 1, nothing)])[0, 1][0].confidence)


def naive(events: list[Event]) -> dict[tuple[int, int], int]:
    """The same without an index: every merge relabels the whole table."""
    table: dict[tuple[int, int], int] = {}
    became: dict[int, int] = {}
    for event in events:
        if event.kind == "merge":
            became[event.other_id] = event.global_id
            table = {t: event.global_id if g == event.other_id else g for t, g in table.items()}
        else:
            gid = event.global_id
            while gid in became:
                gid = became[gid]
            table[event.camid, event.track_id] = gid
    return table


@st.composite
def histories(draw: st.DrawFn) -> list[Event]:
    """Events as a fuser gives them: merged identities are never used again, splits make new ones."""
    live: list[int] = []
    events: list[Event] = []
    tracklets: dict[int, None] = {}
    next_id = 1
    for step in range(draw(st.integers(0, 25))):
        kind = draw(st.sampled_from(["create", "link", "merge", "split"])) if len(live) > 1 else "create"
        if kind == "create":
            events.append(create(step + 1, next_id))
            live.append(next_id)
        elif kind == "link":
            events.append(link(step + 1, draw(st.sampled_from(live))))
        elif kind == "merge":
            kept, gone = draw(st.permutations(live))[:2]
            events.append(merge(kept, gone))
            live.remove(gone)
        else:
            events.append(split(draw(st.sampled_from(sorted(tracklets))), next_id, 0))
            live.append(next_id)
        if kind in ("create", "link"):
            tracklets[step + 1] = None
        next_id += kind in ("create", "split")
    return events


@given(histories())
def test_identities_equal_those_of_relabelling_the_whole_table_at_each_event(events: list[Event]) -> None:
    assert ids(*events) == naive(events)


@given(histories())
def test_events_come_back_from_the_file_as_they_were_given(
    tmp_path_factory: pytest.TempPathFactory, events: list[Event]
) -> None:
    log = EventLog(tmp_path_factory.mktemp("log"), ["a", "b"])
    log.write([fused_frame(events=events)])
    log.publish()
    again = list(read_events(log.temporary.with_name("events.jsonl"), {}))
    assert list(map(repr, again)) == list(map(repr, events))


def test_what_has_no_meaning_is_left_out_of_a_line(tmp_path: Path) -> None:
    log = EventLog(tmp_path, ["Küche, links", "b"])
    log.write([fused_frame(events=[create(3, 8, confidence=0.5), Event("close", 2.5, 8, gap_s=float("inf"))])])
    log.log_camera("camera_failed", 1, 3.25, "no route to host")
    log.log_camera("camera_ended", 1, float("nan"))
    log.publish()
    assert lines_of(tmp_path / "events.jsonl") == [
        {"kind": "run_started", "cameras": ["Küche, links", "b"]},
        {"kind": "create", "time_s": 0.0, "camera": "Küche, links", "track_id": 3, "global_id": 8, "confidence": 0.5},
        {"kind": "close", "time_s": 2.5, "global_id": 8},
        {"kind": "camera_failed", "time_s": 3.25, "camera": "b", "message": "no route to host"},
        {"kind": "camera_ended", "camera": "b"},
    ]


def test_a_camera_event_can_not_pass_for_an_identity_event(tmp_path: Path) -> None:
    log = EventLog(tmp_path, ["a"])
    with pytest.raises(ValueError, match="taken by an identity event"):
        log.log_camera("merge", 0, 0.0)
    log.abandon()


def test_every_line_can_be_read_before_the_log_is_closed(tmp_path: Path) -> None:
    log = EventLog(tmp_path, ["a"])
    log.write([fused_frame(events=[create(1, 1)])])
    assert [line["kind"] for line in lines_of(tmp_path / "events.jsonl.partial")] == ["run_started", "create"]
    assert not (tmp_path / "events.jsonl").exists()
    log.abandon()


def test_damaged_lines_are_left_out_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "events.jsonl.partial"
    good = json.dumps({"kind": "create", "time_s": 1, "camera": "x", "track_id": 1, "global_id": 4})
    path.write_bytes(f"null\n{good}\n".encode() + b"\x00\xff\x00\n" + b'{"kind": "create", "ti')
    assert [event.global_id for event in read_events(path, {})] == [4]
    assert "events.jsonl.partial:4: left out" in caplog.text


def test_lines_of_several_threads_do_not_mix(tmp_path: Path) -> None:
    log = EventLog(tmp_path, ["a", "b", "c"])

    def report(camid: int) -> None:
        for number in range(200):
            log.log_camera("camera_reconnected", camid, number, "x" * 50)

    threads = [threading.Thread(target=report, args=(camid,)) for camid in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.publish()
    lines = lines_of(tmp_path / "events.jsonl")
    assert len(lines) == 601
    assert [line["time_s"] for line in lines if line.get("camera") == "b"] == list(range(200))
