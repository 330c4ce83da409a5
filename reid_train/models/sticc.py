"""STICC: spatial-temporal information condensed into a detailed and an abstract vector, for people half hidden.

No code or weights of STICC are published, only its outline and figures; the layers here are this project's reading of
them, and the published scores are context, not a target. Any number of frames in any order: frames that a mask leaves
out are never looked at, and the order of the others does not matter.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import nn

from reid_train.losses import batch_hard_triplet, smoothed_cross_entropy
from reid_train.losses_sticc import memory_usage, slot_diversity
from reid_train.models.attention import frame_mean
from reid_train.models.backbones import EfficientNetLite0, ResNet50
from reid_train.models.model import bn_neck, check_clips, trainable
from reid_train.models.sticc_decoders import AbstractionDecoder, DetailDecoder
from reid_train.models.sticc_encoder import FrameEncoder, KvSource, SlotExchange

Backbone: TypeAlias = Literal["resnet50", "light"]

CLIP_LENGTH = 8
COMMON_WEIGHT = 0.5
DIVERSITY_WEIGHT = 0.1
USAGE_WEIGHT = 0.01
MARGIN = 0.3
EPSILON = 0.1


class _Decoded(NamedTuple):
    vectors: dict[str, torch.Tensor]  # before their necks
    weights: dict[str, torch.Tensor]  # addressing weights (B, T, ..., L)


class STICC(nn.Module):
    """See the module. `num_pids` people to classify.

    backbone: `light` is a small network for CPUs. channels C, num_slots M, num_items L, num_heads: the sizes.
    memory_std: deviation of the slots and items at first. The design's 0.02 lets all slots begin by looking everywhere
    alike, which small gradients and weight decay may never change; near 1 they part within some hundred steps.
    Ablations: use_common (self-attended branch), use_memory (learned slots; else M horizontal stripes),
    use_detail and use_abstraction (the decoders; the vector is 3C, C or 2C long), and kv_source `self`, where the
    slots read the self-attended map. Raises ValueError for switches that leave nothing to read.
    """

    name = "sticc"
    clip_length = CLIP_LENGTH
    frame_multiple = 1
    uses_mask = True

    def __init__(
        self,
        num_pids: int,
        *,
        backbone: Backbone = "resnet50",
        input_hw: tuple[int, int] = (256, 128),
        channels: int = 512,
        num_slots: int = 8,
        num_items: int = 32,
        num_heads: int = 8,
        use_common: bool = True,
        use_memory: bool = True,
        use_detail: bool = True,
        use_abstraction: bool = True,
        kv_source: KvSource = "shared",
        memory_std: float = 0.02,
    ) -> None:
        super().__init__()
        if backbone not in ("resnet50", "light"):
            raise ValueError(f"sticc: backbone {backbone!r}: want 'resnet50' or 'light'")
        if channels % num_heads:
            raise ValueError(f"sticc: channels {channels} must be a multiple of num_heads {num_heads}")
        if kv_source not in ("shared", "self") or (kv_source == "self" and not use_common):
            raise ValueError(f"sticc: kv_source {kv_source!r}: want 'shared', or 'self' beside use_common")
        if not (use_detail or use_abstraction):
            raise ValueError("sticc: without use_detail and use_abstraction there is no vector; keep one of them")
        self.input_hw = (input_hw[0], input_hw[1])
        self.backbone = ResNet50(last_stride=1) if backbone == "resnet50" else EfficientNetLite0(last_stride=1)
        self.squeeze = nn.Sequential(
            nn.Conv2d(self.backbone.num_features, channels, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()
        )
        self.encoder = FrameEncoder(
            channels,
            num_slots,
            num_heads,
            use_common=use_common,
            use_memory=use_memory,
            kv_source=kv_source,
            memory_std=memory_std,
        )
        self.exchange = SlotExchange(channels, num_heads)
        self.detail = DetailDecoder(channels) if use_detail else None
        self.abstraction = AbstractionDecoder(channels, num_items, memory_std) if use_abstraction else None
        sizes = {"detail": channels * use_detail, "abstraction": 2 * channels * use_abstraction}
        self.dim = sum(sizes.values())
        heads = {name: size for name, size in {**sizes, "common": channels * use_common}.items() if size}
        self.necks = nn.ModuleDict({name: bn_neck(size) for name, size in heads.items()})
        self.classifiers = nn.ModuleDict({name: nn.Linear(size, num_pids, bias=False) for name, size in heads.items()})
        for classifier in self.classifiers.parameters():
            nn.init.normal_(classifier, std=0.001)

    def forward(self, clips: torch.Tensor, mask: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        """Clips (B, T, 3, H, W), mask (B, T) True = a real frame -> what the losses need.

        `feature_*` before and `logits_*` behind the neck of `detail` (B, C), `abstraction` (B, 2C) and `common` (B, C);
        of the V real frames: `attention` (V, M, N) of the slots, and the addressing weights of the memories,
        `structure_weights` (V * M, L) and `temporal_weights` (V, L). What is switched off is absent.
        """
        readouts, common, attention = self._encode(clips, mask)
        decoded = self._decode(readouts, mask)
        vectors = dict(decoded.vectors)
        if common is not None:
            vectors["common"] = common
        outputs = {f"feature_{name}": vector for name, vector in vectors.items()}
        for name, vector in vectors.items():
            outputs[f"logits_{name}"] = self.classifiers[name](self.necks[name](vector))
        for name, weights in decoded.weights.items():
            real = weights.flatten(0, 1) if mask is None else weights[mask]
            outputs[f"{name}_weights"] = real.flatten(0, -2)
        if attention is not None:
            outputs["attention"] = attention
        return outputs

    def embed(self, clips: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Clips (N, T, 3, H, W) of any T, mask (N, T) -> (N, 3C). In eval mode."""
        return self.embed_readouts(self.readouts(clips, mask), mask)

    def readouts(self, clips: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """-> (N, T, M, C), what the slots read from each frame by itself: worth keeping while a tracklet grows."""
        return self._encode(clips, mask)[0]

    def embed_readouts(self, readouts: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Readouts (N, T, M, C), mask (N, T) -> (N, 3C)."""
        vectors = self._decode(readouts, mask).vectors
        return torch.cat([self.necks[name](vector) for name, vector in vectors.items()], dim=1)

    def loss_terms(self, outputs: dict[str, torch.Tensor], pids: torch.Tensor) -> dict[str, torch.Tensor]:
        """The weighted terms of the loss; `pids` (B,)."""
        terms = {}
        for name in self.necks:
            weight = COMMON_WEIGHT if name == "common" else 1.0
            terms[f"{name}_cross_entropy"] = weight * smoothed_cross_entropy(outputs[f"logits_{name}"], pids, EPSILON)
            triplet = batch_hard_triplet(outputs[f"feature_{name}"], pids, margin=MARGIN, distance="euclidean")
            terms[f"{name}_triplet"] = weight * triplet
        if "attention" in outputs:
            terms["slot_diversity"] = DIVERSITY_WEIGHT * slot_diversity(outputs["attention"])
        for name in ("structure", "temporal"):
            if f"{name}_weights" in outputs:
                terms[f"{name}_usage"] = USAGE_WEIGHT * memory_usage(outputs[f"{name}_weights"])
        return terms

    def param_groups(self) -> dict[str, list[nn.Parameter]]:
        """`backbone` and `head`: every trainable parameter once."""
        head = [module for module in self.children() if module is not self.backbone]
        return {"backbone": trainable([self.backbone]), "head": trainable(head)}

    def _encode(
        self, clips: torch.Tensor, mask: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        """-> readouts (B, T, M, C) with zeros for masked frames, common (B, C), attention (V, M, N).

        Only real frames go through the network: padding can not even move the statistics of the batch norms.
        """
        check_clips(clips, self.frame_multiple, self.input_hw)
        if mask is not None and (mask.shape != clips.shape[:2] or not bool(mask.any(dim=1).all())):
            want = f"({clips.shape[0]}, {clips.shape[1]})"
            raise ValueError(f"sticc: mask must be {want} with a real frame in every clip, got {tuple(mask.shape)}")
        images = clips.flatten(0, 1) if mask is None else clips[mask]
        codes = self.encoder(self.squeeze(self.backbone(images)))
        common = None if codes.common is None else self._scatter(codes.common, clips, mask)
        readouts = self._scatter(codes.readouts, clips, mask)
        return readouts, None if common is None else frame_mean(common, mask), codes.attention

    @staticmethod
    def _scatter(rows: torch.Tensor, clips: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Rows of the V real frames (V, ...) -> (B, T, ...), zeros elsewhere."""
        if mask is None:
            return rows.reshape(*clips.shape[:2], *rows.shape[1:])
        spread = rows.new_zeros((*mask.shape, *rows.shape[1:]))
        spread[mask] = rows
        return spread

    def _decode(self, readouts: torch.Tensor, mask: torch.Tensor | None) -> _Decoded:
        slots = self.exchange(readouts, mask)
        vectors, weights = {}, {}
        if self.detail is not None:
            vectors["detail"] = self.detail(slots, mask)
        if self.abstraction is not None:
            vectors["abstraction"], weights["structure"], weights["temporal"] = self.abstraction(slots, mask)
        return _Decoded(vectors, weights)
