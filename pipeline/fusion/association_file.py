"""association.json and association.npz: what the association knew at the end of a run, for people and for `why`.

The first says what similarities mean on the site, how probable a link had to be, and how good each floor is that was
learned between overlapping cameras. The second holds the tracklets with their vectors (`tracklet_record`).
"""

from __future__ import annotations

import json
import math
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.fusion.archive import Parts
from pipeline.fusion.calibration import SimilarityCalibration
from pipeline.fusion.config import FusionConfig
from pipeline.fusion.learned_floor import LearnedFloor
from pipeline.fusion.tracklet_record import TrackletRecord, parts_of

KNOWN_FILE = "association.json"
TRACKLETS_FILE = "association.npz"
VERSION = 1
_NORMALS = ("different_within", "different_across", "same", "shift")
_DIGITS = 6


class AssociationFileError(ValueError):
    """A file of what the association knew that can not be used."""


def save_association(
    folder: Path,
    cameras: Sequence[str],
    *,
    calibration: SimilarityCalibration,
    threshold: float,
    learned_floor: LearnedFloor,
    record: TrackletRecord,
) -> None:
    """Write both files under the cameras' names; each appears whole or not at all. Raises OSError."""
    similarity = {
        name: {"mean": round(normal.mean, _DIGITS), "std": round(normal.std, _DIGITS)}
        for name, normal in ((name, getattr(calibration, name)) for name in _NORMALS)
    }
    document = {
        "version": VERSION,
        "cameras": list(cameras),
        "tracklets": len(record),
        "least_confidence": round(threshold, _DIGITS),
        "similarity": similarity,
        "learned_floor": learned_floors(learned_floor, cameras),
    }
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    _whole(folder / KNOWN_FILE, lambda path: path.write_text(text, encoding="utf-8"))
    if len(record):
        _whole(folder / TRACKLETS_FILE, lambda path: _save_arrays(path, record.arrays()))
    else:
        (folder / TRACKLETS_FILE).unlink(missing_ok=True)  # of an earlier run


def learned_floors(floor: LearnedFloor, cameras: Sequence[str]) -> list[dict[str, Any]]:
    """What is known of the floor of every pair of overlapping cameras that are not calibrated."""
    good = {quality.cameras: quality for quality in floor.quality}
    told = []
    for pair, reason in floor.wanted():
        entry: dict[str, Any] = {"cameras": [cameras[camid] for camid in pair], "used": pair in good}
        if pair in good:
            numbers = asdict(good[pair])
            del numbers["cameras"]
            entry |= {
                name: round(number, 4) if math.isfinite(number) else None if isinstance(number, float) else number
                for name, number in numbers.items()
            }
        told.append(entry if pair in good else {**entry, "reason": reason})
    return told


def floors_told(folder: Path) -> list[Any]:
    """What association.json says of learned floors, for run.json; nothing where it is not there."""
    try:
        return list(load_known(folder).get("learned_floor", ()))
    except (AssociationFileError, TypeError):
        return []


def load_known(folder: Path) -> dict[str, Any]:
    """The content of association.json. Raises AssociationFileError."""
    path = folder / KNOWN_FILE
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["version"] != VERSION:
            raise AssociationFileError(f"{path}: version {document['version']}, this program reads {VERSION}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, AssociationFileError):
            raise
        raise AssociationFileError(f"{path}: can not be read as what an association knew ({error})") from error
    return dict(document)


def load_tracklets(folder: Path) -> Parts:
    """The tracklets of association.npz, in order of time. Raises AssociationFileError."""
    path = folder / TRACKLETS_FILE
    try:
        with np.load(path, allow_pickle=False) as file:
            return parts_of(dict(file.items()))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise AssociationFileError(f"{path}: can not be read as tracklets of a run ({error})") from error


def calibration_of(known: Mapping[str, Any], config: FusionConfig) -> SimilarityCalibration:
    """What similarities meant at the end of the run. Raises AssociationFileError."""
    calibration = SimilarityCalibration(config)
    try:
        for name in _NORMALS:
            told = known["similarity"][name]
            getattr(calibration, name).set(float(told["mean"]), float(told["std"]))
    except (KeyError, TypeError, ValueError) as error:
        raise AssociationFileError(f"{KNOWN_FILE}: similarities are missing or damaged ({error})") from error
    return calibration


def _save_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    with path.open("wb") as file:
        np.savez_compressed(file, name=arrays["name"], number=arrays["number"], vector=arrays["vector"])


def _whole(path: Path, write: Any) -> None:
    temporary = path.with_name(path.name + ".partial")
    write(temporary)
    os.replace(temporary, path)
