"""How fast are people drawn, and do networks that learned from real people see them as people?

    python benchmarks/draw_people.py --weights ../shared/weights

Speed of frames (640x360, 12 people, exact truth, the camera's look, encoding) and of ReID crops (256x128), on one
process and on all; then, on a detection set and a ReID set (drawn for it, or given by --detections and --reid): recall
of stock YOLOX-nano at IoU 0.5 and score 0.3 by visibility and height, and Rank-1 and mAP of OSNet x0.25 (MSMT17) across
cameras beside colour histograms. Every figure with the weights needs files that the project does not ship.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from datetime import date
from pathlib import Path

import cv2
import numpy as np
import onnxruntime

from pipeline.detect.build import build_detector
from pipeline.detect.config import DetectConfig
from pipeline.evaluation.retrieval import evaluate
from pipeline.geometry.boxes import iou
from pipeline.simulate.drawn.detection_set import DetectionSetSettings, write_detection_set
from pipeline.simulate.drawn.device import device_name, open_context
from pipeline.simulate.drawn.reid_set import ReidSetSettings, write_reid_set
from pipeline.simulate.drawn.video import VideoSettings, write_video_site
from pipeline.types import Frame
from reid_train.data import mars

MEAN, STD = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)
LEAST_SCORE, LEAST_IOU = 0.3, 0.5
VISIBILITIES = ((0.9, 1.01), (0.5, 0.9), (0.1, 0.5))
HEIGHTS_PX = ((0, 32), (32, 64), (64, 128), (128, 256), (256, 2000))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, help="folder with yolox_nano.onnx and osnet_x0_25_msmt17.onnx")
    parser.add_argument("--detections", type=Path, help="a drawn detection set [default: 80 pictures are drawn]")
    parser.add_argument("--reid", type=Path, help="a drawn ReID set [default: 60 test people are drawn]")
    parser.add_argument("--no-speed", action="store_true", help="leave the speed out")
    options = parser.parse_args()
    context = open_context()
    print(f"{date.today()}, {os.cpu_count()} cores, {device_name(context)}\n")
    context.release()
    with tempfile.TemporaryDirectory() as scratch:
        if not options.no_speed:
            print_speed(Path(scratch))
        if options.weights:
            detections, reid = options.detections or Path(scratch) / "det", options.reid or Path(scratch) / "reid"
            if not options.detections:
                write_detection_set(detections, DetectionSetSettings(frames=80, frames_per_scene=4, seed=9))
            if not options.reid:
                people = ReidSetSettings(identities=0, test_identities=60, crops=2, people_per_group=60, seed=9)
                write_reid_set(reid, people)
            print_recall(detections, options.weights / "yolox_nano.onnx")
            print_retrieval(reid, options.weights / "osnet_x0_25_msmt17.onnx")


def print_speed(scratch: Path) -> None:
    """Seconds of the whole job, making the context and loading people included."""
    print("| job | processes | drawn samples per pixel | units | seconds | per second | per second and core |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for processes in sorted({1, os.cpu_count() or 1}):
        for samples in (1, 2):
            folder = scratch / f"speed-{processes}-{samples}"
            film = VideoSettings(cameras=3, overlapping=2, people=24, seconds=3, samples=samples)
            cpu, start = _cpu_s(), time.perf_counter()
            write_video_site(folder / "film", film, processes=processes)
            _print_row("frames", processes, samples, 3 * film.num_frames, start, cpu)
            crops = ReidSetSettings(
                identities=8, test_identities=0, people_per_group=4, tracklets=1, samples=samples, seed=1
            )
            cpu, start = _cpu_s(), time.perf_counter()
            images, _ = write_reid_set(folder / "reid", crops, processes=processes)
            _print_row("crops", processes, samples, images, start, cpu)
    print()


def _cpu_s() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _print_row(job: str, processes: int, samples: int, units: int, start: float, cpu: float) -> None:
    seconds, busy = time.perf_counter() - start, _cpu_s() - cpu
    per_s = f"{units / seconds:.1f} | {units / max(busy, 1e-9):.1f}"
    print(f"| {job} | {processes} | {samples}x{samples} | {units} | {seconds:.1f} | {per_s} |", flush=True)


def print_recall(folder: Path, weights: Path) -> None:
    """Greedy matching by score, each true box once; hardly visible people are neither right nor wrong."""
    coco = json.loads((folder / "annotations.json").read_text())
    detector = build_detector(DetectConfig(model=str(weights), min_score=LEAST_SCORE), ["drawn"], Path("."))
    people: dict[int, list[dict[str, object]]] = {image["id"]: [] for image in coco["images"]}
    for person in coco["annotations"]:
        people[person["image_id"]].append(person)
    rows, num_false = [], 0
    for image in coco["images"]:
        picture = cv2.imread(str(folder / image["file_name"]))
        found = detector.detect([Frame(camid=0, frame_idx=image["id"], time_s=0.0, image=picture)])[0]
        true = np.array([p["bbox"] for p in people[image["id"]]], np.float32).reshape(-1, 4)
        true[:, 2:] += true[:, :2]
        overlap = iou(found.xyxy, true)
        taken = np.zeros(len(true), bool)
        for row in np.argsort(-found.score, kind="stable"):
            if not len(true) or overlap[row].max() < LEAST_IOU:
                num_false += 1
                continue
            free = np.where(taken, 0, overlap[row])
            if free.max() >= LEAST_IOU:
                taken[free.argmax()] = True
        rows += [(p["visibility"], p["bbox"][3], hit) for p, hit in zip(people[image["id"]], taken, strict=True)]  # type: ignore[index]
    seen, height, hit = np.array(rows, np.float64).reshape(-1, 3).T
    print(
        f"YOLOX-nano on {len(coco['images'])} pictures, {num_false / len(coco['images']):.2f} false boxes a picture\n"
    )
    print("| height | " + " | ".join(f"visible {low:.0%} to {min(high, 1):.0%}" for low, high in VISIBILITIES) + " |")
    print("| --- |" + " --- |" * len(VISIBILITIES))
    for low_px, high_px in (*HEIGHTS_PX, (32, 2000)):
        cells = []
        for low, high in VISIBILITIES:
            part = (seen >= low) & (seen < high) & (height >= low_px) & (height < high_px)
            cells.append(f"{hit[part].mean():.3f} of {part.sum()}" if part.any() else "-")
        print(f"| {low_px} to {high_px} px | " + " | ".join(cells) + " |")
    print()


def print_retrieval(folder: Path, weights: Path) -> None:
    """Across cameras: every crop, and the mean of every tracklet, asks for the same person in another camera."""
    tracklets = mars.load(folder, check_counts=False).gallery
    crops = [cv2.resize(cv2.imread(path), (128, 256)) for t in tracklets for path in t.paths]
    pids = np.array([t.pid for t in tracklets for _ in t.paths])
    camids = np.array([t.camid for t in tracklets for _ in t.paths])
    starts = np.cumsum([0, *(len(t.paths) for t in tracklets)])[:-1]
    print(f"{len(set(pids.tolist()))} people, {len(set(camids.tolist()))} cameras, {len(crops)} crops\n")
    print("| vectors | crops: Rank-1 | mAP | tracklets: Rank-1 | mAP |\n| --- | --- | --- | --- | --- |")
    for name, vectors in (("OSNet x0.25 MSMT17", _osnet(crops, weights)), ("colour stripes", _stripes(crops))):
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        means = np.add.reduceat(vectors, starts)
        means /= np.linalg.norm(means, axis=1, keepdims=True)
        cells = []
        for rows, who, where in ((vectors, pids, camids), (means, pids[starts], camids[starts])):
            score = evaluate(1 - rows @ rows.T, who, who, where, where)
            cells.append(f"{score.cmc[0]:.3f} | {score.mAP:.3f}")
        print(f"| {name} | {' | '.join(cells)} |")
    _print_cosines(_osnet(crops, weights), pids, camids)


def _osnet(crops: list[np.ndarray], weights: Path) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(weights), providers=["CPUExecutionProvider"])
    name, vectors = session.get_inputs()[0].name, []
    for start in range(0, len(crops), 64):
        batch = np.stack(crops[start : start + 64])[..., ::-1].astype(np.float32) / 255
        vectors.append(session.run(None, {name: ((batch - MEAN) / STD).transpose(0, 3, 1, 2).astype(np.float32)})[0])
    return np.concatenate(vectors)


def _stripes(crops: list[np.ndarray]) -> np.ndarray:
    """Hue and saturation histograms of six stripes."""
    vectors = []
    for crop in crops:
        stripes = np.array_split(cv2.cvtColor(crop, cv2.COLOR_BGR2HSV), 6)
        counts = [cv2.calcHist([stripe], [0, 1], None, [12, 4], [0, 180, 0, 256]).ravel() for stripe in stripes]
        vectors.append(np.concatenate(counts))
    return np.sqrt(np.array(vectors, np.float32))


def _print_cosines(vectors: np.ndarray, pids: np.ndarray, camids: np.ndarray) -> None:
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosine, apart = vectors @ vectors.T, np.triu(np.ones((len(pids), len(pids)), bool), 1)
    same, here = pids[:, None] == pids, camids[:, None] == camids
    print("\n| OSNet cosine | 5 % | 50 % | 95 % |\n| --- | --- | --- | --- |")
    pairs = {
        "same person, other camera": same & ~here,
        "same person, same camera": same & here,
        "other person, same camera": ~same & here,
        "other person, other camera": ~same & ~here,
    }
    for name, part in pairs.items():
        low, middle, high = np.percentile(cosine[part & apart], (5, 50, 95))
        print(f"| {name} | {low:.2f} | {middle:.2f} | {high:.2f} |")


if __name__ == "__main__":
    main()
