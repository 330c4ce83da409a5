"""What a run shows on the terminal: a live table while it goes, a closing table at its end."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pipeline.ingest.status import CameraStatus
from pipeline.report import Progress, RunReport

_PLAIN_PERIOD_S = 10.0
_STYLES = {
    "connecting": "cyan",
    "running": "green",
    "stopped": "green",
    "ended": "dim",
    "reconnecting": "yellow",
    "failed": "red",
    "removed": "dim",
}


class Display:
    """Shows the progress of a run: a table on a terminal, a line every ten seconds in a log file."""

    def __init__(self, console: Console, *, quiet: bool = False) -> None:
        self._console = console
        self._quiet = quiet
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        self._printed = time.perf_counter()
        self._speed = _Speed()

    def __enter__(self) -> Self:
        if self._live and not self._quiet:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def show(self, progress: Progress) -> None:
        if self._quiet:
            return
        if self._live:
            self._live.update(_progress_table(progress, self._speed.update(progress)), refresh=True)
        elif time.perf_counter() - self._printed >= _PLAIN_PERIOD_S:
            self._printed = time.perf_counter()
            frames = sum(camera.num_frames for camera in progress.cameras)
            self._console.print(
                f"{progress.wall_s:.0f} s: {frames} frames, {frames / progress.wall_s:.0f} camera-frames/s, "
                f"{sum(progress.live_people)} people visible, {progress.num_identities} identities",
                highlight=False,
            )


class _Speed:
    """Frames per second of each camera over about the last two seconds."""

    def __init__(self) -> None:
        self._since: tuple[float, tuple[int, ...]] | None = None
        self._fps: tuple[float, ...] = ()

    def update(self, progress: Progress) -> tuple[float, ...]:
        frames = tuple(camera.num_frames for camera in progress.cameras)
        if self._since is None:
            self._since, self._fps = (progress.wall_s, frames), (0.0,) * len(frames)
        elapsed = progress.wall_s - self._since[0]
        if elapsed >= 2.0 or not any(self._fps) or len(frames) > len(self._fps):
            before = (*self._since[1], *frames[len(self._since[1]) :])  # cameras may be added
            self._fps = tuple((n - m) / max(elapsed, 1e-9) for n, m in zip(frames, before, strict=True))
        if elapsed >= 2.0:
            self._since = (progress.wall_s, frames)
        return self._fps


def print_report(console: Console, report: RunReport) -> None:
    """Per camera what was read and found, and below it what the run came to."""
    table = Table()
    table.add_column("camera", overflow="fold")
    table.add_column("state")
    for head in ("frames", "dropped", "fps", "tracklets"):
        table.add_column(head, justify="right")
    table.add_column("note", overflow="fold")
    for camera, tracklets in zip(report.cameras, report.num_tracklets, strict=True):
        table.add_row(
            Text(camera.name),
            _state(camera),
            str(camera.num_frames),
            str(camera.num_dropped),
            f"{camera.num_frames / report.wall_s:.1f}",
            str(tracklets),
            Text(camera.message),
        )
    console.print(table)
    for line in (
        *(report.notes or (f"{report.num_identities} identities, {report.num_cross_camera_links} cross-camera links",)),
        f"{report.num_frames} camera-frames in {report.wall_s:.1f} s, {report.num_frames / report.wall_s:.1f} a second",
        f"Results: {report.output}",
    ):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _progress_table(progress: Progress, speed: tuple[float, ...]) -> Table:
    table = Table(caption=f"{progress.num_identities} identities, {progress.wall_s:.0f} s", caption_justify="left")
    table.add_column("camera", overflow="fold")
    table.add_column("state")
    for head in ("frames", "done", "fps", "lag s", "people"):
        table.add_column(head, justify="right")
    for camera, fps, people in zip(progress.cameras, speed, progress.live_people, strict=True):
        share = f"{camera.num_frames / camera.expected_frames:.0%}" if camera.expected_frames else ""
        lag = f"{camera.lag_s:.1f}" if camera.lag_s > 0 else ""
        table.add_row(Text(camera.name), _state(camera), str(camera.num_frames), share, f"{fps:.1f}", lag, str(people))
    return table


def _state(camera: CameraStatus) -> Text:
    return Text(camera.state, style=_STYLES.get(camera.state, ""))
