"""STAFormer: local points and a global token of each frame through a spatial, then a temporal transformer.

ResNeSt-50 gives X_l (stride 16) and X_g (stride 32). GeM pools X_g into one global vector; a spatial gate and a max
pool turn X_l into local points. [cls, points, global] of a frame go through three transformer layers, the cls rows of
all frames through three more, and a batch norm ends the vector. The order of the frames matters, and the table of
positions ends at nine: clips of eight are what it is made for.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from reid_train.losses import batch_hard_triplet, smoothed_cross_entropy
from reid_train.losses_staformer import FrameLoss, frame_terms, temporal_nce
from reid_train.models.attention import join_heads, split_heads
from reid_train.models.model import check_clips, trainable
from reid_train.models.resnest import RESNEST50_BLOCKS, ResNeSt

DIM = 768
NUM_HEADS = 12
MLP_DIM = 3072
DROPOUT = 0.1
CLIP_LENGTH = 8
MAX_FRAMES = 9
POINT_CELL = 4  # cells of X_l per side of a local point
LOCAL_STRIDE = 16
NCE_WEIGHT = 0.01
GEM_FLOOR = 1e-6

_BLOCK = r"features\.(?P<stage>[4-7])\.(?P<rest>.+)"
_LAYER = r"transformer\.layers\.(?P<k>\d+)\.(?P<part>[01])\.(?P<rest>.+)"
_ATTENTION = {"norm": "norm", "fn.to_qkv": "qkv", "fn.to_out.0": "out"}
_MLP = {"norm": "norm", "fn.net.0": "expand", "fn.net.3": "reduce"}
_HEAD = {
    "lfa.conv1": "gate.squeeze",
    "lfa.conv2": "gate.score",
    "gem": "gem",
    "bottleneck_loc": "local_bn",
    "bottleneck_glo": "global_bn",
    "classifier_loc": "local_classifier",
    "classifier_glo": "global_classifier",
    "patch_embed_loc.proj": "local_token",
    "patch_embed_glo.proj": "global_token",
    "bn": "bn",
    "classifier": "classifier",
    "projection": "projection",
}


class GeM(nn.Module):
    """Generalised mean over a map with one learned exponent."""

    def __init__(self, p: float = 3.0) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.full((1,), p))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, C, h, w) -> (n, C)."""
        return x.clamp(min=GEM_FLOOR).pow(self.p).mean(dim=(2, 3)).pow(1 / self.p)


class SpatialGate(nn.Module):
    """One non-negative, unbounded weight per place of the local map."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, channels // 2, 1)
        self.score = nn.Conv2d(channels // 2, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, C, h, w) -> (n, C, h, w), each place times its weight."""
        weight: torch.Tensor = functional.softplus(self.score(torch.relu(self.squeeze(x))))
        return weight * x


class Attention(nn.Module):
    """Pre-norm multi-head self-attention."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(DIM)
        self.qkv = nn.Linear(DIM, 3 * DIM, bias=False)
        self.out = nn.Linear(DIM, DIM)
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, S, 768) -> (n, S, 768), without the residual."""
        q, k, v = (split_heads(part, NUM_HEADS) for part in self.qkv(self.norm(x)).chunk(3, dim=2))  # (n, 12, S, 64)
        y = functional.scaled_dot_product_attention(q, k, v, dropout_p=DROPOUT if self.training else 0.0)
        out: torch.Tensor = self.dropout(self.out(join_heads(y)))
        return out


class Mlp(nn.Module):
    """Pre-norm two-layer perceptron with the exact GELU."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(DIM)
        self.expand = nn.Linear(DIM, MLP_DIM)
        self.reduce = nn.Linear(MLP_DIM, DIM)
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, S, 768) -> (n, S, 768), without the residual."""
        hidden = self.dropout(functional.gelu(self.expand(self.norm(x))))
        out: torch.Tensor = self.dropout(self.reduce(hidden))
        return out


class EncoderLayer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = Attention()
        self.mlp = Mlp()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, S, 768) -> (n, S, 768)."""
        x = x + self.attention(x)
        x = x + self.mlp(x)
        return x


class STAFormer(nn.Module):
    """See the module. `num_pids` people to classify.

    frame_loss: how the frame branch's terms are weighed, see `losses_staformer.frame_terms`.
    input_hw: the size of crops; other sizes than (256, 128) change the number of local points, and with it the table
    of positions. blocks, num_layers: smaller networks for trials.
    """

    name = "staformer"
    dim = DIM
    clip_length = CLIP_LENGTH
    frame_multiple = 1
    uses_mask = False

    def __init__(
        self,
        num_pids: int,
        *,
        frame_loss: FrameLoss = "official",
        input_hw: tuple[int, int] = (256, 128),
        blocks: Sequence[int] = RESNEST50_BLOCKS,
        num_layers: int = 3,
    ) -> None:
        super().__init__()
        cell_px = POINT_CELL * LOCAL_STRIDE
        height, width = input_hw
        if min(height, width) < cell_px or height % cell_px or width % cell_px:
            raise ValueError(f"staformer: input_hw {height} x {width}: want multiples of {cell_px} pixels")
        if frame_loss not in ("official", "mean"):
            raise ValueError(f"staformer: frame_loss {frame_loss!r}: want 'official' or 'mean'")
        self.input_hw = (height, width)
        self.frame_loss: FrameLoss = frame_loss
        num_points = (height // cell_px) * (width // cell_px)
        self.backbone = ResNeSt(blocks)
        local_dim, global_dim = self.backbone.dims
        self.gate = SpatialGate(local_dim)
        self.gem = GeM()
        self.local_token = nn.Conv2d(local_dim, DIM, 1)
        self.global_token = nn.Conv2d(global_dim, DIM, 1)
        self.cls = nn.Parameter(torch.randn(1, 1, DIM))
        self.spatial_positions = nn.Parameter(torch.randn(1, num_points + 2, DIM))
        self.spatial = nn.Sequential(*(EncoderLayer() for _ in range(num_layers)))
        self.temporal_positions = nn.Parameter(torch.randn(1, MAX_FRAMES, DIM))
        self.temporal = nn.Sequential(*(EncoderLayer() for _ in range(num_layers)))
        self.bn = nn.BatchNorm1d(DIM)
        self.classifier = nn.Linear(DIM, num_pids)
        self.projection = nn.Conv1d(DIM, DIM, 1)
        self.local_bn = nn.BatchNorm1d(local_dim)
        self.local_classifier = nn.Linear(local_dim, num_pids)
        self.global_bn = nn.BatchNorm1d(global_dim)
        self.global_classifier = nn.Linear(global_dim, num_pids)
        for classifier in (self.classifier, self.local_classifier, self.global_classifier):
            nn.init.normal_(classifier.weight, std=0.001)
            nn.init.zeros_(classifier.bias)
        nn.init.kaiming_normal_(self.projection.weight, mode="fan_in")

    def forward(self, clips: torch.Tensor, mask: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        """Clips (B, T, 3, H, W), T <= 9 -> what the losses need.

        `feature` (B, 768) after its batch norm, `logits` (B, C), `projected` (B, 768, T), and of the frame branch
        `local_feature` (B, T, 1024), `global_feature` (B, T, 2048), `local_logits`, `global_logits` (B, T, C).
        `mask` is not used: repeat the last frame of a short tracklet.
        """
        num_frames = self._check(clips)
        local_map, pooled = self._maps(clips)
        z = self._over_time(self._tokens(local_map, pooled).reshape(-1, num_frames, DIM))  # (B, T, 768)
        # One batch norm, called twice in this order: its running statistics end with those of the frames.
        feature = self.bn(z.mean(dim=1))
        projected = self.projection(self.bn(z.transpose(1, 2)))
        frames = {
            "local_feature": self.local_bn(local_map.mean(dim=(2, 3))),
            "global_feature": self.global_bn(pooled),
        }
        frames["local_logits"] = self.local_classifier(frames["local_feature"])
        frames["global_logits"] = self.global_classifier(frames["global_feature"])
        by_frame = {name: rows.reshape(-1, num_frames, rows.shape[1]) for name, rows in frames.items()}
        return {"feature": feature, "logits": self.classifier(feature), "projected": projected, **by_frame}

    def embed(self, clips: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Clips (N, T, 3, H, W), T <= 9 -> (N, 768), the mean over time of the batch-normed rows. In eval mode."""
        return self.embed_tokens(self.frame_tokens(clips))

    def frame_tokens(self, clips: torch.Tensor) -> torch.Tensor:
        """Clips (N, T, 3, H, W) -> (N, T, 768), each frame by itself: worth keeping while a tracklet grows."""
        num_frames = self._check(clips)
        return self._tokens(*self._maps(clips)).reshape(clips.shape[0], num_frames, DIM)

    def embed_tokens(self, tokens: torch.Tensor) -> torch.Tensor:
        """Frame tokens (N, T, 768) in their order, T <= 9 -> (N, 768)."""
        feature: torch.Tensor = self.bn(self._over_time(tokens).mean(dim=1))
        return feature

    def loss_terms(self, outputs: dict[str, torch.Tensor], pids: torch.Tensor) -> dict[str, torch.Tensor]:
        """The weighted terms of the loss; `pids` (B,), clips 2k and 2k+1 of one person."""
        frame_entropy, frame_triplet = frame_terms(outputs, pids, combine=self.frame_loss)
        return {
            "cross_entropy": smoothed_cross_entropy(outputs["logits"], pids, 0.1),
            "triplet": batch_hard_triplet(outputs["feature"], pids, margin=0.3, distance="cosine"),
            "frame_cross_entropy": frame_entropy,
            "frame_triplet": frame_triplet,
            "nce": NCE_WEIGHT * temporal_nce(outputs["projected"]),
        }

    def param_groups(self) -> dict[str, list[nn.Parameter]]:
        """`backbone` and `head`: every trainable parameter once."""
        head = [module for module in self.children() if module is not self.backbone]
        tables = [self.cls, self.spatial_positions, self.temporal_positions]
        return {"backbone": trainable([self.backbone]), "head": tables + trainable(head)}

    def _check(self, clips: torch.Tensor) -> int:
        """T of the clips. Raises ValueError where the tables of positions do not cover them."""
        check_clips(clips, self.frame_multiple, self.input_hw)
        num_frames = clips.shape[1]
        if num_frames > MAX_FRAMES:
            raise ValueError(f"clips of {num_frames} frames: staformer knows {MAX_FRAMES} positions, cut clips of 8")
        return num_frames

    def _maps(self, clips: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Clips (B, T, 3, H, W) -> the local map (B * T, 1024, H/16, W/16) and the global vector (B * T, 2048)."""
        local_map, global_map = self.backbone(clips.flatten(0, 1))
        return local_map, self.gem(global_map)

    def _tokens(self, local_map: torch.Tensor, pooled: torch.Tensor) -> torch.Tensor:
        """-> (n, 768), the cls row of each frame behind the spatial encoder."""
        points = self.local_token(functional.max_pool2d(self.gate(local_map), POINT_CELL))  # (n, 768, h, w)
        whole = self.global_token(pooled[:, :, None, None])  # (n, 768, 1, 1)
        rows = torch.cat((points.flatten(2), whole.flatten(2)), dim=2).transpose(1, 2)
        sequence = torch.cat((self.cls.expand(rows.shape[0], -1, -1), rows), dim=1) + self.spatial_positions
        cls_rows: torch.Tensor = self.spatial(sequence)[:, 0]
        return cls_rows

    def _over_time(self, tokens: torch.Tensor) -> torch.Tensor:
        """(B, T, 768) -> Z (B, T, 768)."""
        z: torch.Tensor = self.temporal(tokens + self.temporal_positions[:, : tokens.shape[1]])
        return z


def official_key(key: str) -> str | None:
    """The key of the published checkpoint -> ours; None for `vit.cls_token`, which nothing reads.

    An unknown key comes back as it is, for the caller to name it.
    """
    if key == "vit.cls_token":
        return None
    tail = key.removeprefix("custom_resnest.")
    if tail != key:
        if block := re.fullmatch(_BLOCK, tail):
            return f"backbone.layer{int(block['stage']) - 3}.{block['rest']}"
        return "backbone." + re.sub(r"^features\.(0|1)\.", lambda m: f"{('conv1', 'bn1')[int(m[1])]}.", tail)
    encoder, _, tail = key.partition(".")
    if encoder in ("mix_vit", "vit"):
        ours = "spatial" if encoder == "mix_vit" else "temporal"
        if layer := re.fullmatch(_LAYER, tail):
            module, _, leaf = layer["rest"].rpartition(".")
            names, part = ((_ATTENTION, "attention"), (_MLP, "mlp"))[int(layer["part"])]
            return f"{ours}.{layer['k']}.{part}.{names.get(module, module)}.{leaf}"
        return {"pos_embedding": f"{ours}_positions", "cls_token": "cls"}.get(tail, key)
    module, _, leaf = key.rpartition(".")
    return f"{_HEAD.get(module, module)}.{leaf}"
