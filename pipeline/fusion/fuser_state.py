"""What is remembered of people and of the site, by those who each own a part of it; in one value for all who use it."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.fusion.archive import TrackletArchive
from pipeline.fusion.calibration import SimilarityCalibration
from pipeline.fusion.config import FusionConfig
from pipeline.fusion.floor import FloorAgreement
from pipeline.fusion.gallery import Gallery
from pipeline.fusion.ground import Ground
from pipeline.fusion.identities import IdentityBook
from pipeline.fusion.reranking import Reranking
from pipeline.fusion.store import TrackletStore
from pipeline.fusion.tracklet_record import TrackletRecord
from pipeline.fusion.travel import TravelModel
from pipeline.fusion.zones import Zones


@dataclass(frozen=True, slots=True, eq=False)
class FuserState:
    """The stateful parts of a fuser. Of people:"""

    store: TrackletStore  # live tracklets
    book: IdentityBook  # identities and their tracklets
    gallery: Gallery  # what identities look like
    floor: FloorAgreement  # which live tracklets stand in one place
    record: TrackletRecord  # tracklets that are over, for questions after the run
    archive: TrackletArchive | None  # the same, to resolve them at the end; None where nobody wants that
    # and of the site:
    calibration: SimilarityCalibration
    reranking: Reranking
    travel: TravelModel
    zones: Zones

    @classmethod
    def new(
        cls,
        config: FusionConfig,
        num_cameras: int,
        dim: int,
        ground: Ground,
        *,
        travel: TravelModel | None = None,
        zones: Zones | None = None,
    ) -> FuserState:
        """Nobody is known yet. travel, zones: from earlier footage, if there was any; they become a part of it.

        ground: says which cameras' places can be compared. dim: length of the appearance vectors.
        """
        return cls(
            store=TrackletStore(dim),
            book=IdentityBook(),
            gallery=Gallery(dim, config.num_exemplars),
            floor=FloorAgreement(config, *ground.comparable()),
            record=TrackletRecord(dim, config.record_capacity),
            archive=TrackletArchive(config.resolve_capacity) if config.resolve == "end" else None,
            calibration=SimilarityCalibration(config),
            reranking=Reranking(config, dim),
            travel=travel or TravelModel(num_cameras, config.travel_memory),
            zones=zones or Zones(num_cameras),
        )
