"""Settings of the live endpoint."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

from pydantic import Field

from pipeline.settings import Settings


class LiveConfig(Settings):
    """Where the figures of a run can be read while it goes on.

    On an address that other machines can reach, every request needs the token.
    """

    serve: bool = Field(False, description="serve /health and /metrics; --live PORT does so too")
    host: str = Field("127.0.0.1", description="address to listen on; other machines reach 0.0.0.0, this one 127.0.0.1")
    port: int = Field(9464, ge=0, le=65535, description="port to listen on; 0: any that is free")
    token_env: str = Field(
        "CROSSCAM_TOKEN", description="environment variable with the token; without a token nothing can be changed"
    )
    token_file: str | None = Field(None, description="file with the token, in place of the environment variable")
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


def live_config(config: LiveConfig, port: int | None, base_dir: Path) -> LiveConfig | None:
    """The settings to serve with, None where nobody asked for it. port: asked for at the prompt. base_dir: of paths."""
    if port is None and not config.serve:
        return None
    token_file = str(base_dir / Path(config.token_file).expanduser()) if config.token_file else None
    return config.model_copy(update={"port": config.port if port is None else port, "token_file": token_file})
