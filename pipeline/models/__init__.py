"""Networks that come with the project. `docs/models.md` says how each was made, how good it is, and its licence."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

BUNDLED = "bundled"  # what a configuration says in place of a path


def bundled_path(name: str) -> Path:
    """The file of a bundled network, for example `person_detector.onnx`. Raises ValueError where there is none."""
    path = Path(str(files(__name__) / name))
    if not path.is_file():
        raise ValueError(f"no bundled network {name}: {path} is missing; install the project again")
    return path
