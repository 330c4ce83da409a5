"""Clips per second of the re-identification networks, in training and in use.

    python benchmarks/reid_throughput.py                 # what there is here: the CPU, and the accelerator if any
    python benchmarks/reid_throughput.py --models psta light --seconds 10

CPU: the exported ONNX network under ONNX Runtime, one clip at a time, as the pipeline runs it: clips of 8 crops at the
system's own size (st-ReID: single images). Every system has processes of its own, one that exports and one that
measures, so that the peak of memory is that of use. Where others use the machine too, go by the clips of a processor
second, measured with one thread.

Accelerator: forward pass and whole training step of 16 clips x 8 frames, plain fp32 against bf16 with torch.compile
and channels_last; the share of the device's bf16 peak counts two operations per multiply-accumulate of the network,
and three times that for a training step. TF32 is off in fp32.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import numpy as np

NUM_PIDS = 625
CLIP_LENGTH = {"st_reid": 1}
GPU_BATCH, GPU_FRAMES = 16, 8


def options_of(name: str) -> dict[str, object]:
    return {"pretrained": False} if name == "light" else {}


def export(name: str, path: Path) -> dict[str, object]:
    """Write the network to `path`, with weights as they are at first."""
    import torch

    from reid_train.export import export_onnx
    from reid_train.flops import clip_macs, num_parameters
    from reid_train.models import build_model

    torch.manual_seed(0)
    model = build_model(name, NUM_PIDS, **options_of(name)).eval()
    length = CLIP_LENGTH.get(name, 8)
    report = export_onnx(model, path, clip_length=length)
    return {
        "shape": list(report.input_shape[1:]),
        "gmacs": clip_macs(model, length) / 1e9,
        "parameters": num_parameters(model),
        "file_mb": report.size_bytes / 1e6,
        "max_error": report.max_relative_error,
        "exporter": report.exporter,
    }


def measure(path: Path, shape: list[int], seconds: float, threads: int) -> dict[str, float]:
    """Clips per second and the process's peak memory, with one session of some threads."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    clip = np.random.default_rng(0).standard_normal((1, *shape), dtype=np.float32)
    feed = {session.get_inputs()[0].name: clip}
    session.run(None, feed)
    times, processor_s = [], time.process_time()
    while len(times) < 3 or sum(times) < seconds:
        begun_s = time.perf_counter()
        session.run(None, feed)
        times.append(time.perf_counter() - begun_s)
    return {
        "clips_per_s": len(times) / sum(times),
        "clips_per_processor_s": len(times) / (time.process_time() - processor_s),
        "best_clips_per_s": 1 / min(times),
        "peak_mb": peak_mb(),
    }


def peak_mb() -> float:
    """Of this process. `ru_maxrss` is never below that of the process that started it, so it is the second choice."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    found = [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
    return (found[0] if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) / 1024


def cpu_part(names: list[str], seconds: float, threads: int) -> None:
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    print(f"\nONNX on the CPU, {threads} threads, load average {load:.1f} at the start\n")
    print(
        "| system | clip | GMAC/clip | M parameters | file MB | clips/s | best clip: clips/s | clips/s of a core "
        "| crops/s of a core | peak MB | relative export error |"
    )
    print("| --- |" + " --- |" * 10)
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, f"{name}.onnx")
            about = _in_process("export", name, str(path))
            if about is None:
                continue
            shape = about["shape"]
            speed, core = (
                _in_process("measure", str(path), json.dumps(shape), str(seconds), str(number))
                for number in (threads, 1)
            )
        if speed is None or core is None:
            continue
        crops = shape[0] if len(shape) == 4 else 1
        print(
            f"| {name} | {' x '.join(map(str, shape))} | {about['gmacs']:.2f} | {about['parameters'] / 1e6:.2f} "
            f"| {about['file_mb']:.1f} | {speed['clips_per_s']:.2f} | {speed['best_clips_per_s']:.2f} "
            f"| {core['clips_per_processor_s']:.2f} | {crops * core['clips_per_processor_s']:.1f} "
            f"| {speed['peak_mb']:.0f} | {about['max_error']:.1e} |",
            flush=True,
        )


def gpu_part(names: list[str], seconds: float) -> None:
    import torch

    from reid_train.models import build_model
    from reid_train.speed import measure_speed, speed_table

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    speeds = []
    for name in names:
        for precision, compiled in (("fp32", False), ("bf16", True)):
            torch.manual_seed(0)
            model = build_model(name, NUM_PIDS, **options_of(name)).cuda()
            if compiled:
                model = model.to(memory_format=torch.channels_last)
            try:
                speeds.append(
                    measure_speed(
                        model,
                        batch=GPU_BATCH,
                        num_frames=GPU_FRAMES,
                        precision=precision,
                        compiled=compiled,
                        seconds=seconds,
                    )
                )
            except RuntimeError as error:  # out of memory, or a graph that can not be compiled
                print(f"{name}, {precision}: {str(error).splitlines()[0]}", file=sys.stderr)
            del model
            torch._dynamo.reset()
            torch.cuda.empty_cache()
    print(f"\n{torch.cuda.get_device_name()}, PyTorch {torch.__version__}, {GPU_BATCH} clips x {GPU_FRAMES} frames\n")
    print(speed_table(speeds))


def _in_process(*arguments: str) -> dict | None:  # type: ignore[type-arg]
    done = subprocess.run([sys.executable, __file__, "--step", *arguments], capture_output=True, text=True)
    if done.returncode:
        print(f"{arguments[:2]}: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
        return None
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def main() -> None:
    from reid_train.models import MODELS

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="*", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of ONNX Runtime")
    parser.add_argument("--only", choices=("cpu", "gpu"), help="one part alone")
    arguments = parser.parse_args()

    print(f"{date.today()}, Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores")
    if arguments.only != "gpu":
        cpu_part(arguments.models, arguments.seconds, arguments.threads)
    if arguments.only != "cpu":
        import torch

        if torch.cuda.is_available():
            gpu_part(arguments.models, arguments.seconds)
        else:
            print("\nNo CUDA device here: the accelerator's part is left out.")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--step"]:
        if sys.argv[2] == "export":
            print(json.dumps(export(sys.argv[3], Path(sys.argv[4]))))
        else:
            print(json.dumps(measure(Path(sys.argv[3]), json.loads(sys.argv[4]), float(sys.argv[5]), int(sys.argv[6]))))
    else:
        main()
