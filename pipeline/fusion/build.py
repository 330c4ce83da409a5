"""Builds the fuser."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from pipeline.fusion.config import FusionConfig
from pipeline.fusion.fuser import Fuser
from pipeline.fusion.online import OnlineFuser
from pipeline.fusion.site_fuser import NearSite, StartSite
from pipeline.fusion.sites import SiteFusers, site_cameras
from pipeline.fusion.travel import CAMERAS_ONLY, GivenTravel, TravelModel, TravelTrust
from pipeline.fusion.travel_file import TRANSITIONS_FILE, load_travel, save_travel
from pipeline.fusion.zones import Zones
from pipeline.geometry.camera import GroundCamera


def build_fuser(
    config: FusionConfig,
    cameras: Sequence[GroundCamera | None],
    overlaps: frozenset[tuple[int, int]],
    dim: int,
    memory: TravelMemory | None = None,
    start_site: StartSite = NearSite,
) -> Fuser:
    """A fuser for `cameras` (by camid, None where not calibrated), of which the pairs `overlaps` look at one place.

    dim: length of the appearance vectors. memory: what is known of travel times, which the fuser goes on learning.
    start_site: makes the fuser of each site where `config.site_processes`.
    Raises ValueError for a pair that names a camera which does not exist, SitesError for sites that do not fit.
    """
    for pair in sorted(overlaps):
        if not all(0 <= camid < len(cameras) for camid in pair) or pair[0] == pair[1]:
            raise ValueError(f"overlaps: {pair} is no pair of two of the {len(cameras)} cameras")
    memory = memory or TravelMemory(config, tuple(map(str, range(len(cameras)))))
    if config.sites:
        sites = site_cameras(config, memory.names, overlaps)
        known = memory.travel, memory.zones
        start = start_site if config.site_processes else NearSite
        return SiteFusers(config, sites, cameras, overlaps, dim, known=known, given=memory.given, start=start)
    return OnlineFuser(config, cameras, overlaps, dim, travel=memory.travel, zones=memory.zones)


class TravelMemory:
    """The travel times of a site from run to run: read at the start, learned by the fuser, written at the end."""

    def __init__(
        self,
        config: FusionConfig,
        camera_names: Sequence[str],
        given: Iterable[GivenTravel] = (),
        base_dir: Path = Path(),
    ) -> None:
        """camera_names: by camid. given: what cams.yaml says. base_dir: of the path `config.transitions`.

        Raises TransitionsFileError for a file that can not be used.
        """
        self.names, self.given = tuple(camera_names), tuple(given)
        trust = CAMERAS_ONLY if config.travel == "cameras" else TravelTrust()
        self.travel = TravelModel(len(self.names), config.travel_memory, trust, self.given)
        self.zones = Zones(len(self.names))
        if config.transitions:
            load_travel(base_dir / config.transitions, self.names, self.travel, self.zones, config.travel_memory)

    def follow(self, camera_names: Sequence[str]) -> None:
        """There are more cameras; the fuser has made room for them."""
        self.names = tuple(camera_names)

    def save(self, folder: Path) -> None:
        """Write transitions.json into the folder. Raises OSError."""
        save_travel(folder / TRANSITIONS_FILE, self.names, self.travel, self.zones)
