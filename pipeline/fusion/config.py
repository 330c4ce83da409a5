"""Settings of the online fuser."""

from __future__ import annotations

from pydantic import Field

from pipeline.settings import Settings


class FusionConfig(Settings):
    """How tracklets of all cameras become identities. All evidence is counted in log-odds (nats)."""

    # Decisions
    link_confidence: float = Field(
        0.5, gt=0, lt=1, description="A tracklet joins an identity from this probability on; else it founds a new one."
    )
    merge_confidence: float = Field(
        0.9, gt=0, lt=1, description="Two identities become one from this probability on, when nothing forbids it."
    )
    open_s: float = Field(
        4 * 3600.0,
        gt=0,
        description="How long an unseen identity waits for re-entry; who comes back later is somebody new.",
    )
    revise_s: float = Field(
        300.0, ge=0, description="For how long after it began an identity may still be merged into an older one."
    )
    review_s: float = Field(1.0, gt=0, description="How often the young identities that are in view are reviewed.")
    stale_s: float = Field(
        90.0, gt=0, description="A tracklet unseen for so long counts as ended, even if its camera never said so."
    )

    # Constraints
    simultaneous_s: float = Field(
        0.2, ge=0, description="Clock error between cameras: so long may a person seem to be in two places at once."
    )

    # Appearance: similarities (cosines) of different people and of one person, learned as footage comes in.
    different_mean: float = Field(
        0.5, ge=-1, le=1, description="Expected similarity of two different people, until the site has taught better."
    )
    different_std: float = Field(0.1, gt=0, le=1, description="Its standard deviation.")
    same_mean: float = Field(
        0.88, ge=-1, le=1, description="Expected similarity of one person with itself in one camera, likewise."
    )
    same_std: float = Field(0.06, gt=0, le=1, description="Its standard deviation.")
    calibration_weight: float = Field(
        60.0, ge=0, description="How many observed pairs the expected similarities weigh; large values pin them."
    )
    camera_shift: float = Field(
        0.3,
        ge=0,
        lt=1,
        description="Share of the way from 'one person' to 'different people' that a change of camera costs.",
    )
    outlier_share: float = Field(
        0.02, gt=0, lt=0.5, description="Share of similarities that say nothing; bounds what appearance can prove."
    )

    # Time
    return_log_odds: float = Field(
        -0.5, description="Log-odds that a newcomer is a given person who has just gone out of view."
    )
    return_s: float = Field(10.0, gt=0, description="After so long out of view the odds of a return have halved ...")
    return_decay: float = Field(
        0.5, ge=0, description="... and fall on as (1 + gap / return_s) to minus this power (0.5: 1/sqrt)."
    )

    # Motion: a tracklet that begins near where another one has just ended.
    motion_s: float = Field(3.0, ge=0, description="Longest gap that motion can bridge; 0 switches motion off.")
    motion_sigma: float = Field(0.3, gt=0, description="Error of a predicted foot point, in heights of the person.")
    motion_sigma_per_s: float = Field(0.5, ge=0, description="How that error grows per second of gap, in heights.")
    handover_s: float = Field(
        0.5, ge=0, description="For so long a tracker may hang on to something else while the person has a new id."
    )

    # Floor: tracklets seen at the same time by calibrated cameras whose views overlap.
    foot_sigma: float = Field(0.03, gt=0, description="Error of a box's lower edge, in heights of the box.")
    floor_sigma_m: float = Field(0.2, gt=0, description="Error of the calibration and of the step, metres per camera.")
    floor_area_m2: float = Field(30.0, gt=0, description="Floor over which other people may stand, square metres.")
    floor_memory_s: float = Field(3.0, gt=0, description="Over how long agreement on the floor is averaged.")
    floor_independent_s: float = Field(
        0.5, gt=0, description="Two looks at the floor so far apart count as independent, at most `floor_max_looks`."
    )
    floor_max_looks: float = Field(2.0, gt=0, description="As how many independent looks lasting agreement counts.")
    split_s: float = Field(
        1.5, gt=0, description="After so long of clear disagreement on the floor a tracklet leaves its identity."
    )

    # Gallery
    num_exemplars: int = Field(6, ge=1, le=64, description="Vectors kept per identity, one for each of its cameras.")
    num_neighbours: int = Field(32, ge=1, description="Nearest vectors looked up per tracklet.")
    capacity: int = Field(20_000, ge=1, description="Open identities kept; the longest unseen one closes first.")
