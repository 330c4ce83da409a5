"""The cameras' artists and a short site, made once for the whole room."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tiny_site.draw import Artist
from tests.tiny_site.site import CAMERAS
from tests.tiny_site.tiny import write_tiny_site

SECONDS = 2.0


@pytest.fixture(scope="session")
def artists() -> dict[str, Artist]:
    return {camera.name: Artist(camera) for camera in CAMERAS}


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site of two seconds, seed 0."""
    folder = tmp_path_factory.mktemp("site")
    write_tiny_site(folder, seed=0, seconds=SECONDS)
    return folder
