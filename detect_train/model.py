"""The network: the first 12 blocks of EfficientNet-Lite0, a small pyramid, one head for all of its levels.

Anchor-free on strides 8, 16 and 32, with the raw output of YOLOX (Ge et al., 2021, section 2), so that
`pipeline.detect` reads it as such: per cell an offset from the cell's corner and a log size, both in strides, and a
score. The pyramid goes down once (Lin et al., CVPR 2017) and up once (Liu et al., CVPR 2018); all its convolutions
are depth-wise separable. The head's weights are shared by the levels, its batch norms are not (Lyu et al., RTMDet,
2022, section 3.2).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from reid_train.models.backbones import LITE0_CHANNELS, efficientnet_lite0

STRIDES = (8, 16, 32)
NUM_BLOCKS = 12
TAPS = (4, 10, 11)  # last block of each stride; 40, 112 and 192 channels
PRIOR_WH = (2.0, 5.0)  # people's size in strides before anything is learned
PRIOR_SCORE = 0.01


class SeparableConv(nn.Module):
    """5x5 per channel, 1x1 across, batch norm (one per level), ReLU."""

    def __init__(self, channels: int, num_norms: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 5, stride, 2, groups=channels, bias=False)
        self.pointwise = nn.Conv2d(channels, channels, 1, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels, momentum=0.03) for _ in range(num_norms))

    def forward(self, x: Tensor, level: int = 0) -> Tensor:
        """(B, C, H, W) -> the same, or half as high and wide with stride 2."""
        spread = _convolve(x, self.depthwise.weight, None, self.depthwise)
        return functional.relu(self.norms[level](self.pointwise(spread)))


class PersonNet(nn.Module):
    """Input (B, 3, H, W) BGR 0..255, H and W multiples of 32 -> (B, cells, 5): offset, log size, logit of the score."""

    def __init__(self, channels: int = 64, tower: int = 2, frozen_blocks: int = 3, pretrained: bool = True) -> None:
        super().__init__()
        self.frozen_blocks = frozen_blocks
        self.backbone = efficientnet_lite0(num_blocks=NUM_BLOCKS, pretrained=pretrained)
        with torch.no_grad():  # from RGB to BGR
            self.backbone._conv_stem.weight.copy_(self.backbone._conv_stem.weight.flip(1))
        self.laterals = nn.ModuleList(
            nn.Sequential(nn.Conv2d(LITE0_CHANNELS[tap], channels, 1, bias=False), nn.BatchNorm2d(channels))
            for tap in TAPS
        )
        self.down = nn.ModuleList(SeparableConv(channels) for _ in TAPS[1:])
        self.up = nn.ModuleList(SeparableConv(channels, stride=2) for _ in TAPS[1:])
        self.score_tower = nn.ModuleList(SeparableConv(channels, len(STRIDES)) for _ in range(tower))
        self.box_tower = nn.ModuleList(SeparableConv(channels, len(STRIDES)) for _ in range(tower))
        self.score = nn.Conv2d(channels, 1, 1)
        self.box = nn.Conv2d(channels, 4, 1)
        nn.init.normal_(self.score.weight, std=0.01)
        nn.init.normal_(self.box.weight, std=0.01)
        nn.init.constant_(self.score.bias, -math.log(1 / PRIOR_SCORE - 1))  # type: ignore[arg-type]
        with torch.no_grad():
            self.box.bias.copy_(torch.tensor([0.5, 0.5, *map(math.log, PRIOR_WH)]))  # type: ignore[union-attr]
        for parameter in self.frozen_parameters():
            parameter.requires_grad_(False)

    def frozen_parameters(self) -> list[nn.Parameter]:
        """Those of the backbone that keep their values: its first blocks."""
        if not self.frozen_blocks:
            return []
        first = (self.backbone._conv_stem, self.backbone._bn0, *list(self.backbone._blocks)[: self.frozen_blocks])
        return [parameter for module in first for parameter in module.parameters()]

    def train(self, mode: bool = True) -> PersonNet:
        """Batch norms of the backbone keep ImageNet's statistics, which are those of real pictures."""
        super().train(mode)
        self.backbone.eval()
        return self

    def features(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> the backbone's maps of strides 8, 16 and 32."""
        net = self.backbone
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen_blocks):
            x = functional.relu6(conv_norm(images * (1 / 127.5) - 1.0, net._conv_stem, net._bn0), inplace=True)
            for block in list(net._blocks)[: self.frozen_blocks]:
                x = _block(x, block)
        maps = []
        for index, block in enumerate(list(net._blocks)[self.frozen_blocks :], self.frozen_blocks):
            x = _block(x, block)
            if index in TAPS:
                maps.append(x)
        return maps

    def forward(self, images: Tensor) -> Tensor:
        fine, middle, coarse = (lateral(x) for lateral, x in zip(self.laterals, self.features(images), strict=True))
        middle = self.down[0](middle + functional.interpolate(coarse, scale_factor=2.0, mode="nearest"))
        fine = self.down[1](fine + functional.interpolate(middle, scale_factor=2.0, mode="nearest"))
        middle = middle + self.up[0](fine)
        coarse = coarse + self.up[1](middle)
        rows = [self._head(x, level) for level, x in enumerate((fine, middle, coarse))]
        return torch.cat(rows, dim=1)

    def _head(self, x: Tensor, level: int) -> Tensor:
        """One level's rows, (B, h * w, 5)."""
        score, box = x, x
        for for_score, for_box in zip(self.score_tower, self.box_tower, strict=True):
            score, box = for_score(score, level), for_box(box, level)
        return torch.cat([self.box(box), self.score(score)], dim=1).flatten(2).transpose(1, 2)


def conv_norm(x: Tensor, conv: nn.Conv2d, norm: nn.BatchNorm2d) -> Tensor:
    """Convolution and batch norm with stored statistics, in one: the norm's factor goes into the weights.

    Padded as TensorFlow's "SAME" for maps of even height and width, which multiples of 32 have down to stride 32.
    """
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)  # type: ignore[operator,arg-type]
    bias = norm.bias - norm.running_mean * scale  # type: ignore[operator]
    kernel, stride = conv.kernel_size[0], conv.stride[0]
    padding = (kernel - 1) // 2
    if stride == 2:
        x, padding = functional.pad(x, ((kernel - 2) // 2, (kernel - 1) // 2) * 2), 0
    return _convolve(x, conv.weight * scale[:, None, None, None], bias, conv, padding)


def _convolve(x: Tensor, weight: Tensor, bias: Tensor | None, conv: nn.Conv2d, padding: int = 2) -> Tensor:
    """Wide depth-wise kernels stay in float32 where the rest runs in bfloat16: backwards they are thrice as fast."""
    if conv.groups > 1 and conv.kernel_size[0] > 3:
        with torch.autocast(x.device.type, enabled=False):
            return functional.conv2d(x.float(), weight, bias, conv.stride, padding, 1, conv.groups)
    return functional.conv2d(x, weight, bias, conv.stride, padding, 1, conv.groups)


def _block(x: Tensor, block: nn.Module) -> Tensor:
    """A mobile block of the backbone, its norms with stored statistics."""
    y = functional.relu6(conv_norm(x, block._expand_conv, block._bn0), inplace=True) if block.expands else x  # type: ignore[arg-type]
    y = functional.relu6(conv_norm(y, block._depthwise_conv, block._bn1), inplace=True)  # type: ignore[arg-type]
    out = conv_norm(y, block._project_conv, block._bn2)  # type: ignore[arg-type]
    return out + x if block.has_shortcut else out


def cells(height_px: int, width_px: int) -> tuple[Tensor, Tensor]:
    """Column and row (A, 2) of every cell and its stride (A,): stride by stride, row by row."""
    places, strides = [], []
    for stride in STRIDES:
        rows, columns = torch.meshgrid(
            torch.arange(height_px // stride), torch.arange(width_px // stride), indexing="ij"
        )
        places.append(torch.stack([columns.flatten(), rows.flatten()], dim=1).float())
        strides.append(torch.full((rows.numel(),), float(stride)))
    return torch.cat(places), torch.cat(strides)


def corners(raw: Tensor, cell_xy: Tensor, stride_px: Tensor) -> Tensor:
    """Raw boxes (..., A, 4) -> left, top, right, bottom in pixels of the input."""
    centre = (raw[..., :2] + cell_xy) * stride_px[:, None]
    half = raw[..., 2:4].clamp(max=6.0).exp() * stride_px[:, None] / 2
    return torch.cat([centre - half, centre + half], dim=-1)
