"""How detector, tracker and appearance network err. Defaults are those of ordinary ones; `Noise.perfect()` has none."""

from __future__ import annotations

from pydantic import Field

from pipeline.settings import Settings


class DetectorNoise(Settings):
    """From true boxes to detections."""

    miss: float = Field(0.03, ge=0, le=1, description="share of frames in which a person in plain view is missed")
    burst_per_s: float = Field(0.01, ge=0, le=10, description="how often a person is missed for longer")
    burst_s: float = Field(0.8, gt=0, le=600, description="mean length of such a burst (exponential)")
    covered_from: float = Field(0.4, ge=0, le=1, description="a person covered by more than this share is missed more")
    jitter: float = Field(0.02, ge=0, le=0.5, description="standard deviation of a box edge, in box sizes")
    false_per_frame: float = Field(0.02, ge=0, le=100, description="false boxes per frame")
    score: float = Field(0.85, gt=0, le=1, description="mean score of a person in plain view")
    score_std: float = Field(0.06, ge=0, le=1, description="its standard deviation")


class TrackerNoise(Settings):
    """From detections to tracklets."""

    max_lost_s: float = Field(2.0, gt=0, le=600, description="a track unseen for longer has ended")
    cut_probability: float = Field(0.08, ge=0, le=1, description="share of tracklets that are cut in two")
    cut_gap_s: float = Field(0.6, ge=0, le=60, description="mean time without a box at a cut (exponential)")
    swap_probability: float = Field(
        0.02, ge=0, le=1, description="of two people who cover each other, ids change places"
    )
    swap_iou: float = Field(0.3, gt=0, le=1, description="overlap of boxes that counts as covering")
    false_per_min: float = Field(0.05, ge=0, le=1000, description="tracklets of nobody, per camera and minute")
    min_boxes: int = Field(2, ge=1, description="shorter tracklets are never shown")


class AppearanceNoise(Settings):
    """Appearance vectors: `mean + identity + camera + view + crop`, brought to unit norm.

    Each part is normal with a power-law spectrum over the same axes; `*_var` is its share of the squared norm,
    `*_decay` the exponent of its spectrum, `*_spread` the standard deviation of the log of its size from one person
    (crop) to the next. The defaults are those of OSNet x0.25 on real crops, see docs/simulation.md.
    """

    dim: int = Field(256, ge=8, le=4096, description="length of a vector")
    mean_var: float = Field(0.388, ge=0, description="what all vectors have in common")
    identity_var: float = Field(0.196, gt=0, description="who it is")
    camera_var: float = Field(0.082, ge=0, description="which camera it is, the same for all people")
    view_var: float = Field(0.079, ge=0, description="how this person looks on this visit")
    crop_var: float = Field(0.255, ge=0, description="how one crop differs from the next")
    identity_decay: float = Field(0.507, ge=0, le=3, description="of the spectrum of identities")
    view_decay: float = Field(0.85, ge=0, le=3, description="of the spectrum of views")
    crop_decay: float = Field(0.425, ge=0, le=3, description="of the spectrum of crops")
    identity_spread: float = Field(0.557, ge=0, le=2, description="how unequally people stand out from all others")
    crop_spread: float = Field(0.2, ge=0, le=2, description="how unequal the size of crop noise is")
    camera_share: float = Field(
        0.5, ge=0, le=1, description="share of view noise that a person has again at every visit to the same camera"
    )
    factor: float = Field(
        1.0,
        ge=0,
        le=10,
        description="scales camera, view and crop noise against identity: 0 none, 1 as measured; what all vectors have "
        "in common stays",
    )
    uniform_groups: int = Field(
        0, ge=0, description="number of uniforms people wear; 0: everybody dresses as they like"
    )
    uniform_people: float = Field(1.0, ge=0, le=1, description="share of the people who wear one")
    uniform_likeness: float = Field(0.9, ge=0, le=1, description="share of a wearer's looks that the uniform makes")


class Noise(Settings):
    """All of it."""

    detector: DetectorNoise = DetectorNoise()
    tracker: TrackerNoise = TrackerNoise()
    appearance: AppearanceNoise = AppearanceNoise()

    @classmethod
    def perfect(cls, appearance: AppearanceNoise | None = None) -> Noise:
        """Every box found, every tracklet whole; the given appearance noise, or the ordinary one."""
        return cls(
            detector=DetectorNoise(miss=0, burst_per_s=0, covered_from=1, jitter=0, false_per_frame=0, score_std=0),
            tracker=TrackerNoise(cut_probability=0, swap_probability=0, false_per_min=0, min_boxes=1),
            appearance=appearance or AppearanceNoise(),
        )
