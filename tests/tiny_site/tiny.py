"""Draw the tiny site: `python -m tests.tiny_site.tiny FOLDER`.

A hall with two overlapping calibrated cameras and a corridor with an uncalibrated one; six drawn people walk
between them. Clips, imperfect detections, ground truth and the two configuration files of a run. It is a drawing,
made so that the whole pipeline can be tried without any other material: scores on it say little about real streets.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np

from pipeline.types import Float64, UInt8
from tests.tiny_site.draw import Artist, View
from tests.tiny_site.imperfect import detect_imperfectly
from tests.tiny_site.site import CAMERAS, Camera
from tests.tiny_site.world import FPS, walk

_log = logging.getLogger(__name__)

TRUTH_COLUMNS = "time_s,camera,frame,global_id,left,top,width,height,visibility,ground_x,ground_y"
DETECTION_COLUMNS = "camera,frame,left,top,width,height,score"
LEAST_VISIBILITY = 0.2
"""A person of whom less is seen is no row of the ground truth."""

_CODEC_OPTIONS = {"crf": "25", "preset": "veryfast", "threads": "1", "x264-params": "keyint=50"}


def write_tiny_site(folder: Path, seed: int = 0, seconds: float = 24.0) -> None:
    """Draw the site into `folder`, which is made; files that are there are replaced.

    `<camera>.mp4` (640x360, 10 frames/s), `detections/<camera>.csv`, `ground_truth/<camera>.csv`, `cams.yaml` and
    `pipeline.yaml`. The same seed gives the same bytes in every text file and the same pixels before coding.
    Raises ValueError where `seconds` is shorter than one frame, OSError where `folder` can not be written.
    """
    num_frames = round(seconds * FPS)
    if num_frames < 1:
        raise ValueError(f"seconds: {seconds} is shorter than one frame ({1 / FPS} s)")
    for part in ("detections", "ground_truth"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    moments = list(walk(seed, num_frames))
    for camid, camera in enumerate(CAMERAS):
        artist = Artist(camera)
        noise_rng, detector_rng = (np.random.default_rng([seed, 1000 + camid, part]) for part in range(2))
        truth, detections = [TRUTH_COLUMNS], [DETECTION_COLUMNS]
        with _Clip(folder / f"{camera.name}.mp4", camera) as clip:
            for moment in moments:
                view = artist.view(moment, noise_rng)
                clip.write(view.image)
                truth += _truth_lines(camera.name, moment.frame_idx, view)
                found = detect_imperfectly(view, detector_rng)
                detections += _detection_lines(camera.name, moment.frame_idx, found)
        _write_text(folder / "ground_truth" / f"{camera.name}.csv", truth)
        _write_text(folder / "detections" / f"{camera.name}.csv", detections)
        _log.info("drew %s: %d frames", camera.name, num_frames)
    _write_text(folder / "cams.yaml", cams_yaml_lines())
    _write_text(folder / "pipeline.yaml", pipeline_yaml_lines())


class _Clip:
    """An H.264 file that is being written."""

    def __init__(self, path: Path, camera: Camera) -> None:
        self._container = av.open(str(path), "w", options={"fflags": "+bitexact"})
        stream = self._container.add_stream("libx264", rate=FPS, options=_CODEC_OPTIONS)
        stream.width, stream.height, stream.pix_fmt = camera.width_px, camera.height_px, "yuv420p"
        self._stream = stream

    def __enter__(self) -> _Clip:
        return self

    def __exit__(self, *exc: object) -> None:
        try:
            if exc[0] is None:
                self._container.mux(self._stream.encode(None))
        finally:
            self._container.close()

    def write(self, image: UInt8) -> None:
        self._container.mux(self._stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))


def _truth_lines(camera: str, frame_idx: int, view: View) -> list[str]:
    lines = []
    for row in np.flatnonzero(view.visibility >= LEAST_VISIBILITY):
        left, top, right, bottom = view.full_xyxy[row]
        x, y = view.ground_xy[row]
        box = f"{left:.1f},{top:.1f},{right - left:.1f},{bottom - top:.1f}"
        ground = f"{x:.3f},{y:.3f}"
        person = view.person[row] + 1
        lines.append(f"{frame_idx / FPS:.3f},{camera},{frame_idx},{person},{box},{view.visibility[row]:.3f},{ground}")
    return lines


def _detection_lines(camera: str, frame_idx: int, found: Float64) -> list[str]:
    return [f"{camera},{frame_idx},{r[0]:.1f},{r[1]:.1f},{r[2]:.1f},{r[3]:.1f},{r[4]:.3f}" for r in found]


def cams_yaml_lines(site: str = "") -> list[str]:
    """cams.yaml for the drawn cameras; `site` leads from the yaml's folder to the site's, with a slash at its end."""
    lines = ["pipeline: pipeline.yaml", "cameras:"]
    for camera in CAMERAS:
        lines += [
            f"  - id: {camera.name}",
            f"    source: {site}{camera.name}.mp4",
            f"    ground_truth: {site}ground_truth/{camera.name}.csv",
        ]
        if camera.calibrated:
            lines += ["    calibration:", "      intrinsic:", *_matrix_lines(camera.intrinsic)]
            lines += [f"      distortion: {_numbers(camera.distortion)}"]
            lines += ["      world_to_camera:", *_matrix_lines(camera.world_to_camera)]
    return lines


def pipeline_yaml_lines(site: str = "") -> list[str]:
    """pipeline.yaml with the drawn site's detections and an appearance model that needs no weights."""
    return ["detect:", f"  model: {site}detections/{{camera}}.csv", "reid:", "  model: colour"]


def _matrix_lines(matrix: Float64) -> list[str]:
    return [f"        - {_numbers(row)}" for row in matrix]


def _numbers(row: Float64) -> str:
    """Every digit that the camera was made with (`look_at` keeps eight), always with a point."""
    return "[" + ", ".join(_number(float(value)) for value in row) + "]"


def _number(value: float) -> str:
    text = f"{value + 0.0:.8f}".rstrip("0")
    return f"{text}0" if text.endswith(".") else text


def _write_text(path: Path, lines: Sequence[str]) -> None:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.tiny_site.tiny", description="Draw the tiny site.")
    parser.add_argument("folder", type=Path, help="where to write; made where it is missing")
    parser.add_argument("--seed", type=int, default=0, help="another seed is another walk (default 0)")
    parser.add_argument("--seconds", type=float, default=24.0, help="length of the clips (default 24)")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    write_tiny_site(options.folder, options.seed, options.seconds)


if __name__ == "__main__":
    main()
