"""Tracklets of people over cameras, for training and testing ReID networks, in the layout of MARS.

    bbox_train/<person>/<person>C<camera>T<tracklet>F<frame>.jpg
    bbox_test/<person>/...
    info/tracks_train_info.mat, tracks_test_info.mat, query_IDX.mat, train_name.txt, test_name.txt
    settings.json

People are drawn in groups; a group has its own cameras, each in a place of its own, so camera 1 of one group looks
at another place than camera 1 of the next. Training and test people never share a group. A set that ended early, for
whatever reason, is gone on with by drawing it into the same folder again: only what is missing is drawn.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from pipeline.settings import Settings
from pipeline.simulate.drawn.crops import NobodySeenError, Studio, draw_tracklet, random_stroll
from pipeline.simulate.drawn.files import (
    OutputFolderError,
    new_folder,
    partial_folder,
    write_jpeg,
    write_json,
    write_whole,
)
from pipeline.simulate.drawn.jobs import Progress, run_units, worker_renderer
from pipeline.simulate.drawn.optics import DrawnCamera
from pipeline.simulate.drawn.people import Person, random_person
from pipeline.simulate.drawn.renderer import Renderer
from pipeline.simulate.drawn.staging import Scene, random_camera, random_scene
from pipeline.types import Int64

MOST_CAMERAS = 6  # MARS's names have no room for more
MOST_PEOPLE = 9999
SETTINGS = "settings.json"
_FRAME_PX = (1280, 720)
_OTHERS = 6
_SCENE_DRAWS = 10  # of a group, until everybody can be seen by its cameras
log = logging.getLogger(__name__)

_NAME = re.compile(r"(\d{4})C(\d)T(\d{4})F(\d{3})\.jpg")


class ReidSetSettings(Settings):
    """How many people, cameras, tracklets and crops."""

    identities: int = Field(250, ge=0, le=MOST_PEOPLE, description="people to train on")
    test_identities: int = Field(50, ge=0, le=MOST_PEOPLE, description="people to test on")
    cameras: int = Field(4, ge=1, le=MOST_CAMERAS, description="cameras that see each person")
    tracklets: int = Field(2, ge=1, le=99, description="of a person in a camera")
    crops: int = Field(8, ge=1, le=999, description="of a tracklet, 0.25 s apart")
    width_px: int = Field(128, ge=16, le=1024, description="of a crop")
    height_px: int = Field(256, ge=16, le=2048, description="of a crop")
    people_per_group: int = Field(25, ge=1, le=1000, description="people who share the places of their cameras")
    jpeg_quality: int = Field(90, ge=1, le=100, description="of the files")
    seed: int = Field(0, ge=0, description="another seed is other people in other places")
    samples: int = Field(2, ge=1, le=4, description="drawn samples per pixel and axis")

    @property
    def groups(self) -> list[tuple[str, int, int]]:
        """(folder, first person, number of people) of every group; people are numbered from 1, test people last."""
        found = []
        for folder, first, count in (
            ("bbox_train", 1, self.identities),
            ("bbox_test", self.identities + 1, self.test_identities),
        ):
            starts = range(0, count, self.people_per_group)
            found += [(folder, first + start, min(self.people_per_group, count - start)) for start in starts]
        return found


@dataclass(frozen=True)
class GroupUnit:
    """Draws one group of people, and returns the names of its images."""

    settings: ReidSetSettings
    folder: Path

    def __call__(self, unit: int) -> list[str]:
        with partial_folder(self.folder, unit) as partial:
            names = draw_group(worker_renderer(self.settings.samples), self.settings, unit, partial)
        return names


def write_reid_set(
    folder: Path, settings: ReidSetSettings, *, processes: int = 1, progress: Progress | None = None
) -> tuple[int, bool]:
    """Draw the set into `folder`: new, empty, or with a part of the same set, of which then the rest is drawn.

    -> the number of images, and whether Ctrl-C ended it early (the set is then smaller, but whole). So it is where a
    group fails, whose error is raised here. Raises ValueError for more people than MARS can number, and
    OutputFolderError for a folder that holds something else.
    """
    if settings.identities + settings.test_identities > MOST_PEOPLE:
        raise ValueError(f"identities and test_identities: {MOST_PEOPLE} people in all can be numbered, not "
                         f"{settings.identities + settings.test_identities}")  # fmt: skip
    _begin_or_go_on(folder, settings)
    before = len(finished_groups(folder, settings))
    missing = [unit for unit in drawing_order(settings.groups) if not _is_finished(folder, settings, unit)]

    def show(done: int, _: int) -> None:
        if progress:
            progress(before + done, before + len(missing))

    names: dict[str, list[str]] = {"bbox_train": [], "bbox_test": []}
    try:
        _, interrupted = run_units(GroupUnit(settings, folder), missing, processes=processes, progress=show)
    finally:
        for unit in finished_groups(folder, settings):
            names[settings.groups[unit][0]] += group_names(settings, unit)
        write_info(folder / "info", names["bbox_train"], names["bbox_test"])
    return sum(len(part) for part in names.values()), interrupted


def finished_groups(folder: Path, settings: ReidSetSettings) -> list[int]:
    """Numbers of the groups of which all images are in `folder`, ascending."""
    return [unit for unit in range(len(settings.groups)) if _is_finished(folder, settings, unit)]


def group_names(settings: ReidSetSettings, unit: int) -> list[str]:
    """The names of a group's images, sorted."""
    _, first, count = settings.groups[unit]
    return [
        f"{pid:04d}C{camera}T{(camera - 1) * settings.tracklets + tracklet:04d}F{frame:03d}.jpg"
        for pid in range(first, first + count)
        for camera in range(1, settings.cameras + 1)
        for tracklet in range(1, settings.tracklets + 1)
        for frame in range(1, settings.crops + 1)
    ]


def _is_finished(folder: Path, settings: ReidSetSettings, unit: int) -> bool:
    part = folder / settings.groups[unit][0]
    return all((part / name[:4] / name).is_file() for name in group_names(settings, unit))


def _begin_or_go_on(folder: Path, settings: ReidSetSettings) -> None:
    """A folder with the parts of a set; one of the same settings loses only what a killed run left half done."""
    wanted = settings.model_dump(mode="json")
    if (folder / SETTINGS).is_file():
        found = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
        differs = [f"{key} {found.get(key)}, not {value}" for key, value in wanted.items() if found.get(key) != value]
        if differs:
            raise OutputFolderError(f"{folder} holds a set of other settings ({'; '.join(differs)}); name another "
                                    "folder, or give the same settings to go on")  # fmt: skip
        for partial in folder.glob(".partial-*"):
            shutil.rmtree(partial)
    else:
        new_folder(folder)
        write_json(folder / SETTINGS, wanted)
    for part in ("bbox_train", "bbox_test", "info"):
        (folder / part).mkdir(exist_ok=True)


def drawing_order(groups: list[tuple[str, int, int]]) -> list[int]:
    """Numbers of the groups, training and test in turn by their shares: a set that ends early has some of both."""
    parts = [[u for u, group in enumerate(groups) if group[0] == part] for part in ("bbox_test", "bbox_train")]
    shares = {unit: (at + 0.5) / len(units) for units in parts for at, unit in enumerate(units)}
    return sorted(shares, key=lambda unit: (shares[unit], unit))


def draw_group(renderer: Renderer, settings: ReidSetSettings, unit: int, folder: Path) -> list[str]:
    """Draw a group below `folder` -> the names of its images, sorted.

    Where one of its people finds no point that a camera sees, all its places and cameras are drawn anew.
    """
    for attempt in range(_SCENE_DRAWS):
        again = [attempt] if attempt else []
        try:
            _draw_group(renderer, settings, unit, folder, np.random.default_rng([settings.seed, unit, 2, *again]))
        except NobodySeenError as error:
            log.info("group %d: %s; its places are drawn anew", unit, error)
        else:
            return group_names(settings, unit)
    _, first, count = settings.groups[unit]
    raise NobodySeenError(
        f"people {first} to {first + count - 1}: {_SCENE_DRAWS} times a camera saw no point where one of them could "
        "stand; try another seed, or fewer crops (tracklets are then shorter)"
    )


def _draw_group(
    renderer: Renderer, settings: ReidSetSettings, unit: int, folder: Path, rng: np.random.Generator
) -> None:
    part, first, count = settings.groups[unit]
    others = [random_person(rng) for _ in range(_OTHERS)]
    filmed = [_filmed_scene(others[0], settings, rng) for _ in range(settings.cameras)]
    with ExitStack() as loaded_things:
        loaded_others = []
        for person in others:
            loaded_others.append((person, renderer.load_person(person)))
            loaded_things.callback(loaded_others[-1][1].release)
        studios = []
        for scene, camera in filmed:
            studios.append(Studio(renderer.load_place(scene.place), scene.light, camera, loaded_others))
            loaded_things.callback(studios[-1].place.release)
        names = iter(group_names(settings, unit))
        for pid in range(first, first + count):
            own = np.random.default_rng([settings.seed, pid, 3])
            person = random_person(own)
            with ExitStack() as loaded_person:
                loaded = renderer.load_person(person)
                loaded_person.callback(loaded.release)
                for studio in studios:
                    for _ in range(settings.tracklets):
                        crops = draw_tracklet(
                            renderer, studio, person, loaded, crops=settings.crops,
                            size_px=(settings.width_px, settings.height_px), rng=own,
                        )  # fmt: skip
                        for crop in crops:
                            write_jpeg(folder / part / f"{pid:04d}" / next(names), crop, settings.jpeg_quality)


def _filmed_scene(anybody: Person, settings: ReidSetSettings, rng: np.random.Generator) -> tuple[Scene, DrawnCamera]:
    """A scene and a camera that sees people well in it."""
    while True:
        scene = random_scene(rng)
        for _ in range(4):
            camera = random_camera(scene.place, rng, _FRAME_PX)
            with suppress(ValueError):
                for _ in range(3):
                    random_stroll(scene.place, camera, anybody, settings.crops, rng)
                return scene, camera


def write_info(folder: Path, train_names: list[str], test_names: list[str]) -> None:
    """The split files of MARS. Of every test person the first tracklet of each camera is a query."""
    from scipy.io import savemat

    write_whole(folder / "train_name.txt", "".join(f"{name}\n" for name in train_names))
    write_whole(folder / "test_name.txt", "".join(f"{name}\n" for name in test_names))
    test_rows = track_rows(test_names)
    _, first = np.unique(test_rows[:, 2:], axis=0, return_index=True)
    for name, key, value in (
        ("tracks_train_info.mat", "track_train_info", track_rows(train_names)),
        ("tracks_test_info.mat", "track_test_info", test_rows),
        ("query_IDX.mat", "query_IDX", (np.sort(first) + 1)[None]),
    ):
        savemat(folder / name, {key: value})
        _clear_date(folder / name)


def track_rows(names: list[str]) -> Int64:
    """(N, 4) first and last line (from 1), person, camera of every tracklet of a sorted list of names."""
    counts: Counter[tuple[Any, ...]] = Counter()
    for name in names:
        found = _NAME.fullmatch(name)
        if found is None:
            raise ValueError(f"{name} is no name of MARS")
        counts[found.groups()[:3]] += 1
    rows, line = [], 1
    for (pid, camera, _), count in counts.items():
        rows.append((line, line + count - 1, int(pid), int(camera)))
        line += count
    return np.array(rows, np.int64).reshape(-1, 4)


def _clear_date(path: Path) -> None:
    """Matlab's header holds the hour at which a file was written; the same set shall have the same bytes."""
    data = bytearray(path.read_bytes())
    text = b"MATLAB 5.0 MAT-file, people drawn by crosscam"
    data[:116] = text.ljust(116)
    path.write_bytes(bytes(data))
