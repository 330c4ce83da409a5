"""ResNeSt-50: the backbone of STAFormer (Zhang et al., "ResNeSt: Split-Attention Networks", CVPRW 2022).

Radix 2, cardinality 1, base width 64, deep stem of width 32, average-pool downsampling, in the blocks after the 3 x 3
convolution. Keys are those of the published ImageNet file `resnest50-528c19ca`, so that it loads as it is, but for its
`fc`. There is no classifier here: the two last feature maps are the output.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

RESNEST50_BLOCKS = (3, 4, 6, 3)
STAGE_WIDTHS = (64, 128, 256, 512)
EXPANSION = 4
RADIX = 2
STEM_WIDTH = 32


class SplitAttention(nn.Module):
    """A 3 x 3 convolution into two halves and a softmax, channel by channel, between them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        reduced = max(width * RADIX // 4, 32)
        self.conv = nn.Conv2d(width, width * RADIX, 3, padding=1, groups=RADIX, bias=False)
        self.bn0 = nn.BatchNorm2d(width * RADIX)
        self.fc1 = nn.Conv2d(width, reduced, 1)
        self.bn1 = nn.BatchNorm2d(reduced)
        self.fc2 = nn.Conv2d(reduced, width * RADIX, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, w, h, w') -> (n, w, h, w')."""
        first, second = torch.relu(self.bn0(self.conv(x))).chunk(RADIX, dim=1)
        gap = (first + second).mean(dim=(2, 3), keepdim=True)  # (n, w, 1, 1)
        scores: torch.Tensor = self.fc2(torch.relu(self.bn1(self.fc1(gap))))  # (n, 2w, 1, 1)
        of_first, of_second = torch.stack(scores.chunk(RADIX, dim=1)).softmax(dim=0)  # (n, w, 1, 1) each
        out: torch.Tensor = of_first * first + of_second * second
        return out


class Bottleneck(nn.Module):
    """1 x 1, split attention, (average pool,) 1 x 1, and the shortcut. A stride lives in the average pools only."""

    def __init__(self, in_channels: int, width: int, *, stride: int = 1, pool: bool = False, project: bool = False):
        super().__init__()
        out_channels = width * EXPANSION
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = SplitAttention(width)
        self.pool = nn.AvgPool2d(3, stride, padding=1) if pool else nn.Identity()
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.downsample: nn.Module = nn.Identity()
        if project:
            self.downsample = nn.Sequential(
                nn.AvgPool2d(stride, stride, ceil_mode=True, count_include_pad=False) if stride > 1 else nn.Identity(),
                nn.Conv2d(in_channels, out_channels, 1, bias=False),
                nn.BatchNorm2d(out_channels),
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, C, h, w) -> (n, 4 * width, h / stride, w / stride)."""
        y = torch.relu(self.bn1(self.conv1(x)))
        y = self.bn3(self.conv3(self.pool(self.conv2(y))))
        return torch.relu(y + self.downsample(x))


class ResNeSt(nn.Module):
    """Images -> the maps of the stages 3 and 4, at strides 16 and 32.

    blocks: blocks per stage, (3, 4, 6, 3) for ResNeSt-50; fewer only make a small network for trials.
    """

    def __init__(self, blocks: Sequence[int] = RESNEST50_BLOCKS) -> None:
        super().__init__()
        if len(blocks) != len(STAGE_WIDTHS) or min(blocks) < 1:
            raise ValueError(f"ResNeSt: want four stages of one block or more, got {tuple(blocks)}")
        stem = STEM_WIDTH
        self.conv1 = nn.Sequential(
            nn.Conv2d(3, stem, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(stem),
            nn.ReLU(),
            nn.Conv2d(stem, stem, 3, padding=1, bias=False),
            nn.BatchNorm2d(stem),
            nn.ReLU(),
            nn.Conv2d(stem, 2 * stem, 3, padding=1, bias=False),
        )
        self.bn1 = nn.BatchNorm2d(2 * stem)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1, self.layer2, self.layer3, self.layer4 = _stages(blocks, 2 * stem)
        self.dims = (STAGE_WIDTHS[2] * EXPANSION, STAGE_WIDTHS[3] * EXPANSION)
        _initialise(self)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(n, 3, H, W) -> (n, 1024, H/16, W/16), (n, 2048, H/32, W/32)."""
        x = self.maxpool(torch.relu(self.bn1(self.conv1(images))))
        local = self.layer3(self.layer2(self.layer1(x)))
        return local, self.layer4(local)


def _stages(blocks: Sequence[int], in_channels: int) -> list[nn.Sequential]:
    stages = []
    for stage, (width, num_blocks) in enumerate(zip(STAGE_WIDTHS, blocks, strict=True)):
        first = Bottleneck(in_channels, width, stride=2 if stage else 1, pool=stage > 0, project=True)
        in_channels = width * EXPANSION
        stages.append(nn.Sequential(first, *(Bottleneck(in_channels, width) for _ in range(num_blocks - 1))))
    return stages


def _initialise(backbone: nn.Module) -> None:
    """He's normal initialisation by fan-out for convolutions without bias; the gates keep PyTorch's default."""
    for module in backbone.modules():
        if isinstance(module, nn.Conv2d) and module.bias is None:
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
