"""Tiny embedding networks: the vector is the mean colour of parts of the picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.types import Clips
from tests.detect.onnx_writer import OnnxGraph, Side

INPUT_HW = (32, 16)
MANIFEST = {"input_size": [32, 16], "colour": "rgb", "scale": 1.0, "mean": [0, 0, 0], "std": [1, 1, 1]}


def save_image_network(path: Path, *, batch: Side = "batch") -> Path:
    """(N, 3, 32, 16) -> (N, 6): mean of the upper and the lower half of each channel."""
    graph = OnnxGraph("crops", (batch, 3, *INPUT_HW))
    halves = graph.add("AveragePool", "crops", kernel_shape=[16, 16], strides=[16, 16])
    graph.output(graph.add("Reshape", halves, graph.constant(np.array([0, 6]))), (batch, 6))
    return graph.save(path)


def save_video_network(path: Path, *, batch: Side = "batch", clip_length: int = 4) -> Path:
    """(N, T, 3, 32, 16) -> (N, 3): mean of each channel over the whole clip."""
    graph = OnnxGraph("clips", (batch, clip_length, 3, *INPUT_HW))
    graph.output(graph.add("ReduceMean", "clips", axes=[1, 3, 4], keepdims=0), (batch, 3))
    return graph.save(path)


def save_broken_network(path: Path) -> Path:
    """(N, 3, 32, 16) -> (N, 6) of NaN."""
    graph = OnnxGraph("crops", ("batch", 3, *INPUT_HW))
    halves = graph.add("AveragePool", "crops", kernel_shape=[16, 16], strides=[16, 16])
    vectors = graph.add("Reshape", halves, graph.constant(np.array([0, 6])))
    graph.output(graph.add("Mul", vectors, graph.constant(np.array([np.nan]))), ("batch", 6))
    return graph.save(path)


def make_clips(num_crops: list[int], clip_length: int, input_hw: tuple[int, int] = INPUT_HW, seed: int = 0) -> Clips:
    """Random clips, shorter ones filled by repeating their own crops in turn; track ids 10, 11, ..."""
    rng = np.random.default_rng(seed)
    image = np.zeros((len(num_crops), clip_length, *input_hw, 3), np.uint8)
    for row, own in enumerate(num_crops):
        crops = rng.integers(0, 256, (own, *input_hw, 3), dtype=np.uint8)
        image[row] = crops[np.arange(clip_length) % own]
    quality = rng.random(len(num_crops)) * 0.9 + 0.1
    return Clips(np.arange(len(num_crops)) + 10, image, np.array(num_crops, np.int64), quality)
