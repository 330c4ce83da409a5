from __future__ import annotations

import pytest

from pipeline.simulate.drawn.device import NoDrawingDeviceError
from pipeline.simulate.drawn.jobs import worker_renderer
from pipeline.simulate.drawn.renderer import Renderer


@pytest.fixture(scope="session")
def renderer() -> Renderer:
    """One sample per pixel; skips where nothing can be drawn."""
    try:
        return worker_renderer(1)
    except NoDrawingDeviceError as error:
        pytest.skip(str(error))
