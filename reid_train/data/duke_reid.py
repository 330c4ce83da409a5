"""DukeMTMC-reID (Zheng et al., ICCV 2017): stills of eight cameras, every 120th frame.

Names are `PPPP_cC_fFFFFFFF.jpg`: person, camera, frame of that camera's video (the cameras do not start together).
"""

from __future__ import annotations

import re
from pathlib import Path

from reid_train.data.image_sets import FOLDERS, ImageProtocol, Reading, image_split, market_style, matched
from reid_train.data.source import Counts, DataSource, find_root
from reid_train.data.tracklet import ReidSplit

NUM_CAMS = 8
NAME = re.compile(r"(\d{4})_c([1-8])_f(\d{7})\.jpg")
SOURCE = DataSource(
    "DukeMTMC-reID",
    "The authors of DukeMTMC withdrew it in 2019; the repository sxzrt/DukeMTMC-reID_evaluation describes the data "
    "set. Use it only where you are allowed to.",
    """
bounding_box_train/0001_c2_f0046182.jpg
bounding_box_test/...
query/...
""",
    {
        "train ids": 702,
        "train images": 16_522,
        "query ids": 702,
        "query images": 2228,
        "gallery ids": 1110,
        "gallery images": 17_661,
    },
)


def load(
    root: Path,
    *,
    protocol: ImageProtocol = "image",
    train_as: ImageProtocol | None = None,
    max_gap: int | None = None,
    check_counts: bool = True,
    expected: Counts | None = None,
) -> ReidSplit:
    """DukeMTMC-reID; no junk, the people of the gallery alone are ordinary negatives."""
    root = find_root(SOURCE, root, *FOLDERS.values(), below=("DukeMTMC-reID", "dukemtmc-reid/DukeMTMC-reID"))
    images = market_style(SOURCE, root, parse)
    return image_split(
        SOURCE,
        images,
        Reading(protocol, train_as, max_gap),
        num_cams=NUM_CAMS,
        check_counts=check_counts,
        expected=expected,
    )


def parse(name: str) -> tuple[int, int, int]:
    """Person, 0-based camera and video frame of a file name; ValueError for any other name."""
    pid, cam, frame = matched(NAME, name, "0001_c2_f0046182.jpg")
    return int(pid), int(cam) - 1, int(frame)
