"""The values of a ReID data set: labelled tracklets and the split that training and scoring use.

Camera ids are 0-based. Person ids keep the data set's value in query and gallery (-1 junk, 0 distractor where the
data set has them) and are relabelled 0..n-1, in ascending order, in train.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np


@dataclass(frozen=True, slots=True)
class LabelledTracklet:
    """The images of one person in one camera, in temporal order.

    A path may end in `#xywh=left,top,width,height` (pixels): that part of the image (`images.read_image` cuts it).
    `frames` are the images' frame numbers in the camera's video, ascending; empty where the names do not say.
    """

    paths: tuple[str, ...]
    pid: int
    camid: int
    frames: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.paths:
            raise ValueError(f"tracklet of person {self.pid} in camera {self.camid} has no images")
        if self.camid < 0:
            raise ValueError(f"{self.paths[0]}: camid {self.camid} is negative; camera ids begin with 0")
        if self.frames and len(self.frames) != len(self.paths):
            raise ValueError(f"{self.paths[0]}: {len(self.frames)} frame numbers for {len(self.paths)} images")

    def __len__(self) -> int:
        return len(self.paths)


@dataclass(frozen=True, slots=True)
class ReidSplit:
    """Train, query and gallery of a data set under one protocol.

    `num_pids` counts the people of train, `num_cams` the cameras of the data set. Where `gallery_holds_query` is
    true, the queries are also gallery rows (same person and same camera is not scored), and `query_rows[i]`, where
    given, is the gallery row of query i, so that nothing need be embedded twice. `protocol` says in words which
    protocol this is; print it beside every score.
    """

    name: str
    train: tuple[LabelledTracklet, ...]
    query: tuple[LabelledTracklet, ...]
    gallery: tuple[LabelledTracklet, ...]
    num_pids: int
    num_cams: int
    gallery_holds_query: bool = False
    query_rows: tuple[int, ...] = ()
    protocol: str = ""

    def __post_init__(self) -> None:
        pids = {t.pid for t in self.train}
        if pids != set(range(self.num_pids)):
            raise ValueError(f"{self.name}: the {len(pids)} people of train must be numbered 0..{self.num_pids - 1}")
        if self.query_rows and not self.gallery_holds_query:
            raise ValueError(f"{self.name}: query_rows given, but gallery_holds_query is False")
        if self.query_rows and len(self.query_rows) != len(self.query):
            raise ValueError(f"{self.name}: {len(self.query_rows)} query rows for {len(self.query)} queries")
        for row, tracklet in zip(self.query_rows, self.query, strict=False):
            there = self.gallery[row]
            if (there.pid, there.camid) != (tracklet.pid, tracklet.camid):
                raise ValueError(f"{self.name}: gallery row {row} is not the query {tracklet.paths[0]}")
        cams = {t.camid for part in (self.train, self.query, self.gallery) for t in part}
        if cams and max(cams) >= self.num_cams:
            raise ValueError(f"{self.name}: camid {max(cams)} in a data set of {self.num_cams} cameras")


def relabelled(tracklets: Sequence[LabelledTracklet]) -> tuple[tuple[LabelledTracklet, ...], int]:
    """The tracklets with person ids 0..n-1 in ascending order of the old ones, and n."""
    new = {pid: row for row, pid in enumerate(sorted({t.pid for t in tracklets}))}
    return tuple(replace(t, pid=new[t.pid]) for t in tracklets), len(new)


def dense_chunks(tracklets: Sequence[LabelledTracklet], step: int) -> tuple[LabelledTracklet, ...]:
    """Cut long tracklets: one of n >= step images becomes n // step of them, the last keeping the remainder.

    STAFormer trains on chunks of 32 (DukeMTMC-VideoReID) or 48 (LS-VID) images; step 0 leaves everything whole.
    """
    if step < 0:
        raise ValueError(f"dense_step must be 0 (whole tracklets) or the images of a chunk, not {step}")
    if step == 0:
        return tuple(tracklets)
    chunks: list[LabelledTracklet] = []
    for tracklet in tracklets:
        num = max(len(tracklet) // step, 1)
        bounds = [*(step * k for k in range(num)), len(tracklet)]
        chunks.extend(part_of(tracklet, a, b) for a, b in pairwise(bounds))
    return tuple(chunks)


def part_of(tracklet: LabelledTracklet, start: int, stop: int) -> LabelledTracklet:
    """Images start..stop-1 of a tracklet."""
    return replace(tracklet, paths=tracklet.paths[start:stop], frames=tracklet.frames[start:stop])


@dataclass(frozen=True, slots=True, order=True)
class LabelledImage:
    """One still image of a data set; sorts by person, camera, frame and path."""

    pid: int
    camid: int
    frame: int
    path: str


def single_images(images: Iterable[LabelledImage]) -> tuple[LabelledTracklet, ...]:
    """The image protocol: every image is a tracklet of one, in the order given."""
    return tuple(LabelledTracklet((i.path,), i.pid, i.camid, (i.frame,)) for i in images)


def grouped_images(images: Iterable[LabelledImage], *, max_gap: int | None = None) -> tuple[LabelledTracklet, ...]:
    """The tracklet protocol: the images of a person in a camera, in the order of their frames, are one tracklet.

    `max_gap` splits where the next frame is more than that many frames away. Images of nobody in particular
    (pid <= 0: junk and distractors) are no tracklet and stay alone. Sorted by person, camera and frame.
    """
    groups: dict[tuple[int, int], list[LabelledImage]] = defaultdict(list)
    for image in sorted(images):
        groups[image.pid, image.camid].append(image)
    tracklets: list[LabelledTracklet] = []
    for (pid, camid), members in sorted(groups.items()):
        if pid <= 0:
            tracklets.extend(single_images(members))
            continue
        frames = np.array([m.frame for m in members], np.int64)
        cuts = [] if max_gap is None else (np.flatnonzero(np.diff(frames) > max_gap) + 1).tolist()
        bounds = [0, *cuts, len(members)]
        for a, b in pairwise(bounds):
            paths = tuple(m.path for m in members[a:b])
            tracklets.append(LabelledTracklet(paths, pid, camid, tuple(m.frame for m in members[a:b])))
    return tuple(tracklets)
