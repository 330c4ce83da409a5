"""What must hold of identities, whoever gave them. Each check takes rows and says how many break it and where first.

once per frame       an identity has one box in a camera's frame
one place at once    it is not seen by two cameras at once that do not look at one place
possible travel      it does not get from camera to camera faster than the site allows
possible speed       it does not move over the floor faster than a person can
ids never reused     an id that was closed or merged away gets no new tracklet; no id is created twice
explained by events  every row has the identity that the events give its tracklet
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.interchange.rows import NO_ID, TrackRows
from pipeline.sinks.events import Decision, resolve
from pipeline.types import AnyArray, Event, Float64, Int64

NUM_EXAMPLES = 5
_BRIDGED_S = 1.0  # a person unseen in a camera for no longer is taken to have been there
_BRIDGED_STEPS = 2.5  # of the camera's frames, where they are far apart
_SECOND_S = 1.0  # places on the floor are averaged over this long: single boxes jump
_EPS_S = 1e-6


@dataclass(frozen=True, slots=True)
class Check:
    """What a check found. `skipped` says why it could not be made, "" where it was."""

    name: str
    num_checked: int = 0
    unit: str = "rows"
    num_broken: int = 0
    examples: tuple[str, ...] = ()
    skipped: str = ""

    @property
    def holds(self) -> bool:
        return self.num_broken == 0


@dataclass(frozen=True, slots=True, eq=False)
class Spans:
    """Stays of identities in cameras, (S,) each, ascending in identity and then in time."""

    global_id: Int64
    camid: Int64
    first_s: Float64
    last_s: Float64
    first_row: Int64  # place in the table
    last_row: Int64

    def __len__(self) -> int:
        return len(self.global_id)


def once_per_frame(rows: TrackRows) -> Check:
    """No id twice in one camera and frame."""
    named = np.flatnonzero(rows.global_id != NO_ID)
    keys = (rows.line[named], rows.frame[named], rows.camid[named], rows.global_id[named])
    order = named[np.lexsort(keys)]
    again = np.ones(max(len(order) - 1, 0), bool)
    for column in (rows.global_id, rows.camid, rows.frame):
        again &= column[order][1:] == column[order][:-1]
    at = np.flatnonzero(again)
    at = at[np.argsort(order[at + 1], kind="stable")]
    examples = [
        f"{rows.where(int(order[i + 1]))}: id {rows.global_id[order[i]]} stands there already in line "
        f"{rows.line[order[i]]}"
        for i in at[:NUM_EXAMPLES].tolist()
    ]
    return Check("once per frame", len(named), "rows", len(at), tuple(examples))


def spans_of(rows: TrackRows) -> Spans:
    """The stays of every identity, one per tracklet unless the tracklet has a gap. Rows need times."""
    named = np.flatnonzero(rows.global_id != NO_ID)
    order = named[np.lexsort((rows.time_s[named], rows.track_id[named], rows.camid[named], rows.global_id[named]))]
    time_s, camid = rows.time_s[order], rows.camid[order]
    begins = np.ones(len(order), bool)
    begins[1:] = time_s[1:] - time_s[:-1] > np.maximum(_BRIDGED_S, _BRIDGED_STEPS * frame_steps(rows)[camid[1:]])
    for column in (rows.global_id, rows.camid, rows.track_id):
        begins[1:] |= column[order][1:] != column[order][:-1]
    first = np.flatnonzero(begins)
    last = np.append(first[1:], len(order))[: len(first)] - 1
    gid = rows.global_id[order[first]]
    by_time = np.lexsort((time_s[last], time_s[first], gid))
    first, last = first[by_time], last[by_time]
    return Spans(gid[by_time], camid[first], time_s[first], time_s[last], order[first], order[last])


def frame_steps(rows: TrackRows) -> Float64:
    """(C,) median seconds between two frames of each camera, as far as rows show; 0 where they do not."""
    steps = np.zeros(len(rows.cameras))
    for camid in range(len(rows.cameras)):
        times = np.unique(rows.time_s[rows.camid == camid])
        if len(times) > 1:
            steps[camid] = np.median(np.diff(times))
    return steps


def one_place_at_once(
    rows: TrackRows, spans: Spans, overlaps: AnyArray, clock_error_s: float, handover_s: float = 0.0
) -> Check:
    """No id in two cameras at once that do not overlap; `overlaps` (C, C) bool, symmetric, true on the diagonal.

    Two stays break it if they share a moment, or with a clock error at least that long. Where one begins and ends
    before the other does, the tracker may have hung on to something else at its end, for less than `handover_s`.
    """
    found: list[tuple[int, int, float]] = []
    num_broken = 0
    for i, j in _pairs(spans, 0.0):
        common_s = np.minimum(spans.last_s[i], spans.last_s[j]) - spans.first_s[j]
        bad = ~overlaps[spans.camid[i], spans.camid[j]] & (common_s >= clock_error_s - _EPS_S)
        hands_over = (spans.first_s[i] < spans.first_s[j]) & (spans.last_s[i] < spans.last_s[j])
        bad &= ~hands_over | (common_s >= handover_s - _EPS_S)
        num_broken += int(bad.sum())
        found += zip(i[bad].tolist(), j[bad].tolist(), common_s[bad].tolist(), strict=True)
        found = sorted(found, key=lambda pair: spans.first_s[pair[1]])[:NUM_EXAMPLES]
    examples = [
        f"{rows.where(int(spans.first_row[j]))}: id {spans.global_id[j]} is in camera "
        f"{rows.cameras[spans.camid[i]]} from {spans.first_s[i]:.3f} to {spans.last_s[i]:.3f} s, "
        f"both for {max(common_s, 0.0):.3f} s"
        for i, j, common_s in found
    ]
    return Check("one place at once", len(spans), "stays", num_broken, tuple(examples))


def possible_travel(rows: TrackRows, spans: Spans, min_travel_s: Float64, clock_error_s: float) -> Check:
    """None gets from camera a to b in less than `min_travel_s[a, b]`, (C, C); 0 or NaN where nothing is said."""
    least_s = np.nan_to_num(min_travel_s, nan=0.0)
    found: list[tuple[int, int, float]] = []
    num_broken = 0
    for i, j in _pairs(spans, float(least_s.max(initial=0.0))):
        travel_s = spans.first_s[j] - spans.last_s[i]
        bad = travel_s < least_s[spans.camid[i], spans.camid[j]] - clock_error_s - _EPS_S
        bad &= (spans.camid[i] != spans.camid[j]) & (least_s[spans.camid[i], spans.camid[j]] > 0)
        num_broken += int(bad.sum())
        found += zip(i[bad].tolist(), j[bad].tolist(), travel_s[bad].tolist(), strict=True)
        found = sorted(found, key=lambda pair: spans.first_s[pair[1]])[:NUM_EXAMPLES]
    examples = [
        f"{rows.where(int(spans.first_row[j]))}: id {spans.global_id[j]} left {rows.cameras[spans.camid[i]]} "
        f"{travel_s:.3f} s before, which takes {least_s[spans.camid[i], spans.camid[j]]:g} s at least"
        for i, j, travel_s in found
    ]
    return Check("possible travel", len(spans), "stays", num_broken, tuple(examples))


def possible_speed(rows: TrackRows, max_speed_m_s: float, slack_m: float) -> Check:
    """None is further from where it was than `max_speed_m_s` and an error of `slack_m` allow.

    Places are means over each second in each camera, compared in order of time over all cameras.
    """
    known = np.flatnonzero((rows.global_id != NO_ID) & np.isfinite(rows.ground_xy).all(axis=1))
    second = np.floor(rows.time_s[known] / _SECOND_S).astype(np.int64)
    order = np.lexsort((rows.camid[known], second, rows.global_id[known]))
    at, second = known[order], second[order]
    begins = np.ones(len(at), bool)
    begins[1:] = second[1:] != second[:-1]
    for column in (rows.global_id, rows.camid):
        begins[1:] |= column[at][1:] != column[at][:-1]
    first = np.flatnonzero(begins)
    if not len(first):
        return Check("possible speed", 0, "seconds on the floor")
    count = np.diff(np.append(first, len(at)))
    xy = np.add.reduceat(rows.ground_xy[at], first, axis=0) / count[:, None]
    time_s = np.add.reduceat(rows.time_s[at], first) / count
    same = rows.global_id[at[first]][1:] == rows.global_id[at[first]][:-1]
    distance_m = np.linalg.norm(np.diff(xy, axis=0), axis=1)
    bad = np.flatnonzero(same & (distance_m - slack_m > max_speed_m_s * np.abs(np.diff(time_s)) + _EPS_S))
    bad = bad[np.argsort(time_s[bad + 1], kind="stable")]
    examples = [
        f"{rows.where(int(at[first[i + 1]]))}: id {rows.global_id[at[first[i]]]} was {distance_m[i]:.1f} m away "
        f"{abs(time_s[i + 1] - time_s[i]):.2f} s before, in camera {rows.cameras[rows.camid[at[first[i]]]]}"
        for i in bad[:NUM_EXAMPLES].tolist()
    ]
    return Check("possible speed", len(first), "seconds on the floor", len(bad), tuple(examples))


def ids_never_reused(events: Iterable[Event]) -> Check:
    """No id is created twice, and none gets a tracklet after it was closed or merged away.

    A split may bring an identity back that a merge had taken: that is the merge taken back, and it says so.
    """
    made: set[int] = set()
    gone: dict[int, str] = {}
    faults: list[str] = []
    num_events = 0
    for event in events:
        num_events += 1
        gid, where = event.global_id, f"{event.kind} at {event.time_s:.3f} s: id {event.global_id}"
        if event.kind == "create" and gid in made:
            faults.append(f"{where} was given before")
        elif event.kind in ("create", "link", "merge") and gid in gone:
            faults.append(f"{where} was {gone[gid]} before")
        elif event.kind == "merge" and gone.get(event.other_id, "").startswith("merged"):
            faults.append(f"{where} takes in {event.other_id}, which was {gone[event.other_id]} before")
        elif event.kind == "link" and gid not in made:
            faults.append(f"{where} was never created")
        if event.kind == "split":
            gone.pop(gid, None)
        elif event.kind == "merge":
            gone[event.other_id] = f"merged into {gid}"
        elif event.kind == "close":
            gone[gid] = "closed"
        made.add(gid)
    return Check("ids never reused", num_events, "events", len(faults), tuple(faults[:NUM_EXAMPLES]))


def explained_by_events(rows: TrackRows, events: Iterable[Event], camids: Mapping[str, int]) -> Check:
    """Every row's identity is the one that the events, taken together, give its tracklet at that time.

    `camids` are the numbers of cameras in the events.
    """
    decisions = resolve(events)
    pairs = np.stack([rows.camid, rows.track_id], axis=1)
    tracklets, of_row = np.unique(pairs, axis=0, return_inverse=True)
    of_row = of_row.reshape(-1)
    parts = [
        decisions.get((camids.get(rows.cameras[camid], -1), track_id), []) for camid, track_id in tracklets.tolist()
    ]
    wanted = np.array([p[0].global_id if p else NO_ID for p in parts], np.int64)[of_row]
    for place in [place for place, p in enumerate(parts) if len(p) > 1]:
        own = np.flatnonzero(of_row == place)
        wanted[own] = _split_ids(parts[place], rows.time_s[own])
    bad = np.flatnonzero(wanted != rows.global_id)
    examples = [
        f"{rows.where(row)}, track {rows.track_id[row]}: id {rows.global_id[row] or 'empty'}, "
        f"but the events make it {wanted[row] or 'nobody'}"
        for row in bad[:NUM_EXAMPLES].tolist()
    ]
    return Check("explained by events", len(rows), "rows", len(bad), tuple(examples))


def _split_ids(parts: Sequence[Decision], time_s: Float64) -> Int64:
    ids = np.array([part.global_id for part in parts], np.int64)
    from_s = np.array([part.from_s for part in parts])
    return ids[np.maximum(np.searchsorted(from_s, time_s, side="right") - 1, 0)]


def _pairs(spans: Spans, within_s: float) -> Iterator[tuple[Int64, Int64]]:
    """Pairs i, j of stays of one identity, i begun before j, where j begins before the end of i or at most `within_s`
    later; all first neighbours at once, then all second ones, and so on."""
    i = np.arange(len(spans))
    step = 1
    while len(i := i[i + step < len(spans)]):
        j = i + step
        near = (spans.global_id[i] == spans.global_id[j]) & (spans.first_s[j] - spans.last_s[i] <= within_s + _EPS_S)
        i = i[near]
        if len(i):
            yield i, i + step
        step += 1
