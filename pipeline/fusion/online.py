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
from functools import lru_cache
from pathlib import Path

import numpy as np

from pipeline.fusion.archive import TrackletArchive
from pipeline.fusion.association_file import Knowledge, knowledge, write_knowledge
from pipeline.fusion.calibration import SimilarityCalibration
from pipeline.fusion.candidates import Candidates
from pipeline.fusion.changes import Changes
from pipeline.fusion.config import FusionConfig
from pipeline.fusion.decisions import Decisions
from pipeline.fusion.evidence import Evidence
from pipeline.fusion.floor import FloorAgreement
from pipeline.fusion.fuser import last_words
from pipeline.fusion.gallery import Gallery
from pipeline.fusion.identities import IdentityBook
from pipeline.fusion.learned_floor import LearnedFloor
from pipeline.fusion.looks import Looks
from pipeline.fusion.reranking import Reranking
from pipeline.fusion.resolution import Resolver
from pipeline.fusion.revision import revise
from pipeline.fusion.store import TrackletStore
from pipeline.fusion.tracklet_record import TrackletRecord
from pipeline.fusion.travel import GivenTravel, TravelModel
from pipeline.fusion.zones import Zones
from pipeline.geometry.boxes import foot_point
from pipeline.geometry.camera import GroundCamera
from pipeline.types import (
    BoolMask,
    EmbeddedFrame,
    Event,
    Float64,
    FusedFrame,
    GlobalTracks,
    Int64,
)

_NOBODY = GlobalTracks.empty()
_BORDER = 0.01  # share of the picture that counts as its lower border
_CUT_FEET = 4.0  # by this factor feet at that border are less certain


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
        self._cameras = tuple(cameras)
        self._overlaps = overlaps | {(b, a) for a, b in overlaps}
        allowed = self._calibrated = _both_calibrated(self._cameras, self._overlaps)
        self.learned_floor = learned_floor or LearnedFloor(config, cameras, overlaps)
        self._store = TrackletStore(dim)
        self._floor = FloorAgreement(config, allowed)
        self._floor.allow(allowed | self.learned_floor.allowed(), self.learned_floor.area_m2())
        self._calibration = SimilarityCalibration(config)
        self._reranking = Reranking(config, dim)
        self._zones = zones or Zones(len(cameras))
        travel = travel or TravelModel(len(cameras), config.travel_memory)
        gallery, book = Gallery(dim, config.num_exemplars), IdentityBook()
        evidence = Evidence(
            config,
            self._overlaps,
            store=self._store,
            gallery=gallery,
            book=book,
            floor=self._floor,
            calibration=self._calibration,
            zones=self._zones,
            travel=travel,
            reranking=self._reranking,
        )
        self._gallery, self._evidence, self._travel = gallery, evidence, travel
        self._archive = TrackletArchive(config.resolve_capacity) if config.resolve == "end" else None
        self._record = TrackletRecord(dim, config.record_capacity)
        candidates = Candidates(
            config.num_neighbours,
            self._overlaps,
            len(cameras),
            store=self._store,
            gallery=gallery,
            book=book,
            travel=travel,
        )
        self._candidates = candidates
        self._changes = Changes(
            store=self._store,
            gallery=gallery,
            book=book,
            floor=self._floor,
            evidence=evidence,
            candidates=candidates,
            reranking=self._reranking,
            archive=self._archive,
            record=self._record,
        )
        self._decisions = Decisions(
            config,
            store=self._store,
            book=book,
            floor=self._floor,
            evidence=evidence,
            candidates=candidates,
            changes=self._changes,
            travel=travel,
        )
        self._looks = Looks(
            config,
            _overlapping(self._overlaps, len(cameras)),
            store=self._store,
            gallery=gallery,
            floor=self._floor,
            calibration=self._calibration,
            reranking=self._reranking,
            changes=self._changes,
        )
        self._book = book
        self._resolver = Resolver(
            config,
            self._overlaps,
            calibration=self._calibration,
            travel=travel,
            mixed=self._reranking.calibration,
        )
        self._last_frame: dict[int, int] = {}  # camid -> frame_idx
        self._lowest_px = np.zeros(len(cameras))  # the lowest box edge that each camera has shown
        self._now_s = -math.inf

    def step(self, items: Sequence[EmbeddedFrame]) -> list[FusedFrame]:
        """The frames of one tick with identities, one for each item, in order; events ride on them."""
        if not items:
            return []
        self._now_s = max(self._now_s, *(item.time_s for item in items))
        self._learn_floor(items)
        ground = [self._on_ground(item) for item in items]
        slots = self._observe(items, ground)
        self._floor.update(self._store, np.concatenate(slots), self._now_s)
        changed = self._looks.learn(items, self._now_s - self._config.simultaneous_s)
        self._end(items)
        self._decisions.step(self._now_s, changed)
        places = [self._in_metres(item.camid, xy) for item, (xy, _) in zip(items, ground, strict=True)]
        return self._frames(items, slots, places)

    def follow(
        self,
        cameras: Sequence[GroundCamera | None],
        overlaps: frozenset[tuple[int, int]],
        given: Sequence[GivenTravel] = (),
    ) -> None:
        """The cameras are these from now on: those so far, with their camids, and more."""
        self._cameras, self._overlaps = tuple(cameras), overlaps | {(b, a) for a, b in overlaps}
        self._calibrated = _both_calibrated(self._cameras, self._overlaps)
        self.learned_floor.follow(cameras, overlaps)
        self._floor.follow(self._calibrated | self.learned_floor.allowed(), self.learned_floor.area_m2())
        self._zones.follow(len(cameras))
        self._travel.follow(len(cameras), given)
        self._evidence.follow(self._overlaps)
        self._candidates.follow(self._overlaps, len(cameras))
        self._looks.follow(_overlapping(self._overlaps, len(cameras)))
        self._resolver.follow(self._overlaps)
        self._lowest_px = np.pad(self._lowest_px, (0, len(cameras) - len(self._lowest_px)))

    def sizes(self) -> dict[str, int]:
        """How much is remembered."""
        gallery = self._gallery
        return {"gallery": gallery.num_vectors, "identities": len(gallery), "tracklets": len(self._store)}

    def flush(self) -> list[FusedFrame]:
        """Decides what is undecided, as if every tracklet ended now; a frame without tracks carries the last events."""
        self._changes.end(self._store.slots())
        self._decisions.step(self._now_s, np.unique(self._store.global_id[self._store.slots()]).tolist())
        events = self._take_events()
        self._changes.keep_rest()
        if self._archive is not None:
            events += revise(
                self._archive,
                self._resolver,
                self._book.new_number,
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
        return knowledge(
            cameras,
            calibration=self._calibration,
            mixed=self._reranking.calibration if self._reranking.active else None,
            threshold=self._decisions.least_confidence,
            learned_floor=self.learned_floor,
            record=self._record,
        )

    def _end(self, items: Sequence[EmbeddedFrame]) -> None:
        """Tracklets whose tracker has ended them, or that nobody has seen for long."""
        store = self._store
        slots = [store.slot_of(item.camid, track_id) for item in items for track_id in item.ended.tolist()]
        used = store.slots()
        slots += used[store.last_s[used] < self._now_s - self._config.stale_s].tolist()
        ended = np.unique(np.array(slots, np.int64))
        self._changes.end(ended[ended >= 0])

    def _take_events(self) -> list[Event]:
        events = self._changes.take_events()
        return self._archive.take(events) if self._archive is not None else events

    def _learn_floor(self, items: Sequence[EmbeddedFrame]) -> None:
        """Overlapping cameras without calibration: a floor may be found, get better, or be lost."""
        self.learned_floor.observe(items)
        if self.learned_floor.update(self._now_s):
            learned = [c for c, given in enumerate(self._cameras) if given is None]
            self._store.forget_ground(learned)
            self._floor.allow(self._calibrated | self.learned_floor.allowed(), self.learned_floor.area_m2())
            self._floor.remember(self._store, self.learned_floor.history())

    def _in_metres(self, camid: int, ground_xy: Float64) -> Float64:
        """What is written: places of calibrated cameras only, learned floors differ from run to run."""
        return ground_xy if self._cameras[camid] is not None else _unknown(len(ground_xy))[0]

    def _on_ground(self, item: EmbeddedFrame) -> tuple[Float64, Float64]:
        """Where the tracks of an item stand: (N, 2) metres and the standard deviation (N,); NaN if unknown.

        The error of a box is mostly that of its lower edge: the deviation is how far the point moves on the floor
        when that edge is raised by it, so that people far away are trusted less.
        """
        camera = self._cameras[item.camid] or self.learned_floor.camera(item.camid)
        count = len(item.tracks)
        if camera is None or not count:
            return _unknown(count)
        boxes = item.tracks.xyxy.astype(np.float64)
        feet = foot_point(boxes)
        error_px = np.maximum(self._config.foot_sigma * (boxes[:, 3] - boxes[:, 1]), 1.0)
        # Feet below the lower border of the picture are cut off. Its height is not known here: a box that reaches as
        # low as any box ever did may be cut.
        self._lowest_px[item.camid] = max(self._lowest_px[item.camid], feet[:, 1].max())
        error_px[feet[:, 1] >= (1 - _BORDER) * self._lowest_px[item.camid]] *= _CUT_FEET
        raised = feet - np.stack((np.zeros(count), error_px), axis=1)
        ground_xy, raised_xy = np.split(camera.to_ground(np.concatenate((feet, raised))), 2)
        sigma_m = np.linalg.norm(raised_xy - ground_xy, axis=1)
        return ground_xy, np.hypot(sigma_m, self.learned_floor.sigma_m(item.camid))

    def _observe(self, items: Sequence[EmbeddedFrame], ground: Sequence[tuple[Float64, Float64]]) -> list[Int64]:
        """Enter what the items show -> the slots of each. Frames of different cameras are taken in at once."""
        slots: list[Int64] = []
        while len(slots) < len(items):
            cameras: dict[int, None] = {}
            for item in items[len(slots) :]:
                if item.camid in cameras:
                    break
                cameras[item.camid] = None
                self._last_frame[item.camid] = item.frame_idx
            here = slice(len(slots), len(slots) + len(cameras))
            shown, num = items[here], [len(item.tracks) for item in items[here]]
            camid = np.repeat(np.array(list(cameras), np.int64), num)
            time_s = np.repeat(np.array([item.time_s for item in shown]), num)
            boxes = np.concatenate([item.tracks.xyxy for item in shown])
            self._zones.see(camid, boxes)
            seen = self._store.observe(
                camid,
                time_s,
                np.concatenate([item.tracks.track_id for item in shown]),
                boxes,
                ground_xy=np.concatenate([xy for xy, _ in ground[here]]),
                ground_sigma_m=np.concatenate([sigma for _, sigma in ground[here]]),
            )
            self._changes.see(seen, time_s)
            slots += np.split(seen, np.cumsum(num)[:-1])
        return slots

    def _frames(
        self, items: Sequence[EmbeddedFrame], slots: Sequence[Int64], ground: Sequence[Float64]
    ) -> list[FusedFrame]:
        events = tuple(self._take_events())
        every = np.concatenate(slots)
        global_id, confidence = self._store.global_id[every], self._store.confidence[every].astype(np.float32)
        num_known = np.concatenate((np.zeros(1, np.int64), np.cumsum(global_id > 0))).tolist()
        frames, start = [], 0
        for item, ground_xy in zip(items, ground, strict=True):
            stop = start + len(item.tracks)
            here: slice | Int64 = slice(start, stop)
            tracks = item.tracks
            if num_known[stop] - num_known[start] < stop - start:
                known = np.flatnonzero(global_id[start:stop])
                tracks, here = tracks[known], known + start
            frames.append(
                FusedFrame(
                    camid=item.camid,
                    frame_idx=item.frame_idx,
                    time_s=item.time_s,
                    tracks=item.tracks,
                    ground_xy=ground_xy,
                    global_tracks=GlobalTracks(tracks.track_id, global_id[here], tracks.xyxy, confidence[here])
                    if len(tracks)
                    else _NOBODY,
                    events=events,
                    preview=item.preview,
                    preview_scale=item.preview_scale,
                )
            )
            start, events = stop, ()
        return frames


@lru_cache(maxsize=64)
def _unknown(count: int) -> tuple[Float64, Float64]:
    """Places nobody knows: (N, 2) and (N,) NaN, to be read only."""
    nowhere, unsure = np.full((count, 2), np.nan), np.full(count, np.nan)
    nowhere.flags.writeable = unsure.flags.writeable = False
    return nowhere, unsure


def _both_calibrated(cameras: Sequence[GroundCamera | None], overlaps: frozenset[tuple[int, int]]) -> BoolMask:
    """(C, C) pairs that look at one place, of which both are calibrated."""
    table = np.zeros((len(cameras), len(cameras)), np.bool_)
    for a, b in overlaps:
        table[a, b] = cameras[a] is not None and cameras[b] is not None
    return table


def _overlapping(overlaps: frozenset[tuple[int, int]], num_cameras: int) -> BoolMask:
    """(C, C) which cameras look at one place."""
    table = np.zeros((num_cameras, num_cameras), np.bool_)
    for a, b in overlaps:
        table[a, b] = True
    return table
