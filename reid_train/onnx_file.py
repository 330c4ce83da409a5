"""A network as an ONNX file with an open batch, written by the first exporter whose file computes the same."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.types import Float32

log = logging.getLogger(__name__)

INPUT, OUTPUT = "clips", "vectors"
OPSET = 18
BATCHES = (2, 1, 3)  # sizes that are checked; the first is the one that is traced
MAX_RELATIVE_ERROR = 1e-3


class ExportError(RuntimeError):
    """The network can not be turned into ONNX, or the result computes something else."""


@dataclass(frozen=True, slots=True)
class Parity:
    """Largest error, the same over the largest number, smallest cosine."""

    error: float
    relative: float
    cosine: float


def write_onnx(network: nn.Module, shape: tuple[int, ...], path: Path) -> tuple[str, Parity]:
    """Export to `path` by the first exporter whose file computes what `network` does. -> its name, and how closely.

    The older exporter comes first: it takes seconds where the newer one takes minutes, but writes sizes that a network
    computed in Python as constants, which the check on other batches finds.
    """
    example = _crops(BATCHES[0], shape)
    exporters: dict[str, Callable[[], Any]] = {
        "torchscript": lambda: torch.onnx.export(
            network,
            (example,),
            str(path),
            input_names=[INPUT],
            output_names=[OUTPUT],
            opset_version=OPSET - 1,
            dynamo=False,
            dynamic_axes={INPUT: {0: "batch"}, OUTPUT: {0: "batch"}},
        ),
        "dynamo": lambda: torch.onnx.export(
            network,
            (example,),
            str(path),
            input_names=[INPUT],
            output_names=[OUTPUT],
            opset_version=OPSET,
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
            external_data=False,
            verbose=False,
        ),
    }
    reasons = []
    for name, export in exporters.items():
        try:
            with torch.no_grad(), warnings.catch_warnings(), _native_output_dropped():
                warnings.simplefilter("ignore")
                export()
            return name, _checked(network, path, shape)
        except Exception as error:  # exporters raise whatever comes up in their passes
            first_line = next(iter(str(error).strip().splitlines()), type(error).__name__)
            reasons.append(f"{name}: {first_line}")
            log.info("the %s exporter failed", name, exc_info=error)
    raise ExportError("no exporter can turn this network into ONNX; " + "; ".join(reasons))


@contextmanager
def _native_output_dropped() -> Iterator[None]:
    """Where the older exporter fails, its native code prints the whole graph; the exception says what is wrong."""
    sys.stdout.flush()
    kept = os.dup(1)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def _checked(network: nn.Module, path: Path, shape: tuple[int, ...]) -> Parity:
    """Run the file beside the network on batches of several sizes. Raises ExportError where they differ."""
    session = _session(path)
    if isinstance(batch := session.get_inputs()[0].shape[0], int):
        raise ExportError(f"the batch came out fixed at {batch}")
    error, largest, cosine = 0.0, 1e-12, 1.0
    for size in BATCHES:
        crops = _crops(size, shape)
        with torch.inference_mode():
            want: Float32 = network(crops).numpy()
        have = session.run(None, {INPUT: crops.numpy()})[0]
        if have.shape != want.shape:
            raise ExportError(f"a batch of {size} gives {have.shape} where the original gives {want.shape}")
        if not (np.isfinite(want).all() and np.isfinite(have).all()):
            raise ExportError("numbers that are not finite come out; the weights are damaged")
        error = max(error, float(np.abs(have - want).max()))
        largest = max(largest, float(np.abs(want).max()))
        norms = np.linalg.norm(have, axis=1) * np.linalg.norm(want, axis=1)
        cosine = min(cosine, float(((have * want).sum(axis=1) / np.maximum(norms, 1e-12)).min()))
    if not error <= MAX_RELATIVE_ERROR * largest:
        raise ExportError(f"the file differs from the original by {error:.3g} (cosine {cosine:.5f})")
    return Parity(error, error / largest, cosine)


def _session(path: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = max(1, torch.get_num_threads())
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _crops(batch: int, shape: tuple[int, ...]) -> Tensor:
    """Random crops as they come out of the normalisation, (batch, *shape)."""
    return torch.randn((batch, *shape), generator=torch.Generator().manual_seed(batch))
