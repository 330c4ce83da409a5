"""Sequences with a detector's own boxes, weak ones included, for `track_mot15.py` and `track_ablation.py`.

    python benchmarks/track_detections.py OUT --model ../shared/weights/yolox_nano.onnx [--nms-iou 0.65] \\
        --sequence ../shared/data/mot15/TUD-Campus ../shared/data/mot15/TUD-Campus/TUD-Campus.mp4 [--sequence ...]

The public detections of MOT15 have no score below 0.5, so that they say nothing about unsure boxes. Each --sequence
names a folder with `gt.txt` and `seqinfo.ini` and the video of its frames; OUT gets a folder of the same name with
these two files and a new `det.txt`.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import av
import numpy as np
from track_mot15 import load

from pipeline.detect.build import build_detector
from pipeline.detect.config import DetectConfig
from pipeline.detect.detector import Detector
from pipeline.types import Frame


def detect(detector: Detector, video: Path, fps: float) -> np.ndarray:
    """Rows of det.txt: frame from 1, -1, left, top, width, height, score."""
    rows = [np.zeros((0, 7))]
    with av.open(str(video)) as container:
        for number, picture in enumerate(container.decode(video=0)):
            frame = Frame(0, number, number / fps, picture.to_ndarray(format="bgr24"))
            (found,) = detector.detect([frame])
            left_top, size = found.xyxy[:, :2], found.xyxy[:, 2:] - found.xyxy[:, :2]
            head = np.full((len(found), 2), (number + 1, -1))
            rows.append(np.column_stack((head, left_top, size, found.score)))
    return np.concatenate(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--nms-iou", type=float, default=DetectConfig().nms_iou, help="above 0.7 people get two boxes")
    parser.add_argument("--sequence", type=Path, nargs=2, action="append", required=True, metavar=("FOLDER", "VIDEO"))
    args = parser.parse_args()
    detector = build_detector(DetectConfig(model=args.model, nms_iou=args.nms_iou), ["camera"], Path())
    for folder, video in args.sequence:
        known, into = load(folder), args.out / folder.name
        rows = detect(detector, video, known.fps)
        if rows[:, 0].max(initial=0) > known.length:
            raise SystemExit(f"{video} has more frames than the {known.length} of {folder}")
        into.mkdir(parents=True, exist_ok=True)
        np.savetxt(into / "det.txt", rows, delimiter=",", fmt=["%d", "%d", *["%.2f"] * 4, "%.4f"])
        for name in ("gt.txt", "seqinfo.ini"):
            shutil.copy(folder / name, into / name)
        weak = float((rows[:, 6] < 0.4).mean()) if len(rows) else 0.0
        print(f"{folder.name}: {len(rows)} boxes in {known.length} frames, {weak:.0%} of them below 0.4", flush=True)


if __name__ == "__main__":
    main()
