"""Settings of the online fuser."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from pipeline.settings import Settings


class SiteConfig(Settings):
    """The cameras of one site. Every camera belongs to one; `python -m pipeline sites` proposes them."""

    cameras: tuple[str, ...] = Field(min_length=1, description="Its cameras, as named in cams.yaml.")
    guests: tuple[str, ...] = Field(
        (), description="Cameras of other sites from or to which people come straight: their tracklets are shown to it."
    )


class FusionConfig(Settings):
    """How tracklets of all cameras become identities. All evidence is counted in log-odds (nats)."""

    # Decisions
    false_merge_rate: float = Field(
        0.15,
        gt=0,
        le=0.5,
        description="Share of links that may be wrong. Lower: fewer people share an id, more people get several. Two "
        "identities become one where that is wrong with at most this probability.",
    )
    open_s: float = Field(
        4 * 3600.0,
        gt=0,
        description="How long an unseen identity waits for re-entry; who comes back later is somebody new.",
    )
    resolve: Literal["off", "end"] = Field(
        "off",
        description="'end': when all footage is in, identities are made anew from all evidence together. Costs memory "
        "for `resolve_capacity` tracklets and up to minutes; identities then close at the end.",
    )
    resolve_capacity: int = Field(
        20_000, ge=1, description="Tracklets remembered for that; of more the oldest stay who they were."
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
        description="Share of the way from 'one person' to 'different people' that a change of camera costs, until "
        "links have taught better.",
    )
    shift_weight: float = Field(10.0, ge=0, description="How many links that expectation weighs; large values pin it.")
    outlier_share: float = Field(
        0.02, gt=0, lt=0.5, description="Share of similarities that say nothing; bounds what appearance can prove."
    )

    reranking: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of k-reciprocal similarity in looks, 1 - lambda of Zhong et al. (CVPR 2017), eq. 12; 0: "
        "looks are cosines alone. Worth a trial only where a person is seen as many tracklets (docs/association.md).",
    )
    reranking_neighbours: int = Field(
        10, ge=2, le=100, description="For that: k1, less among few tracklets; k2 is a third of it."
    )

    # Time
    return_log_odds: float = Field(
        -0.5, description="Log-odds that a newcomer is a given person who has just gone out of view."
    )
    return_s: float = Field(10.0, gt=0, description="After so long out of view the odds of a return have halved ...")
    return_decay: float = Field(
        0.5, ge=0, description="... and fall on as (1 + gap / return_s) to minus this power (0.5: 1/sqrt)."
    )

    travel: Literal["zones", "cameras", "off"] = Field(
        "zones",
        description="Learn how long people take from one border of a picture to another (`zones`), only from camera to "
        "camera (`cameras`), or do not use travel times (`off`).",
    )
    travel_memory: float = Field(
        200.0, ge=2, description="Travel times between two zones are learned from about the last so many transits."
    )
    transitions: str = Field(
        "",
        description="`transitions.json` of an earlier run of these cameras, or one that `transitions estimate` made: "
        "travel times to begin with. Relative to pipeline.yaml; empty: everything is learned anew.",
    )
    lateness_s: float = Field(
        0.0,
        ge=0,
        le=600,
        description="Frames that reach the association out of order are waited for so long, by their own times, and "
        "put in order; later ones are dropped. 0: frames are taken as they come, which the runners keep in order.",
    )

    # Motion: a tracklet that begins near where another one has just ended.
    motion_s: float = Field(3.0, ge=0, description="Longest gap that motion can bridge; 0 switches motion off.")
    motion_sigma: float = Field(0.3, gt=0, description="Error of a predicted foot point, in heights of the person.")
    motion_sigma_per_s: float = Field(0.5, ge=0, description="How that error grows per second of gap, in heights.")
    handover_s: float = Field(
        1.0, ge=0, description="For so long a tracker may hang on to something else while the person has a new id."
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

    # Slips: a tracklet that begins to look like somebody else
    slip_log_odds: float = Field(
        -4.0,
        le=0,
        description="A clip of at most these log-odds to show its tracklet's person splits the tracklet.",
    )

    # Gallery
    num_exemplars: int = Field(6, ge=1, le=64, description="Vectors kept per identity, one for each of its cameras.")
    num_neighbours: int = Field(32, ge=1, description="Nearest vectors looked up per tracklet.")
    capacity: int = Field(20_000, ge=1, description="Open identities kept; the longest unseen one closes first.")

    record_capacity: int = Field(
        10_000,
        ge=0,
        description="Tracklets of which look and way are kept for `python -m pipeline why`, the newest ones; 0: none.",
    )

    # Learned floor: of cameras that overlap and are not calibrated.
    learn_floor: bool = Field(True, description="Learn a common floor for overlapping uncalibrated cameras.")
    learn_every_s: float = Field(
        20.0, gt=0, description="How often a pair of cameras has its turn; an unknown pair at growing distances."
    )
    learn_window_s: float = Field(300.0, ge=10, description="People seen for so long back are learned from.")
    learn_min_people: int = Field(
        4, ge=3, description="A learned floor is used only if so many people fit the floor made without them, ..."
    )
    learn_min_share: float = Field(
        0.7, gt=0, le=1, description="... which must be this share of all matched people, ..."
    )
    learn_min_gain: float = Field(
        1.5, ge=1, description="... if it explains people so many times as well as the best mirrored floor does, ..."
    )
    learn_max_residual: float = Field(
        0.4, gt=0, description="... and if held-out feet are this close to it at the median, in heights of the person."
    )
    decide_s: float = Field(
        3.0, gt=0, description="A tracklet without a clip is decided after so long in view; others at their first clip."
    )

    # Sites: cameras between which people walk; each has a fuser of its own.
    sites: dict[str, SiteConfig] = Field(
        {},
        description="Part the cameras into sites, each with a fuser of its own; people who go from one to the next "
        "keep their number (docs/scaling.md). Empty: all cameras are one site.",
    )
    site_processes: bool = Field(
        False, description="Each site's fuser works in a process of its own, so that sites use a core each."
    )

    @model_validator(mode="after")
    def _online(self) -> Self:
        if self.sites and self.resolve == "end":
            raise ValueError(
                "resolve: end makes all identities anew at once, which sites can not; leave one of them out"
            )
        return self
