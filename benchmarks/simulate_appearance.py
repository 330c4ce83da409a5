"""Fits the noise model of appearance to OSNet on PKU-Reid and prints it beside the real figures.

    python benchmarks/simulate_appearance.py ../shared/data/pku_reid --osnet ../shared/weights/osnet_x0_25_msmt17.onnx

`--trials 0` only compares the defaults of `AppearanceNoise` with the real figures.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import cv2
import numpy as np
import onnxruntime

from pipeline.simulate.appearance_fit import KINDS, Figures, figures, fit_appearance, simulated_figures
from pipeline.simulate.noise import AppearanceNoise

HW = (256, 128)
MEAN, STD = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)
NUM_FRESH = 40  # simulated sets that the fit has not seen


def real_vectors(root: Path, osnet: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vectors (N, D), pids and camids of `<pid>/c<camera>_<n>.png`."""
    session = onnxruntime.InferenceSession(str(osnet), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    paths = sorted(root.glob("*/c*_*.png"))
    vectors = []
    for start in range(0, len(paths), 32):
        images = [cv2.resize(cv2.imread(str(p)), HW[::-1], interpolation=cv2.INTER_LINEAR)[..., ::-1]
                  for p in paths[start : start + 32]]  # fmt: skip
        blob = ((np.stack(images).astype(np.float32) / 255 - MEAN) / STD).transpose(0, 3, 1, 2)
        vectors.append(session.run(None, {name: np.ascontiguousarray(blob, np.float32)})[0])
    pids = np.array([int(path.parent.name) for path in paths])
    camids = np.array([int(path.stem[1 : path.stem.index("_")]) - 1 for path in paths])
    return np.concatenate(vectors), pids, camids


def simulated(noise: AppearanceNoise) -> tuple[Figures, np.ndarray]:
    """Mean figures over fresh sets, and the standard deviation from set to set of all twelve."""
    sets = [simulated_figures(noise, num_people=50, num_cams=2, num_crops=8, seed=1000 + s) for s in range(NUM_FRESH)]
    mean = Figures(
        np.mean([f.mean for f in sets], axis=0),
        np.mean([f.std for f in sets], axis=0),
        tuple(np.mean([f.crop for f in sets], axis=0).tolist()),  # type: ignore[arg-type]
        tuple(np.mean([f.tracklet for f in sets], axis=0).tolist()),  # type: ignore[arg-type]
    )
    flat = [np.concatenate([f.mean, f.std, f.crop, f.tracklet]) for f in sets]
    return mean, np.std(flat, axis=0)


def table(real: Figures, model: Figures, spread: np.ndarray) -> str:
    lines = ["| | real | simulated | from set to set |", "| --- | --- | --- | --- |"]
    for i, kind in enumerate(KINDS):
        lines.append(f"| cosine, {kind}: mean | {real.mean[i]:.3f} | {model.mean[i]:.3f} | ± {spread[i]:.3f} |")
        lines.append(f"| the same: std | {real.std[i]:.3f} | {model.std[i]:.3f} | ± {spread[4 + i]:.3f} |")
    for at, (name, one, other) in enumerate(
        (("image", real.crop, model.crop), ("8-image", real.tracklet, model.tracklet))
    ):
        for k, score in enumerate(("Rank-1", "mAP")):
            lines.append(f"| {name} {score} | {one[k]:.3f} | {other[k]:.3f} | ± {spread[8 + 2 * at + k]:.3f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", type=Path, help="folder of PKU-Reid: <person>/c<camera>_<1-8>.png")
    parser.add_argument("--osnet", type=Path, required=True, help="OSNet x0.25 of MSMT17 as ONNX")
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--dim", type=int, default=256)
    arguments = parser.parse_args()
    vectors, pids, camids = real_vectors(arguments.root, arguments.osnet)
    real = figures(vectors, pids, camids)
    noise = AppearanceNoise(dim=arguments.dim)
    if arguments.trials:
        begun_s = time.perf_counter()
        noise, losses = fit_appearance(vectors, pids, camids, dim=arguments.dim, trials=arguments.trials)
        print(f"fitted in {time.perf_counter() - begun_s:.0f} s; loss {losses[0]:.1f} -> {losses[-1]:.1f}\n")
    for name, value in noise.model_dump().items():
        print(f"    {name} = {value:.3f}" if isinstance(value, float) else f"    {name} = {value}")
    print("\n" + table(real, *simulated(noise)))


if __name__ == "__main__":
    main()
