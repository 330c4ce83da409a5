"""`sheet`: pictures of an identity, cut from the original footage, one row per tracklet."""

from __future__ import annotations

import csv
import json
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path

import cv2
import numpy as np

from pipeline.cameras import Camera, load_cameras
from pipeline.evaluation.text import TableError
from pipeline.ingest.build import LIVE, SourceKind, locate, open_source
from pipeline.ingest.config import IngestConfig
from pipeline.ingest.source import BrokenPictureError, SourceError
from pipeline.ingest.urls import mask_credentials
from pipeline.sinks.colours import BACKGROUND, FAINT_INK, GRID, INK, colour_of
from pipeline.sinks.drawing import draw_label, draw_text, letterbox, shortened
from pipeline.sinks.files import OutputError, closing_path, publish
from pipeline.sinks.final import TABLE_FILE
from pipeline.types import UInt8
from pipeline.yaml_file import ConfigError

log = logging.getLogger(__name__)

MAX_ROWS = 60
_CELL_W, _CELL_H, _GAP = 110, 220, 6
_LABEL_W, _HEAD_H, _PAD = 190, 64, 16
_MARGIN = 0.06  # of a box's size, shown around it
_RUN_FILE = "run.json"


@dataclass(frozen=True, slots=True)
class Sighting:
    """A box to be shown."""

    camera: str
    track_id: int
    frame: int
    time_s: float
    tlwh: tuple[float, float, float, float]
    score: float


@dataclass(frozen=True, slots=True)
class SheetRow:
    """A tracklet of the identity and the sightings of it that are shown."""

    camera: str
    track_id: int
    first_s: float
    last_s: float
    num_frames: int
    shown: tuple[Sighting, ...]


@dataclass(frozen=True, slots=True)
class SheetResult:
    """What was drawn, and how many of the pictures could not be had."""

    path: Path
    num_tracklets: int
    num_pictures: int
    num_missing: int


def contact_sheet(folder: Path, global_id: int, target: Path, *, cams: Path | None, per_tracklet: int) -> SheetResult:
    """Write the sheet of an identity to `target`, a PNG.

    Raises TableError for an identity that is not there, ConfigError where the cameras are not known, SourceError where
    none of the footage can be read again, OutputError where the picture can not be written.
    """
    rows = _rows_of(folder, global_id, per_tracklet)
    cameras = {camera.name: camera for camera in _cameras(folder, cams)}
    shown = rows[:MAX_ROWS]
    crops = _crops([sighting for row in shown for sighting in row.shown], cameras)
    wanted = sum(len(row.shown) for row in shown)
    if not crops:
        raise SourceError(
            f"no picture of identity {global_id} could be read again; are the sources of its cameras still there?"
        )
    _save(_drawn(global_id, rows, crops, per_tracklet), target)
    return SheetResult(target, len(rows), len(crops), wanted - len(crops))


def _rows_of(folder: Path, global_id: int, per_tracklet: int) -> list[SheetRow]:
    """The identity's tracklets in order of time, each with its best sightings from first to last."""
    found: dict[tuple[str, int], list[Sighting]] = {}
    path = folder / TABLE_FILE
    if not path.is_file():
        raise TableError(f"{folder}: no {TABLE_FILE}; name the output folder of a run")
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["global_id"] == str(global_id):
                left, top, width, height = (float(row[name]) for name in ("left", "top", "width", "height"))
                sighting = Sighting(
                    camera=row["camera"],
                    track_id=int(row["track_id"]),
                    frame=int(row["frame"]),
                    time_s=float(row["time_s"]),
                    tlwh=(left, top, width, height),
                    score=float(row["score"] or 1),
                )
                found.setdefault((sighting.camera, sighting.track_id), []).append(sighting)
    if not found:
        raise TableError(f"{path}: no identity {global_id}; identities.csv lists those there are")
    rows = [
        SheetRow(camera, track_id, seen[0].time_s, seen[-1].time_s, len(seen), _spread(seen, per_tracklet))
        for (camera, track_id), seen in found.items()
    ]
    return sorted(rows, key=lambda row: (row.first_s, row.camera, row.track_id))


def _spread(seen: Sequence[Sighting], num: int) -> tuple[Sighting, ...]:
    """`num` sightings over the whole time: of each part of it the surest and largest."""
    edges = [round(i * len(seen) / num) for i in range(num + 1)]
    parts = [seen[a:b] for a, b in pairwise(edges) if b > a]
    return tuple(
        max(part, key=lambda s: (s.score * math.sqrt(max(s.tlwh[2] * s.tlwh[3], 0.0)), -s.frame)) for part in parts
    )


def _cameras(folder: Path, cams: Path | None) -> tuple[Camera, ...]:
    """The cameras of the cams.yaml that is given, or that the run names."""
    if cams is None:
        run_file = folder / _RUN_FILE
        try:
            named = json.loads(run_file.read_text(encoding="utf-8")).get("cams")
        except (OSError, ValueError, AttributeError):
            named = None
        if not named:
            raise ConfigError(f"{run_file}: does not say which cams.yaml the run had; give --cams")
        cams = Path(named)
        if not cams.is_file():
            raise ConfigError(f"{cams}: the cams.yaml of the run is not there any more; give --cams")
    return load_cameras(cams)[0]


def _crops(sightings: Sequence[Sighting], cameras: Mapping[str, Camera]) -> dict[Sighting, UInt8]:
    """The pictures of the sightings, as far as their footage can be read again; each source is read once."""
    unknown = sorted({s.camera for s in sightings} - set(cameras))
    if unknown:
        raise ConfigError(f"no camera {unknown[0]!r} in the cams.yaml; give the one of this run with --cams")

    def source_of(sighting: Sighting) -> tuple[SourceKind, str]:
        return locate(cameras[sighting.camera].source)

    crops: dict[Sighting, UInt8] = {}
    for source, group in groupby(sorted(sightings, key=lambda s: (source_of(s), s.frame)), key=source_of):
        own = list(group)
        names = ", ".join(sorted({s.camera for s in own}))
        if source[0] in LIVE:
            log.warning("camera %s is live; its pictures are gone", names)
            continue
        try:
            for sighting, image in _pictures(source, own, cameras):
                crops[sighting] = _cut(image, sighting)
        except SourceError as error:
            log.warning("camera %s: %s", names, mask_credentials(str(error)))
    return crops


def _pictures(
    source: tuple[SourceKind, str], own: Sequence[Sighting], cameras: Mapping[str, Camera]
) -> Iterator[tuple[Sighting, UInt8]]:
    """The wanted frames of one source, read from its beginning, each as its camera crops it."""
    wanted: dict[int, list[Sighting]] = {}
    for sighting in own:
        wanted.setdefault(sighting.frame, []).append(sighting)
    last = max(wanted)
    opened = open_source(*source, IngestConfig(), threads=2)
    try:
        for frame, picture in enumerate(opened):
            if frame in wanted and not picture.is_broken:
                try:
                    image = picture.load()
                except BrokenPictureError:
                    continue
                for sighting in wanted[frame]:
                    crop = cameras[sighting.camera].crop
                    x, y, width, height = crop or (0, 0, image.shape[1], image.shape[0])
                    yield sighting, image[y : y + height, x : x + width]
            if frame >= last:
                return
    finally:
        opened.close()


def _cut(image: UInt8, sighting: Sighting) -> UInt8:
    """The box with a little around it, as a copy; at least one pixel."""
    left, top, width, height = sighting.tlwh
    x1, x2 = left - _MARGIN * width, left + (1 + _MARGIN) * width
    y1, y2 = top - _MARGIN * height, top + (1 + _MARGIN) * height
    rows, columns = image.shape[:2]
    x1, y1 = min(max(0, round(x1)), columns - 1), min(max(0, round(y1)), rows - 1)
    x2, y2 = max(x1 + 1, min(columns, round(x2))), max(y1 + 1, min(rows, round(y2)))
    return image[y1:y2, x1:x2].copy()


def _drawn(global_id: int, rows: Sequence[SheetRow], crops: Mapping[Sighting, UInt8], per_tracklet: int) -> UInt8:
    shown = rows[:MAX_ROWS]
    width = 2 * _PAD + _LABEL_W + per_tracklet * (_CELL_W + _GAP)
    sheet = np.empty((_HEAD_H + len(shown) * (_CELL_H + _GAP + 22) + _PAD, width, 3), np.uint8)
    sheet[:] = BACKGROUND
    cameras = {row.camera for row in rows}
    draw_label(sheet, f"{global_id}", (_PAD, 44), colour_of(global_id), 22)
    head = (
        f"{len(rows)} tracklets in {len(cameras)} cameras, {rows[0].first_s:.1f} to {max(r.last_s for r in rows):.1f} s"
    )
    if len(shown) < len(rows):
        head += f"; the first {len(shown)}"
    draw_text(sheet, shortened(head, 17, width - 110), (_PAD + 74, 38), INK, 17)
    for number, row in enumerate(shown):
        top = _HEAD_H + number * (_CELL_H + _GAP + 22)
        cv2.line(sheet, (_PAD, top - 6), (width - _PAD, top - 6), GRID, 1)
        name = shortened(f"{row.camera}:{row.track_id}", 18, _LABEL_W - 10, bold=True)
        draw_text(sheet, name, (_PAD, top + 24), INK, 18, bold=True)
        for place, words in enumerate((f"{row.first_s:.2f} to {row.last_s:.2f} s", f"{row.num_frames} frames")):
            draw_text(sheet, words, (_PAD, top + 48 + 20 * place), FAINT_INK, 14)
        for place, sighting in enumerate(row.shown):
            left = _PAD + _LABEL_W + place * (_CELL_W + _GAP)
            cell = sheet[top : top + _CELL_H, left : left + _CELL_W]
            if sighting in crops:
                letterbox(crops[sighting], cell)
            else:
                cell[:] = GRID
                draw_text(sheet, "no picture", (left + 18, top + _CELL_H // 2), FAINT_INK, 14)
            draw_text(sheet, f"{sighting.time_s:.2f} s", (left + 2, top + _CELL_H + 15), FAINT_INK, 13)
    return sheet


def _save(image: UInt8, target: Path) -> None:
    done, encoded = cv2.imencode(".png", image)
    if not done:
        raise OutputError(f"{target}: the picture could not be encoded as PNG")
    temporary = closing_path(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(encoded.tobytes())
    except OSError as error:
        raise OutputError(f"{target}: cannot write: {error.strerror or error}; choose another file with -o") from error
    publish(temporary, target)
