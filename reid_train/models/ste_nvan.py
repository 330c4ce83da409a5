"""NVAN, STE-NVAN and their frame-wise baseline (Liu et al., BMVC 2019, arXiv 1908.01683).

A ResNet-50 with non-local blocks between its bottlenecks: NVAN lets every position of a clip look at every other one.
STE-NVAN looks at horizontal stripes in windows of frames only, and halves the number of frames after stages 2 and 3.
The published code uses windows of 2 frames where the paper's figure shows all frames; the weights are the same, so
`window` chooses. With windows of 2 nothing crosses a group of 4 frames, and the vector of 4 m frames is the exact mean
of the vectors of its m groups, see `NonLocalNet.blocks`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional

from reid_train.losses import batch_hard_triplet, smoothed_cross_entropy
from reid_train.models.backbones import RESNET50_BLOCKS, resnet50
from reid_train.models.model import block_weights, bn_neck, check_clips, masked_mean, trainable

DIM = 2048
CLIP_LENGTH = 8
NON_LOCAL = {2: (2, 512), 3: (3, 1024)}  # stage: blocks behind its last bottlenecks, channels
Window = int | Literal["all"]


class NonLocal(nn.Module):
    """Non-local block, embedded Gaussian (Wang et al., CVPR 2018): unscaled softmax attention between tokens.

    The batch norm at its end starts at 0, so that a fresh block changes nothing.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.g = nn.Linear(channels, half)
        self.theta = nn.Linear(channels, half)
        self.phi = nn.Linear(channels, half)
        self.out = nn.Linear(half, channels)
        self.bn = nn.BatchNorm1d(channels)
        nn.init.zeros_(self.bn.weight)

    def forward(self, tokens: Tensor, key_mask: Tensor | None = None) -> Tensor:
        """Tokens (n, S, C) -> what is to be added to them (n, S, C); where `key_mask` (n, S) is False none looks."""
        query, key, value = (layer(tokens)[:, None] for layer in (self.theta, self.phi, self.g))  # (n, 1 head, S, C/2)
        attend = None if key_mask is None else key_mask[:, None, None, :]
        seen = functional.scaled_dot_product_attention(query, key, value, attn_mask=attend, scale=1.0)
        out: Tensor = self.bn(self.out(seen[:, 0]).flatten(0, 1))
        return out.reshape(tokens.shape)


class NonLocalNet(nn.Module):
    """ResNet-50 with non-local blocks over a clip; `embed` is 2048 long. `ste_nvan` and `nvan` are its named forms.

    stripes: tokens are the means of this many horizontal stripes per frame; None = every position is a token.
    window: how many consecutive frames see each other, or "all" (that remain at that stage).
    halve: maximum over disjoint pairs of frames after stage 2 and after stage 3.
    blocks: bottlenecks per stage of the ResNet; fewer than (3, 4, 6, 3) make a small network for trials.
    """

    dim = DIM
    clip_length = CLIP_LENGTH

    def __init__(
        self,
        num_pids: int,
        *,
        name: str,
        stripes: int | None,
        window: Window,
        halve: bool,
        input_hw: tuple[int, int] = (256, 128),
        blocks: Sequence[int] = RESNET50_BLOCKS,
    ) -> None:
        super().__init__()
        if window != "all" and (not isinstance(window, int) or window < 1):
            raise ValueError(f"{name}: window {window!r}: want a number of frames or 'all'")
        height, width = input_hw
        cell_px = 16 * (stripes or 1)
        if min(height, width) < 16 or height % cell_px or width % 16:
            raise ValueError(
                f"{name}: input_hw {height} x {width}: want a height that is a multiple of {cell_px} "
                f"(16 x stripes, stripes={stripes}) and a width that is a multiple of 16"
            )
        self.name, self.input_hw = name, (height, width)
        self.stripes, self.window, self.halve = stripes, window, halve
        self.frame_multiple = math.lcm(4 if halve else 1, 1 if window == "all" else window * (2 if halve else 1))
        self.uses_mask = window == "all" and not halve
        self.backbone = resnet50(last_stride=1, stem_relu=False, blocks=blocks)
        self.non_local = nn.ModuleList(
            nn.ModuleList(NonLocal(channels) for _ in range(min(count, blocks[stage - 1])))
            for stage, (count, channels) in NON_LOCAL.items()
        )
        self.neck = bn_neck(DIM)
        self.classifier = nn.Linear(DIM, num_pids, bias=False)
        nn.init.normal_(self.classifier.weight, std=0.001)

    def forward(self, clips: Tensor, mask: Tensor | None = None) -> dict[str, Tensor]:
        """Clips (N, T, 3, H, W) -> `feature` (N, 2048) before the batch norm and `logits` (N, C) behind it."""
        feature = self._pooled(clips, mask)
        return {"feature": feature, "logits": self.classifier(self.neck(feature))}

    def blocks(self, clips: Tensor) -> Tensor:
        """Clips (N, 4 M, 3, H, W) -> (N, M, 2048), one vector per `frame_multiple` consecutive frames (4).

        For streaming in eval mode: keep the running mean of these and `combine` it whenever a vector is wanted; the
        result equals `embed` of all frames at once. ValueError with `window="all"`, where the frames hang together.
        """
        if self.window == "all":
            raise ValueError(f"{self.name}: frames of a clip all see each other (window='all'), it has no blocks")
        check_clips(clips, self.frame_multiple, self.input_hw)
        frames = self._frames(clips, None)  # (N, remaining frames, 2048)
        num_blocks = clips.shape[1] // self.frame_multiple
        return frames.reshape(clips.shape[0], num_blocks, frames.shape[1] // num_blocks, DIM).mean(dim=2)

    def combine(self, mean_of_blocks: Tensor) -> Tensor:
        """Mean of `blocks` (N, 2048) -> the vector that is compared (N, 2048)."""
        vector: Tensor = self.neck(mean_of_blocks)
        return vector

    def embed(self, clips: Tensor, mask: Tensor | None = None) -> Tensor:
        """Clips (N, T, 3, H, W) -> (N, 2048), not normalised.

        With `uses_mask` frames outside `mask` have no influence; else each group of frames that became one weighs as
        much as its share of real frames.
        """
        return self.combine(self._pooled(clips, mask))

    def loss_terms(self, outputs: dict[str, Tensor], pids: Tensor) -> dict[str, Tensor]:
        """`id`: cross entropy without smoothing; `triplet`: soft margin, Euclidean, on the pre-BN features."""
        return _loss_terms(outputs, pids)

    def param_groups(self) -> dict[str, list[nn.Parameter]]:
        """`backbone` (ResNet-50) and `head` (non-local blocks, neck, classifier)."""
        head = [self.non_local, self.neck, self.classifier]
        return {"backbone": trainable([self.backbone]), "head": trainable(head)}

    def _pooled(self, clips: Tensor, mask: Tensor | None) -> Tensor:
        """Clips (N, T, 3, H, W) -> (N, 2048), mean over places and remaining frames."""
        check_clips(clips, self.frame_multiple, self.input_hw)
        return masked_mean(self._frames(clips, mask), block_weights(mask, 4 if self.halve else 1))

    def _frames(self, clips: Tensor, mask: Tensor | None) -> Tensor:
        """Clips (N, T, 3, H, W) -> (N, T or T / 4, 2048), each remaining frame's mean over places."""
        num_clips, num_frames = clips.shape[:2]
        key_mask = None
        if mask is not None and self.uses_mask:
            key_mask = mask | ~mask.any(dim=1, keepdim=True)  # a clip without a real frame looks at all: no 0 / 0
        maps = self.backbone.layer1(self.backbone.stem(clips.flatten(0, 1)))
        for layer, attending in zip((self.backbone.layer2, self.backbone.layer3), self.non_local, strict=True):
            window = num_frames if self.window == "all" else self.window
            bottlenecks, non_local = list(layer), list(attending.children())
            first = len(bottlenecks) - len(non_local)
            for index, bottleneck in enumerate(bottlenecks):
                maps = bottleneck(maps)
                if index >= first:
                    maps = maps + self._attend(non_local[index - first], maps, window, key_mask)
            if self.halve:
                maps = maps.reshape(maps.shape[0] // 2, 2, *maps.shape[1:]).amax(dim=1)
                num_frames //= 2
        vectors: Tensor = self.backbone.layer4(maps).mean(dim=(2, 3))
        return vectors.reshape(num_clips, num_frames, DIM)

    def _attend(self, block: nn.Module, maps: Tensor, window: int, key_mask: Tensor | None) -> Tensor:
        """What `block` adds to maps (n, C, h, w), frames of a clip adjacent: (n, C, h, w), or (n, C, h, 1) by stripe.

        `window` frames see each other; `key_mask` (n / window, window) says which of them are real.
        """
        num_maps, channels, height, width = maps.shape
        if self.stripes is None:
            rows = maps.flatten(2)
        else:
            rows = maps.reshape(num_maps, channels, self.stripes, height // self.stripes * width).mean(dim=3)
        num_tokens = rows.shape[2]
        tokens = rows.transpose(1, 2).reshape(num_maps // window, window * num_tokens, channels)
        if key_mask is not None:
            key_mask = key_mask.repeat_interleave(num_tokens, dim=1)
        added: Tensor = block(tokens, key_mask).reshape(num_maps, num_tokens, channels).transpose(1, 2)
        if self.stripes is None:
            return added.reshape(maps.shape)
        return added.repeat_interleave(height // self.stripes, dim=2).unsqueeze(3)


def ste_nvan(
    num_pids: int,
    *,
    window: Window = 2,
    stripes: int | None = 16,
    input_hw: tuple[int, int] = (256, 128),
    blocks: Sequence[int] = RESNET50_BLOCKS,
) -> NonLocalNet:
    """STE-NVAN: stripes, windows, halved frames. `window="all"` is the paper's figure, `stripes=None` its "hr" form."""
    return NonLocalNet(
        num_pids, name="ste_nvan", stripes=stripes, window=window, halve=True, input_hw=input_hw, blocks=blocks
    )


def nvan(
    num_pids: int,
    *,
    stripes: int | None = None,
    input_hw: tuple[int, int] = (256, 128),
    blocks: Sequence[int] = RESNET50_BLOCKS,
) -> NonLocalNet:
    """NVAN: all positions of all frames see each other; cost grows with the square of T, so give it clips of 8.

    `stripes=16` is the paper's stripe-only form.
    """
    return NonLocalNet(
        num_pids, name="nvan", stripes=stripes, window="all", halve=False, input_hw=input_hw, blocks=blocks
    )


class FrameBaseline(nn.Module):
    """ResNet-50 on each frame, batch norm, mean over the frames; `embed` is 2048 long, T is free.

    In training the batch norm sees padded frames too; padding should repeat real frames.
    """

    name = "ste_nvan_baseline"
    dim = DIM
    clip_length = CLIP_LENGTH
    frame_multiple = 1
    uses_mask = True

    def __init__(
        self, num_pids: int, *, input_hw: tuple[int, int] = (256, 128), blocks: Sequence[int] = RESNET50_BLOCKS
    ) -> None:
        super().__init__()
        self.input_hw = (input_hw[0], input_hw[1])
        self.backbone = resnet50(last_stride=1, stem_relu=False, blocks=blocks)
        self.neck = bn_neck(DIM)
        self.classifier = nn.Linear(DIM, num_pids, bias=False)
        nn.init.normal_(self.classifier.weight, std=0.001)

    def forward(self, clips: Tensor, mask: Tensor | None = None) -> dict[str, Tensor]:
        """Clips (N, T, 3, H, W) -> `feature` (N, 2048) and `logits` (N, C), means over the frames."""
        features = self._frames(clips)
        logits = self.classifier(self.neck(features.flatten(0, 1)))
        logits = logits.reshape(*features.shape[:2], self.classifier.out_features)
        return {"feature": masked_mean(features, mask), "logits": masked_mean(logits, mask)}

    def embed(self, clips: Tensor, mask: Tensor | None = None) -> Tensor:
        """Clips (N, T, 3, H, W) -> (N, 2048), the mean of the frames' vectors behind the batch norm."""
        features = self._frames(clips)
        return masked_mean(self.neck(features.flatten(0, 1)).reshape(features.shape), mask)

    def loss_terms(self, outputs: dict[str, Tensor], pids: Tensor) -> dict[str, Tensor]:
        """`id`: cross entropy without smoothing; `triplet`: soft margin, Euclidean, on the pre-BN features."""
        return _loss_terms(outputs, pids)

    def param_groups(self) -> dict[str, list[nn.Parameter]]:
        """`backbone` (ResNet-50) and `head` (neck, classifier)."""
        return {"backbone": trainable([self.backbone]), "head": trainable([self.neck, self.classifier])}

    def _frames(self, clips: Tensor) -> Tensor:
        """Clips (N, T, 3, H, W) -> (N, T, 2048), each frame's mean over places."""
        check_clips(clips, self.frame_multiple, self.input_hw)
        vectors: Tensor = self.backbone(clips.flatten(0, 1)).mean(dim=(2, 3))
        return vectors.reshape(*clips.shape[:2], DIM)


def _loss_terms(outputs: dict[str, Tensor], pids: Tensor) -> dict[str, Tensor]:
    return {
        "id": smoothed_cross_entropy(outputs["logits"], pids, 0.0),
        "triplet": batch_hard_triplet(outputs["feature"], pids, margin=None, distance="euclidean"),
    }


_NON_LOCAL_KEY = re.compile(r"NL_([23])\.(\d+)\.(.+)")
_NON_LOCAL_PARTS = {"W.0.": "out.", "W.1.": "bn."}


def official_key(key: str) -> str | None:
    """The key of the published checkpoints (without `module.`) -> ours, for all three networks.

    An unknown key comes back as it is, for the caller to name it.
    """
    tail = key.removeprefix("features.backbone.")
    if tail == key:
        return f"neck.{key.removeprefix('bottleneck.')}" if key.startswith("bottleneck.") else key
    if match := _NON_LOCAL_KEY.fullmatch(tail):
        rest = match[3]
        for theirs, ours in _NON_LOCAL_PARTS.items():
            if rest.startswith(theirs):
                rest = ours + rest.removeprefix(theirs)
        return f"non_local.{int(match[1]) - 2}.{match[2]}.{rest}"
    return f"backbone.{tail}"
