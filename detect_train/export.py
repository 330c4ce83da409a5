"""From a checkpoint to the pair of files that the pipeline loads: `<name>.onnx` and its manifest `<name>.json`.

The output is YOLOX's raw one with a single class, (batch, cells, 6): offset, log size, score, 1. Batch, height and
width are open. Weights are stored in half precision and made float32 again when the file is loaded.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from detect_train.model import STRIDES, PersonNet
from detect_train.train import load_network
from reid_train.trainer import TrainingError

OPSET = 17
MAX_ERROR = 0.1  # of scores and of offsets in strides, half precision included
FEW = 64  # tensors with fewer numbers stay as they are


class _RawYolox(nn.Module):
    """(B, 3, H, W) BGR 0..255 -> (B, cells, 6)."""

    def __init__(self, net: PersonNet, slope: float, offset: float) -> None:
        super().__init__()
        self.net, self.slope, self.offset = net, slope, offset

    def forward(self, images: Tensor) -> Tensor:
        raw = self.net(images)
        score = (raw[..., 4:5] * self.slope + self.offset).sigmoid()
        return torch.cat([raw[..., :4], score, torch.ones_like(score)], dim=-1)


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was written, and how far its numbers are from the original's."""

    model: Path
    manifest: Path
    num_bytes: int
    steps: int
    max_error: float

    def text(self) -> str:
        return (
            f"{self.model}: {self.num_bytes / 1e6:.2f} MB after {self.steps} steps, differs from the network by "
            f"{self.max_error:.2g} at most; {self.manifest}"
        )


def run_export(
    folder: Path,
    output: Path,
    *,
    input_hw: tuple[int, int] = (384, 640),
    score_fit: tuple[float, float] = (1.0, 0.0),
) -> ExportReport:
    """Write the run's network to `output` and the manifest beside it.

    `input_hw` is the input the pipeline will use. `score_fit` is what `scores.fit_scores` found on drawn pictures: the
    varifocal loss leaves scores that rank well and mean little.
    """
    import onnx

    net, recipe, steps = load_network(folder)
    whole = _RawYolox(net, *score_fit).eval()
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        traced, folded = Path(scratch) / "traced.onnx", Path(scratch) / "folded.onnx"
        _trace(whole, traced)
        _fold(traced, folded)
        model = onnx.load(str(folded))
    join_pads(model)
    halve(model)
    _describe(model, input_hw, steps)
    onnx.checker.check_model(model)
    output.write_bytes(model.SerializeToString())
    error = _compare(whole, output)
    manifest = output.with_suffix(".json")
    manifest.write_text(
        json.dumps(
            {
                "format": "crosscam-detector/1",
                "classes": ["person"],
                "output": "YOLOX raw: offset, log size (both in strides), score, 1",
                "strides": list(STRIDES),
                "colour": "BGR 0..255",
                "input_size": list(input_hw),
                "score_fit": list(score_fit),
                "trained_on": "drawn people alone (python -m pipeline simulate detections); backbone from ImageNet",
                "recipe": recipe.model_dump(mode="json", exclude={"data": {"root"}}),
                "steps": steps,
                "sha256": hashlib.sha256(output.read_bytes()).hexdigest(),
            },
            indent=2,
        )
        + "\n",
        encoding="utf-8",
    )
    return ExportReport(output, manifest, output.stat().st_size, steps, error)


def join_pads(model: Any) -> None:
    """Give the padding before a convolution of stride 2 to the convolution itself: one copy of the map less."""
    graph = model.graph
    made_by = {output: node for node in graph.node for output in node.output}
    for conv in [node for node in graph.node if node.op_type == "Conv"]:
        pad = made_by.get(conv.input[0])
        if pad is None or pad.op_type != "Pad":
            continue
        attributes = {attribute.name: attribute for attribute in conv.attribute}
        kernel = attributes["kernel_shape"].ints[0]
        first, last = (kernel - 2) // 2, (kernel - 1) // 2  # as `model.conv_norm` pads
        attributes["pads"].ints[:] = [first, first, last, last]
        conv.input[0] = pad.input[0]
    while unused := _unused(graph):
        for node in unused:
            graph.node.remove(node)
    needed = {name for node in graph.node for name in node.input}
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in needed]:
        graph.initializer.remove(tensor)


def _unused(graph: Any) -> list[Any]:
    needed = {name for node in graph.node for name in node.input} | {output.name for output in graph.output}
    return [node for node in graph.node if not needed.intersection(node.output)]


def halve(model: Any) -> None:
    """Store the large float32 constants of an ONNX model as float16, with a cast behind each."""
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or int(np.prod(tensor.dims)) < FEW:
            continue
        values, name = numpy_helper.to_array(tensor), tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}_half"))
        casts.append(helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT, name=f"{name}_cast"))
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*casts, *nodes])


def _trace(whole: nn.Module, path: Path) -> None:
    axes = {"images": {0: "batch", 2: "height", 3: "width"}, "boxes": {0: "batch", 1: "cells"}}
    with torch.no_grad():
        torch.onnx.export(
            whole,
            (torch.rand(2, 3, 128, 160) * 255,),
            str(path),
            input_names=["images"],
            output_names=["boxes"],
            opset_version=OPSET,
            dynamo=False,
            dynamic_axes=axes,
        )


def _fold(source: Path, target: Path) -> None:
    """Compute what depends on constants alone, so that no batch norm is left."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(target)
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])


def _describe(model: Any, input_hw: tuple[int, int], steps: int) -> None:
    notes = {"names": str({0: "person"}), "imgsz": str(list(input_hw)), "task": "detect", "steps": str(steps)}
    del model.metadata_props[:]
    for key, value in notes.items():
        model.metadata_props.add(key=key, value=value)


def _compare(whole: nn.Module, path: Path) -> float:
    """Largest difference on pictures of other sizes than the traced one. Raises TrainingError where it is large."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    worst = 0.0
    for batch, height, width in ((1, 384, 640), (3, 96, 64)):
        images = torch.rand((batch, 3, height, width), generator=torch.Generator().manual_seed(height)) * 255
        with torch.inference_mode():
            want = whole(images).numpy()
        (have,) = session.run(None, {"images": images.numpy()})
        if have.shape != want.shape:
            raise TrainingError(f"the file gives {have.shape} where the network gives {want.shape}")
        worst = max(worst, float(np.abs(have - want).max()))
    if not worst <= MAX_ERROR:
        raise TrainingError(f"the file differs from the network by {worst:.3g}")
    return worst
