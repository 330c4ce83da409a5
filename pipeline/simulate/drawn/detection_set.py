"""Pictures of people in places with their boxes, for training and testing detectors (COCO json)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pydantic import Field

from pipeline.settings import Settings
from pipeline.simulate.drawn.files import new_folder, partial_folder, write_jpeg, write_json
from pipeline.simulate.drawn.jobs import Progress, run_units, worker_renderer
from pipeline.simulate.drawn.optics import DrawnCamera, apply_look
from pipeline.simulate.drawn.people import Person, Posed, random_person
from pipeline.simulate.drawn.places import Place, PlaceKind
from pipeline.simulate.drawn.renderer import Renderer
from pipeline.simulate.drawn.sitting import sitting_cast
from pipeline.simulate.drawn.staging import random_camera, random_cast, random_scene
from pipeline.simulate.drawn.truth import Truth, read_truth
from pipeline.types import UInt8

_SIZES_PX = ((640, 360), (640, 480), (768, 576), (960, 540))
_SIZE_SHARES = (0.45, 0.2, 0.2, 0.15)
_NOBODY_SHARE = 0.04
_LEAST_HEIGHT_PX, _LEAST_VISIBILITY = 8.0, 0.08
_JPEG_QUALITY = 92


class DetectionSetSettings(Settings):
    """How many pictures of what. A unit of drawing is one scene: a place with its cameras and its people."""

    frames: int = Field(2000, ge=1, le=1_000_000, description="pictures in all")
    frames_per_scene: int = Field(20, ge=1, le=1000, description="pictures of one place before another is built")
    most_people: int = Field(22, ge=0, le=200, description="people in a place, at most")
    places: tuple[PlaceKind, ...] = Field(
        (), description="kinds of place in turn; none: square, corridor, shop and platform by lot"
    )
    seed: int = Field(0, ge=0, description="another seed is another set")
    samples: int = Field(2, ge=1, le=4, description="drawn samples per pixel and axis")

    @property
    def num_scenes(self) -> int:
        return -(-self.frames // self.frames_per_scene)


@dataclass(frozen=True, eq=False)
class LabelledPicture:
    image: UInt8  # (H, W, 3) BGR
    camera: DrawnCamera
    truth: Truth


@dataclass(frozen=True)
class DetectionUnit:
    """Draws one scene's pictures into the folder, and returns their entries."""

    settings: DetectionSetSettings
    folder: Path

    def __call__(self, unit: int) -> list[dict[str, Any]]:
        settings = self.settings
        first = unit * settings.frames_per_scene
        count = min(settings.frames_per_scene, settings.frames - first)
        entries = []
        with partial_folder(self.folder, unit) as partial:
            pictures = draw_scene_pictures(worker_renderer(settings.samples), settings, unit, count)
            for number, picture in enumerate(pictures, first):
                name = f"{number:07d}.jpg"
                write_jpeg(partial / "images" / name, picture.image, _JPEG_QUALITY)
                entries.append(_entry(name, picture))
        return entries


def write_detection_set(
    folder: Path, settings: DetectionSetSettings, *, processes: int = 1, progress: Progress | None = None
) -> tuple[Path, bool]:
    """Draw the set into `folder` (new or empty): images/*.jpg and annotations.json.

    -> the json file, and whether Ctrl-C ended it early (the set is then smaller, but whole).
    """
    new_folder(folder)
    done, interrupted = run_units(
        DetectionUnit(settings, folder), range(settings.num_scenes), processes=processes, progress=progress
    )
    path = folder / "annotations.json"
    write_json(path, coco_json([entry for entries in done.values() for entry in entries], settings))
    return path, interrupted


def draw_scene_pictures(
    renderer: Renderer, settings: DetectionSetSettings, unit: int, count: int
) -> list[LabelledPicture]:
    """`count` pictures of one scene, each of other people at other points, through one of two or three cameras."""
    rng = np.random.default_rng([settings.seed, unit, 1])
    scene = random_scene(rng, settings.places[unit % len(settings.places)] if settings.places else None)
    place = renderer.load_place(scene.place)
    size = _SIZES_PX[int(rng.choice(len(_SIZES_PX), p=_SIZE_SHARES))]
    mounts = rng.permutation(len(scene.place.mounts))[: int(rng.integers(2, 4))]
    cameras = [random_camera(scene.place, rng, size, mount=int(mount)) for mount in mounts]
    people = [random_person(rng) for _ in range(settings.most_people)]
    loaded = [renderer.load_person(person) for person in people]
    pictures = []
    for _ in range(count):
        crowd = 0 if rng.random() < _NOBODY_SHARE else int(rng.integers(0, settings.most_people + 1))
        here = rng.permutation(len(people))[:crowd]
        cast = _cast(scene.place, [people[i] for i in here], rng)
        posed = [item for _, item in cast]
        renderer.set_stage(place, scene.light, [(loaded[here[i]], item) for i, item in cast])
        camera = cameras[int(rng.integers(len(cameras)))]
        drawing = renderer.draw(camera)
        image = cv2.resize(drawing.samples, size, interpolation=cv2.INTER_AREA)
        truth = read_truth(renderer, camera, posed, drawing)
        pictures.append(LabelledPicture(apply_look(np.asarray(image, np.uint8), camera.look, rng), camera, truth))
    for person in loaded:
        person.release()
    place.release()
    return pictures


def _cast(place: Place, people: list[Person], rng: np.random.Generator) -> list[tuple[int, Posed]]:
    """Some sit where there are seats, the others walk and stand."""
    seated = sitting_cast(place, people[: len(people) // 2], rng) if len(place.seats) else []
    standing = random_cast(place, people[len(seated) :], rng)
    return seated + [(number + len(seated), posed) for number, posed in standing]


def coco_json(entries: list[dict[str, Any]], settings: DetectionSetSettings) -> dict[str, Any]:
    """COCO's instances, with three more keys: visibility, visible_bbox and ground_xy.

    `bbox` is the whole person as far as the picture goes. People of whom hardly anything is seen are `iscrowd` and
    `ignore`: neither right nor wrong to find.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, entry in enumerate(entries, 1):
        images.append({"id": number} | entry["image"])
        for person in entry["people"]:
            annotations.append({"id": len(annotations) + 1, "image_id": number, "category_id": 1} | person)
    return {
        "info": {"description": "people drawn by crosscam", "seed": settings.seed},
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person"}],
    }


def _entry(name: str, picture: LabelledPicture) -> dict[str, Any]:
    camera, truth = picture.camera, picture.truth
    people = []
    for row in range(len(truth.row)):
        box, seen = (_xywh(b[row]) for b in (truth.box_xyxy, truth.visible_xyxy))
        hardly = box[3] < _LEAST_HEIGHT_PX or truth.visibility[row] < _LEAST_VISIBILITY
        people.append(
            {
                "bbox": box,
                "area": round(box[2] * box[3], 1),
                "iscrowd": int(hardly),
                "ignore": int(hardly),
                "visibility": round(float(truth.visibility[row]), 3),
                "in_picture": round(float(truth.in_picture[row]), 3),
                "visible_bbox": seen,
                "ground_xy": [round(float(v), 3) for v in truth.ground_xy[row]],
            }
        )
    image = {"file_name": f"images/{name}", "width": camera.width_px, "height": camera.height_px}
    return {"image": image, "people": people}


def _xywh(xyxy: Any) -> list[float]:
    left, top, right, bottom = (float(v) for v in xyxy)
    return [round(left, 1), round(top, 1), round(right - left, 1), round(bottom - top, 1)]
