"""Configuration of the embedder."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipeline.reid.manifest import Manifest
from pipeline.settings import Settings


class ReidConfig(Settings):
    """Which network describes people, and how its input is made."""

    model: str = Field(
        "bundled",
        description="bundled (the network that comes with the project); path of an .onnx file; or colour: "
        "histograms of clothes, weak but without weights",
    )
    manifest: str | None = Field(
        None, description="JSON file that describes the model's input; the model's name with .json where not given"
    )
    inline: Manifest | None = Field(None, description="the manifest itself, in place of a file")
    clip_crops: int = Field(
        4, ge=1, le=64, description="crops per clip for image models; video models have a clip length of their own"
    )
    batch_size: int = Field(8, ge=1, le=256, description="most crops per network run, for models of open batch size")
    threads: int = Field(0, ge=0, description="processor cores the network may use; 0: half of them, at least one")
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="where the network runs; auto: cuda where there is one"
    )
