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
from typing import Any, TypeAlias

import numpy as np

from pipeline.fusion.archive import Parts
from pipeline.fusion.calibration import SimilarityCalibration
from pipeline.fusion.config import FusionConfig
from pipeline.fusion.humps import humps_of
from pipeline.fusion.learned_floor import LearnedFloor
from pipeline.fusion.reranking import mixed_calibration
from pipeline.fusion.tracklet_record import TrackletRecord, parts_of
from pipeline.fusion.zones import NUM_ZONES

KNOWN_FILE = "association.json"
TRACKLETS_FILE = "association.npz"
VERSION = 1
_NORMALS = ("different_within", "different_across", "same", "shift")
_HUMPS = ("humps_within", "humps_across")  # only where there are two
_SIMILARITIES = ("similarity", "mixed_similarity")
_DIGITS = 6

Knowledge: TypeAlias = tuple[dict[str, Any], dict[str, np.ndarray]]  # of association.json, of association.npz


class AssociationFileError(ValueError):
    """A file of what the association knew that can not be used."""


def knowledge(
    cameras: Sequence[str],
    *,
    calibration: SimilarityCalibration,
    mixed: SimilarityCalibration | None,
    threshold: float,
    learned_floor: LearnedFloor,
    record: TrackletRecord,
) -> Knowledge:
    """The content of both files under the cameras' names. mixed: of similarities with a k-reciprocal part, if used."""
    document: dict[str, Any] = {
        "version": VERSION,
        "cameras": list(cameras),
        "tracklets": len(record),
        "least_confidence": round(threshold, _DIGITS),
        "similarity": _told(calibration),
        "learned_floor": learned_floors(learned_floor, cameras),
    }
    if mixed is not None:
        document["mixed_similarity"] = _told(mixed)
    return document, record.arrays()


def _told(calibration: SimilarityCalibration) -> dict[str, dict[str, Any]]:
    normals: dict[str, dict[str, Any]] = {
        name: {"mean": round(normal.mean, _DIGITS), "std": round(normal.std, _DIGITS)}
        for name, normal in ((name, getattr(calibration, name)) for name in _NORMALS)
    }
    humps = {
        name: {key: [round(number, _DIGITS) for number in numbers] for key, numbers in found._asdict().items()}
        for name, found in ((name, getattr(calibration, name).found) for name in _HUMPS)
        if found is not None
    }
    return normals | humps


def write_knowledge(folder: Path, document: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Write both files; each appears whole or not at all. Raises OSError."""
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    _whole(folder / KNOWN_FILE, lambda path: path.write_text(text, encoding="utf-8"))
    if len(arrays["name"]):
        _whole(folder / TRACKLETS_FILE, lambda path: _save_arrays(path, arrays))
    else:
        (folder / TRACKLETS_FILE).unlink(missing_ok=True)  # of an earlier run


def merged_knowledge(
    told: Mapping[str, Knowledge], cameras: Sequence[str], camids: Mapping[str, tuple[Sequence[int], frozenset[int]]]
) -> Knowledge:
    """What several sites know, as one: their tracklets together, similarities in the mean over tracklets.

    told: of each site. camids: its cameras in its own order, and which of them are its own. What each site knows of
    similarities stands under `sites`.
    """
    arrays: dict[str, list[np.ndarray]] = {"name": [], "number": [], "vector": []}
    sites: dict[str, dict[str, Any]] = {}
    floors: dict[tuple[str, ...], dict[str, Any]] = {}
    for site, (document, table) in told.items():
        all_camids, own = camids[site]
        camid = np.array(all_camids, np.int64)[table["name"][:, 0]]
        mine = np.isin(camid, sorted(own))
        zone = table["name"][mine, 2:]
        moved = np.where(zone < 0, -1, camid[mine, None] * NUM_ZONES + zone % NUM_ZONES)
        name = np.concatenate((camid[mine, None], table["name"][mine, 1:2], moved), axis=1)
        for column, rows in (("name", name), ("number", table["number"][mine]), ("vector", table["vector"][mine])):
            arrays[column].append(rows)
        sites[site] = {"cameras": [cameras[c] for c in sorted(own)], "tracklets": int(mine.sum())}
        sites[site] |= {key: document[key] for key in ("least_confidence", *_SIMILARITIES) if key in document}
        for floor in document["learned_floor"]:
            floors.setdefault(tuple(floor["cameras"]), floor)
    share = np.array([site["tracklets"] + 1e-9 for site in sites.values()])
    share /= share.sum()

    def mean(numbers: list[float]) -> float:
        return round(float(share @ np.array(numbers)), _DIGITS)

    whole = {
        "version": VERSION,
        "cameras": list(cameras),
        "tracklets": sum(site["tracklets"] for site in sites.values()),
        "least_confidence": mean([site["least_confidence"] for site in sites.values()]),
        **{
            kind: {
                name: {key: mean([site[kind][name][key] for site in sites.values()]) for key in ("mean", "std")}
                for name in _NORMALS
            }
            for kind in _SIMILARITIES
            if all(kind in site for site in sites.values())
        },
        "learned_floor": list(floors.values()),
        "sites": sites,
    }
    return whole, {column: np.concatenate(rows) for column, rows in arrays.items()}


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
    return _as_told(SimilarityCalibration(config), known, "similarity")


def mixed_calibration_of(known: Mapping[str, Any], config: FusionConfig) -> SimilarityCalibration:
    """The same of similarities with a k-reciprocal part; as expected beforehand where the run had none."""
    calibration = mixed_calibration(config)
    return _as_told(calibration, known, "mixed_similarity") if config.reranking else calibration


def _as_told(calibration: SimilarityCalibration, known: Mapping[str, Any], kind: str) -> SimilarityCalibration:
    try:
        for name in _NORMALS:
            told = known[kind][name]
            getattr(calibration, name).set(float(told["mean"]), float(told["std"]))
        for name in _HUMPS:
            if (told := known[kind].get(name)) is not None:
                getattr(calibration, name).found = humps_of(told["share"], told["mean"], told["std"])
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
