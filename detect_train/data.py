"""Drawn pictures and their people, as a sequence of training samples that is the same whoever prepares it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from detect_train.camera_look import vary_look
from detect_train.clutter import draw_clutter
from detect_train.config import DataConfig
from detect_train.crops import Canvas, cover, cut, part_up
from pipeline.types import Float32, UInt8

MIN_COVERED = 0.7  # a person of whom more is painted over is neither right nor wrong to find


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One picture of a set: its file, and who is in it."""

    path: Path
    width_px: int
    height_px: int
    xyxy: Float32  # (N, 4) whole people, as far as the picture goes
    visible_xyxy: Float32  # (N, 4) what is seen of them
    visibility: Float32  # (N,)
    ignore: np.ndarray  # (N,) bool

    def read(self) -> UInt8:
        """(H, W, 3) BGR. Raises ValueError where the file can't be read."""
        image = cv2.imread(str(self.path))
        if image is None:
            raise ValueError(f"{self.path}: no picture that can be read")
        return np.asarray(image, np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class People:
    """Whom a sample shows: boxes to find (P, 4), and regions (R, 4) where finding is neither right nor wrong."""

    xyxy: Float32
    ignored_xyxy: Float32


def read_set(root: Path) -> list[Picture]:
    """The pictures of a COCO set as `simulate detections` writes it; sets without its further keys work too."""
    path = root / "annotations.json"
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing; draw a set: python -m pipeline simulate detections --output {root} --frames 2400"
        )
    coco = json.loads(path.read_text(encoding="utf-8"))
    people: dict[int, list[dict[str, object]]] = {image["id"]: [] for image in coco["images"]}
    for person in coco["annotations"]:
        people[person["image_id"]].append(person)
    pictures = []
    for image in coco["images"]:
        here = people[image["id"]]
        pictures.append(
            Picture(
                root / image["file_name"],
                image["width"],
                image["height"],
                _corners([p["bbox"] for p in here]),
                _corners([p.get("visible_bbox", p["bbox"]) for p in here]),
                np.array([p.get("visibility", 1.0) for p in here], np.float32),
                np.array([bool(p.get("ignore", 0) or p.get("iscrowd", 0)) for p in here], bool),
            )
        )
    if not pictures:
        raise ValueError(f"{path} lists no pictures")
    return pictures


def _corners(tlwh: Sequence[object]) -> Float32:
    boxes = np.array(tlwh, np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return boxes


class Crops(Dataset[tuple[Tensor, People]]):
    """Sample i of a training, for i below steps * batch_size; made of i and the seed alone."""

    def __init__(
        self, pictures: Sequence[Picture], config: DataConfig, *, num_samples: int, batch_size: int, seed: int
    ) -> None:
        self._pictures, self._config = pictures, config
        self._num_samples, self._batch_size, self._seed = num_samples, batch_size, seed

    def __len__(self) -> int:
        return self._num_samples

    def __getitem__(self, index: int) -> tuple[Tensor, People]:
        """(3, H, W) uint8 BGR, and the people in it."""
        batch = np.random.default_rng([self._seed, 1, index // self._batch_size])
        height, width = self._config.sizes[int(batch.integers(len(self._config.sizes)))]
        rng = np.random.default_rng([self._seed, 2, index])
        canvas = Canvas.empty(height, width)
        for tile in part_up(height, width, rng, self._config.mosaic):
            picture = self._pictures[int(rng.integers(len(self._pictures)))]
            canvas = cut(picture, canvas, tile, self._config, rng)
        if rng.random() < self._config.clutter:
            canvas = cover(canvas, draw_clutter(canvas.image, rng), MIN_COVERED)
        image = vary_look(canvas.image, rng, self._config.look)
        if rng.random() < 0.5:
            image, canvas = np.ascontiguousarray(image[:, ::-1]), canvas.mirrored()
        return torch.from_numpy(image).permute(2, 0, 1), People(canvas.xyxy, canvas.ignored_xyxy)


def collate(samples: Sequence[tuple[Tensor, People]]) -> tuple[Tensor, list[People]]:
    """A batch: (B, 3, H, W) uint8, and the people of each."""
    return torch.stack([image for image, _ in samples]), [people for _, people in samples]
