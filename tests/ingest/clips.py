"""Small clips drawn for the tests, and a server that streams them. A frame's grey tells its index."""

from __future__ import annotations

import time
from collections.abc import Sequence
from fractions import Fraction
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import av
import cv2
import numpy as np

from tests.loopback import LoopbackServer

GREY_STEP = 8


def picture(index: int, width: int, height: int) -> np.ndarray:
    """Grey by index, with a bright block at the top left corner so that up and left can be told."""
    image = np.full((height, width, 3), 16 + GREY_STEP * (index % 26), np.uint8)
    image[: height // 4, : width // 4] = 255
    return image


def index_of(image: np.ndarray) -> int:
    """The index (modulo 26) that `picture` wrote, read back from the lower right."""
    height, width = image.shape[:2]
    return round((float(image[height // 2 :, width // 2 :].mean()) - 16) / GREY_STEP)


def make_clip(
    path: Path,
    num_frames: int = 20,
    fps: int = 10,
    *,
    size: tuple[int, int] = (64, 48),
    pts: Sequence[int] | None = None,
    rotation: int = 0,
    codec: str = "mpeg4",
    options: dict[str, str] | None = None,
) -> Path:
    """Write a clip; `pts` in units of 1/fps s gives it a variable rate."""
    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream(codec, rate=fps)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.gop_size = 5
        stream.bit_rate = 400_000
        if rotation:
            stream.set_display_rotation(rotation)
        for i in range(num_frames if pts is None else len(pts)):
            frame = av.VideoFrame.from_ndarray(picture(i, *size), format="bgr24")
            frame.pts = i if pts is None else pts[i]
            frame.time_base = Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def make_folder(path: Path, num_pictures: int, *, size: tuple[int, int] = (64, 48)) -> Path:
    """img1.png, img2.png, ..., whose alphabetical order is wrong from 10 on."""
    path.mkdir()
    for i in range(num_pictures):
        cv2.imwrite(str(path / f"img{i + 1}.png"), picture(i, *size))
    return path


class ClipServer(LoopbackServer):
    """Streams clips over HTTP on loopback, one per connection and then 404, without a length, and closes."""

    def __init__(self, clips: Sequence[bytes], *, seconds_per_clip: float = 0.0) -> None:
        left = list(clips)

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if not left:
                    self.send_error(404)
                    return
                data = left.pop(0)
                self.send_response(200)
                self.send_header("Content-Type", "video/mp2t")
                self.send_header("Connection", "close")
                self.end_headers()
                step = max(1, len(data) // 20)
                try:
                    for at in range(0, len(data), step):
                        self.wfile.write(data[at : at + step])
                        time.sleep(seconds_per_clip / 20)
                except OSError:
                    pass

            def log_message(self, *args: object) -> None:
                pass

        super().__init__(Handler)

    def url(self, user_info: str = "", query: str = "") -> str:
        return f"{self.address(user_info)}/live.ts{query}"
