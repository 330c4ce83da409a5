"""st-ReID for labelled data: transitions from training tracklets, joined with features of any network.

Wang et al., AAAI 2019. What is estimated and joined stands in `pipeline.fusion.transitions`, which the pipeline uses
too; here are the paper's conventions (times are frame numbers, one mean per person and camera) for data sets whose
names tell the frames: Market-1501, DukeMTMC-reID, Occluded-Duke and DukeMTMC-VideoReID. For published figures score
minus the joint scores with trapezoidal AP over all queries.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from pipeline.fusion.rerank import rerank
from pipeline.fusion.transitions import Transitions, estimate, joint_score, score
from pipeline.settings import Settings
from pipeline.types import Float32, Float64, Int64
from reid_train.data.tracklet import LabelledTracklet

_BLOCK_CELLS = 2_000_000  # cells of a dense block of scores


class SpatialTemporalConfig(Settings):
    """Constants of st-ReID. DukeMTMC's histograms have 3,000 bins; its frame numbers need no more."""

    bin_frames: int = Field(100, ge=1, description="Frames per bin of the histograms of travel times.")
    num_bins: int = Field(5000, ge=1, description="Bins of a histogram; longer travels are not known.")
    sigma_bins: float = Field(50.0, ge=0, description="Width of the Parzen window that smooths them, in bins.")
    appearance_lambda: float = Field(1.0, gt=0, description="Lambda of the logistic function of the similarity.")
    appearance_gamma: float = Field(5.0, gt=0, description="Its gamma, how steep it is.")
    time_lambda: float = Field(2.0, gt=0, description="Lambda of the logistic function of the travel time.")
    time_gamma: float = Field(5.0, gt=0, description="Its gamma.")


@dataclass(frozen=True, slots=True, eq=False)
class Sightings:
    """Tracklets as the joint metric sees them."""

    unit: Float32  # (N, D) features of norm 1
    camids: Int64  # (N,)
    frames: Float64  # (N,) the mean frame of each

    def __post_init__(self) -> None:
        if not len(self.unit) == len(self.camids) == len(self.frames):
            raise ValueError(f"{len(self.unit)} features, {len(self.camids)} camids, {len(self.frames)} frames")

    @classmethod
    def of(cls, tracklets: Sequence[LabelledTracklet], features: npt.ArrayLike) -> Sightings:
        """Of tracklets with frame numbers and their features (N, D), of any length."""
        unit = np.array(features, np.float32)
        unit /= np.maximum(np.linalg.norm(unit, axis=-1, keepdims=True), 1e-12)
        _check_frames(tracklets)
        frames = np.array([np.mean(tracklet.frames) for tracklet in tracklets], np.float64)
        return cls(unit, np.array([tracklet.camid for tracklet in tracklets], np.int64), frames)

    def __len__(self) -> int:
        return len(self.camids)


def estimate_transitions(
    tracklets: Sequence[LabelledTracklet], num_cams: int, config: SpatialTemporalConfig | None = None
) -> Transitions:
    """Travel times of the people in the training tracklets; every image counts as a sighting at its frame.

    Junk and distractors (pid -1 and 0 of a gallery) have no business here: give training tracklets only.
    """
    _check_frames(tracklets)
    config = config or SpatialTemporalConfig()
    lengths = [len(tracklet) for tracklet in tracklets]
    return estimate(
        np.repeat([tracklet.pid for tracklet in tracklets], lengths),
        np.repeat([tracklet.camid for tracklet in tracklets], lengths),
        np.array([frame for tracklet in tracklets for frame in tracklet.frames], np.float64),
        num_cams=num_cams,
        bin_width=config.bin_frames,
        num_bins=config.num_bins,
        sigma_bins=config.sigma_bins,
    )


def joint_scores(
    query: Sightings, gallery: Sightings, transitions: Transitions, config: SpatialTemporalConfig | None = None
) -> Float32:
    """Joint scores (Q, G) of appearance and travel time, larger is better; distances are minus these. [section 4]"""
    out = np.empty((len(query), len(gallery)), np.float32)
    for start, stop in _spans(len(query), len(gallery)):
        p = score(
            transitions,
            query.camids[start:stop, None],
            query.frames[start:stop, None],
            gallery.camids,
            gallery.frames,
        )
        out[start:stop] = _joint(query.unit[start:stop] @ gallery.unit.T, p, config or SpatialTemporalConfig())
    return out


def reranked_distances(
    query: Sightings,
    gallery: Sightings,
    transitions: Transitions,
    config: SpatialTemporalConfig | None = None,
    *,
    k1: int = 20,
    k2: int = 6,
    lambda_value: float = 0.3,
) -> Float32:
    """Distances (Q, G) after k-reciprocal re-ranking of 2 - 2S, S the joint scores of all items, plain. [section 5]

    The gallery should hold the junk images (`keep_junk=True` of Market-1501), as the published code has it.
    """
    items = Sightings(
        np.concatenate((query.unit, gallery.unit)),
        np.concatenate((query.camids, gallery.camids)),
        np.concatenate((query.frames, gallery.frames)),
    )
    distances = JointDistances(items, transitions, config or SpatialTemporalConfig())
    return rerank(distances, len(query), k1, k2, lambda_value=lambda_value, square=False)


@dataclass(frozen=True, slots=True, eq=False)
class JointDistances:
    """2 - 2S of all items, as `pipeline.fusion.rerank` wants them. The row of an item is its column, see there."""

    items: Sightings
    transitions: Transitions
    config: SpatialTemporalConfig

    @property
    def num_items(self) -> int:
        return len(self.items)

    def block(self, start: int, stop: int) -> Float32:
        """(stop - start, N) from these items to all."""
        unit, camids, frames = self.items.unit, self.items.camids, self.items.frames
        p = score(self.transitions, camids, frames, camids[start:stop, None], frames[start:stop, None])
        return 2 - 2 * _joint(unit[start:stop] @ unit.T, p, self.config)

    def pairs(self, rows: Int64, columns: Int64) -> Float32:
        """(P,) of single pairs of items."""
        unit, camids, frames = self.items.unit, self.items.camids, self.items.frames
        out = np.empty(len(rows), np.float32)
        for start, stop in _spans(len(rows), unit.shape[1]):
            row, column = rows[start:stop], columns[start:stop]
            p = score(self.transitions, camids[column], frames[column], camids[row], frames[row])
            similarity = np.einsum("pd,pd->p", unit[row], unit[column])
            out[start:stop] = 2 - 2 * _joint(similarity, p, self.config)
        return out


def _joint(similarity: Float32, probability: Float64, config: SpatialTemporalConfig) -> npt.NDArray[Any]:
    return joint_score(
        similarity,
        probability.astype(np.float32),
        appearance_lambda=config.appearance_lambda,
        appearance_gamma=config.appearance_gamma,
        time_lambda=config.time_lambda,
        time_gamma=config.time_gamma,
    )


def _spans(num_rows: int, num_columns: int) -> Iterator[tuple[int, int]]:
    step = max(1, _BLOCK_CELLS // max(num_columns, 1))
    for start in range(0, num_rows, step):
        yield start, min(start + step, num_rows)


def _check_frames(tracklets: Sequence[LabelledTracklet]) -> None:
    for tracklet in tracklets:
        if not tracklet.frames:
            raise ValueError(
                f"{tracklet.paths[0]}: its frame number is not known; travel times need a data set whose names tell it"
            )
