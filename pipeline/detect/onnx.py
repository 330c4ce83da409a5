"""Detector on ONNX Runtime, for YOLOX-style and Ultralytics-style exports (the table of heads is in `heads.py`)."""

from __future__ import annotations

import ast
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.detect.class_names import class_numbers, names_for
from pipeline.detect.config import DetectConfig
from pipeline.detect.heads import Head, decode, recognise, suppress, vote
from pipeline.detect.letterbox import RULES, LetterboxBuffer, LetterboxRule
from pipeline.geometry.boxes import clip_to
from pipeline.onnx_session import ORT_ERRORS, available_cores, open_session
from pipeline.types import Detections, Float32, Frame, Int64

KEY = "detect.model"
INPUT_DTYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
DEFAULT_INPUT_HW = (640, 640)
MIN_SIDE_PX = 1.0


class OnnxDetector:
    """Finds people with an ONNX network.

    On the processor the pictures of a tick are spread over threads, each running the network by itself: with two
    pictures on two cores that costs less processor time than one run over two cores, which is what counts while
    decoding and embedding want the cores as well. `num_cameras` says how many pictures a tick may bring; with fewer
    cameras than cores a run gets the cores that are left over.
    """

    def __init__(self, path: Path, config: DetectConfig, num_cameras: int = 1) -> None:
        """Open the network and recognise its output by one run on a grey picture. Raises ValueError."""
        threads = config.threads or available_cores()
        self._parallel = max(1, min(threads, num_cameras))
        self._session = open_session(path, key=KEY, threads=max(1, threads // self._parallel), device=config.device)
        if self._session.get_providers()[0] != "CPUExecutionProvider":
            self._parallel = 1
        metadata = dict(self._session.get_modelmeta().custom_metadata_map)
        names = _names(metadata)
        self._input_name, self._dtype, self._batch, self._input_hw = self._input(path, config, metadata)
        self._max_batch = self._batch or config.batch_size
        self._head = self._recognise(path, names, metadata)
        family = self._head.letterbox if config.letterbox == "auto" else config.letterbox
        self._rule: LetterboxRule = RULES[family]
        self._output_name = self._session.get_outputs()[self._head.output_idx].name
        self._wanted: Int64 = class_numbers(config.classes, names or names_for(self._head.num_classes), path.name)
        self._check_classes(path)
        self._min_score, self._nms_iou = config.min_score, config.nms_iou
        self._local = threading.local()
        self._pool = ThreadPoolExecutor(self._parallel, thread_name_prefix="detect") if self._parallel > 1 else None

    @property
    def head(self) -> Head:
        """What the network's output was recognised as."""
        return self._head

    @property
    def input_hw(self) -> tuple[int, int]:
        """Height and width of the network's input in pixels."""
        return self._input_hw

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """One `Detections` per frame, in order; best score first in each."""
        if not frames:
            return []
        share = min(self._max_batch, -(-len(frames) // self._parallel))
        chunks = [frames[start : start + share] for start in range(0, len(frames), share)]
        if self._pool is None or len(chunks) == 1:
            return [found for chunk in chunks for found in self._run(chunk)]
        return [found for part in self._pool.map(self._run, chunks) for found in part]

    def _run(self, frames: Sequence[Frame]) -> list[Detections]:
        """One run of the network, in the calling thread."""
        buffer: LetterboxBuffer | None = getattr(self._local, "buffer", None)
        if buffer is None:
            buffer = LetterboxBuffer(self._rule, self._max_batch, self._input_hw, self._dtype)
            self._local.buffer = buffer
        placements = [buffer.put(slot, frame.image) for slot, frame in enumerate(frames)]
        blob = buffer.blob[: self._batch or len(frames)]
        (output,) = self._session.run([self._output_name], {self._input_name: blob})
        found = []
        for rows, spot in zip(output, placements, strict=False):  # a fixed batch may be larger than the chunk
            candidates = decode(self._head, rows, self._wanted, self._min_score)
            boxes, sureness = candidates.xyxy, candidates.score
            if self._head.kind != "end_to_end":
                keep = suppress(candidates, self._nms_iou)
                boxes, sureness = vote(candidates, keep, self._nms_iou), sureness[keep]
            xyxy = clip_to(spot.to_image(boxes), spot.image_width, spot.image_height)
            whole = np.all(xyxy[:, 2:] - xyxy[:, :2] >= MIN_SIDE_PX, axis=1)
            score: Float32 = np.minimum(sureness[whole], np.float32(1.0))
            found.append(Detections(np.asarray(xyxy[whole], np.float32), score))
        return found

    def _input(
        self, path: Path, config: DetectConfig, metadata: dict[str, str]
    ) -> tuple[str, npt.DTypeLike, int, tuple[int, int]]:
        """Name, dtype, batch size (0: open) and (height, width) of the network's input."""
        inputs = self._session.get_inputs()
        shape = inputs[0].shape
        if len(inputs) != 1 or len(shape) != 4 or (isinstance(shape[1], int) and shape[1] != 3):
            raise self._no_detector(path, [], "want one input of shape (batch, 3, height, width)")
        dtype = INPUT_DTYPES.get(inputs[0].type)
        if dtype is None:
            raise self._no_detector(path, [], f"want float input, got {inputs[0].type}")
        stated = _sizes(metadata.get("imgsz", ""))
        wanted = config.input_size or (stated if stated else DEFAULT_INPUT_HW)
        fixed = [side if isinstance(side, int) else None for side in shape[2:]]
        height, width = fixed[0] or wanted[0], fixed[1] or wanted[1]
        if config.input_size is not None and config.input_size != (height, width):
            raise ValueError(
                f"detect.input_size: {path} is fixed to {height} x {width} (height x width); leave input_size out"
            )
        if height % 32 or width % 32:
            raise ValueError(f"detect.input_size: {height} x {width} of {path} are not multiples of 32")
        return inputs[0].name, dtype, shape[0] if isinstance(shape[0], int) else 0, (height, width)

    def _recognise(self, path: Path, names: dict[int, str] | None, metadata: dict[str, str]) -> Head:
        grey: npt.NDArray[Any] = np.full((self._batch or 1, 3, *self._input_hw), 0.447, self._dtype)
        try:
            outputs = self._session.run(None, {self._input_name: grey})
        except ORT_ERRORS as error:
            raise ValueError(
                f"{KEY}: {path} does not run on an input of shape {grey.shape}: {str(error).splitlines()[0]}; "
                "set detect.input_size (height, width) to the size the model was made for"
            ) from error
        arrays = [np.asarray(output) for output in outputs]
        task = metadata.get("task")
        head = recognise(arrays, self._input_hw, len(names) if names else None, task)
        if head is None:
            reason = f"its metadata says task {task}" if task not in (None, "detect") else "no output is understood"
            raise self._no_detector(path, [array.shape for array in arrays], reason)
        return head

    def _no_detector(self, path: Path, shapes: list[tuple[int, ...]], reason: str) -> ValueError:
        inputs = ", ".join(f"{i.name} {i.shape}" for i in self._session.get_inputs())
        outputs = self._session.get_outputs()
        found = ", ".join(f"{o.name} {shapes[idx] if shapes else tuple(o.shape)}" for idx, o in enumerate(outputs))
        return ValueError(
            f"{KEY}: {path} is no detector that is understood ({reason}). Input: {inputs}. Output: {found}. "
            "Understood outputs, C classes, cells at strides 8, 16, 32: (batch, cells, 5+C) of YOLOX and YOLOv6, "
            "(batch, 3*cells, 5+C) of YOLOv5 and YOLOv7, (batch, 4+C, cells) of YOLOv8, 9, 11, 12, "
            "(batch, boxes, 6) of end-to-end exports. Name another model, or one the ultralytics package loads."
        )

    def _check_classes(self, path: Path) -> None:
        count = self._head.num_classes
        if count and self._wanted.max() >= count:
            raise ValueError(f"detect.classes: {path} has the classes 0 to {count - 1}, not {self._wanted.max()}")


def _names(metadata: dict[str, str]) -> dict[int, str] | None:
    """Class names by number from the metadata of an Ultralytics export, or None."""
    names = _literal(metadata.get("names", ""))
    if isinstance(names, dict) and names:
        return {int(number): str(name) for number, name in names.items()}
    if isinstance(names, list) and names:
        return dict(enumerate(map(str, names)))
    return None


def _sizes(text: str) -> tuple[int, int] | None:
    size = _literal(text)
    if isinstance(size, int):
        return size, size
    if isinstance(size, list | tuple) and len(size) == 2 and all(isinstance(side, int) for side in size):
        return size[0], size[1]
    return None


def _literal(text: str) -> object:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return None
