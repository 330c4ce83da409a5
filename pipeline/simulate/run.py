"""A simulated run of a site: who walked where, what cameras saw, what detectors and trackers made of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.simulate.detecting import DetectionRows, crowding, detect
from pipeline.simulate.graph import Site
from pipeline.simulate.tracklets import Boxes, Tracklets, track
from pipeline.simulate.truth import TruthTracks, see
from pipeline.simulate.walkers import Visits, walk_site

_WALKS, _SEES, _DETECTS, _TRACKS = range(4)


@dataclass(frozen=True, eq=False)
class SiteRun:
    """Everything about one run; `pipeline.simulate.stream.embedded_frames` makes messages of it."""

    site: Site
    seconds: float
    seed: int
    visits: Visits
    truth: TruthTracks
    detections: DetectionRows
    boxes: Boxes
    tracklets: Tracklets

    @property
    def num_people(self) -> int:
        """People who came, whether or not a camera saw them."""
        return int(self.visits.pid.max(initial=0))

    def person_of(self) -> dict[tuple[int, int], int]:
        """(camid, track_id) -> pid of whom most of the tracklet shows, -1 for nobody."""
        rows = self.tracklets
        keys = zip(rows.camid.tolist(), rows.track_id.tolist(), strict=True)
        return dict(zip(keys, rows.pid.tolist(), strict=True))


def simulate_site(site: Site, seconds: float, seed: int = 0) -> SiteRun:
    """Let people walk through `site` for `seconds`. The same arguments give the same run, to the byte.

    Each stage has random numbers of its own: other noise leaves the walkers as they are.
    """

    def rng(stage: int) -> np.random.Generator:
        return np.random.default_rng([seed, stage])

    visits = walk_site(site, seconds, rng(_WALKS))
    truth = see(site, visits, seconds, rng(_SEES))
    crowd = crowding(truth, site.noise.tracker.swap_iou)
    detections = detect(site, truth, crowd.covered, seconds, rng(_DETECTS))
    boxes, tracklets = track(site, truth, detections, crowd, seconds, rng(_TRACKS))
    return SiteRun(site, seconds, seed, visits, truth, detections, boxes, tracklets)
