"""DukeMTMC-VideoReID (Wu et al., CVPR 2018): one tracklet for each person and camera, every 12th video frame.

Names are `0001C6F0099X30823.jpg` or `0001_C6_F0099_X30823.jpg`: person, camera, frame of the tracklet, frame of the
camera's video. The frames are ordered by their number, so that a gap loses nothing.
"""

from __future__ import annotations

import re
from pathlib import Path

from reid_train.data.source import Counts, DataSource, find_root, folders_in, images_in, make_split
from reid_train.data.tracklet import LabelledTracklet, ReidSplit

NUM_CAMS = 8
NAME = re.compile(r"(\d{4})_?C([1-8])_?F(\d+)_?X(\d+)\.jpg")
SOURCE = DataSource(
    "DukeMTMC-VideoReID",
    "The authors of DukeMTMC withdrew it in 2019; the repository Yu-Wu/DukeMTMC-VideoReID describes the data set. "
    "Use it only where you are allowed to.",
    """
train/<person>/<tracklet>/0001C6F0099X30823.jpg   (or 0001_C6_F0099_X30823.jpg)
query/<person>/<tracklet>/...
gallery/<person>/<tracklet>/...                    (the query tracklets are part of it)
""",
    {
        "train ids": 702,
        "train tracklets": 2196,
        "query ids": 702,
        "query tracklets": 702,
        "gallery ids": 1110,
        "gallery tracklets": 2636,
        "queries in the gallery": 702,
    },
)


def load(root: Path, *, check_counts: bool = True, expected: Counts | None = None, dense_step: int = 0) -> ReidSplit:
    """Train, query and gallery; STAFormer trains on chunks of dense_step=32 images."""
    below = ("DukeMTMC-VideoReID", "dukemtmc-vidreid/DukeMTMC-VideoReID", "dukemtmc_videoReID")
    root = find_root(SOURCE, root, "train", "query", "gallery", below=below)
    train, query, gallery = (_tracklets(root / part) for part in ("train", "query", "gallery"))
    row_of = {name: row for row, name in enumerate(gallery)}
    query_rows = [row_of[name] for name in query if name in row_of]
    whole = len(query_rows) == len(query)
    return make_split(
        SOURCE,
        list(train.values()),
        list(query.values()),
        list(gallery.values()),
        num_cams=NUM_CAMS,
        protocol="DukeMTMC-VideoReID: queries are part of the gallery; 408 gallery people are distractors",
        check_counts=check_counts,
        expected=expected,
        found={"queries in the gallery": len(query_rows)},
        gallery_holds_query=whole,
        query_rows=query_rows if whole else (),
        dense_step=dense_step,
    )


def _tracklets(folder: Path) -> dict[str, LabelledTracklet]:
    """`person/tracklet` -> tracklet, sorted."""
    tracklets = {}
    for person in folders_in(folder):
        for number in folders_in(folder / person):
            where = folder / person / number
            names = images_in(where)
            parsed = [(name, NAME.fullmatch(name)) for name in names]
            strange = [name for name, match in parsed if match is None]
            if not names or strange:
                what = f"{strange[0]} is not named like 0001C6F0099X30823.jpg" if strange else "no images"
                raise SOURCE.wrong(f"{where}: {what}; unpack it again")
            images = sorted((int(m[3]), int(m[4]), name, m[1], m[2]) for name, m in parsed if m)
            owners = sorted({(pid, cam) for *_, pid, cam in images})
            if len(owners) > 1 or owners[0][0] != person:
                raise SOURCE.wrong(f"{where} is not one person in one camera: it holds (person, camera) {owners}")
            paths = tuple(str(where / image[2]) for image in images)
            video_frames = tuple(image[1] for image in images)
            pid, cam = owners[0]
            tracklets[f"{person}/{number}"] = LabelledTracklet(paths, int(pid), int(cam) - 1, video_frames)
    return tracklets
