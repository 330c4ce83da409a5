"""What holds for all tests: no machine is too slow for a property."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("crosscam", deadline=None)
settings.load_profile("crosscam")
