"""Writes tiny ONNX files byte by byte, so that tests run ONNX inference without the onnx package.

Only what the tests need of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto (field numbers are from there).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

FLOAT, INT64 = 1, 7
Side = int | str  # a fixed size, or the name of an open one


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _bytes(number: int, value: bytes | str) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(raw)) + raw


def _attribute(name: str, value: float | Sequence[int]) -> bytes:
    if isinstance(value, float):
        return _bytes(1, name) + _varint(2 << 3 | 5) + struct.pack("<f", value) + _number(20, 1)
    if isinstance(value, int):
        return _bytes(1, name) + _number(3, value) + _number(20, 2)
    return _bytes(1, name) + b"".join(_number(8, v) for v in value) + _number(20, 7)


def _value_info(name: str, shape: Sequence[Side]) -> bytes:
    dims = b"".join(_bytes(1, _number(1, s) if isinstance(s, int) else _bytes(2, s)) for s in shape)
    tensor_type = _number(1, FLOAT) + _bytes(2, dims)
    return _bytes(1, name) + _bytes(2, _bytes(1, tensor_type))


@dataclass
class OnnxGraph:
    """A graph under construction: `add` returns the name of the new node's output."""

    input_name: str
    input_shape: Sequence[Side]
    nodes: list[bytes] = field(default_factory=list)
    constants: list[bytes] = field(default_factory=list)
    outputs: list[bytes] = field(default_factory=list)

    def constant(self, array: npt.ArrayLike) -> str:
        values = np.asarray(array)
        kind, values = (INT64, values.astype("<i8")) if values.dtype.kind == "i" else (FLOAT, values.astype("<f4"))
        name = f"constant{len(self.constants)}"
        dims = b"".join(_number(1, side) for side in values.shape)
        self.constants.append(dims + _number(2, kind) + _bytes(8, name) + _bytes(9, values.tobytes()))
        return name

    def add(self, op: str, *inputs: str, **attributes: float | int | Sequence[int]) -> str:
        output = f"value{len(self.nodes)}"
        node = b"".join(_bytes(1, name) for name in inputs) + _bytes(2, output) + _bytes(4, op)
        node += b"".join(_bytes(5, _attribute(name, value)) for name, value in attributes.items())
        self.nodes.append(node)
        return output

    def output(self, name: str, shape: Sequence[Side]) -> None:
        self.outputs.append(_value_info(name, shape))

    def save(self, path: Path, metadata: Mapping[str, str] | None = None) -> Path:
        graph = b"".join(_bytes(1, node) for node in self.nodes) + _bytes(2, "tiny")
        graph += b"".join(_bytes(5, constant) for constant in self.constants)
        graph += _bytes(11, _value_info(self.input_name, self.input_shape))
        graph += b"".join(_bytes(12, output) for output in self.outputs)
        model = _number(1, 8) + _bytes(7, graph) + _bytes(8, _bytes(1, "") + _number(2, 13))
        for key, value in (metadata or {}).items():
            model += _bytes(14, _bytes(1, key) + _bytes(2, value))
        path.write_bytes(model)
        return path
