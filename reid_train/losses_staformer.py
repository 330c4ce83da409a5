"""The loss terms that only STAFormer has: the contrast between moments of a clip, and the frame branch.

Pure functions. Both copy what the published code computes, whose weights differ from what was surely meant; where the
other reading is worth having it is an option.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch.nn import functional

from reid_train.losses import batch_hard_triplet, smoothed_cross_entropy

FrameLoss: TypeAlias = Literal["official", "mean"]

CLIPS_PER_GROUP = 2  # clips of one person that are contrasted with each other


def temporal_nce(projected: torch.Tensor, temperature: float = 0.07) -> torch.Tensor:
    """Supervised contrast between moments: the same moment of another half-clip attracts, other moments repel.

    projected: (B, D, T), clips 2k and 2k+1 showing one person. Each clip is two halves of T/2 frames, each pair of
    clips a group of four halves. For a pair (i, j) at the same position of different halves, with s the cosine,
    l_ij = s_ij / temperature - log(sum over the other positions of exp(s_in / temperature) + exp(s_ij / temperature)).
    -> the scalar sum over groups (not their mean) of -mean l_ij. Raises ValueError where B or T is odd or T < 4.
    """
    num_clips, dim, num_frames = projected.shape
    if num_clips % CLIPS_PER_GROUP or num_frames % 2 or num_frames < 4:
        raise ValueError(
            f"temporal_nce: want pairs of clips and an even number of 4 or more frames, got {num_clips} clips of "
            f"{num_frames}; choose an even number of clips per person and an even T"
        )
    if projected.dtype in (torch.float16, torch.bfloat16):
        projected = projected.float()
    half = num_frames // 2
    num_halves = 2 * CLIPS_PER_GROUP
    vectors = functional.normalize(projected.transpose(1, 2), dim=2).reshape(-1, num_halves * half, dim)  # (G, V, D)
    scores = vectors @ vectors.transpose(1, 2) / temperature  # (G, V, V)
    position = torch.arange(num_halves * half, device=projected.device) % half
    same = position[:, None] == position[None, :]
    positive = same & ~torch.eye(len(position), dtype=torch.bool, device=projected.device)
    repelled = scores.masked_fill(same, -torch.inf).logsumexp(dim=2, keepdim=True)  # (G, V, 1)
    log_share = scores - torch.logaddexp(repelled, scores)
    return -log_share[:, positive].mean(dim=1).sum()


def frame_terms(
    outputs: dict[str, torch.Tensor],
    pids: torch.Tensor,
    *,
    combine: FrameLoss = "official",
    epsilon: float = 0.1,
    margin: float = 0.3,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross entropy and cosine triplet of the frame branch, each over the B rows of one moment, averaged over moments.

    outputs: `local_logits`, `global_logits` (B, T, C), `local_feature` (B, T, 1024), `global_feature` (B, T, 2048);
    pids: (B,). `official` adds 1/(2T) of the local and 1/2 of the global term, for the published code divides its sum
    twice; `mean` adds half of each. -> (cross entropy, triplet), scalars.
    """
    num_frames = outputs["local_logits"].shape[1]
    share = {"official": (1 / (2 * num_frames), 0.5), "mean": (0.5, 0.5)}[combine]
    pids_of_rows = pids[:, None].expand(-1, num_frames).flatten()
    terms = []
    for branch in ("local", "global"):
        entropy = smoothed_cross_entropy(outputs[f"{branch}_logits"].flatten(0, 1), pids_of_rows, epsilon)
        moments = outputs[f"{branch}_feature"].unbind(dim=1)
        triplets = [batch_hard_triplet(x, pids, margin=margin, distance="cosine") for x in moments]
        terms.append((entropy, torch.stack(triplets).mean()))
    (local_entropy, local_triplet), (global_entropy, global_triplet) = terms
    return (
        share[0] * local_entropy + share[1] * global_entropy,
        share[0] * local_triplet + share[1] * global_triplet,
    )
