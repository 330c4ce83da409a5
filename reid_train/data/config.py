"""How clips are cut, changed and drawn: the settings of the data side, and what each published system used."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from pipeline.settings import Settings

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
CIFAR_MEAN = (0.4914, 0.4822, 0.4465)  # the colour that STAFormer's random erasing writes

Interpolation = Literal["bilinear", "bicubic"]
TrainRule = Literal["rrs_floor", "rrs_ceil", "psta_interval", "group", "evenly", "first_floor", "first_ceil"]
TestRule = Literal["evenly", "first_floor", "first_ceil", "begin_interval", "dense", "all_frames", "whole", "each"]
SamplerName = Literal["identity", "identity_replacement", "chunk", "shuffled"]


class ErasingConfig(Settings):
    """Random erasing (Zhong et al., AAAI 2020) on a clip: one draw decides for all of its frames."""

    probability: float = Field(0.5, ge=0.0, le=1.0, description="share of the clips that are erased")
    area_min: float = Field(0.02, gt=0.0, lt=1.0, description="smallest rectangle, as a share of the frame")
    area_max: float = Field(0.4, gt=0.0, lt=1.0, description="largest rectangle, as a share of the frame")
    aspect_min: float = Field(0.3, gt=0.0, le=1.0, description="height over width lies between this and its inverse")
    rectangles: Literal["same", "per_frame"] = Field(
        "same",
        description="same: one rectangle for all frames; per_frame: area and aspect drawn anew for each frame, "
        "the relative corner shared (STAFormer)",
    )
    fill: tuple[float, float, float] = Field(IMAGENET_MEAN, description="RGB value that is written")
    fill_space: Literal["normalised", "pixel"] = Field(
        "normalised", description="normalised: written into the tensor after mean and std; pixel: 0..1 before them"
    )
    attempts: int = Field(100, ge=1, description="draws of a rectangle that fits, before the frame is left as it is")

    @model_validator(mode="after")
    def _ordered(self) -> ErasingConfig:
        if self.area_min > self.area_max:
            raise ValueError(f"area_min {self.area_min} is larger than area_max {self.area_max}")
        return self


class TransformConfig(Settings):
    """From the images of a clip to the network's input. What is random is drawn once per clip."""

    input_hw: tuple[int, int] = Field((256, 128), description="height and width in pixels")
    interpolation: Interpolation = Field("bicubic", description="how images of another size are resized (Pillow)")
    flip_probability: float = Field(0.5, ge=0.0, le=1.0, description="share of the clips that are mirrored")
    pad_px: int = Field(0, ge=0, description="black border before a random crop back to input_hw; 0 for none")
    erasing: ErasingConfig | None = Field(None, description="random erasing; null for none")
    mean: tuple[float, float, float] = Field(IMAGENET_MEAN, description="RGB mean of 0..1 pixels")
    std: tuple[float, float, float] = Field(IMAGENET_STD, description="RGB standard deviation of 0..1 pixels")

    @model_validator(mode="after")
    def _possible(self) -> TransformConfig:
        if min(self.input_hw) < 1:
            raise ValueError(f"input_hw must be positive, not {self.input_hw}")
        if min(self.std) <= 0:
            raise ValueError(f"std must be positive, not {self.std}")
        return self


class SamplerConfig(Settings):
    """How the tracklets of a batch are drawn."""

    name: SamplerName = Field(
        "identity",
        description="identity: every person once per epoch (PSTA, STICC); "
        "identity_replacement: tracklets with replacement (STE-NVAN); chunk: every tracklet "
        "once per epoch (STAFormer); shuffled: tracklets in random order (st-ReID)",
    )
    num_ids: int = Field(8, ge=1, description="P: people of a batch; for shuffled, P * K tracklets")
    per_id: int = Field(4, ge=1, description="K: tracklets of each person")


# What the published systems trained with (staformer.md 5, psta.md 3, ste_nvan.md 3, sticc.md B6, st_reid.md 1).
TRAIN_TRANSFORMS: dict[str, TransformConfig] = {
    "staformer": TransformConfig(erasing=ErasingConfig(rectangles="per_frame", fill=CIFAR_MEAN)),
    "psta": TransformConfig(erasing=ErasingConfig()),
    "ste_nvan": TransformConfig(interpolation="bilinear"),
    "sticc": TransformConfig(interpolation="bilinear", pad_px=10, erasing=ErasingConfig(fill_space="pixel")),
    "st_reid": TransformConfig(input_hw=(384, 192), erasing=ErasingConfig(fill=(0.0, 0.0, 0.0))),
}
TEST_INTERPOLATION: dict[str, Interpolation] = {
    "staformer": "bicubic",
    "psta": "bilinear",
    "ste_nvan": "bilinear",
    "sticc": "bilinear",
    "st_reid": "bicubic",
}
