"""Tiny networks with the outputs of real detectors: class 0 is found in every 32 x 32 cell that is plainly blue,
class 1 in every one that is plainly green. Inputs are 64 high and 96 wide, so there are 2 x 3 such cells."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.detect.heads import make_grid, num_cells
from pipeline.types import Float32, Frame, UInt8
from tests.detect.onnx_writer import OnnxGraph, Side

INPUT_HW = (64, 96)
STRIDES = (8, 16, 32)
CELLS = num_cells(INPUT_HW, STRIDES)
NAMES = str({0: "person", 1: "car"})
NEVER = -100.0


def _maps(graph: OnnxGraph, stride: int, *, rgb: bool, scale: float, num_classes: int, has_objectness: bool) -> str:
    """(B, 4 + [1] + classes, cells) of one stride: zeros, objectness, class scores. Only stride 32 ever fires."""
    pooled = graph.add("AveragePool", graph.input_name, kernel_shape=[stride, stride], strides=[stride, stride])
    boxes = graph.add("Conv", pooled, graph.constant(np.zeros((4, 3, 1, 1))), graph.constant(np.zeros(4)))
    blue, green = (2, 1) if rgb else (0, 1)
    weight = np.zeros((num_classes, 3, 1, 1))
    weight[0, blue] = 40.0 * scale
    if num_classes > 1:
        weight[1, green] = 40.0 * scale
    bias = np.full(num_classes, NEVER)
    bias[:2] = -30.0 if stride == 32 else NEVER
    if has_objectness:
        weight = np.concatenate([np.zeros((1, 3, 1, 1)), weight])
        bias = np.concatenate([[4.0 if stride == 32 else NEVER], bias])
    logits = graph.add("Conv", pooled, graph.constant(weight), graph.constant(bias))
    rows = graph.add("Concat", boxes, graph.add("Sigmoid", logits), axis=1)
    return graph.add("Reshape", rows, graph.constant(np.array([0, 4 + len(bias), -1])))


def _centre_size(input_hw: tuple[int, int] = INPUT_HW) -> Float32:
    """(A, 4) centre and size of every cell."""
    cell_xy, stride_px = make_grid(input_hw, STRIDES)
    return np.concatenate([(cell_xy + 0.5) * stride_px[:, None], np.stack([stride_px, stride_px], 1)], axis=1)


def save_grid(path: Path, *, batch: Side = 1, num_classes: int = 2) -> Path:
    """As YOLOX: (B, cells, 5+C), boxes as offset to the cell and log size, BGR 0..255 in."""
    graph = OnnxGraph("images", (batch, 3, *INPUT_HW))
    options = {"rgb": False, "scale": 1 / 255, "num_classes": num_classes, "has_objectness": True}
    rows = graph.add(
        "Transpose", graph.add("Concat", *[_maps(graph, s, **options) for s in STRIDES], axis=2), perm=[0, 2, 1]
    )
    offset = np.zeros((1, 1, 5 + num_classes))
    offset[..., :2] = 0.5
    graph.output(graph.add("Add", rows, graph.constant(offset)), (batch, CELLS, 5 + num_classes))
    return graph.save(path)


def save_objectness(path: Path, *, batch: Side = 1, anchors: int = 1) -> Path:
    """As YOLOX with decoding inside (1 anchor, BGR 0..255) or YOLOv5 (3 anchors, RGB 0..1): (B, anchors*cells, 5+2)."""
    graph = OnnxGraph("images", (batch, 3, *INPUT_HW))
    options = {"rgb": anchors == 3, "scale": 1.0 if anchors == 3 else 1 / 255, "num_classes": 2, "has_objectness": True}
    rows = graph.add(
        "Transpose", graph.add("Concat", *[_maps(graph, s, **options) for s in STRIDES], axis=2), perm=[0, 2, 1]
    )
    boxes = graph.constant(np.pad(_centre_size(), [(0, 0), (0, 3)])[None])
    decoded = graph.add("Add", rows, boxes)
    whole = graph.add("Concat", *[decoded] * anchors, axis=1)
    graph.output(whole, (batch, CELLS * anchors, 7))
    return graph.save(path)


def save_columns(path: Path, *, batch: Side = 1, metadata: dict[str, str] | None = None) -> Path:
    """As YOLOv8 to 12: (B, 4+2, cells), RGB 0..1 in."""
    graph = OnnxGraph("images", (batch, 3, *INPUT_HW))
    options = {"rgb": True, "scale": 1.0, "num_classes": 2, "has_objectness": False}
    columns = graph.add("Concat", *[_maps(graph, s, **options) for s in STRIDES], axis=2)
    boxes = graph.constant(np.pad(_centre_size(), [(0, 0), (0, 2)]).T[None])
    graph.output(graph.add("Add", columns, boxes), (batch, 6, CELLS))
    return graph.save(path, {"names": NAMES, "task": "detect"} if metadata is None else metadata)


def save_end_to_end(path: Path, *, batch: Side = 1) -> Path:
    """As YOLOv10: (B, 6 boxes, 6), corners, score, class 0; RGB 0..1 in."""
    graph = OnnxGraph("images", (batch, 3, *INPUT_HW))
    columns = _maps(graph, 32, rgb=True, scale=1.0, num_classes=1, has_objectness=False)
    rows = graph.add("Transpose", columns, perm=[0, 2, 1])  # (B, 6, 4 zeros + score)
    boxes = _centre_size()[-6:]
    corners = np.concatenate([boxes[:, :2] - 16, boxes[:, :2] + 16, np.zeros((6, 1))], axis=1)
    scored = graph.add("Add", rows, graph.constant(corners[None]))
    zero = graph.add("Mul", scored, graph.constant(np.zeros((1, 1, 5))))
    class_id = graph.add("ReduceSum", zero, graph.constant(np.array([2])), keepdims=1)
    graph.output(graph.add("Concat", scored, class_id, axis=2), (batch, 6, 6))
    return graph.save(path, {"names": NAMES, "task": "detect"})


def save_classifier(path: Path) -> Path:
    """A network that is no detector: (1, 3, 1, 1)."""
    graph = OnnxGraph("pixels", (1, 3, *INPUT_HW))
    graph.output(graph.add("GlobalAveragePool", "pixels"), (1, 3, 1, 1))
    return graph.save(path)


def picture(*cells: tuple[int, int], colour: tuple[int, int, int] = (255, 0, 0), scale: int = 1) -> UInt8:
    """A black picture of 2 x 3 cells (row, column), the named ones in `colour` (BGR, blue by default)."""
    image = np.zeros((INPUT_HW[0] * scale, INPUT_HW[1] * scale, 3), np.uint8)
    side = 32 * scale
    for row, column in cells:
        image[row * side : (row + 1) * side, column * side : (column + 1) * side] = colour
    return image


def frame(image: UInt8, camid: int = 0, frame_idx: int = 0) -> Frame:
    return Frame(camid, frame_idx, 0.0, image)
