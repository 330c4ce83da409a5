"""Settings of the ingest room."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipeline.settings import Settings


class IngestConfig(Settings):
    """How cameras are read and put on one clock."""

    tick_s: float | None = Field(
        None, gt=0, le=60, description="length of a tick; unset: the frame interval of the fastest camera"
    )
    policy: Literal["auto", "wait", "drop_oldest"] = Field(
        "auto",
        description="when the pipeline is slower than the cameras: wait (nothing is lost) or drop the oldest frames; "
        "auto waits for files and folders and drops for live cameras; drop_oldest plays files in real time",
    )
    max_fps: float | None = Field(None, gt=0, le=1000, description="take at most this many frames a second per camera")
    buffer_frames: int = Field(8, ge=1, le=1024, description="decoded frames kept ahead per source")
    decode_threads: int | None = Field(
        None, ge=1, le=64, description="decoder threads per source; unset: the processor's cores shared by the sources"
    )
    open_timeout_s: float = Field(10.0, gt=0, le=600, description="how long a stream may take to open")
    read_timeout_s: float = Field(10.0, gt=0, le=600, description="a stream silent for so long is taken as lost")
    reconnect_first_s: float = Field(0.5, gt=0, le=600, description="wait before the first new try; doubles each time")
    reconnect_max_s: float = Field(30.0, gt=0, le=3600, description="longest wait between two tries")
    reconnect_give_up_s: float | None = Field(
        None, gt=0, description="a live camera lost for so long has failed; unset: it is tried for ever"
    )
    max_wait_s: float = Field(0.2, ge=0, le=60, description="how long a tick waits for slower live cameras")
    rtsp_transport: Literal["tcp", "udp"] = Field("tcp", description="how RTSP cameras send their pictures")
