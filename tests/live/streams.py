"""Live cameras on loopback: streams that never end, at the pace of the footage, and what is seen in them."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import TracebackType

from tests.ingest.clips import make_clip
from tests.loopback import LoopbackServer

FPS = 10
_SECONDS = 60
_STEP_S = 0.05


class Cameras(LoopbackServer):
    """An HTTP server that streams a minute of video per connection, in real time, under any path."""

    def __init__(self, folder: Path) -> None:
        clip = make_clip(folder / "live.ts", _SECONDS * FPS, FPS, size=(128, 96), codec="mpeg2video").read_bytes()
        step = int(len(clip) * _STEP_S / _SECONDS) // 188 * 188
        closing = self._closing = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "video/mp2t")
                self.end_headers()
                started_s = time.monotonic()
                try:
                    for number, at in enumerate(range(0, len(clip), step)):
                        if closing.wait(max(0.0, started_s + number * _STEP_S - 1.0 - time.monotonic())):
                            return
                        self.wfile.write(clip[at : at + step])
                except OSError:
                    pass

            def log_message(self, *args: object) -> None:
                pass

        super().__init__(Handler)

    def url(self, name: str, user_info: str = "") -> str:
        return f"{self.address(user_info)}/{name}.ts"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        super().__exit__(kind, error, trace)


def write_people(folder: Path, names: Sequence[str], num_frames: int = 600) -> None:
    """Detections: somebody in each camera who stays for two seconds, then the next one, for ever."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        lines = ["camera,frame,left,top,width,height,score"]
        lines += [
            f"{name},{frame},{5 + 60 * (frame // 30 % 2) + frame % 30},20,30,70,0.9"
            for frame in range(num_frames)
            if frame % 30 < 20
        ]
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
