"""PCB, the visual part of st-ReID: a ResNet-50 whose last map is cut into six horizontal parts, each classified alone.

Sun et al., ECCV 2018, as used by Wang et al., AAAI 2019. The vector that is compared is made of the parts themselves,
of the image and its mirror image; the parts' 256 numbers serve to train. The other half of st-ReID, the time between
cameras, is `reid_train.spatial_temporal`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn
from torch.nn import functional

from reid_train.losses import smoothed_cross_entropy
from reid_train.models.backbones import RESNET50_BLOCKS, ResNet50
from reid_train.models.model import check_clips, masked_mean, trainable

NUM_PARTS = 6
REDUCED_DIM = 256
DROPOUT = 0.5
STRIDE = 16  # of the last map

_PART_KEYS = {"add_block.0": "reduce", "add_block.1": "norm", "classifier.0": "classifier"}


class Part(nn.Module):
    """What classifies one part in training. No activation: it is linear in evaluation."""

    def __init__(self, channels: int, num_pids: int) -> None:
        super().__init__()
        self.reduce = nn.Linear(channels, REDUCED_DIM)
        self.norm = nn.BatchNorm1d(REDUCED_DIM)
        self.dropout = nn.Dropout(DROPOUT)
        self.classifier = nn.Linear(REDUCED_DIM, num_pids)
        nn.init.kaiming_normal_(self.reduce.weight, mode="fan_out")
        nn.init.zeros_(self.reduce.bias)
        nn.init.normal_(self.norm.weight, 1.0, 0.02)
        nn.init.normal_(self.classifier.weight, std=0.001)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, part: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(n, channels) -> reduced (n, 256), logits (n, num_pids)."""
        reduced = self.norm(self.reduce(part))
        return reduced, self.classifier(self.dropout(reduced))


class STReID(nn.Module):
    """See the module. `num_pids` people to classify. A network of images: every frame of a clip is one of its own.

    embedding: "parts" is the published vector of 6 x 2,048 numbers; "reduced" is made likewise of the parts' 256,
    1,536 in all, for whom the published one is too long.
    input_hw: multiples of 96 and 16 pixels. blocks: of the ResNet; fewer make a small network for trials.
    """

    name = "st_reid"
    clip_length = 1
    frame_multiple = 1
    uses_mask = True

    def __init__(
        self,
        num_pids: int,
        *,
        embedding: Literal["parts", "reduced"] = "parts",
        input_hw: tuple[int, int] = (384, 192),
        blocks: Sequence[int] = RESNET50_BLOCKS,
    ) -> None:
        super().__init__()
        height, width = input_hw
        cell_px = NUM_PARTS * STRIDE
        if min(height, width) < STRIDE or height % cell_px or width % STRIDE:
            raise ValueError(f"st_reid: input_hw {height} x {width}: want multiples of {cell_px} x {STRIDE} pixels")
        if embedding not in ("parts", "reduced"):
            raise ValueError(f"st_reid: embedding {embedding!r}: want 'parts' or 'reduced'")
        self.input_hw = (height, width)
        self.embedding = embedding
        self.backbone = ResNet50(last_stride=1, blocks=blocks)
        self.dropout = nn.Dropout(DROPOUT)
        self.parts = nn.ModuleList(Part(self.backbone.num_features, num_pids) for _ in range(NUM_PARTS))
        self.dim = NUM_PARTS * (self.backbone.num_features if embedding == "parts" else REDUCED_DIM)

    def forward(self, clips: torch.Tensor, mask: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        """Clips (N, T, 3, H, W) -> `logits` (N, T, 6, num_pids), and `weight` (N, T), 0 where `mask` is False."""
        check_clips(clips, self.frame_multiple, self.input_hw)
        num_clips, num_frames = clips.shape[:2]
        pooled = self.dropout(self._pooled(clips.flatten(0, 1)))  # (N * T, 2048, 6)
        logits = torch.stack([part(pooled[:, :, p])[1] for p, part in enumerate(self.parts)], dim=1)
        weight = clips.new_ones(num_clips, num_frames) if mask is None else mask.to(clips.dtype)
        return {"logits": logits.reshape(num_clips, num_frames, NUM_PARTS, -1), "weight": weight}

    def embed(self, clips: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Clips (N, T, 3, H, W) -> (N, dim) of unit norm, 12,288 channel by channel and in these part by part.

        Of several frames the normalised parts are averaged over those where `mask` (N, T) is True.
        """
        check_clips(clips, self.frame_multiple, self.input_hw)
        images = clips.flatten(0, 1)
        both = self._described(images) + self._described(images.flip(-1))  # (N * T, channels, 6)
        frames = functional.normalize(both, dim=1).reshape(*clips.shape[:2], self.dim)
        mean = masked_mean(frames, mask).reshape(clips.shape[0], self.dim // NUM_PARTS, NUM_PARTS)  # (N, channels, 6)
        return functional.normalize(functional.normalize(mean, dim=1).flatten(1), dim=1)

    def loss_terms(self, outputs: dict[str, torch.Tensor], pids: torch.Tensor) -> dict[str, torch.Tensor]:
        """The cross entropies of the six parts, each the mean over frames, summed; `pids` (N,)."""
        logits, weight = outputs["logits"], outputs["weight"]
        real = weight.flatten() > 0
        people = pids[:, None].expand_as(weight).flatten()[real]
        per_part = logits.flatten(0, 1)[real].unbind(dim=1)
        return {"cross_entropy": torch.stack([smoothed_cross_entropy(part, people, 0.0) for part in per_part]).sum()}

    def param_groups(self) -> dict[str, list[nn.Parameter]]:
        """`backbone` and `head`, the six parts, which the recipe trains at ten times the rate."""
        return {"backbone": trainable([self.backbone]), "head": trainable([self.parts])}

    def _pooled(self, images: torch.Tensor) -> torch.Tensor:
        """(n, 3, H, W) -> (n, 2048, 6), the mean of each sixth of the height."""
        features: torch.Tensor = self.backbone(images)
        num_images, channels, height, width = features.shape
        return features.reshape(num_images, channels, NUM_PARTS, height // NUM_PARTS, width).mean(dim=(3, 4))

    def _described(self, images: torch.Tensor) -> torch.Tensor:
        """(n, 3, H, W) -> (n, channels, 6), the parts as they are compared."""
        pooled = self._pooled(images)
        if self.embedding == "parts":
            return pooled
        return torch.stack([part(pooled[:, :, p])[0] for p, part in enumerate(self.parts)], dim=2)


def official_key(key: str) -> str | None:
    """The key of the published checkpoint -> ours; None for the ImageNet classifier, which nothing reads.

    An unknown key comes back as it is, for the caller to name it.
    """
    if key in ("model.fc.weight", "model.fc.bias"):
        return None
    if key.startswith("model."):
        return f"backbone.{key.removeprefix('model.')}"
    if match := re.fullmatch(r"classifier(\d)\.(\w+\.\d)\.(\w+)", key):
        return f"parts.{match[1]}.{_PART_KEYS.get(match[2], match[2])}.{match[3]}"
    return key
