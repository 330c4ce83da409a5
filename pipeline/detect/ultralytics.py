"""Detector on the ultralytics package: `.pt`, OpenVINO folders, TensorRT engines and all else that it loads.

The package is under AGPL-3.0 and optional; this is the only file that imports it, and only when such a detector is
built. A `.pt` file is a pickle, and unpickling can run any code: load files from people you trust. Loading is
restricted to known classes here (`ULTRALYTICS_SAFE_LOAD`, where the installed version has it; set it to 0 to allow
all), nothing is installed by itself (`YOLO_AUTOINSTALL`), no usage statistics are sent, and without settings of the
user's own none are written to the home folder. Each of these can be overruled by setting the variable beforehand. A
model is downloaded only where `detect.model` is a bare name that the package knows, such as `yolo11n.pt`.
"""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from pipeline.detect.class_names import class_numbers
from pipeline.detect.config import DetectConfig
from pipeline.geometry.boxes import clip_to
from pipeline.types import Detections, Frame

MISSING = (
    "detect.model: {model} needs the ultralytics package, which is not installed; "
    'pip install "crosscam[ultralytics]". It is under AGPL-3.0: whoever ships or serves a program with it must offer '
    "that program's source under the same licence, or buy another one from Ultralytics. An .onnx file needs no package."
)
MIN_SIDE_PX = 1.0


class UltralyticsDetector:
    """Finds people with whatever model the ultralytics package loads."""

    def __init__(self, model: str, config: DetectConfig) -> None:
        """`model` is a path or a name the package knows. Raises ValueError where it does not load or detect."""
        package = _import_package(model)
        try:
            self._model = package.YOLO(model, verbose=False)
            task, names = self._model.task, self._model.names
        except Exception as error:  # unpicklers, parsers and runtimes of many formats: any kind can come out
            raise _not_loaded(model, error) from error
        if task not in ("detect", "segment", "pose"):
            raise ValueError(f"detect.model: {model} is for the task {task!r}, want detect, segment or pose")
        self._options: dict[str, Any] = {
            "conf": max(config.min_score, 1e-3),
            "iou": config.nms_iou,
            "classes": class_numbers(config.classes, names, model).tolist(),
            "device": {"auto": None, "cpu": "cpu", "cuda": 0}[config.device],
            "verbose": False,
            "save": False,
        }
        if config.input_size is not None:
            self._options["imgsz"] = list(config.input_size)
        self._batch_size = config.batch_size
        try:
            self._model.predict([np.full((64, 64, 3), 114, np.uint8)], batch=1, **self._options)
        except Exception as error:  # as above; most formats are opened only now
            raise _not_loaded(model, error) from error
        _quieten()

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """One `Detections` per frame, in order. Pictures of one size go through the network together.

        The package pads a batch to a common shape, so sizes are kept apart: a frame's boxes must not depend on its
        neighbours in the tick.
        """
        groups: dict[tuple[int, ...], list[int]] = {}
        for place, frame in enumerate(frames):
            groups.setdefault(frame.image.shape, []).append(place)
        found = [Detections.empty()] * len(frames)
        for places in groups.values():
            for start in range(0, len(places), self._batch_size):
                chunk = places[start : start + self._batch_size]
                images = [np.require(frames[place].image, requirements=["C", "W"]) for place in chunk]
                results = self._model.predict(images, batch=len(images), **self._options)
                for place, result in zip(chunk, results, strict=True):
                    found[place] = _detections(result)
        return found


def _detections(result: Any) -> Detections:
    """The boxes of one result, clipped, without degenerate ones."""
    height_px, width_px = result.orig_shape
    xyxy = clip_to(result.boxes.xyxy.cpu().numpy().astype(np.float32), width_px, height_px)
    score = result.boxes.conf.cpu().numpy().astype(np.float32)
    whole = np.all(xyxy[:, 2:] - xyxy[:, :2] >= MIN_SIDE_PX, axis=1)
    return Detections(xyxy[whole], np.clip(score[whole], 0, 1))


def _not_loaded(model: str, error: Exception) -> ValueError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return ValueError(f"detect.model: ultralytics can not load {model} ({type(error).__name__}: {reason[:300]})")


def _import_package(model: str) -> ModuleType:
    """Import ultralytics with safe defaults; variables and settings of the user's own come first."""
    if "ultralytics" not in sys.modules:
        os.environ.setdefault("ULTRALYTICS_SAFE_LOAD", "1")
        os.environ.setdefault("YOLO_AUTOINSTALL", "0")
        os.environ.setdefault("YOLO_VERBOSE", "0")
        if "YOLO_CONFIG_DIR" not in os.environ and not _user_settings().is_file():
            folder = tempfile.mkdtemp(prefix="crosscam-ultralytics-")
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
            os.environ["YOLO_CONFIG_DIR"] = folder
    try:
        import ultralytics
    except ImportError as error:
        raise ValueError(MISSING.format(model=model)) from error
    _quieten()
    return ultralytics


def _user_settings() -> Path:
    """Where the package keeps its settings on this system."""
    if sys.platform == "win32":
        base = Path.home() / "AppData" / "Roaming"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_CONFIG_HOME", Path.home() / ".config"))
    return base / "Ultralytics" / "settings.json"


def _quieten() -> None:
    """Warnings only in the log, and no usage statistics from this process."""
    logging.getLogger("ultralytics").setLevel(logging.WARNING)
    for name in ("ultralytics.utils.events", "ultralytics.hub.utils"):
        events = getattr(sys.modules.get(name), "events", None)
        if events is not None:
            events.enabled = False
