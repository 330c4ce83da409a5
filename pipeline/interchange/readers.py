"""Which format a file of tracks has, and how each is read.

crosscam     global_tracks.csv, or a folder with one; any CSV with a header and the columns camera, frame,
             global_id (or person_id, id), track_id (where there is one), left, top, width, height (or x1, y1, x2,
             y2); a folder of such, `<camera>.csv` or `<camera>.gt.csv`
mot          MOTChallenge text: a folder of `<camera>.txt`, a folder of `<camera>/gt/gt.txt` (of which only the
             people that count are read), or one file; frames from 1; with ten columns the eighth and ninth are
             the place on the floor, unless -1
aicity       one text file, AI City 2023 and 2024
aicity2025   one text file, AI City 2025
"""

from __future__ import annotations

import configparser
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import numpy as np

from pipeline.evaluation.text import TableError, TextBlock, read_blocks
from pipeline.interchange.aicity import COLUMNS_2023, COLUMNS_2025, read_2023, read_2025
from pipeline.interchange.rows import NO_ID, TrackRows, joined
from pipeline.types import BoolMask, Float64, Int64

GLOBAL_TRACKS = "global_tracks.csv"
MOT_COLUMNS = ("frame", "id", "left", "top", "width", "height", "conf", "class", "visibility")
TRUTH = "gt.txt"  # the benchmark's ground truth: rows of `conf` 0 and of other classes than people do not count
PEDESTRIAN = 1
_MOT_WITH_PLACE = 10
_IDENTITY_COLUMNS = ("global_id", "person_id", "id")
_SIZES = ("left", "top", "width", "height")
_CORNERS = ("x1", "y1", "x2", "y2")


@dataclass(frozen=True, slots=True)
class TrackFile:
    """One file of tracks. `camera` names the camera of a file that does not say; "" where rows do."""

    path: Path
    camera: str = ""


def read_crosscam(file: TrackFile) -> Iterator[TrackRows]:
    """Blocks of rows of a CSV with a header. Raises TableError."""
    for block in read_blocks(file.path, MOT_COLUMNS):
        if not block.named:
            raise TableError(f"{file.path}:1: no header; is it MOTChallenge text? Then say so: mot")
        yield _named_rows(block, file.camera or file.path.stem)


def read_mot(file: TrackFile) -> Iterator[TrackRows]:
    """Blocks of rows of one camera's MOTChallenge text. Raises TableError."""
    for block in read_blocks(file.path, MOT_COLUMNS):
        if block.named:
            raise TableError(f"{file.path}:1: has a header, which MOTChallenge text has not; is it a CSV? Say crosscam")
        yield _mot_rows(block, file.camera or file.path.stem)


READERS: Mapping[str, Callable[[TrackFile], Iterator[TrackRows]]] = {
    "crosscam": read_crosscam,
    "mot": read_mot,
    "aicity": lambda file: read_2023(file.path),
    "aicity2025": lambda file: read_2025(file.path),
}


def read_tracks(path: Path, kind: str | None = None) -> TrackRows:
    """All rows of a file or folder; `kind` as in `READERS`, None: found by looking. Raises TableError."""
    kind = kind or kind_of(path)
    return joined([block for file in files_of(path, kind) for block in READERS[kind](file)])


def kind_of(path: Path) -> str:
    """The format of a file or folder, by its names and its first line. Raises TableError where none fits."""
    if path.is_dir():
        return "crosscam" if (path / GLOBAL_TRACKS).is_file() or not _mot_files(path) else "mot"
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            first = next((line for line in file if line.strip()), "")
    except OSError as error:
        raise TableError(f"{path}: can not be read: {error.strerror or error}") from None
    if not first or first.lstrip()[0].isalpha():
        return "crosscam"
    if "," not in first and len(first.split()) == len(COLUMNS_2023):
        return "aicity"
    if "," not in first and len(first.split()) == len(COLUMNS_2025):
        return "aicity2025"
    if "," in first:
        return "mot"
    raise TableError(f"{path}: {len(first.split())} columns between spaces; no format here has that: see --help")


def files_of(path: Path, kind: str) -> list[TrackFile]:
    """The files of tracks in a folder, by camera name, or the one file itself. Raises TableError."""
    if not path.is_dir():
        if not path.exists():
            raise TableError(f"{path}: no such file or folder")
        return [TrackFile(path)]
    if kind not in ("crosscam", "mot"):
        raise TableError(f"{path}: is a folder; AI City tracks are one text file, name that")
    files = _mot_files(path) if kind == "mot" else _csv_files(path)
    if not files:
        wanted = f"{GLOBAL_TRACKS}, <camera>.csv, <camera>.txt or <camera>/gt/gt.txt"
        raise TableError(f"{path}: no tracks in this folder; want {wanted}")
    return files


def _mot_files(folder: Path) -> list[TrackFile]:
    flat = [TrackFile(file, unquote(file.stem)) for file in sorted(folder.glob("*.txt"))]
    return flat or [TrackFile(file, unquote(file.parts[-3])) for file in sorted(folder.glob("*/gt/gt.txt"))]


def _csv_files(folder: Path) -> list[TrackFile]:
    if (folder / GLOBAL_TRACKS).is_file():
        return [TrackFile(folder / GLOBAL_TRACKS)]
    files = sorted(folder.glob("*.gt.csv")) or sorted(folder.glob("*.csv"))
    return [TrackFile(file, unquote(file.stem.removesuffix(".gt"))) for file in files]


def frame_rates(path: Path) -> dict[str, float]:
    """Frames per second of the cameras whose folder holds a MOTChallenge seqinfo.ini with a frameRate."""
    rates = {}
    for file in sorted(path.glob("*/seqinfo.ini")) if path.is_dir() else []:
        parser = configparser.ConfigParser()
        try:
            parser.read(file, encoding="utf-8")
            rates[unquote(file.parent.name)] = parser.getfloat("Sequence", "frameRate")
        except (configparser.Error, ValueError, UnicodeDecodeError) as error:
            raise TableError(f"{file}: no frameRate in [Sequence] can be read ({error})") from None
    return rates


def _mot_rows(block: TextBlock, camera: str) -> TrackRows:
    if len(block.columns) < len(_SIZES) + 2:
        raise block.error(0, f"{len(block.columns)} columns, want at least {', '.join(MOT_COLUMNS[:6])}")
    frame = block.integers("frame", least=1, why="MOTChallenge frames count from 1") - 1
    identity = block.integers("id", least=0, why="-1 marks detections, which belong to nobody; want tracks")
    ground = np.full((len(block), 2), np.nan)
    if len(block.columns) == _MOT_WITH_PLACE:
        ground = np.stack([block.numbers("class"), block.numbers("visibility")], axis=1)
        ground = np.where((ground == -1).all(axis=1)[:, None], np.nan, ground)
    score = block.numbers("conf") if "conf" in block.columns else np.full(len(block), np.nan)
    kept = np.ones(len(block), bool)
    if block.path.name == TRUTH:
        kept &= score != 0
        if "class" in block.columns and len(block.columns) < _MOT_WITH_PLACE:
            kept &= block.numbers("class") == PEDESTRIAN
    return TrackRows.of(
        (camera,),
        camid=np.zeros(len(block), np.int64),
        frame=frame,
        track_id=identity,
        xyxy=_boxes(block),
        score=score,
        ground_xy=ground,
        line=block.line,
    )[kept]


def _named_rows(block: TextBlock, camera: str) -> TrackRows:
    identity_column = next((name for name in _IDENTITY_COLUMNS if name in block.columns), None)
    if "frame" not in block.columns or (identity_column is None and "track_id" not in block.columns):
        want = f"frame and {', '.join(_IDENTITY_COLUMNS)} or track_id"
        raise TableError(f"{block.path}:1: want the columns {want}, got {', '.join(block.columns)}")
    has_tracks = "track_id" in block.columns
    why = "it numbers people; empty where there is none"
    global_id = (
        block.integers(identity_column, least=0, why=why, blank=NO_ID)
        if identity_column
        else np.zeros(len(block), np.int64)
    )
    names = [name.strip() for name in block.columns["camera"]] if "camera" in block.columns else [camera] * len(block)
    cameras = tuple(dict.fromkeys(names))
    number = {name: i for i, name in enumerate(cameras)}
    kept: BoolMask = np.ones(len(block), bool)
    if "lost" in block.columns:
        kept &= block.numbers("lost") == 0
    return TrackRows.of(
        cameras,
        camid=np.array([number[name] for name in names], np.int64),
        frame=block.integers("frame", least=0, why="frames count from 0 in a CSV with a header"),
        time_s=_optional(block, "time_s"),
        global_id=global_id,
        track_id=block.integers("track_id", least=0, why="it numbers tracklets") if has_tracks else global_id,
        xyxy=_boxes(block),
        score=_optional(block, "score"),
        ground_xy=np.stack([_optional(block, "ground_x"), _optional(block, "ground_y")], axis=1),
        line=block.line,
    )[kept]


def _optional(block: TextBlock, name: str) -> Float64:
    return block.numbers(name, blank=np.nan) if name in block.columns else np.full(len(block), np.nan)


def _boxes(block: TextBlock) -> Float64:
    """(R, 4) xyxy of a block; raises TableError where neither form is there or a box is turned inside out."""
    if all(name in block.columns for name in _SIZES):
        tlwh = np.stack([block.numbers(name) for name in _SIZES], axis=1)
        xyxy = np.concatenate([tlwh[:, :2], tlwh[:, :2] + tlwh[:, 2:]], axis=1)
    elif all(name in block.columns for name in _CORNERS):
        xyxy = np.stack([block.numbers(name) for name in _CORNERS], axis=1)
    else:
        want = f"{', '.join(_SIZES)} or {', '.join(_CORNERS)}"
        raise TableError(f"{block.path}:1: want the columns {want}, got {', '.join(block.columns)}")
    negative = (xyxy[:, 2:] < xyxy[:, :2]).any(axis=1)
    if negative.any():
        raise block.error(int(np.argmax(negative)), "the box has a negative width or height; are the columns in order?")
    return xyxy


def ids_from_one(rows: TrackRows, first_id: int) -> TrackRows:
    """Track ids counted from `first_id`, 0 or 1, as ids from 1. Raises TableError for an id below `first_id`."""
    low: Int64 = np.flatnonzero(rows.track_id < first_id)
    if len(low):
        raise TableError(f"{rows.where(int(low[0]))}: the track id is 0; say --first-id 0 if ids count from 0")
    return rows if first_id == 1 else rows.with_columns(track_id=rows.track_id + 1)
