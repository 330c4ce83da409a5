"""How fast a network is: clips per second forward and in a training step, operations, and memory."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from reid_train.flops import clip_macs, num_parameters
from reid_train.models.model import ReidModel

# Dense bf16 throughput in TFLOP/s by the makers' data sheets, by a word of the device's name.
BF16_PEAK_TFLOPS = {"H200": 989.0, "H100": 989.0, "A100": 312.0, "L40S": 362.0, "L4": 121.0, "RTX 4090": 165.0}
_BACKWARD_FACTOR = 3  # a training step costs about three forward passes


@dataclass(frozen=True, slots=True)
class Speed:
    """`batch` clips of `num_frames` frames at once; rates in clips per second, None where not measured."""

    name: str
    device: str
    precision: str  # "fp32" or "bf16"
    compiled: bool
    batch: int
    num_frames: int
    gmacs: float  # per clip
    parameters: int
    forward_clips_per_s: float
    train_clips_per_s: float | None
    peak_mb: float  # of the device while measured; on the CPU of the whole process so far
    forward_share: float | None  # of the device's bf16 peak, where that is known
    train_share: float | None


def measure_speed(
    model: nn.Module,
    *,
    batch: int = 16,
    num_frames: int | None = None,
    precision: str = "fp32",
    compiled: bool = False,
    train: bool = True,
    seconds: float = 3.0,
) -> Speed:
    """Measure `embed` and, with `train`, whole training steps (Adam) of `model` where it is, on random clips.

    The network's weights are changed by the training steps.
    """
    reid = cast(ReidModel, model)
    frames = reid.clip_length if num_frames is None else num_frames
    device = next(model.parameters()).device
    clips = torch.randn((batch, frames, 3, *reid.input_hw), device=device)
    macs = clip_macs(model, frames)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    autocast: Callable[[], Any] = lambda: torch.autocast(  # noqa: E731
        device.type, torch.bfloat16, enabled=precision == "bf16"
    )
    embed = torch.compile(reid.embed) if compiled else reid.embed

    def forward() -> None:
        with torch.inference_mode(), autocast():
            embed(clips)

    model.eval()
    forward_rate = batch * _calls_per_s(forward, device, seconds)
    train_rate = None
    if train:
        train_rate = batch * _calls_per_s(_training_step(model, clips, autocast, compiled), device, seconds)
        model.eval()
    peak = _bf16_peak(device)
    return Speed(
        name=reid.name,
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        precision=precision,
        compiled=compiled,
        batch=batch,
        num_frames=frames,
        gmacs=macs / 1e9,
        parameters=num_parameters(model),
        forward_clips_per_s=forward_rate,
        train_clips_per_s=train_rate,
        peak_mb=_peak_mb(device),
        forward_share=None if peak is None else 2 * macs * forward_rate / peak,
        train_share=None if peak is None or train_rate is None else 2 * _BACKWARD_FACTOR * macs * train_rate / peak,
    )


def speed_table(speeds: list[Speed]) -> str:
    """Markdown."""
    lines = [
        "| system | device | precision | batch x T | GMAC/clip | M parameters | forward clips/s | training clips/s "
        "| share of bf16 peak, forward / training | peak MB |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for s in speeds:
        shares = "-" if s.forward_share is None else f"{s.forward_share:.1%} / " + (
            "-" if s.train_share is None else f"{s.train_share:.1%}"
        )  # fmt: skip
        lines.append(
            f"| {s.name} | {s.device} | {s.precision}{', compiled' if s.compiled else ''} | {s.batch} x {s.num_frames} "
            f"| {s.gmacs:.2f} | {s.parameters / 1e6:.2f} | {s.forward_clips_per_s:.2f} "
            f"| {'-' if s.train_clips_per_s is None else f'{s.train_clips_per_s:.2f}'} | {shares} | {s.peak_mb:.0f} |"
        )
    return "\n".join(lines)


def _training_step(model: nn.Module, clips: Tensor, autocast: Callable[[], Any], compiled: bool) -> Callable[[], None]:
    reid = cast(ReidModel, model)
    parameters = [p for group in reid.param_groups().values() for p in group]
    optimiser = torch.optim.Adam(parameters, lr=1e-6, fused=clips.is_cuda)
    pids = torch.arange(len(clips), device=clips.device) // max(1, min(4, len(clips) // 2))
    network = torch.compile(model) if compiled else model
    model.train()

    def step() -> None:
        with autocast():
            outputs = network(clips)
        outputs = {k: v.float() if v.is_floating_point() else v for k, v in outputs.items()}
        loss = torch.stack(list(reid.loss_terms(outputs, pids).values())).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    return step


def _calls_per_s(call: Callable[[], None], device: torch.device, seconds: float) -> float:
    """Rate after two calls that warm up (and compile), over at least `seconds` and two calls."""
    for _ in range(2):
        call()
    _wait(device)
    begun_s, count = time.perf_counter(), 0
    while count < 2 or time.perf_counter() - begun_s < seconds:
        call()
        count += 1
        if count % 4 == 0 or device.type == "cpu":
            _wait(device)
    _wait(device)
    return count / (time.perf_counter() - begun_s)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _peak_mb(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def _bf16_peak(device: torch.device) -> float | None:
    """FLOP/s of the device, where its data sheet is known here."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((1e12 * peak for word, peak in BF16_PEAK_TFLOPS.items() if word in name), None)
