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


class DistortionConfig(Settings):
    """What another camera, detector or passer-by would change, for training on drawn people. One draw per clip."""

    box_probability: float = Field(0.8, ge=0, le=1, description="share of the clips whose box is moved and scaled")
    box_shift: float = Field(0.06, ge=0, le=0.5, description="largest move, as a share of width and height")
    box_scale: float = Field(0.15, ge=0, le=1, description="largest growth or shrinkage of a side")
    hide_probability: float = Field(0.15, ge=0, le=1, description="share of the clips with feet or a side covered")
    hide_share: float = Field(0.4, gt=0.08, lt=1, description="most of height or width that is covered")
    light_probability: float = Field(0.9, ge=0, le=1, description="share of the clips with another light and camera")
    exposure_stops: float = Field(0.7, ge=0, le=3, description="exposure, up to so many stops brighter or darker")
    white_balance: float = Field(0.15, ge=0, le=1, description="largest change of a channel by itself, 0.1 is 10 %")
    gamma: float = Field(0.3, ge=0, le=2, description="largest change of gamma, 0.3 is 1/1.3 to 1.3")
    contrast: float = Field(0.25, ge=0, lt=1, description="largest change of contrast")
    saturation: float = Field(0.4, ge=0, le=1, description="largest change of saturation")
    grey_probability: float = Field(0.05, ge=0, le=1, description="share of the clips that lose their colour")
    coarse_probability: float = Field(0.3, ge=0, le=1, description="share of the clips seen with fewer pixels")
    coarse_min: float = Field(0.3, gt=0, le=1, description="fewest pixels along a side, as a share of input_hw")
    blur_probability: float = Field(0.25, ge=0, le=1, description="share of the clips that are blurred")
    blur_px: float = Field(1.5, ge=0.3, le=10, description="largest standard deviation of the blur")
    noise_probability: float = Field(0.3, ge=0, le=1, description="share of the clips with noise")
    noise: float = Field(0.05, ge=0, le=0.5, description="largest standard deviation of the noise, of 1")
    jpeg_probability: float = Field(0.3, ge=0, le=1, description="share of the clips that are encoded anew")
    jpeg_quality_min: int = Field(30, ge=5, le=95, description="lowest quality of that JPEG")


class TransformConfig(Settings):
    """From the images of a clip to the network's input. What is random is drawn once per clip."""

    input_hw: tuple[int, int] = Field((256, 128), description="height and width in pixels")
    interpolation: Interpolation = Field("bicubic", description="how images of another size are resized (Pillow)")
    flip_probability: float = Field(0.5, ge=0.0, le=1.0, description="share of the clips that are mirrored")
    pad_px: int = Field(0, ge=0, description="black border before a random crop back to input_hw; 0 for none")
    distortion: DistortionConfig | None = Field(None, description="other cameras, boxes, passers-by; null for none")
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
    neighbours: int = Field(
        1, ge=1, description="so many people of a batch follow each other in the numbering, as those do who share "
        "their cameras in a drawn set: then the background does not tell them apart; identity samplers"
    )  # fmt: skip


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
