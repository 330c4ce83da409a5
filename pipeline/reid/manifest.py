"""What a re-identification network wants as input: the small JSON file beside an ONNX file."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from pipeline.settings import Settings

Positive = Annotated[float, Field(gt=0)]
Side = Annotated[int, Field(ge=16, le=2048)]


class Manifest(Settings):
    """Input of a network: crops of `input_size`, each channel as `(pixel * scale - mean) / std`."""

    format: Literal[1] = Field(1, description="version of this file's format")
    about: str = Field("", description="free text: network, training data, licence")
    input_size: tuple[Side, Side] = Field(description="height and width of a crop in pixels")
    colour: Literal["rgb", "bgr"] = Field(description="order of the channels")
    scale: Positive = Field(1.0 / 255.0, description="factor on pixel values 0..255 before mean and std")
    mean: tuple[float, float, float] = Field(description="per channel in the order of `colour`, in scaled values")
    std: tuple[Positive, Positive, Positive] = Field(
        description="per channel in the order of `colour`, in scaled values"
    )
    clip_length: int = Field(
        1, ge=1, le=256, description="crops per clip the network takes; 1: an image network, averaged over the clip"
    )
    dim: int | None = Field(None, ge=1, description="length of a vector; the model's own where not given")
    sha256: str | None = Field(
        None, pattern="^[0-9a-fA-F]{64}$", description="of the ONNX file; checked where it is given"
    )


def load_manifest(path: Path) -> Manifest:
    """Read a manifest. Raises ValueError naming the file and the key or line."""
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text)
    except OSError as error:
        raise ValueError(f"{path}: the manifest can not be read ({error.strerror})") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}:{error.lineno}: the manifest is no valid JSON ({error.msg})") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: the manifest is no text file") from error
    try:
        return Manifest.model_validate(content)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'file'}: {_reason(e['type'], e['msg'])}" for e in error.errors()
        )
        raise ValueError(f"{path}: {problems}") from error


def check_sha256(path: Path, manifest: Manifest, manifest_name: str) -> None:
    """Raise ValueError where the model at `path` is not the one its manifest was written for."""
    if manifest.sha256 is None:
        return
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != manifest.sha256.lower():
        raise ValueError(
            f"{manifest_name}: sha256 is {manifest.sha256.lower()}, but {path} has {found}: "
            "the model was changed or is another one; export both again, or drop the key if you trust the file"
        )


def _reason(kind: str, message: str) -> str:
    if kind == "extra_forbidden":
        return f"unknown key; there are {', '.join(Manifest.model_fields)}"
    return message[:1].lower() + message[1:]
