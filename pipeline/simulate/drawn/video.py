"""Films a town: an H.264 file per camera, the truth beside it, and the cams.yaml of a run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import av
import cv2
import numpy as np
from pydantic import Field

from pipeline.settings import Settings
from pipeline.simulate.drawn.files import new_folder, write_whole
from pipeline.simulate.drawn.jobs import Progress, run_units, worker_renderer
from pipeline.simulate.drawn.optics import DrawnCamera, apply_look
from pipeline.simulate.drawn.people import pose
from pipeline.simulate.drawn.places import PlaceKind
from pipeline.simulate.drawn.renderer import Renderer
from pipeline.simulate.drawn.town import PLACE_ORDER, Town, TownCamera, build_town, play
from pipeline.simulate.drawn.truth import Truth, read_truth
from pipeline.simulate.drawn.walkers import Moment
from pipeline.types import Float64, UInt8

TRUTH_COLUMNS = "time_s,camera,frame,global_id,left,top,width,height,visibility,ground_x,ground_y"
LEAST_VISIBILITY = 0.25
"""A person of whom less is seen is no row of the ground truth."""


class VideoSettings(Settings):
    """What is filmed."""

    cameras: int = Field(4, ge=1, le=40, description="cameras in all")
    overlapping: int = Field(2, ge=1, le=5, description="how many of them look at the same place")
    people: int = Field(12, ge=0, le=200, description="people who walk between the places")
    seconds: float = Field(45.0, gt=0, le=36_000, description="length of the clips")
    fps: int = Field(10, ge=1, le=120, description="frames per second")
    width_px: int = Field(640, ge=64, le=3840, multiple_of=2, description="of the pictures")
    height_px: int = Field(360, ge=64, le=2160, multiple_of=2, description="of the pictures")
    places: tuple[PlaceKind, ...] = Field(
        PLACE_ORDER, min_length=1, description="kinds of place in turn; the first is the one that cameras share"
    )
    hour: Literal["any", "sunny", "cloudy", "dusk"] = Field("any", description="light outdoors")
    between_s: tuple[float, float] = Field(
        (2.5, 7.0), description="least and most seconds out of sight from one place to the next"
    )
    crf: int = Field(24, ge=0, le=51, description="H.264's constant rate factor; more is smaller and worse")
    seed: int = Field(0, ge=0, description="another seed is another town with other people")
    samples: int = Field(2, ge=1, le=4, description="drawn samples per pixel and axis")

    @property
    def num_frames(self) -> int:
        return round(self.seconds * self.fps)


@dataclass(frozen=True)
class ZoneUnit:
    """Films one place with all its cameras -> the number of frames."""

    settings: VideoSettings
    folder: Path

    def __call__(self, unit: int) -> int:
        film_zone(worker_renderer(self.settings.samples), self.settings, unit, self.folder)
        return self.settings.num_frames


def write_video_site(
    folder: Path, settings: VideoSettings, *, processes: int = 1, progress: Progress | None = None
) -> bool:
    """Film a town into `folder` (new or empty): <camera>.mp4, ground_truth/<camera>.csv and cams.yaml.

    -> whether Ctrl-C ended it early; cams.yaml then names the cameras that were finished. The same settings give the
    same bytes. Raises ValueError where `seconds` is shorter than one frame, `between_s` is no range or more cameras
    overlap than there are.
    """
    if settings.num_frames < 1:
        raise ValueError(f"seconds: {settings.seconds} is shorter than one frame ({1 / settings.fps:g} s)")
    least_s, most_s = settings.between_s
    if not 0 <= least_s <= most_s:
        raise ValueError(f"between: {least_s:g} {most_s:g}; give the least number of seconds first, then the most")
    if settings.overlapping > settings.cameras:
        raise ValueError(f"overlapping: {settings.overlapping} cameras of {settings.cameras} can not overlap")
    new_folder(folder)
    town = the_town(settings)
    done, interrupted = run_units(
        ZoneUnit(settings, folder), range(len(town.zones)), processes=processes, progress=progress
    )
    finished = [camera for camera in town.cameras if camera.zone in done]
    write_whole(folder / "cams.yaml", cams_yaml(finished, settings))
    return interrupted


def the_town(settings: VideoSettings) -> Town:
    return build_town(
        np.random.default_rng([settings.seed, 4]),
        cameras=settings.cameras,
        overlapping=settings.overlapping,
        people=settings.people,
        size_px=(settings.width_px, settings.height_px),
        hour=None if settings.hour == "any" else settings.hour,
        places=settings.places,
    )


def the_moments(settings: VideoSettings, town: Town) -> list[Moment]:
    rng = np.random.default_rng([settings.seed, 5])
    return play(town, rng, fps=settings.fps, num_frames=settings.num_frames, between_s=settings.between_s)


def film_zone(renderer: Renderer, settings: VideoSettings, zone: int, folder: Path) -> None:
    """Draw every frame of the cameras of one place, and write their files."""
    town = the_town(settings)
    cameras = [camera for camera in town.cameras if camera.zone == zone]
    place = renderer.load_place(town.zones[zone].place)
    loaded = [renderer.load_person(person) for person in town.people]
    clips = [Clip(folder / f"{camera.name}.mp4", camera.camera, settings) for camera in cameras]
    truths = [[TRUTH_COLUMNS] for _ in cameras]
    noise = [np.random.default_rng([settings.seed, 6, town.cameras.index(camera)]) for camera in cameras]
    try:
        for frame, moment in enumerate(the_moments(settings, town)):
            here = np.flatnonzero(moment.place == zone)
            posed = [pose(town.people[i], moment.xy[i], float(moment.heading[i]), cycle=float(moment.cycle[i]),
                          stir=float(moment.stir[i])) for i in here]  # fmt: skip
            renderer.set_stage(
                place, town.zones[zone].light, [(loaded[i], p) for i, p in zip(here, posed, strict=True)]
            )
            for number, camera in enumerate(cameras):
                drawing = renderer.draw(camera.camera)
                truth = read_truth(renderer, camera.camera, posed, drawing)
                size = (settings.width_px, settings.height_px)
                image = np.asarray(cv2.resize(drawing.samples, size, interpolation=cv2.INTER_AREA), np.uint8)
                clips[number].write(apply_look(image, camera.camera.look, noise[number]))
                truths[number] += _truth_lines(camera.name, frame, settings.fps, here + 1, truth)
    except BaseException:
        for clip in clips:
            clip.discard()
        raise
    for camera, clip, lines in zip(cameras, clips, truths, strict=True):
        clip.finish()
        write_whole(folder / "ground_truth" / f"{camera.name}.csv", "\n".join(lines) + "\n")
    for person in loaded:
        person.release()
    place.release()


class Clip:
    """An H.264 file that is being written beside its name, and takes it when finished."""

    def __init__(self, path: Path, camera: DrawnCamera, settings: VideoSettings) -> None:
        self._path, self._partial = path, path.with_name(f"{path.stem}.partial.mp4")
        self._container = av.open(str(self._partial), "w", options={"fflags": "+bitexact"})
        options = {"crf": str(settings.crf), "preset": "veryfast", "threads": "1"}
        options["x264-params"] = f"keyint={5 * settings.fps}"
        stream = self._container.add_stream("libx264", rate=settings.fps, options=options)
        stream.width, stream.height, stream.pix_fmt = camera.width_px, camera.height_px, "yuv420p"
        self._stream = stream

    def write(self, image: UInt8) -> None:
        """(H, W, 3) BGR."""
        self._container.mux(self._stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))

    def finish(self) -> None:
        self._container.mux(self._stream.encode(None))
        self._container.close()
        os.replace(self._partial, self._path)

    def discard(self) -> None:
        self._container.close()
        self._partial.unlink(missing_ok=True)


def cams_yaml(cameras: Sequence[TownCamera], settings: VideoSettings, site: str = "") -> str:
    """The cameras of one place share its floor and are calibrated. Others have a floor of their own, and no
    calibration, as nothing ties their floors together. `site` leads from the yaml's folder to the clips'."""
    zones = [camera.zone for camera in cameras]
    command = (
        f"simulate video --seed {settings.seed} --cameras {settings.cameras} --overlapping {settings.overlapping} "
        f"--people {settings.people} --seconds {settings.seconds:g} --fps {settings.fps} "
        f"--places {','.join(settings.places)} --hour {settings.hour} "
        f"--between {settings.between_s[0]:g} {settings.between_s[1]:g}"
    )
    lines = [f"# python -m pipeline {command}", "cameras:" if cameras else "cameras: []"]
    for camera in cameras:
        lines += [
            f"  - id: {camera.name}",
            f"    source: {site}{camera.name}.mp4",
            f"    ground_truth: {site}ground_truth/{camera.name}.csv",
        ]
        if zones.count(camera.zone) > 1:
            lines += ["    calibration:", "      intrinsic:", *_matrix_lines(camera.camera.intrinsic)]
            lines += [f"      distortion: {_numbers(camera.camera.distortion)}", "      world_to_camera:"]
            lines += _matrix_lines(camera.camera.world_to_camera)
    return "\n".join(lines) + "\n"


def _truth_lines(camera: str, frame: int, fps: float, pids: Any, truth: Truth) -> list[str]:
    lines = []
    for row in np.flatnonzero(truth.visibility >= LEAST_VISIBILITY):
        left, top, right, bottom = truth.box_xyxy[row]
        x, y = truth.ground_xy[row]
        box = f"{left:.1f},{top:.1f},{right - left:.1f},{bottom - top:.1f}"
        pid, visibility = pids[truth.row[row]], truth.visibility[row]
        lines.append(f"{frame / fps:.3f},{camera},{frame},{pid},{box},{visibility:.3f},{x:.3f},{y:.3f}")
    return lines


def _matrix_lines(matrix: Float64) -> list[str]:
    return [f"        - {_numbers(row)}" for row in matrix]


def _numbers(row: Float64) -> str:
    return "[" + ", ".join(repr(round(float(value), 10) + 0.0) for value in row) + "]"
