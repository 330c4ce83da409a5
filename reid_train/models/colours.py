"""What a crop's colours say, stripe by stripe, beside what a backbone sees in it.

Another light or camera scales each channel, so colours are compared as logarithms, in which that is an offset:
lightness and two opponents, red against green and blue against yellow. Of each stripe there are their mean and spread,
their mean at the sides (the background, from which the light shows), their largest values, and a soft histogram of
tones.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from reid_train.data.config import IMAGENET_MEAN, IMAGENET_STD

# Lightness, red - green, blue - yellow: k-means of 60,000 pixels of the drawn set of seed 7, from its crops' middle.
TONES = (
    (-1.80, 0.00, -0.07), (-1.53, 0.00, 0.48), (-1.43, -0.31, 0.14), (-1.34, 0.25, 0.13),
    (-1.26, 0.37, -0.35), (-1.24, -0.06, -0.17), (-1.21, -0.47, 0.83), (-1.11, -0.03, 0.14),
    (-1.10, -0.21, 0.42), (-1.05, 1.34, -0.33), (-0.93, -0.57, 0.05), (-0.90, 0.22, 0.03),
    (-0.89, -0.12, -0.06), (-0.89, 0.14, -0.27), (-0.88, 0.13, 0.40), (-0.86, -0.17, -0.46),
    (-0.79, 0.69, -0.04), (-0.78, -0.20, 0.25), (-0.76, 0.49, -0.69), (-0.72, -0.39, 0.62),
    (-0.66, 0.02, 0.09), (-0.61, 0.34, -0.21), (-0.58, -0.22, -0.13), (-0.56, 0.06, -0.17),
    (-0.47, -0.03, 0.34), (-0.46, 0.12, -0.50), (-0.45, 0.26, 0.12), (-0.43, -0.34, 0.16),
    (-0.38, -0.04, 0.03), (-0.25, -0.09, -0.22), (-0.24, 0.22, -0.15), (-0.09, -0.02, 0.08),
)  # fmt: skip
NUM_COLOURS = 4 * 3 + len(TONES)  # numbers of a stripe
_DARKEST = 0.03  # of 1, added before the logarithm: sensors know nothing of darker differences
_SIGMA = 0.25  # how far a tone reaches
_NO_TONE = 0.05  # a pixel far from all tones is hardly counted


class Colours(nn.Module):
    """Normalised crops (n, 3, H, W), H / 2 a multiple of the stripes -> (n, NUM_COLOURS * stripes)."""

    def __init__(self, stripes: int) -> None:
        super().__init__()
        self.stripes = stripes
        tones, scale = torch.tensor(TONES), 1 / _SIGMA**2
        for name, values in {
            "_mean": torch.tensor(IMAGENET_MEAN).view(3, 1, 1),
            "_std": torch.tensor(IMAGENET_STD).view(3, 1, 1),
            "_opponents": torch.tensor([[0.2, 0.2, 0.2], [1.0, -1.0, 0.0], [-0.5, -0.5, 1.0]])[..., None, None],
            "_towards": (scale * tones)[..., None, None],
            "_offset": -0.5 * scale * tones.square().sum(dim=1),
        }.items():
            self.register_buffer(name, values, persistent=False)

    def forward(self, images: Tensor, across: Tensor) -> Tensor:
        """`across` (W / 2,): weights of the columns, sum 1, most in the middle."""
        colours = self.opponents(images)
        beside = 1.02 * across.max() - across
        mean = self._rows(colours, across)
        spread = (self._rows(colours.square(), across) - mean.square()).clamp(min=0).sqrt()
        number, channels, _, width = colours.shape
        middle = colours[..., width // 4 : width - width // 4]
        largest = middle.reshape(number, channels, self.stripes, -1).amax(dim=3)
        sides = self._rows(colours, beside / beside.sum())
        parts = (mean, spread, sides, largest, self._rows(self.tones(colours), across))
        return torch.cat([part.flatten(1) for part in parts], dim=1)

    def opponents(self, images: Tensor) -> Tensor:
        """(n, 3, H, W) -> (n, 3, H / 2, W / 2): lightness, red - green, blue - yellow, of the logarithms."""
        pixels = functional.avg_pool2d((images * self._std + self._mean).clamp(0, 1), 2)  # type: ignore[operator]
        return functional.conv2d((pixels + _DARKEST).log(), self._opponents)  # type: ignore[arg-type]

    def tones(self, colours: Tensor) -> Tensor:
        """(n, 3, h, w) -> (n, tones, h, w): how much a pixel is of each tone, together at most 1."""
        near = functional.conv2d(colours, self._towards, self._offset)  # type: ignore[arg-type]
        kernel = (near - 0.5 / _SIGMA**2 * colours.square().sum(dim=1, keepdim=True)).exp()
        return kernel / (kernel.sum(dim=1, keepdim=True) + _NO_TONE)

    def _rows(self, maps: Tensor, weights: Tensor) -> Tensor:
        """(n, C, h, w) -> (n, C, stripes), weighted across, even down."""
        return (maps @ weights).reshape(*maps.shape[:2], self.stripes, -1).mean(dim=3)
