"""PSTA: pyramid spatial-temporal aggregation (Wang et al., ICCV 2021).

Three levels merge disjoint pairs of frame maps (8 -> 4 -> 2 -> 1). Each merge weighs the two maps by masks learned
from how the frames relate to each other (temporal reference, TRA) and to themselves (spatial reference, SRA).
The vector of 8 m frames is the exact mean of the vectors of its m blocks of 8, see `PSTA.blocks`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from reid_train.losses import batch_hard_triplet, smoothed_cross_entropy
from reid_train.models.backbones import RESNET50_BLOCKS, resnet50
from reid_train.models.model import block_weights, bn_neck, check_clips, masked_mean, trainable

WIDTH = 1024
HALF = 256
RELATION = 128
BLOCK_LENGTH = 8
STRIDE = 16


def _conv_bn(inputs: int, outputs: int, kernel: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False), nn.BatchNorm2d(outputs)]


def _conv_bn_relu(inputs: int, outputs: int, kernel: int = 1) -> list[nn.Module]:
    return [*_conv_bn(inputs, outputs, kernel), nn.ReLU(inplace=True)]


def _gate(inputs: int) -> nn.Sequential:
    """Channel gate before its sigmoid: (..., inputs) -> (..., 1024)."""
    return nn.Sequential(nn.Linear(inputs, RELATION), nn.ReLU(inplace=True), nn.Linear(RELATION, WIDTH))


def _pairs(rows: Tensor) -> Tensor:
    """(2M, ...) -> (M, 2, ...)."""
    return rows.reshape(rows.shape[0] // 2, 2, *rows.shape[1:])


def _partner(rows: Tensor) -> Tensor:
    """(2M, ...) -> the same with the two rows of each pair swapped."""
    return _pairs(rows).flip(1).flatten(0, 1)


def _products(one: Tensor, other: Tensor) -> Tensor:
    """(n, C, h, w) twice -> (n, P, h, w): channel q at pixel p holds one(p) . other(q), P = h w."""
    products = other.flatten(2).transpose(1, 2) @ one.flatten(2)
    return products.reshape(*products.shape[:2], *one.shape[2:])


class TemporalReference(nn.Module):
    """TRA: what the two frames of a pair have in common."""

    def __init__(self, num_positions: int) -> None:
        super().__init__()
        self.gamma = nn.Sequential(*_conv_bn_relu(WIDTH, RELATION))
        self.beta = nn.Sequential(*_conv_bn_relu(WIDTH, RELATION))
        self.relation = nn.Sequential(*_conv_bn_relu(2 * num_positions, RELATION))
        self.appearance = nn.Sequential(*_conv_bn_relu(2 * RELATION, RELATION))
        self.mask = nn.Sequential(*_conv_bn(2 * RELATION, 1))
        self.theta = nn.Linear(WIDTH, RELATION, bias=False)
        self.gate = _gate(2 * RELATION)

    def forward(self, maps: Tensor, embedding: Tensor) -> Tensor:
        """maps (2M, 1024, h, w), embedding (2M, 128, h, w), frames of a pair adjacent -> (M, 1024, h, w)."""
        gamma, beta = self.gamma(maps), self.beta(maps)
        relation = self.relation(torch.cat([_products(gamma, _partner(beta)), _products(beta, _partner(gamma))], dim=1))
        appearance = self.appearance(torch.cat([embedding, _partner(embedding)], dim=1))
        mask = torch.sigmoid(self.mask(torch.cat([appearance, relation], dim=1)))  # (2M, 1, h, w)
        theta = torch.relu(self.theta(maps.mean(dim=(2, 3))))
        gate = torch.sigmoid(self.gate(torch.cat([theta, _partner(theta)], dim=1)))  # (2M, 1024)
        weighed = maps * mask * gate[:, :, None, None]
        return torch.relu(_pairs(weighed).sum(dim=1)).square()


class SpatialReference(nn.Module):
    """SRA: which places of a frame matter, by how they relate to the other places of that frame."""

    def __init__(self, num_positions: int) -> None:
        super().__init__()
        self.alpha = nn.Sequential(*_conv_bn_relu(WIDTH, RELATION))
        self.delta = nn.Sequential(*_conv_bn_relu(WIDTH, RELATION))
        self.relation = nn.Sequential(*_conv_bn_relu(2 * num_positions, RELATION))
        self.mask = nn.Sequential(*_conv_bn_relu(2 * RELATION, RELATION), *_conv_bn(RELATION, 1))
        self.gate = _gate(WIDTH)

    def forward(self, maps: Tensor, embedding: Tensor) -> Tensor:
        """maps (2M, 1024, h, w), embedding (2M, 128, h, w), frames of a pair adjacent -> (M, 1024, h, w)."""
        alpha, delta = self.alpha(maps), self.delta(maps)
        relation = self.relation(torch.cat([_products(alpha, delta), _products(delta, alpha)], dim=1))
        mask = torch.sigmoid(self.mask(torch.cat([embedding, relation], dim=1)))
        gate = torch.sigmoid(self.gate(maps.mean(dim=(2, 3))))
        weighed = maps * mask * gate[:, :, None, None]
        return torch.relu(_pairs(weighed).sum(dim=1))


class Stage(nn.Module):
    """One level of the pyramid: pairs of frame maps become one map (STAM). No residual."""

    def __init__(self, num_positions: int) -> None:
        super().__init__()
        self.embedding = nn.Sequential(*_conv_bn_relu(WIDTH, HALF), *_conv_bn_relu(HALF, RELATION))
        self.temporal = TemporalReference(num_positions)
        self.spatial = SpatialReference(num_positions)
        self.merge = nn.Sequential(
            *_conv_bn_relu(WIDTH, HALF), *_conv_bn_relu(HALF, HALF, 3), *_conv_bn_relu(HALF, WIDTH)
        )

    def forward(self, maps: Tensor) -> Tensor:
        """(2M, 1024, h, w), frames of a pair adjacent -> (M, 1024, h, w)."""
        embedding = self.embedding(maps)
        merged: Tensor = self.merge(self.temporal(maps, embedding) + self.spatial(maps, embedding))
        return merged


class PSTA(nn.Module):
    """Pyramid spatial-temporal aggregation over blocks of 8 frames; `embed` is 1024 long.

    `input_hw` sets the number of relation channels, so weights only fit the size they were trained at (published:
    256 x 128). `blocks` are the bottlenecks per stage of the ResNet; fewer make a small network for trials.
    TRA squares its activations: train in float32 or bfloat16, float16 overflows.
    """

    name = "psta"
    dim = WIDTH
    clip_length = BLOCK_LENGTH
    frame_multiple = BLOCK_LENGTH
    uses_mask = False

    def __init__(
        self, num_pids: int, *, input_hw: tuple[int, int] = (256, 128), blocks: Sequence[int] = RESNET50_BLOCKS
    ) -> None:
        super().__init__()
        height, width = input_hw
        if height < STRIDE or width < STRIDE or height % STRIDE or width % STRIDE:
            raise ValueError(f"psta: input_hw {height} x {width}: want multiples of {STRIDE} pixels")
        self.input_hw = (height, width)
        num_positions = (height // STRIDE) * (width // STRIDE)
        self.backbone = resnet50(last_stride=1, blocks=blocks)
        self.reduction = nn.Sequential(*_conv_bn_relu(self.backbone.num_features, WIDTH))
        self.stages = nn.ModuleList(Stage(num_positions) for _ in range(3))
        self.necks = nn.ModuleList(bn_neck(WIDTH) for _ in range(3))
        self.classifiers = nn.ModuleList(nn.Linear(WIDTH, num_pids) for _ in range(3))
        _initialise([self.reduction, self.stages])
        for classifier in self.classifiers:
            nn.init.normal_(classifier.weight, std=0.001)  # type: ignore[arg-type]
            nn.init.zeros_(classifier.bias)  # type: ignore[arg-type]

    def forward(self, clips: Tensor, mask: Tensor | None = None) -> dict[str, Tensor]:
        """Clips (N, 8 M, 3, H, W) -> of the three levels `logits_1..3` (N, C) and post-BN `feature_1..3` (N, 1024)."""
        levels = self._levels(clips)
        weights = block_weights(mask, BLOCK_LENGTH)
        outputs = {}
        for index, (neck, classifier) in enumerate(zip(self.necks, self.classifiers, strict=True)):
            feature = neck(masked_mean(torch.stack(levels[: index + 1]).mean(dim=0), weights))
            outputs[f"feature_{index + 1}"] = feature
            outputs[f"logits_{index + 1}"] = classifier(feature)
        return outputs

    def blocks(self, clips: Tensor) -> Tensor:
        """Clips (N, 8 M, 3, H, W) -> (N, M, 1024), one vector per 8 consecutive frames.

        For streaming in eval mode: keep the running mean of these and `combine` it whenever a vector is wanted;
        the result equals `embed` of all frames at once.
        """
        return torch.stack(self._levels(clips)).mean(dim=0)

    def combine(self, mean_of_blocks: Tensor) -> Tensor:
        """Mean of `blocks` (N, 1024) -> the vector that is compared (N, 1024)."""
        vector: Tensor = self.necks[-1](mean_of_blocks)
        return vector

    def embed(self, clips: Tensor, mask: Tensor | None = None) -> Tensor:
        """Clips (N, 8 M, 3, H, W) -> (N, 1024), not normalised. A block weighs as much as its share of real frames."""
        return self.combine(masked_mean(self.blocks(clips), block_weights(mask, BLOCK_LENGTH)))

    def loss_terms(self, outputs: dict[str, Tensor], pids: Tensor) -> dict[str, Tensor]:
        """`id`: smoothed cross entropy, `triplet`: cosine, margin 0.3, post-BN; both are means over the levels."""
        levels = (1, 2, 3)
        identity = [smoothed_cross_entropy(outputs[f"logits_{k}"], pids) for k in levels]
        triplet = [batch_hard_triplet(outputs[f"feature_{k}"], pids, margin=0.3, distance="cosine") for k in levels]
        return {"id": torch.stack(identity).mean(), "triplet": torch.stack(triplet).mean()}

    def param_groups(self) -> dict[str, list[nn.Parameter]]:
        """`backbone` (ResNet-50) and `head` (all else)."""
        head = [self.reduction, self.stages, self.necks, self.classifiers]
        return {"backbone": trainable([self.backbone]), "head": trainable(head)}

    def _levels(self, clips: Tensor) -> list[Tensor]:
        """Clips (N, 8 M, 3, H, W) -> g_1, g_2, g_3, each (N, M, 1024): mean over places and maps of a block."""
        check_clips(clips, self.frame_multiple, self.input_hw)
        num_clips, num_blocks = clips.shape[0], clips.shape[1] // BLOCK_LENGTH
        maps = self.reduction(self.backbone(clips.flatten(0, 1)))
        levels = []
        for stage, maps_per_block in zip(self.stages, (4, 2, 1), strict=True):
            maps = stage(maps)
            vectors = maps.mean(dim=(2, 3))
            levels.append(vectors.reshape(num_clips, num_blocks, maps_per_block, WIDTH).mean(dim=2))
        return levels


def _initialise(modules: Sequence[nn.Module]) -> None:
    """Kaiming normal, convolutions by fan in and linear layers by fan out, biases 0 (batch norms start at 1 and 0)."""
    for module in (part for whole in modules for part in whole.modules()):
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, a=0, mode="fan_in")
        elif isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight, a=0, mode="fan_out")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


_STAGE_KEYS = {
    "Embeding": "embedding",
    "TRAG.gamma_temporal": "temporal.gamma",
    "TRAG.beta_temporal": "temporal.beta",
    "TRAG.gg_temporal": "temporal.relation",
    "TRAG.tte_para": "temporal.appearance",
    "TRAG.te_para": "temporal.mask",
    "TRAG.theta_channel.0": "temporal.theta",
    "TRAG.channel_para": "temporal.gate",
    "SRAG.alphi_appearance": "spatial.alpha",
    "SRAG.delta_appearance": "spatial.delta",
    "SRAG.gg_spatial": "spatial.relation",
    "SRAG.spa_para": "spatial.mask",
    "SRAG.app_channel": "spatial.gate",
    "conv_block": "merge",
}
_OUTER_KEYS = {
    "base": "backbone",
    "down_channel": "reduction",
    "bottleneck": "necks",
    "classifier": "classifiers",
}


def official_key(key: str) -> str | None:
    """The key of the published checkpoint (without `module.`) -> ours.

    An unknown key comes back as it is, for the caller to name it.
    """
    if match := re.fullmatch(r"layer([123])\.(.+)", key):
        prefix, table, rest = f"stages.{int(match[1]) - 1}.", _STAGE_KEYS, match[2]
    else:
        prefix, table, rest = "", _OUTER_KEYS, key
    for theirs, ours in table.items():
        if rest.startswith(f"{theirs}."):
            return f"{prefix}{ours}{rest.removeprefix(theirs)}"
    return key
