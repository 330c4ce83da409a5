"""MOTChallenge text, `mot/<camera>.txt`: frame (1-based), id, left, top, width, height, score, -1, -1, -1."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from pipeline.sinks.files import AtomicFile

MOT_FOLDER = "mot"
_LONGEST_NAME = 200


def mot_path(folder: Path, camera_name: str) -> Path:
    """The camera's file. Different cameras have different files."""
    return folder / MOT_FOLDER / f"{file_name(camera_name)}.txt"


def file_name(camera_name: str) -> str:
    """`camera_name` made fit for every file system; different names stay different.

    Letters, digits and `_ - ~` and inner dots stay, all else becomes %XX of its UTF-8 bytes; a name that is then too
    long for a file keeps its beginning and gets a hash of the whole.
    """
    name = quote(camera_name, safe="")
    if name.startswith("."):
        name = "%2E" + name[1:]
    if len(name) > _LONGEST_NAME:
        name = f"{name[:_LONGEST_NAME]}%{hashlib.sha256(camera_name.encode()).hexdigest()[:16]}"
    return name


class MotFiles:
    """The MOTChallenge files of all cameras, fed with the rows of the final table in their order."""

    def __init__(self, files: Mapping[str, AtomicFile]) -> None:
        """`files`: camera name -> its open file. Rows of other cameras are left out."""
        self._files = dict(files)

    def write(self, row: Sequence[str]) -> None:
        """One row of global_tracks.csv. A row without identity has no place here."""
        _, camera, frame, global_id, _, left, top, width, height, score, *_ = row
        if global_id and camera in self._files:
            self._files[camera].write(
                f"{int(frame) + 1},{global_id},{left},{top},{width},{height},{score or 1},-1,-1,-1\n"
            )

    def files(self) -> list[AtomicFile]:
        return list(self._files.values())
