"""Making the detector that the configuration asks for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from pipeline.detect.config import DetectConfig
from pipeline.detect.detector import Detector
from pipeline.detect.from_file import open_files
from pipeline.models import BUNDLED, bundled_path

BUNDLED_FILE = "person_detector.onnx"
CHOICES = (
    "say bundled for the one that comes with the project, or name the path of an .onnx file, anything the ultralytics "
    "package loads (.pt, OpenVINO folder, .engine, or a model name such as yolo11n.pt), or a file of ready "
    "detections, e.g. dets/{camera}.csv"
)


def build_detector(config: DetectConfig, camera_names: Sequence[str], base_dir: Path) -> Detector:
    """The detector for these cameras (names by camid); paths are relative to `base_dir`. Raises ValueError."""
    kind = _kind(config, base_dir) if config.kind == "auto" else config.kind
    if kind != "from_file":
        if not config.model:
            raise ValueError(f"detect.model: no detector is named; {CHOICES}")
        if config.files:
            raise ValueError(f"detect.files: files of detections are given beside the network {config.model}; drop one")
    return DETECTORS[kind](config, camera_names, base_dir)


def depends_on_cameras(config: DetectConfig, base_dir: Path) -> bool:
    """Whether the detector is made of files of each camera, and has to be made anew when there are others."""
    return (_kind(config, base_dir) if config.kind == "auto" else config.kind) == "from_file"


def model_path(config: DetectConfig, base_dir: Path) -> Path | None:
    """The file or folder `detect.model` names, or None where it is none (a model name, a pattern, nothing)."""
    if config.model == BUNDLED:
        return bundled_path(BUNDLED_FILE)
    path = base_dir / Path(config.model).expanduser()
    return path if config.model and path.exists() else None


def model_hash(path: Path) -> str:
    """SHA-256 in hex of a file, or of a folder: of the names and hashes of its files, in order of their names."""
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    if not path.is_dir():
        raise ValueError(f"no such model: {path}")
    whole = hashlib.sha256()
    for file_path in sorted(p for p in path.rglob("*") if p.is_file()):
        whole.update(f"{file_path.relative_to(path).as_posix()}\0{model_hash(file_path)}\n".encode())
    return whole.hexdigest()


def _kind(config: DetectConfig, base_dir: Path) -> str:
    suffix = Path(config.model).suffix.lower()
    if config.files or "{camera}" in config.model or suffix in (".csv", ".txt"):
        return "from_file"
    if not config.model:
        raise ValueError(f"detect.model: no detector is named; {CHOICES}")
    if suffix == ".onnx" or config.model == BUNDLED:
        return "onnx"
    is_path = suffix not in (".pt", ".yaml", ".yml", "") or len(Path(config.model).parts) > 1
    if is_path and model_path(config, base_dir) is None:
        raise ValueError(f"detect.model: no such file or folder: {base_dir / config.model}; {CHOICES}")
    return "ultralytics"


def _onnx(config: DetectConfig, camera_names: Sequence[str], base_dir: Path) -> Detector:
    from pipeline.detect.onnx import OnnxDetector

    path = model_path(config, base_dir) or base_dir / Path(config.model).expanduser()
    return OnnxDetector(path, config, len(camera_names))


def _ultralytics(config: DetectConfig, camera_names: Sequence[str], base_dir: Path) -> Detector:
    from pipeline.detect.ultralytics import UltralyticsDetector

    path = model_path(config, base_dir)
    return UltralyticsDetector(str(path) if path else config.model, config)


DETECTORS: dict[str, Callable[[DetectConfig, Sequence[str], Path], Detector]] = {
    "onnx": _onnx,
    "ultralytics": _ultralytics,
    "from_file": open_files,
}
