"""What the systems' authors published, and how a system's recipe is bent to data sets other than its first."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.evaluation.retrieval import AveragePrecision


@dataclass(frozen=True, slots=True)
class Published:
    """Figures in percent; None where none was given. `ap` is the definition that the authors' scorer computes."""

    rank1: float
    mAP: float | None  # noqa: N815 - the field's own word
    ap: AveragePrecision
    source: str
    reranked: tuple[float, float] | None = None  # Rank-1, mAP


# (data set, system) -> figures. Rows of a table come in this order.
PUBLISHED: dict[tuple[str, str], Published] = {
    ("mars", "staformer"): Published(91.5, 89.1, "rectangular", "README of HWZhou99/STAFormer; all frames"),
    ("mars", "psta"): Published(91.5, 85.8, "rectangular", "README of WangYQ9/VideoReID-PSTA; first 57 frames"),
    ("mars", "nvan"): Published(90.00, 82.79, "trapezoidal", "README of jackie840129/STE-NVAN"),
    ("mars", "ste_nvan"): Published(
        88.69, 81.27, "trapezoidal", "README of jackie840129/STE-NVAN, released weights (paper: Rank-1 88.9)"
    ),
    ("mars", "ste_nvan_baseline"): Published(87.42, 79.44, "trapezoidal", "README of jackie840129/STE-NVAN"),
    ("ls_vid", "staformer"): Published(90.9, 85.6, "rectangular", "README of HWZhou99/STAFormer; all frames"),
    ("duke_video", "psta"): Published(
        98.3, 97.7, "rectangular", "README of WangYQ9/VideoReID-PSTA (paper: mAP 97.4); dense clips"
    ),
    ("duke_video", "ste_nvan"): Published(95.2, None, "trapezoidal", "BMVC 2019, as cited by others"),
    ("ilids_vid", "psta"): Published(91.5, None, "rectangular", "ICCV 2021, as cited by others; mean of splits"),
    ("market1501", "st_reid"): Published(
        98.1, 87.6, "trapezoidal", "README of Wanggcong/Spatial-Temporal-Re-identification", (98.0, 95.5)
    ),
    ("duke_reid", "st_reid"): Published(
        94.4, 83.9, "trapezoidal", "README of Wanggcong/Spatial-Temporal-Re-identification", (94.5, 92.7)
    ),
    ("occluded_duke", "sticc"): Published(57.1, 56.6, "rectangular", "README of STICC; conditions unstated: context"),
    ("occluded_duke", "psta"): Published(
        42.9, 43.4, "rectangular", "README of STICC, trained by its authors; conditions unstated: context"
    ),
    ("prai1581", "sticc"): Published(66.3, None, "rectangular", "README of STICC, June 2025; conditions unstated"),
    ("prai1581", "psta"): Published(
        52.4, None, "rectangular", "README of STICC, trained by its authors; conditions unstated: context"
    ),
}

# Settings over a system's own recipe on a data set, as `--set` takes them.
_STILLS_AS_VIDEO = ("data.options={protocol: image, train_as: tracklet}", "data.rule=group", "test.clips=each")
ADAPTED: dict[tuple[str, str], tuple[str, ...]] = {
    ("mars", "staformer"): ("data.options.keep_junk=false",),  # its loader drops them, which re-ranking can tell
    ("mars", "psta"): ("data.options.keep_junk=false",),
    ("ls_vid", "staformer"): ("data.options.dense_step=48",),
    ("duke_video", "staformer"): ("data.options.dense_step=32",),
    ("duke_video", "psta"): ("test.clips=dense",),
    ("duke_reid", "st_reid"): ("data.options={protocol: image}", "test.joint.num_bins=3000"),
    ("market1501", "st_reid"): (),
    ("prai1581", "sticc"): _STILLS_AS_VIDEO,
    ("prai1581", "psta"): _STILLS_AS_VIDEO,
    ("occluded_duke", "psta"): _STILLS_AS_VIDEO,
}

# Data sets whose figures are means over random halvings of the people: the number of these.
NUM_SPLITS = {"ilids_vid": 10, "prid2011": 10}

# Names under which the authors' weights are handed round.
OFFICIAL_FILES: dict[str, tuple[str, ...]] = {
    "staformer": ("*staformer*.pth*", "*STAFormer*.pth*"),
    "psta": ("rank1_*checkpoint*.pth", "*psta*.pth*", "*PSTA*.pth*"),
    "ste_nvan": ("STE_NVAN.pth",),
    "nvan": ("NVAN.pth",),
    "ste_nvan_baseline": ("R50_baseline_mean.pth",),
    "st_reid": ("net_last.pth", "*st_reid*.pth", "*st-reid*.pth"),
}


def systems_on(dataset: str) -> tuple[str, ...]:
    """The systems with published figures on a data set, in the order of the table."""
    return tuple(system for name, system in PUBLISHED if name == dataset)
