"""Market-1501 (Zheng et al., ICCV 2015): stills of six cameras, with the frame numbers that st-ReID needs.

Names are `PPPP_cCsS_FFFFFF_NN.jpg`: person (-1 junk, 0000 distractor), camera, sequence, frame, number. st-ReID takes
the cameras as started together and the sequences as gap-free: the frame of a camera is the frame of the sequence plus
the lengths of the sequences before it (measured: the largest frame of each).
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from reid_train.data.image_sets import FOLDERS, ImageProtocol, Reading, image_split, market_style, matched
from reid_train.data.source import Counts, DataSource, find_root
from reid_train.data.tracklet import ReidSplit

NUM_CAMS = 6
JUNK_PID = -1
NAME = re.compile(r"(-1|\d{4})_c([1-6])s([1-6])_(\d{6})_(\d{2})\.jpg(?:\.jpg)?")
SEQUENCE_LENGTHS = (
    (72681, 74546, 74881, 74661, 74891, 54346),
    (163691, 164677, 98102),
    (161708, 161769, 104469),
    (72107, 72373, 74810, 74541, 74910, 50616),
    (161095, 161724, 103487),
    (87551, 131268, 95817, 30952),
)
SOURCE = DataSource(
    "Market-1501",
    "It comes from the authors (www.liangzheng.com.cn, project Market-1501; the archive is Market-1501-v15.09.15).",
    """
bounding_box_train/0002_c1s1_000451_03.jpg
bounding_box_test/...                        (with -1, junk, and 0000, distractors)
query/...
""",
    {
        "train ids": 751,
        "train images": 12_936,
        "query ids": 750,
        "query images": 3368,
        "gallery images": 19_732,
        "junk images": 3819,
        "distractor images": 2798,
    },
)


def load(
    root: Path,
    *,
    protocol: ImageProtocol = "image",
    train_as: ImageProtocol | None = None,
    max_gap: int | None = None,
    keep_junk: bool = True,
    check_counts: bool = True,
    expected: Counts | None = None,
) -> ReidSplit:
    """Market-1501; `frames` are counted through the sequences of a camera. The scorer skips junk (-1); keep_junk=False
    leaves it out of the gallery (15,913 images: the same scores, but not the same re-ranking)."""
    root = find_root(SOURCE, root, *FOLDERS.values(), below=("Market-1501-v15.09.15", "Market-1501", "market1501"))
    images = market_style(SOURCE, root, parse)
    junk = [i for i in images["gallery"] if i.pid == JUNK_PID]
    found = {"junk images": len(junk), "distractor images": sum(i.pid == 0 for i in images["gallery"])}
    reading = Reading(protocol, train_as, max_gap)
    split = image_split(
        SOURCE, images, reading, num_cams=NUM_CAMS, check_counts=check_counts, expected=expected, found=found
    )
    return split if keep_junk else replace(split, gallery=tuple(t for t in split.gallery if t.pid != JUNK_PID))


def parse(name: str) -> tuple[int, int, int]:
    """Person, 0-based camera and the camera's cumulative frame of a file name; ValueError for any other name."""
    pid, cam, sequence, frame, _ = matched(NAME, name, "0002_c1s1_000451_03.jpg")
    return int(pid), int(cam) - 1, cumulative_frame(int(cam) - 1, int(sequence), int(frame))


def cumulative_frame(camid: int, sequence: int, frame: int) -> int:
    """Frame since the camera's start (camid 0-based, sequence from 1): c1s3 frame 100 is 147,327."""
    lengths = SEQUENCE_LENGTHS[camid]
    if not 1 <= sequence <= len(lengths):
        raise ValueError(f"camera {camid + 1} has no sequence {sequence}, only 1 to {len(lengths)}")
    return frame + sum(lengths[: sequence - 1])
