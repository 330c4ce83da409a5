"""Appearance vectors of another system's tracklets, from an .npz file.

camera    (N,) text       the camera's name
track_id  (N,) integers   the tracklet
vector    (N, D) numbers  of any length; they are brought to length 1
frame     (N,) integers   optional: the frame at which the vector was known, or
time_s    (N,) seconds    optional: the time; without either, vectors are known when their tracklet ends
quality   (N,) in (0, 1]  optional: how well the picture shows the person; 1 without
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.evaluation.text import TableError
from pipeline.interchange.spool import CameraSpool
from pipeline.types import AnyArray, Embeddings, Float32, Float64, Int64

_NEEDED = ("camera", "track_id", "vector")
_SHORTEST = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class CameraVectors:
    """The vectors of one camera in the order in which they come. `row` are places in the file's arrays."""

    frame: Int64  # (K,) at which each is given
    track_id: Int64  # (K,)
    row: Int64  # (K,)


class VectorFile:
    """An opened .npz of vectors; the vectors themselves stay on the disk, unpacked into `folder`."""

    def __init__(self, path: Path, folder: Path) -> None:
        """Raises TableError, naming the file, the array and the remedy."""
        self._path = path
        names = _unpack(path, folder)
        missing = [name for name in _NEEDED if name not in names]
        if missing:
            raise TableError(f"{path}: no array {missing[0]!r}; want {', '.join(_NEEDED)}, got {', '.join(names)}")
        arrays = {name: _load(path, folder, name) for name in (*_NEEDED, "frame", "time_s", "quality") if name in names}
        self._vector = arrays["vector"]
        num = len(arrays["track_id"])
        if self._vector.ndim != 2 or not self._vector.shape[1]:
            raise TableError(f"{path}: vector has the shape {self._vector.shape}, want (N, D)")
        for name, array in arrays.items():
            if len(array) != num or (name != "vector" and array.ndim != 1):
                raise TableError(f"{path}: {name} has the shape {array.shape} beside {num} track ids; rows must agree")
        self._camera = np.asarray(arrays["camera"]).astype(str)
        self._track_id = _integers(path, "track_id", arrays["track_id"])
        self._frame = _integers(path, "frame", arrays["frame"]) if "frame" in arrays else None
        self._time_s: Float64 | None = np.asarray(arrays["time_s"], np.float64) if "time_s" in arrays else None
        self._quality = np.asarray(arrays.get("quality", np.ones(num)), np.float32)
        if not ((self._quality > 0) & (self._quality <= 1)).all():
            raise TableError(f"{path}: quality must lie above 0 and at most at 1")

    @property
    def dim(self) -> int:
        return int(self._vector.shape[1])

    def __len__(self) -> int:
        return len(self._track_id)

    def of(self, spool: CameraSpool, first_id: int) -> CameraVectors:
        """The vectors of a camera's tracklets. Raises TableError for a tracklet that the tracks do not have."""
        rows = np.flatnonzero(self._camera == spool.camera)
        track_id = self._track_id[rows] + (1 - first_id)
        place = np.searchsorted(spool.track_id, track_id)
        known = spool.track_id[np.minimum(place, len(spool.track_id) - 1)] == track_id if len(rows) else place == 0
        if not known.all():
            bad = int(rows[np.argmin(known)])
            raise TableError(
                f"{self._path}: row {bad} is of track {self._track_id[bad]} of camera {spool.camera}, which has no "
                "such track; are the vectors of the same tracks?"
            )
        first, last = spool.first_frame[place], spool.last_frame[place]
        frame = np.clip(self._frames(rows, spool, last), first, last)
        order = np.lexsort((rows, track_id, frame))
        return CameraVectors(frame[order], track_id[order], rows[order])

    def unknown_cameras(self, cameras: Sequence[str]) -> list[str]:
        return sorted(set(np.unique(self._camera).tolist()) - set(cameras))

    def embeddings(self, track_id: Int64, rows: Int64) -> Embeddings:
        """The vectors of these places of the file as of length 1. Raises TableError for one that has no length."""
        vector: Float32 = np.asarray(self._vector[rows], np.float32)
        length = np.linalg.norm(vector, axis=1, keepdims=True)
        bad = ~np.isfinite(length[:, 0]) | (length[:, 0] < _SHORTEST)
        if bad.any():
            raise TableError(f"{self._path}: vector {rows[int(np.argmax(bad))]} is zero or not finite")
        return Embeddings(track_id, vector / length, self._quality[rows])

    def _frames(self, rows: Int64, spool: CameraSpool, last: Int64) -> Int64:
        """The frame at which each vector is known."""
        if self._frame is not None:
            return self._frame[rows]
        if self._time_s is None or not len(rows):
            return last
        first_frame, first_s = next((frame.frame, frame.time_s) for frame in spool.frames())
        since_s = self._time_s[rows] - first_s
        return np.asarray(first_frame + np.ceil(since_s / (spool.step_s or 1.0) - 1e-3), np.int64)


def _unpack(path: Path, folder: Path) -> list[str]:
    """Unpack the arrays of an .npz so that they can be read from the disk; -> their names."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = [name for name in archive.namelist() if name.endswith(".npy") and "/" not in name]
            for member in members:
                archive.extract(member, folder)
    except FileNotFoundError:
        raise TableError(f"{path}: no such file") from None
    except (OSError, zipfile.BadZipFile) as error:
        raise TableError(f"{path}: is no .npz file ({error}); write one with numpy.savez") from None
    return [member.removesuffix(".npy") for member in members]


def _load(path: Path, folder: Path, name: str) -> AnyArray:
    try:
        loaded: AnyArray = np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        raise TableError(f"{path}: {name} can not be read ({error}); arrays of text want a dtype like '<U32'") from None
    return loaded


def _integers(path: Path, name: str, values: AnyArray) -> Int64:
    if not np.issubdtype(values.dtype, np.integer):
        raise TableError(f"{path}: {name} is of {values.dtype}, want integers")
    return np.asarray(values, np.int64)
