"""Opening an ONNX file with ONNX Runtime, quietly, and with errors that help."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Literal

import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_state

log = logging.getLogger(__name__)

ORT_ERRORS: tuple[type[Exception], ...] = (
    ort_state.EPFail,
    ort_state.Fail,
    ort_state.InvalidArgument,
    ort_state.InvalidGraph,
    ort_state.InvalidProtobuf,
    ort_state.NoModel,
    ort_state.NoSuchFile,
    ort_state.NotImplemented,
    ort_state.RuntimeException,
    RuntimeError,
)


def available_cores() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def open_session(path: Path, *, key: str, threads: int, device: Literal["auto", "cpu", "cuda"]) -> ort.InferenceSession:
    """Load the ONNX file at `path`; `key` is the configuration key that named it, `threads` are those of one run.

    Threads of a run wait asleep instead of spinning: they share the cores with decoding and other networks.
    Raises ValueError naming `key` and the file where it is missing, no ONNX file, or the device is not there.
    """
    if not path.is_file():
        raise ValueError(f"{key}: no such file: {path}")
    has_cuda = "CUDAExecutionProvider" in ort.get_available_providers()
    if device == "cuda" and not has_cuda:
        raise ValueError(
            f"{key.rpartition('.')[0]}.device: cuda is asked for, but this ONNX Runtime has no CUDA; "
            "pip install onnxruntime-gpu in place of onnxruntime, or say cpu"
        )
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    providers = ["CPUExecutionProvider"]
    if has_cuda and device != "cpu":
        providers.insert(0, "CUDAExecutionProvider")
    try:
        session = ort.InferenceSession(str(path), options, providers=providers)
    except ORT_ERRORS as error:
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(f"{key}: {path} can not be read as an ONNX model ({first_line})") from error
    if providers[0] not in session.get_providers():
        if device == "cuda":
            raise ValueError(f"{key}: {path} does not start on CUDA; are the CUDA and cuDNN libraries installed?")
        log.warning("%s: CUDA did not start, %s runs on the processor", key, path.name)
    return session
