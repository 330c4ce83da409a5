"""From a trained network to the pair of files that the pipeline loads: `<name>.onnx` and its manifest `<name>.json`.

The batch is open, the clip's length fixed. A clip length of 1 gives an image network with input (N, 3, H, W), which
the pipeline averages over a clip's crops; else the input is (N, T, 3, H, W). Both take RGB crops normalised as in
training. Before the files get their names the ONNX network is run beside the original on batches of several sizes.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from torch import Tensor, nn

from reid_train.config import Recipe
from reid_train.data.config import IMAGENET_MEAN, IMAGENET_STD
from reid_train.models.model import ReidModel
from reid_train.onnx_file import BATCHES, write_onnx

SIDE_PX, MAX_CLIP_LENGTH = (16, 2048), 256  # what a manifest may say
MANIFEST_KEYS = {"format", "input_size", "colour", "clip_length"}  # by which a manifest is told from other JSON


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was written, and how far its vectors are from the original's on the same random crops."""

    model: Path
    manifest: Path
    input_shape: tuple[str | int, ...]
    dim: int
    exporter: str  # "dynamo" or "torchscript"
    max_error: float  # largest difference of a number
    max_relative_error: float  # the same over the largest number of the vectors
    min_cosine: float
    batches: tuple[int, ...]
    size_bytes: int

    def text(self) -> str:
        """Lines for a terminal."""
        shape = " x ".join(str(side) for side in self.input_shape)
        return (
            f"{self.model}: input {shape}, vectors of {self.dim}, {self.size_bytes / 1e6:.1f} MB ({self.exporter})\n"
            f"parity over batches of {', '.join(map(str, self.batches))}: max error {self.max_error:.2e} "
            f"({self.max_relative_error:.1e} of the largest number), cosine at least {self.min_cosine:.7f}\n"
            f"{self.manifest}: the manifest; put `reid: {{model: {self.model.name}}}` in the pipeline's configuration"
        )


def export_onnx(
    model: nn.Module,
    path: Path,
    *,
    clip_length: int | None = None,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    about: str = "",
) -> ExportReport:
    """Write `path` (.onnx) and its manifest, and check them against `model`.

    `clip_length` None takes the network's own. `mean` and `std` are those of training, RGB. Earlier files are replaced
    in one step, and only by files that passed. Raises ValueError for a clip length or a path that does not fit,
    ExportError where the export fails or differs by more than a thousandth of the largest number.
    """
    reid = cast(ReidModel, model)
    length = reid.clip_length if clip_length is None else clip_length
    _check_fits(reid, length)
    manifest_path = _manifest_path(path)
    network = _Vectors(copy.deepcopy(model).cpu().float(), is_image=length == 1).eval()
    shape: tuple[int, ...] = (3, *reid.input_hw) if length == 1 else (length, 3, *reid.input_hw)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        exporter, parity = write_onnx(network, shape, partial)
        about = about or f"{reid.name}, exported by crosscam's reid_train"
        manifest = _manifest(reid, length, mean, std, about=about, sha256=_sha256(partial))
        # The manifest names the model's checksum: whoever reads between the two renames is told, never deceived.
        text = manifest_path.with_name(manifest_path.name + ".partial")
        text.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        os.replace(partial, path)
        os.replace(text, manifest_path)
    finally:
        partial.unlink(missing_ok=True)
    return ExportReport(
        model=path,
        manifest=manifest_path,
        input_shape=("N", *shape),
        dim=reid.dim,
        exporter=exporter,
        max_error=parity.error,
        max_relative_error=parity.relative,
        min_cosine=parity.cosine,
        batches=BATCHES,
        size_bytes=path.stat().st_size,
    )


def run_export(weights: Path, output: Path | None = None, *, clip_length: int | None = None) -> ExportReport:
    """Export a checkpoint or a run's folder (its best, else its last) as `output`; None: `<network>.onnx` beside it.

    `clip_length` None takes the test clips of the recipe inside, else the network's own. Raises CheckpointError, and
    as `export_onnx`.
    """
    from reid_train.state import load_model

    model, about = load_model(weights)
    reid = cast(ReidModel, model)
    recipe = Recipe.model_validate(about["recipe"]) if "recipe" in about else None
    folder = weights if weights.is_dir() else weights.parent
    mean, std = (recipe.transform.mean, recipe.transform.std) if recipe else (IMAGENET_MEAN, IMAGENET_STD)
    if clip_length is None and recipe is not None:
        clip_length = recipe.test_clip_length
    return export_onnx(
        model, output or folder / f"{reid.name}.onnx", clip_length=clip_length, mean=mean, std=std, about=_words(about)
    )


def _check_fits(model: ReidModel, clip_length: int) -> None:
    """Raises ValueError for clips that the network, or the pipeline, does not take."""
    if clip_length < 1 or (clip_length % model.frame_multiple):
        raise ValueError(f"clip_length {clip_length}: {model.name} needs a positive multiple of {model.frame_multiple}")
    if not all(SIDE_PX[0] <= side <= SIDE_PX[1] for side in model.input_hw) or clip_length > MAX_CLIP_LENGTH:
        raise ValueError(
            f"clips of {clip_length} crops of {model.input_hw[0]} x {model.input_hw[1]}: the pipeline takes sides from "
            f"{SIDE_PX[0]} to {SIDE_PX[1]} pixels and up to {MAX_CLIP_LENGTH} crops"
        )


def _manifest(
    model: ReidModel, clip_length: int, mean: Sequence[float], std: Sequence[float], *, about: str, sha256: str
) -> dict[str, Any]:
    """What the pipeline has to know of the network; `sha256` is that of the ONNX file."""
    return {
        "format": 1,
        "about": about,
        "input_size": list(model.input_hw),
        "colour": "rgb",
        "scale": 1.0 / 255.0,
        "mean": [float(v) for v in mean],
        "std": [float(v) for v in std],
        "clip_length": clip_length,
        "dim": model.dim,
        "sha256": sha256,
    }


class _Vectors(nn.Module):
    """What the ONNX file computes: `embed`, of single crops where `is_image`."""

    def __init__(self, model: nn.Module, *, is_image: bool) -> None:
        super().__init__()
        self.model = model
        self.is_image = is_image

    def forward(self, clips: Tensor) -> Tensor:
        """(N, 3, H, W) or (N, T, 3, H, W) -> (N, D)."""
        return cast(ReidModel, self.model).embed(clips.unsqueeze(1) if self.is_image else clips)


def _manifest_path(path: Path) -> Path:
    """The manifest's place, which must not be that of a checkpoint's description. Raises ValueError."""
    if path.suffix.lower() != ".onnx":
        raise ValueError(f"{path}: want a name that ends in .onnx")
    place = path.with_suffix(".json")
    if place.is_file():
        try:
            there = json.loads(place.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            there = None
        if not (isinstance(there, dict) and there.keys() >= MANIFEST_KEYS):
            raise ValueError(f"{place} is there and is no manifest; choose another name than {path.name}")
    return place


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _words(about: dict[str, Any]) -> str:
    """One line on where the weights come from, for the manifest."""
    network = about.get("network", {})
    parts = [str(network.get("name", "network"))]
    data, words = about.get("data"), about.get("recipe", {}).get("about")
    if words:
        parts.append(f"trained on {words}" + (f" (read as {data})" if data else ""))
    elif data:
        parts.append(f"trained on {data}")
    if source := about.get("converted_from"):
        parts.append(f"converted from {source}")
    if epochs := about.get("epochs_done"):
        parts.append(f"{epochs} epochs")
    recipe = about.get("recipe", {})
    if interpolation := recipe.get("test", {}).get("interpolation"):
        parts.append(f"crops resized {interpolation}")
    return ", ".join(parts)
