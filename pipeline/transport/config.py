"""Settings of the transport."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from pipeline.settings import Settings

_FORBIDDEN = set(" \t\r\n*?[]{}\x00")


def _plain(name: str) -> str:
    if not name or len(name) > 128 or _FORBIDDEN & set(name):
        raise ValueError("want 1 to 128 characters without blanks, *, ?, [, ], { or }")
    return name


Name = Annotated[str, AfterValidator(_plain)]


class RedisConfig(Settings):
    """A Redis server (7 or later) that carries tracklets and events.

    The address may hold a password: it is shown nowhere.
    """

    url: str = Field(
        "redis://127.0.0.1:6379/0",
        repr=False,
        description="redis://[user:password@]host:port/db, rediss:// for TLS, or unix:///path/to/socket",
    )
    site: Name = Field("site", description="name of the site; part of the streams' names")
    retention_s: float = Field(
        3600.0, gt=0, description="entries whose event time is this much older than the newest are trimmed"
    )
    max_message_bytes: int = Field(1 << 20, ge=1024, le=64 << 20, description="larger messages are refused")
    spool_messages: int = Field(
        10_000, ge=1, description="messages kept while the server is away; beyond it the oldest are dropped and counted"
    )
    close_wait_s: float = Field(5.0, ge=0, description="how long the end of a run waits for a server that is away")
    takeover_s: float = Field(
        10.0, ge=0, description="messages that another reader took and did not finish are taken over after so long"
    )
    timeout_s: float = Field(5.0, gt=0, le=600, description="a server that is silent for so long is taken as away")

    def tracklet_stream(self, edge: str) -> str:
        """The stream of one edge box's tracklets."""
        return f"crosscam:{self.site}:tracklets:{_plain(edge)}"

    @property
    def event_stream(self) -> str:
        return f"crosscam:{self.site}:events"
