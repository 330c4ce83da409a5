"""Deterministic weights and inputs of the published networks, and the comparison with their reference embeddings.

The fill rule and the input are those of `staformer.md` section 10; the facts (keys, shapes, numbers) lie in
`../shared/design/seeds/ref`. A golden test reads

    model = build_model("psta", num_pids=625)
    model.load_state_dict(convert_official("psta", official_state("psta")))
    assert_golden(model.eval().embed(golden_input()), "psta")
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from tests.shared import SHARED, needs_shared

REF = "design/seeds/ref"


def needs_reference(name: str) -> pytest.MarkDecorator:
    """A mark that skips a test unless the keys and the golden numbers of `name` are at hand."""
    return needs_shared(f"{REF}/{name}.keys.tsv", f"{REF}/{name}.golden.json")


def reference_tensor(key: str, shape: Sequence[int]) -> np.ndarray:
    """The float64 value (int64 zero for counters) which the fill rule gives to the official key `key`."""
    rs = np.random.RandomState(zlib.crc32(key.encode()))
    if key.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    if key.endswith("gem.p"):
        return np.full(shape, 3.0)
    if key.endswith("running_var"):
        return np.asarray(0.5 + rs.rand(*shape))
    if key.endswith("running_mean"):
        return np.asarray(0.1 * rs.randn(*shape))
    if key.endswith(("pos_embedding", "cls_token")):
        return np.asarray(0.5 * rs.randn(*shape))
    if key.endswith("bias"):
        return np.asarray(0.1 * rs.randn(*shape))
    if len(shape) == 1:
        return np.asarray(0.75 + 0.05 * rs.randn(*shape))
    return np.asarray(rs.randn(*shape) * math.sqrt(1.5 / math.prod(shape[1:])))


def official_shapes(name: str) -> dict[str, tuple[int, ...]]:
    """Every official key (without `module.`) with its shape, in the official order."""
    shapes = {}
    for line in (SHARED / REF / f"{name}.keys.tsv").read_text().splitlines():
        if line.strip():
            key, shape = line.split("\t")
            shapes[key] = () if shape == "scalar" else tuple(int(size) for size in shape.split("x"))
    return shapes


def official_state(name: str, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    """The official state dict filled by the rule: floats as `dtype`, counters as int64."""
    state = {}
    for key, shape in official_shapes(name).items():
        value = torch.from_numpy(reference_tensor(key, shape))
        state[key] = value.to(dtype) if value.is_floating_point() else value
    return state


def golden_input(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """The reference input, (2, 8, 3, 256, 128) unless another shape is named."""
    return torch.from_numpy(np.random.RandomState(7).randn(*(shape or (2, 8, 3, 256, 128)))).to(dtype)


def golden_rows(name: str) -> list[dict[str, Any]]:
    """The reference rows: each has `l2`, `mean`, `first16` and `last4`."""
    document = json.loads((SHARED / REF / f"{name}.golden.json").read_text())
    return [{**row, "dim": document["dim"]} for row in document["rows"]]


def assert_golden(
    embedding: torch.Tensor, name: str, *, rows: Sequence[int] | None = None, tolerance: float = 1e-4
) -> None:
    """Fail unless `embedding` (len(rows), D) equals the golden rows (all of them unless `rows` are named).

    Norm, mean, the first 16 and the last 4 entries must be within `tolerance` times the root mean square of the row.
    """
    golden = golden_rows(name)
    wanted = [golden[row] for row in (range(len(golden)) if rows is None else rows)]
    assert embedding.shape == (len(wanted), wanted[0]["dim"]), f"shape {tuple(embedding.shape)}"
    for vector, row in zip(embedding.detach().to(torch.float64).cpu().numpy(), wanted, strict=True):
        rms = row["l2"] / math.sqrt(row["dim"])
        np.testing.assert_allclose(np.linalg.norm(vector), row["l2"], rtol=tolerance, err_msg=f"{name}: l2")
        np.testing.assert_allclose(vector.mean(), row["mean"], rtol=0, atol=tolerance * rms, err_msg=f"{name}: mean")
        got, expected = [*vector[:16], *vector[-4:]], [*row["first16"], *row["last4"]]
        np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance * rms, err_msg=f"{name}: entries")
