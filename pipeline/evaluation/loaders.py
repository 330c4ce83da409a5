"""Files of tracks into tables: the project's own CSV, MOTChallenge text, and CSV with a header.

* **Own CSV** (`global_tracks.csv`): columns `camera, frame, global_id, track_id, left, top, width, height`, others are
  passed over. The rows of a tracklet that have no `global_id` are taken as one identity of their own: a person whom
  the system names nowhere else.
* **MOTChallenge text**: no header; `frame, id, left, top, width, height[, conf[, class, visibility]]`, frames from 1.
  Read as ground truth, rows with `conf` 0 are left out, and so are classes other than 1 (pedestrian). A file has
  classes if it has 8 or 9 columns (MOT16 and later); with 10, the last three are positions in the world (MOT15).
  Distractor classes are only left out; results that lie on them stay in and count as false.
* **CSV with a header**: `frame` from 0, `person_id` (or `id`, `global_id`), `x1, y1, x2, y2` (or `left, top, width,
  height`), and where wanted `camera`, `track_id`, and `lost` (rows with 1 are left out).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.evaluation.tables import TrackTable, concatenate, crop_table, numbered
from pipeline.evaluation.text import TableError, TextBlock, read_blocks
from pipeline.types import BoolMask, Float64, Int64

GLOBAL_TRACKS = "global_tracks.csv"
MOT_COLUMNS = ("frame", "id", "left", "top", "width", "height", "conf", "class", "visibility")
MOT15_COLUMNS = 10
IDENTITY_COLUMNS = ("global_id", "person_id", "id")
CORNERS = ("x1", "y1", "x2", "y2")
SIZES = ("left", "top", "width", "height")
NO_IDENTITY = -1
UNNAMED = ""


@dataclass(frozen=True, slots=True)
class GroundTruthEntry:
    """Where the truth of one camera stands. `crop` (x, y, w, h) is the camera's part of the annotated picture."""

    camera: str
    path: Path
    crop: tuple[float, float, float, float] | None = None


def load_ground_truth(entries: Sequence[GroundTruthEntry], *, clip: bool = False) -> TrackTable:
    """The truth of all cameras; the same id means the same person in every file. `clip`: see `crop_table`.

    A file with a `camera` column gives the rows of the entry's camera. Raises TableError (file, line and remedy)
    for what can not be read, and where a person stands twice in one frame of a camera.
    """
    paths = dict.fromkeys(entry.path for entry in entries)
    files = {path: load_tracks(path, truth=True, camera=UNNAMED) for path in paths}
    tables = []
    for entry in entries:
        table = files[entry.path]
        if table.cameras == (UNNAMED,):
            table = table.renamed(entry.camera)
        elif entry.camera not in table.cameras:
            there = ", ".join(table.cameras) or "no camera"
            raise TableError(f"{entry.path}: no rows of camera {entry.camera!r}; the truth speaks of {there}")
        table = table.of_camera(entry.camera)
        tables.append(table if entry.crop is None else crop_table(table, entry.crop, clip=clip))
    return concatenate(tables)


def load_predictions(path: Path) -> TrackTable:
    """What a tracker wrote: a `global_tracks.csv`, a folder that holds one, a folder of `<camera>.txt`, or one file."""
    return load_tracks(path, truth=False)


def load_tracks(path: Path, *, truth: bool, camera: str | None = None) -> TrackTable:
    """One file, or a folder: its `global_tracks.csv`, else its `<camera>.txt`, else (truth) its `<camera>.gt.csv`.

    A file without a `camera` column is one camera, named `camera`, or else by the file. Raises TableError.
    """
    if not path.is_dir():
        return _load_file(path, truth=truth, camera=camera)
    if (path / GLOBAL_TRACKS).is_file():
        return _load_file(path / GLOBAL_TRACKS, truth=truth)
    files = sorted(path.glob("*.txt")) or (sorted(path.glob("*.gt.csv")) if truth else [])
    if not files:
        also = ", <camera>.gt.csv" if truth else ""
        raise TableError(f"{path}: no tracks in this folder; want {GLOBAL_TRACKS} or <camera>.txt{also}")
    return concatenate([_load_file(file, truth=truth) for file in files])


def _load_file(path: Path, *, truth: bool, camera: str | None = None) -> TrackTable:
    camera = path.stem.removesuffix(".gt") if camera is None else camera
    tables: list[TrackTable] = []
    lines: list[Int64] = []
    for block in read_blocks(path, MOT_COLUMNS):
        table, kept = _named_rows(block, camera) if block.named else _mot_rows(block, camera, truth=truth)
        tables.append(table)
        lines.append(block.line[kept])
    whole = concatenate(tables) if tables else TrackTable.empty((camera,))
    if truth and tables:
        _refuse_doubles(path, whole, np.concatenate(lines))
    return _name_the_nameless(whole)


def _mot_rows(block: TextBlock, camera: str, *, truth: bool) -> tuple[TrackTable, BoolMask]:
    """Rows of MOTChallenge text and which rows of the block they are."""
    if len(block.columns) < len(SIZES) + 2:
        raise block.error(0, f"{len(block.columns)} columns, want at least {', '.join(MOT_COLUMNS[:6])}")
    frame = block.integers("frame", least=1, why="MOTChallenge frames count from 1") - 1
    identity = block.integers("id", least=0, why="-1 marks detections, which belong to nobody; want tracks")
    kept = np.ones(len(block), bool)
    if truth and "conf" in block.columns:
        kept &= block.numbers("conf") != 0
    if truth and "class" in block.columns and len(block.columns) < MOT15_COLUMNS:
        kept &= block.numbers("class") == 1
    xyxy = _boxes(block)
    camid = np.zeros(len(block), np.int64)
    return TrackTable((camera,), camid, frame, identity, identity, xyxy)[kept], kept


def _named_rows(block: TextBlock, camera: str) -> tuple[TrackTable, BoolMask]:
    """Rows of a CSV with a header and which rows of the block they are."""
    identity_column = next((name for name in IDENTITY_COLUMNS if name in block.columns), None)
    if "frame" not in block.columns or identity_column is None:
        want = f"frame and {' or '.join(IDENTITY_COLUMNS)}"
        raise TableError(f"{block.path}:1: want the columns {want}, got {', '.join(block.columns)}")
    frame = block.integers("frame", least=0, why="frames count from 0 in a CSV with a header")
    with_tracklets = "track_id" in block.columns
    identity = block.integers(
        identity_column, least=0, why="it numbers people", blank=NO_IDENTITY if with_tracklets else None
    )
    track_id = block.integers("track_id", least=0, why="it numbers tracklets") if with_tracklets else identity
    names = [name.strip() for name in block.columns.get("camera", (camera,) * len(block))]
    if "camera" in block.columns and "" in names:
        raise block.error(names.index(""), "camera is empty, want the camera's name")
    cameras = tuple(dict.fromkeys(names)) if "camera" in block.columns else (camera,)
    number = {name: i for i, name in enumerate(cameras)}
    camid = np.array([number[name] for name in names], np.int64)
    kept = np.ones(len(block), bool)
    if "lost" in block.columns:
        kept &= block.numbers("lost") == 0
    return TrackTable(cameras, camid, frame, track_id, identity, _boxes(block))[kept], kept


def _boxes(block: TextBlock) -> Float64:
    """(R, 4) xyxy of a block; raises TableError where neither form is there or a box is turned inside out."""
    if all(name in block.columns for name in CORNERS):
        xyxy = np.stack([block.numbers(name) for name in CORNERS], axis=1)
    elif all(name in block.columns for name in SIZES):
        tlwh = np.stack([block.numbers(name) for name in SIZES], axis=1)
        xyxy = np.concatenate([tlwh[:, :2], tlwh[:, :2] + tlwh[:, 2:]], axis=1)
    else:
        want = f"{', '.join(SIZES)} or {', '.join(CORNERS)}"
        raise TableError(f"{block.path}:1: want the columns {want}, got {', '.join(block.columns)}")
    negative = (xyxy[:, 2:] < xyxy[:, :2]).any(axis=1)
    if negative.any():
        raise block.error(int(np.argmax(negative)), "the box has a negative width or height; are the columns in order?")
    return xyxy


def _refuse_doubles(path: Path, table: TrackTable, line: Int64) -> None:
    """A person can be in one place of a picture only; the scores mean nothing otherwise."""
    order = np.lexsort((line, table.identity, table.frame, table.camid))
    same = np.ones(max(len(order) - 1, 0), bool)
    for column in (table.camid, table.frame, table.identity):
        same &= column[order][1:] == column[order][:-1]
    if same.any():
        at = int(np.argmax(same))
        first, second = line[order[at]], line[order[at + 1]]
        who = table.identity[order[at]]
        raise TableError(f"{path}:{second}: person {who} stands twice in one frame, first in line {first}")


def _name_the_nameless(table: TrackTable) -> TrackTable:
    """Rows of a tracklet without identity become one identity, numbered on from the highest one in the file."""
    nameless = table.identity == NO_IDENTITY
    if not nameless.any():
        return table
    identity = table.identity.copy()
    identity[nameless] = int(identity.max()) + 1 + numbered(table.camid[nameless], table.track_id[nameless])
    return table.with_identity(identity)
