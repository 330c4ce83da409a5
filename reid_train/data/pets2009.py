"""PETS2009-style folders: whole frames of several views with a track file beside them; tracklets are parts of frames.

`Crowd_PETS09/S2/L1/Time_12-34/View_001/frame_0000.jpg` with `View_001/gt.txt`, or MOTChallenge's `<sequence>/img1/
000001.jpg` with `<sequence>/gt/gt.txt`. The track file is MOTChallenge text, frame 1 being the first image's. Nothing
trains here; the people are for tests of re-identification over views and for counting. All views run at about 7 fps.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.evaluation.loaders import load_tracks
from reid_train.data.source import Counts, DataSetError, DataSource, check_found, images_in, last_number, make_split
from reid_train.data.tracklet import LabelledTracklet, ReidSplit

FPS = 7.0
VIEW_SIZES = {**dict.fromkeys(range(1, 5), (768, 576)), **dict.fromkeys(range(5, 9), (720, 576))}
COMPLETE = {
    "S2/L1/Time_12-34/View_001": (795, (19,)),
    "S2/L2/Time_14-55/View_001": (436, (42, 43)),
    "PETS09-S2L1/img1": (795, (19,)),
    "PETS09-S2L2/img1": (436, (42, 43)),
}
TRUTHS = ("gt.txt", "gt/gt.txt", "../gt/gt.txt")
MIN_SIDE_PX = 8.0
SOURCE = DataSource(
    "PETS2009",
    "The frames come from the workshop (Crowd_PETS09, parts S0 to S3); tracks are distributed separately: those of "
    "MOT15 (PETS09-S2L1, PETS09-S2L2) fit View_001, save them as gt.txt in the view's folder.",
    """
S2/L1/Time_12-34/View_001/frame_0000.jpg   (also below Crowd_PETS09/)
S2/L1/Time_12-34/View_001/gt.txt           frame, id, left, top, width, height, ... (frames from 1)
or <sequence>/img1/000001.jpg with <sequence>/gt/gt.txt
""",
    {},
)


@dataclass(frozen=True, slots=True)
class View:
    """One camera's frames of a sequence, in order; `truth` is its track file, where there is one."""

    sequence: str
    name: str
    camid: int
    paths: tuple[str, ...]
    truth: Path | None

    @property
    def label(self) -> str:
        return f"{self.sequence}/{self.name}" if self.sequence else self.name


def find_views(root: Path) -> tuple[View, ...]:
    """Every folder `View_<number>` or `img1` with images below `root`, sorted by sequence and camera."""
    root = Path(root)
    views = []
    for folder, inside, _ in os.walk(root):
        inside.sort()
        name = os.path.basename(folder)
        match = re.fullmatch(r"View_?(\d+)", name, re.IGNORECASE)
        if match is None and name != "img1":
            continue
        path = Path(folder)
        images = sorted(images_in(path), key=lambda n: (last_number(n) or 0, n))
        if not images:
            continue
        parts = path.parent.relative_to(root).parts if path != root else ()
        sequence = "/".join(parts[1:] if parts[:1] == ("Crowd_PETS09",) else parts)
        truth = next((path / t for t in TRUTHS[: 2 if match else 3] if (path / t).is_file()), None)
        camid = int(match[1]) - 1 if match else 0
        views.append(View(sequence, name, camid, tuple(str(path / n) for n in images), truth))
    return tuple(sorted(views, key=lambda v: (v.sequence, v.camid, v.name)))


def load(
    root: Path,
    *,
    sequence: str | None = None,
    window_s: float | None = None,
    min_frames: int = 3,
    check_counts: bool = True,
    expected: Counts | None = None,
) -> ReidSplit:
    """The people of one sequence, as its track files say: the first view with one asks, the other views are the gallery
    (with one view, all is gallery). `window_s` cuts tracklets into windows of so many seconds; pieces of fewer than
    `min_frames` images are left out, and so are boxes of which fewer than 8 pixels are in the picture."""
    views = find_views(root)
    if not views:
        raise SOURCE.missing(Path(root), f"a folder View_001 (or img1) with images below {root}")
    sequences = sorted({v.sequence for v in views if v.truth} if sequence is None else {sequence})
    if len(sequences) != 1:
        what = f"several sequences have tracks ({', '.join(sequences)}): give sequence=" if sequences else "no tracks: "
        raise SOURCE.wrong(f"{what}{'' if sequences else SOURCE.explain(Path(root))}")
    chosen = [v for v in views if v.sequence == sequences[0] and v.truth]
    if not chosen:
        names = ", ".join(sorted({v.sequence for v in views if v.truth})) or "none"
        raise SOURCE.wrong(f"no view of sequence {sequences[0]!r} has tracks; sequences that have: {names}")
    window = 0 if window_s is None else max(round(window_s * FPS), 1)
    parts = [_tracklets(view, window, min_frames, check=check_counts) for view in chosen]
    if check_counts and expected:
        check_found(SOURCE, {"views": len(chosen), "people": len({t.pid for p in parts for t in p})}, expected)
    several = len(parts) > 1
    words = "first view asks the others" if several else "one view: all tracklets are gallery, nobody asks"
    return make_split(
        SOURCE,
        (),
        parts[0] if several else (),
        [t for part in (parts[1:] if several else parts) for t in part],
        num_cams=1 + max(v.camid for v in views),
        check_counts=False,
        protocol=f"PETS2009 {sequences[0]}: {words}" + (f"; windows of {window} frames" if window else ""),
    )


def _tracklets(view: View, window: int, min_frames: int, *, check: bool) -> list[LabelledTracklet]:
    """People of a view: one tracklet each, or one for each window in which they are seen."""
    from PIL import Image

    assert view.truth is not None
    table = load_tracks(view.truth, truth=True, camera=view.name)
    with Image.open(view.paths[0]) as image:
        width, height = image.size
    people = np.unique(table.identity)
    if check:
        _check_view(view, (width, height), len(people))
    base = 0 if Path(view.paths[0]).parent.name.lower().startswith("view") else 1
    path_of = {(last_number(Path(path).name) or 0) - base: path for path in view.paths}
    boxes = np.clip(np.round(table.xyxy), 0, [width, height, width, height])
    seen = np.flatnonzero(((boxes[:, 2:] - boxes[:, :2]) >= MIN_SIDE_PX).all(axis=1))
    pieces: dict[tuple[int, int], list[tuple[int, str]]] = defaultdict(list)
    for row in seen.tolist():
        frame = int(table.frame[row])
        if frame not in path_of:
            raise DataSetError(
                f"{view.truth} speaks of frame {frame + 1}, which is not among the {len(view.paths)} images of "
                f"{Path(view.paths[0]).parent}; take the whole sequence"
            )
        left, top, right, bottom = boxes[row].astype(int).tolist()
        part = f"{path_of[frame]}#xywh={left},{top},{right - left},{bottom - top}"
        pieces[int(table.identity[row]), frame // window if window else 0].append((frame, part))
    tracklets = []
    for (pid, _), members in sorted(pieces.items()):
        if len(members) >= min_frames:
            frames, paths = zip(*sorted(members), strict=True)
            tracklets.append(LabelledTracklet(paths, pid, view.camid, frames))
    return tracklets


def _check_view(view: View, size: tuple[int, int], num_people: int) -> None:
    """Image size by the number of the view; frames and people of the sequences whose numbers are known."""
    wanted = VIEW_SIZES.get(view.camid + 1)
    if view.name != "img1" and wanted is not None and size != wanted:
        raise SOURCE.wrong(f"{view.label} is {size[0]}x{size[1]}, but this view is {wanted[0]}x{wanted[1]} pixels")
    known: Sequence[tuple[int, tuple[int, ...]]] = [v for k, v in COMPLETE.items() if view.label.endswith(k)]
    for num_frames, num_ids in known:
        if len(view.paths) != num_frames or num_people not in num_ids:
            raise SOURCE.wrong(
                f"{view.label}: expected {num_frames} frames and {' or '.join(map(str, num_ids))} people, found "
                f"{len(view.paths)} and {num_people}; copy it again, or load a part with check_counts=False"
            )
