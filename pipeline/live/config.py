"""Settings of the live endpoint."""

from __future__ import annotations

from ipaddress import ip_address

from pydantic import Field

from pipeline.settings import Settings


class LiveConfig(Settings):
    """Where the figures of a run can be read while it goes on.

    On an address that other machines can reach, every request needs the token.
    """

    host: str = Field("127.0.0.1", description="address to listen on; other machines reach 0.0.0.0, this one 127.0.0.1")
    port: int = Field(9464, ge=0, le=65535, description="port to listen on; 0: any that is free")
    token_env: str = Field(
        "CROSSCAM_TOKEN", description="environment variable with the token; where it is not set, nothing can be changed"
    )
    stalled_s: float = Field(10.0, gt=0, description="a run without a finished tick for so long is not healthy")
    max_clients: int = Field(16, ge=1, le=1024, description="requests answered at once; more are turned away")

    @property
    def is_private(self) -> bool:
        """Whether only this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False
