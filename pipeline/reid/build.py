"""Making the embedder that the configuration asks for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pipeline.models import BUNDLED, bundled_path
from pipeline.reid.colour import ColourEmbedder
from pipeline.reid.config import ReidConfig
from pipeline.reid.embedder import Embedder
from pipeline.reid.manifest import Manifest, check_sha256, load_manifest

BUNDLED_FILE = "person_reid.onnx"
EXAMPLE = (
    '{"input_size": [256, 128], "colour": "rgb", "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], '
    '"clip_length": 1}'
)


def build_embedder(config: ReidConfig, base_dir: Path) -> Embedder:
    """The embedder; paths are relative to `base_dir`. Raises ValueError naming the key or file and the remedy."""
    kind = "onnx" if Path(config.model).suffix.lower() == ".onnx" else config.model
    if kind not in EMBEDDERS:
        names = ", ".join(name for name in EMBEDDERS if name != "onnx")
        raise ValueError(f"reid.model: {config.model!r} is neither an .onnx file nor one of: {names}")
    if kind != "onnx" and (config.manifest or config.inline):
        raise ValueError(
            f"reid.manifest: {config.model} takes no manifest; name an .onnx file in reid.model, or drop it"
        )
    return EMBEDDERS[kind](config, base_dir)


def model_path(config: ReidConfig, base_dir: Path) -> Path | None:
    """The file `reid.model` names, or None for an embedder without a file."""
    if config.model == BUNDLED:
        return bundled_path(BUNDLED_FILE)
    return None if config.model in WITHOUT_FILE else base_dir / Path(config.model).expanduser()


def _onnx(config: ReidConfig, base_dir: Path) -> Embedder:
    from pipeline.reid.onnx import OnnxEmbedder

    path = model_path(config, base_dir)
    if path is None or not path.is_file():
        raise ValueError(f"reid.model: no such file: {path}")
    manifest, name = _manifest(config, path, base_dir)
    check_sha256(path, manifest, name)
    return OnnxEmbedder(path, manifest, config)


def _manifest(config: ReidConfig, model: Path, base_dir: Path) -> tuple[Manifest, str]:
    """The manifest and what to call it in errors."""
    if config.inline is not None:
        if config.manifest is not None:
            raise ValueError("reid.manifest: reid.inline is given as well; keep one of the two")
        return config.inline, "reid.inline"
    path = base_dir / Path(config.manifest).expanduser() if config.manifest else model.with_suffix(".json")
    if not path.is_file():
        key = "reid.manifest" if config.manifest else "reid.model"
        raise ValueError(
            f"{key}: {model} has no manifest at {path}; write one, e.g. {EXAMPLE}, or put these keys under reid.inline"
        )
    return load_manifest(path), str(path)


def _colour(config: ReidConfig, base_dir: Path) -> Embedder:
    return ColourEmbedder(config.clip_crops)


WITHOUT_FILE = ("colour",)
EMBEDDERS: dict[str, Callable[[ReidConfig, Path], Embedder]] = {BUNDLED: _onnx, "colour": _colour, "onnx": _onnx}
