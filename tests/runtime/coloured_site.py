"""A simulated site of many cameras as the files of a run: films in which everybody is a rectangle in two colours.

Detections are the simulator's (missed, doubled and false ones among them), so that no network is needed.
"""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np

from pipeline.simulate.formats import write_site_run
from pipeline.simulate.ready_sites import corridor
from pipeline.simulate.run import SiteRun, simulate_site
from pipeline.types import UInt8


def write_coloured_site(
    folder: Path,
    num_cameras: int,
    seconds: float,
    *,
    fps: float = 4.0,
    rate: float = 1.5,
    size: tuple[int, int] = (320, 180),
) -> Path:
    """Films, detections and configuration in `folder` -> its cams.yaml, which names pipeline.yaml."""
    site = corridor(num_cameras, rate_per_s=rate, gap_s=2.0)
    small = {"width_px": size[0], "height_px": size[1], "fps": fps}
    cameras = tuple(camera.model_copy(update=small) for camera in site.cameras)
    run = simulate_site(site.model_copy(update={"cameras": cameras}), seconds, seed=3)
    write_site_run(run, folder)
    for camid, camera in enumerate(cameras):
        with av.open(str(folder / f"{camera.id}.mp4"), "w") as film:
            options = {"preset": "ultrafast", "g": "10", "threads": "1"}
            stream = film.add_stream("libx264", rate=round(fps), options=options)
            stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
            for image in _pictures(run, camid, round(seconds * fps), size):
                film.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
            film.mux(stream.encode(None))
    cams = folder / "cams.yaml"
    cams.write_text("pipeline: pipeline.yaml\n" + cams.read_text(encoding="utf-8"), encoding="utf-8")
    text = "detect: {model: 'detections/{camera}.txt'}\nreid: {model: colour}\noutput: {report: false}\n"
    (folder / "pipeline.yaml").write_text(text, encoding="utf-8")
    return cams


def _pictures(run: SiteRun, camid: int, num_frames: int, size: tuple[int, int]) -> list[UInt8]:
    images = [np.full((size[1], size[0], 3), 90 + 5 * camid, np.uint8) for _ in range(num_frames)]
    truth = run.truth[run.truth.camid == camid]
    for frame_idx, pid, box in zip(truth.frame_idx.tolist(), truth.pid.tolist(), truth.xyxy.tolist(), strict=True):
        left, top, right, bottom = (max(0, round(side)) for side in box)
        clothes = np.random.default_rng(pid).integers(0, 255, (2, 3), dtype=np.uint8)
        middle = (top + bottom) // 2
        images[frame_idx][top:middle, left:right] = clothes[0]
        images[frame_idx][middle:bottom, left:right] = clothes[1]
    return images
