"""Settings of the journal."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipeline.settings import Settings


class JournalConfig(Settings):
    """How safe the journal is, and how much of it is kept."""

    fsync: Literal["always", "interval", "never"] = Field(
        "interval",
        description="when entries are forced to disk: after each, every fsync_interval_s, or when the system likes; "
        "a process that is killed loses nothing in any case, only a machine that loses power does",
    )
    fsync_interval_s: float = Field(
        1.0, gt=0, le=3600, description="what a loss of power may cost with fsync: interval"
    )
    segment_bytes: int = Field(
        16 << 20, ge=4096, le=1 << 31, description="a new file is begun when one has grown so large"
    )
    retention_s: float | None = Field(
        None, gt=0, description="entries that are older than this by their event time are removed, file by file"
    )
    retention_bytes: int | None = Field(None, ge=4096, description="the oldest files are removed beyond this size")
