"""Identities while the footage comes in.

Every tracklet is decided as soon as it has a first clip, at the latest when it ends: it joins the identity that all
evidence together makes most probable (`link`), or founds a new one (`create`). As clips come in and tracklets are seen
together, decisions are mended by explicit events: two identities become one (`merge`), or a tracklet that disagrees
with the others on the floor leaves (`split`). An identity that nobody has seen for long is closed (`close`).

By construction no identity is ever in two tracklets of one camera at one time, nor in two cameras at one time that do
not overlap: a tracklet counts as in view until its tracker has ended it, and every link and merge passes
`constraints.cannot_be_one`.

The confidence of a decision is its posterior probability: all candidates and 'somebody new' are taken as the mutually
exclusive answers, each weighted by its evidence.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.fusion.association_file import Knowledge, knowledge, write_knowledge
from pipeline.fusion.candidates import Candidates
from pipeline.fusion.changes import Changes
from pipeline.fusion.config import FusionConfig
from pipeline.fusion.decisions import Decisions
from pipeline.fusion.evidence import Evidence
from pipeline.fusion.exclusion import Exclusion
from pipeline.fusion.fused_frames import fused_frames, last_words
from pipeline.fusion.fuser_state import FuserState
from pipeline.fusion.ground import Ground
from pipeline.fusion.learned_floor import LearnedFloor
from pipeline.fusion.looks import Looks
from pipeline.fusion.resolution import Resolver
from pipeline.fusion.revision import revise
from pipeline.fusion.travel import GivenTravel, TravelModel
from pipeline.fusion.zones import Zones
from pipeline.geometry.camera import GroundCamera
from pipeline.types import BoolMask, EmbeddedFrame, Event, Float64, FusedFrame, Int64


class OnlineFuser:
    """Gives tracklets of all cameras their identities as they come. One instance for all cameras of a site."""

    def __init__(
        self,
        config: FusionConfig,
        cameras: Sequence[GroundCamera | None],
        overlaps: frozenset[tuple[int, int]],
        dim: int,
        learned_floor: LearnedFloor | None = None,
        *,
        travel: TravelModel | None = None,
        zones: Zones | None = None,
    ) -> None:
        """cameras: by camid, None where not calibrated. overlaps: pairs of camids that look at one place.

        learned_floor, travel, zones: of the same cameras, from earlier footage, to go on with; by default such that
        know nothing yet. They go on learning.
        """
        self._config = config
        self._overlaps = overlaps | {(b, a) for a, b in overlaps}
        self.learned_floor = learned_floor or LearnedFloor(config, cameras, overlaps)
        self._ground = Ground(config.foot_sigma, cameras, self._overlaps, self.learned_floor)
        state = FuserState.new(config, len(cameras), dim, self._ground, travel=travel, zones=zones)
        self._state = state
        self._exclusion = Exclusion(config, self._overlaps, state)
        self._candidates = Candidates(config.num_neighbours, self._overlaps, len(cameras), state)
        evidence = Evidence(config, state, self._exclusion)
        self._changes = Changes(state, evidence, self._exclusion, self._candidates)
        self._decisions = Decisions(
            config,
            state,
            evidence=evidence,
            exclusion=self._exclusion,
            candidates=self._candidates,
            changes=self._changes,
        )
        self._looks = Looks(config, _overlapping(self._overlaps, len(cameras)), state, self._changes)
        self._resolver = Resolver(
            config,
            self._overlaps,
            calibration=state.calibration,
            travel=state.travel,
            mixed=state.reranking.calibration,
        )
        self._last_frame: dict[int, int] = {}  # camid -> frame_idx
        self._now_s = -math.inf

    def step(self, items: Sequence[EmbeddedFrame]) -> list[FusedFrame]:
        """The frames of one tick with identities, one for each item, in order; events ride on the first."""
        if not items:
            return []
        self._now_s = max(self._now_s, *(item.time_s for item in items))
        self._learn_floor(items)
        ground = [self._ground.places(item) for item in items]
        store, slots = self._state.store, self._observe(items, ground)
        self._state.floor.update(store, slots, self._now_s)
        changed = self._looks.learn(items, self._now_s - self._config.simultaneous_s)
        self._end(items)
        self._decisions.step(self._now_s, changed)
        places = [self._ground.told(item.camid, xy) for item, (xy, _) in zip(items, ground, strict=True)]
        return fused_frames(items, places, store.global_id[slots], store.confidence[slots], self._take_events())

    def follow(
        self,
        cameras: Sequence[GroundCamera | None],
        overlaps: frozenset[tuple[int, int]],
        given: Sequence[GivenTravel] = (),
    ) -> None:
        """The cameras are these from now on: those so far, with their camids, and more."""
        self._overlaps = overlaps | {(b, a) for a, b in overlaps}
        self.learned_floor.follow(cameras, overlaps)
        self._ground.follow(cameras, self._overlaps)
        self._state.floor.follow(*self._ground.comparable())
        self._state.zones.follow(len(cameras))
        self._state.travel.follow(len(cameras), given)
        self._exclusion.follow(self._overlaps)
        self._candidates.follow(self._overlaps, len(cameras))
        self._looks.follow(_overlapping(self._overlaps, len(cameras)))
        self._resolver.follow(self._overlaps)

    def sizes(self) -> dict[str, int]:
        """How much is remembered."""
        gallery = self._state.gallery
        return {"gallery": gallery.num_vectors, "identities": len(gallery), "tracklets": len(self._state.store)}

    def flush(self) -> list[FusedFrame]:
        """Decides what is undecided, as if every tracklet ended now; a frame without tracks carries the last events."""
        store, archive = self._state.store, self._state.archive
        self._changes.end(store.slots())
        self._decisions.step(self._now_s, np.unique(store.global_id[store.slots()]).tolist())
        events = self._take_events()
        self._changes.keep_rest()
        if archive is not None:
            events += revise(
                archive,
                self._resolver,
                self._state.book.new_number,
                self._now_s,
                overlaps=self._overlaps,
                simultaneous_s=self._config.simultaneous_s,
            )
        return last_words(events, self._last_frame, self._now_s)

    def save(self, folder: Path, cameras: Sequence[str]) -> None:
        """Write what is known of the site, and the tracklets, for questions after the run. Raises OSError."""
        write_knowledge(folder, *self.knowledge(cameras))

    def knowledge(self, cameras: Sequence[str]) -> Knowledge:
        """What `save` writes."""
        reranking = self._state.reranking
        return knowledge(
            cameras,
            calibration=self._state.calibration,
            mixed=reranking.calibration if reranking.active else None,
            threshold=self._decisions.least_confidence,
            learned_floor=self.learned_floor,
            record=self._state.record,
        )

    def _end(self, items: Sequence[EmbeddedFrame]) -> None:
        """Tracklets whose tracker has ended them, or that nobody has seen for long."""
        store = self._state.store
        slots = [store.slot_of(item.camid, track_id) for item in items for track_id in item.ended.tolist()]
        used = store.slots()
        slots += used[store.last_s[used] < self._now_s - self._config.stale_s].tolist()
        ended = np.unique(np.array(slots, np.int64))
        self._changes.end(ended[ended >= 0])

    def _take_events(self) -> list[Event]:
        events, archive = self._changes.take_events(), self._state.archive
        return archive.take(events) if archive is not None else events

    def _learn_floor(self, items: Sequence[EmbeddedFrame]) -> None:
        """Overlapping cameras without calibration: a floor may be found, get better, or be lost."""
        self.learned_floor.observe(items)
        if self.learned_floor.update(self._now_s):
            store, floor = self._state.store, self._state.floor
            store.forget_ground(self._ground.uncalibrated())
            floor.allow(*self._ground.comparable())
            floor.remember(store, self.learned_floor.history())

    def _observe(self, items: Sequence[EmbeddedFrame], ground: Sequence[tuple[Float64, Float64]]) -> Int64:
        """Enter what the items show -> slots (N,), item by item. Frames of different cameras are taken in at once."""
        slots: list[Int64] = []
        start = 0
        while start < len(items):
            cameras: dict[int, None] = {}
            for item in items[start:]:
                if item.camid in cameras:
                    break
                cameras[item.camid] = None
                self._last_frame[item.camid] = item.frame_idx
            here = slice(start, start + len(cameras))
            shown, num = items[here], [len(item.tracks) for item in items[here]]
            camid = np.repeat(np.array(list(cameras), np.int64), num)
            time_s = np.repeat(np.array([item.time_s for item in shown]), num)
            boxes = np.concatenate([item.tracks.xyxy for item in shown])
            self._state.zones.see(camid, boxes)
            seen = self._state.store.observe(
                camid,
                time_s,
                np.concatenate([item.tracks.track_id for item in shown]),
                boxes,
                ground_xy=np.concatenate([xy for xy, _ in ground[here]]),
                ground_sigma_m=np.concatenate([sigma for _, sigma in ground[here]]),
            )
            self._changes.see(seen, time_s)
            slots.append(seen)
            start = here.stop
        return np.concatenate(slots)


def _overlapping(overlaps: frozenset[tuple[int, int]], num_cameras: int) -> BoolMask:
    """(C, C) which cameras look at one place."""
    table = np.zeros((num_cameras, num_cameras), np.bool_)
    for a, b in overlaps:
        table[a, b] = True
    return table
