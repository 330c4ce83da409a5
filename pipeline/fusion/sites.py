"""Sites: all cameras parted into groups, each with a fuser of its own, and what keeps people one over all of them.

A site's fuser gets the frames of its cameras and of its guests (cameras next door), so that whoever comes over from
another site has been seen by it before. Its work and its memory depend on its own people, not on how many sites there
are. `reconcile.Names` gives the numbers that hold over all sites.
"""

from __future__ import annotations

import difflib
import logging
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pipeline.fusion.association_file import merged_knowledge, write_knowledge
from pipeline.fusion.config import FusionConfig
from pipeline.fusion.fused_frames import last_words
from pipeline.fusion.reconcile import Names
from pipeline.fusion.site_fuser import NearSite, SiteFuser, SiteJob, StartSite
from pipeline.fusion.travel import CAMERAS_ONLY, GivenTravel, TravelModel, TravelTrust
from pipeline.fusion.travel_parts import Part, collect, hand_out
from pipeline.fusion.zones import Zones
from pipeline.geometry.camera import GroundCamera
from pipeline.types import (
    EmbeddedFrame,
    Event,
    FusedFrame,
    GlobalTracks,
    Int64,
)

log = logging.getLogger(__name__)


class SitesError(ValueError):
    """Sites that do not fit the cameras. The message names the camera and what to do."""


@dataclass(frozen=True, slots=True)
class SiteCameras:
    """The cameras of one site by camid, ascending; its fuser numbers them from 0 in this order."""

    name: str
    camids: tuple[int, ...]  # own and guests
    own: frozenset[int]


def site_cameras(
    config: FusionConfig, names: Sequence[str], overlaps: frozenset[tuple[int, int]]
) -> tuple[SiteCameras, ...]:
    """The sites of the configuration, in its order. names: of the cameras, by camid. Raises SitesError."""
    camid_of = {name: camid for camid, name in enumerate(names)}
    site_of: dict[int, str] = {}
    sites = []
    for site, chosen in config.sites.items():
        for name in (*chosen.cameras, *chosen.guests):
            if name not in camid_of:
                near = difflib.get_close_matches(name, names, 1)
                raise SitesError(
                    f"fusion.sites.{site}: there is no camera {name!r}"
                    + (f", did you mean {near[0]!r}?" if near else "")
                )
        own = [camid_of[name] for name in chosen.cameras]
        for camid in own:
            if camid in site_of:
                raise SitesError(
                    f"fusion.sites.{site}: camera {names[camid]!r} is in {site_of[camid]!r} already; it can be a guest"
                )
            site_of[camid] = site
        camids = sorted({*own, *(camid_of[name] for name in chosen.guests)})
        sites.append(SiteCameras(site, tuple(camids), frozenset(own)))
    missing = [name for camid, name in enumerate(names) if camid not in site_of]
    if missing:
        raise SitesError(f"fusion.sites: camera {missing[0]!r} is in none of them; every camera belongs to one")
    seen_by = {site.name: set(site.camids) for site in sites}
    apart = [(a, b) for a, b in sorted(overlaps) if b not in seen_by[site_of[a]] or a not in seen_by[site_of[b]]]
    if apart:
        log.warning(
            "fusion.sites: %s and %s (and %d other pairs) look at one place but are in different sites: who is seen by "
            "both at once is two people, unless they are in one site or each is a guest of the other's",
            *(names[camid] for camid in apart[0]),
            len(apart) - 1,
        )
    return tuple(sites)


class SiteFusers:
    """A fuser for each site; gives tracklets of all cameras their identities. Sites are asked in their order."""

    def __init__(
        self,
        config: FusionConfig,
        sites: Sequence[SiteCameras],
        cameras: Sequence[GroundCamera | None],
        overlaps: frozenset[tuple[int, int]],
        dim: int,
        *,
        known: Part,
        given: Sequence[GivenTravel] = (),
        start: StartSite = NearSite,
    ) -> None:
        """cameras, overlaps, known, given: of all sites. At the end `known` holds what all of them have learned.

        start: makes the fuser of a site, in this process or in another.
        """
        self._sites = tuple(sites)
        self._known = known
        self._fusers: list[SiteFuser] = []
        for site in sites:
            place = {camid: at for at, camid in enumerate(site.camids)}
            ways = [
                replace(way, from_camid=place[way.from_camid], to_camid=place[way.to_camid])
                for way in given
                if way.from_camid in place and way.to_camid in place
            ]
            trust = CAMERAS_ONLY if config.travel == "cameras" else TravelTrust()
            part = TravelModel(len(site.camids), config.travel_memory, trust, ways), Zones(len(site.camids))
            hand_out(known, part, site.camids)
            pairs = frozenset((place[a], place[b]) for a, b in overlaps if a in place and b in place)
            mine = tuple(cameras[camid] for camid in site.camids)
            self._fusers.append(start(SiteJob(site.name, config, mine, pairs, dim, part)))
        self._names = Names(
            overlaps | {(b, a) for a, b in overlaps},
            given,
            simultaneous_s=config.simultaneous_s,
            keep_s=config.revise_s,
            stale_s=config.stale_s,
        )
        self._last_frame: dict[int, int] = {}  # camid -> frame_idx
        self._now_s = -math.inf

    @property
    def names(self) -> Names:
        """The numbers over all sites."""
        return self._names

    def sizes(self) -> dict[str, int]:
        """How much is remembered, in all sites together."""
        total: Counter[str] = Counter()
        for fuser in self._fusers:
            total.update(fuser.sizes())
        return dict(total)

    def follow(
        self,
        cameras: Sequence[GroundCamera | None],
        overlaps: frozenset[tuple[int, int]],
        given: Sequence[GivenTravel] = (),
    ) -> None:
        """Always raises ValueError: which site a camera belongs to stands in the configuration."""
        raise ValueError("cameras can not be changed while the run goes where fusion.sites are given")

    def step(self, items: Sequence[EmbeddedFrame]) -> list[FusedFrame]:
        """The frames of one tick with identities, one for each item, in order; events ride on the first."""
        if not items:
            return []
        for item in items:
            self._now_s = max(self._now_s, item.time_s)
            self._last_frame[item.camid] = item.frame_idx
            self._names.see(item.camid, item.time_s, item.tracks.track_id, item.ended)
        shown: list[list[int]] = []  # to each site, by place in items
        for site, fuser in zip(self._sites, self._fusers, strict=True):
            place = {camid: at for at, camid in enumerate(site.camids)}
            shown.append([at for at, item in enumerate(items) if item.camid in place])
            fuser.begin([replace(items[at], camid=place[items[at].camid]) for at in shown[-1]])
        events: list[Event] = []
        fused: dict[int, FusedFrame] = {}  # by place in items
        for number, (site, fuser) in enumerate(zip(self._sites, self._fusers, strict=True)):
            for at, frame in zip(shown[number], fuser.frames(), strict=True):
                events += self._take(number, frame.events)
                if items[at].camid in site.own:
                    fused[at] = frame
        self._names.sweep(self._now_s)
        return [
            replace(
                fused[at],
                camid=item.camid,
                global_tracks=self._named(item.camid, fused[at].global_tracks),
                events=() if at else tuple(events),
            )
            for at, item in enumerate(items)
        ]

    def flush(self) -> list[FusedFrame]:
        """Decides what is undecided; a frame without tracks carries the last events."""
        for fuser in self._fusers:
            fuser.begin_flush()
        events: list[Event] = []
        for number, fuser in enumerate(self._fusers):
            for frame in fuser.frames():
                events += self._take(number, frame.events)
        for site, fuser in zip(self._sites, self._fusers, strict=True):
            collect(fuser.learned(), self._known, site.camids, site.own)
        return last_words(events, self._last_frame, self._now_s)

    def save(self, folder: Path, cameras: Sequence[str]) -> None:
        """Write what is known of all sites, and the tracklets, for questions after the run. Raises OSError."""
        told = [
            fuser.knowledge([cameras[camid] for camid in site.camids])
            for site, fuser in zip(self._sites, self._fusers, strict=True)
        ]
        camids = {site.name: (site.camids, site.own) for site in self._sites}
        write_knowledge(folder, *merged_knowledge(dict(zip(camids, told, strict=True)), cameras, camids))

    def _take(self, number: int, events: Sequence[Event]) -> list[Event]:
        """Events of a site's fuser -> events over all sites."""
        site, out = self._sites[number], []
        for event in events:
            camid = site.camids[event.camid] if event.camid >= 0 else -1
            out += self._names.take(number, replace(event, camid=camid), own=camid in site.own)
        return out

    def _named(self, camid: int, tracks: GlobalTracks) -> GlobalTracks:
        ids: Int64 = np.array([self._names.of(camid, tid) for tid in tracks.track_id.tolist()], np.int64)
        return replace(tracks, global_id=ids)
