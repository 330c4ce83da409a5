"""Where the real footage for checks lies, beside the project; tests skip with a reason where it is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[1].parent / "shared"


def needs_shared(*relative: str) -> pytest.MarkDecorator:
    """A mark that skips a test unless every named file stands under `../shared`."""
    missing = [r for r in relative if not (SHARED / r).exists()]
    return pytest.mark.skipif(bool(missing), reason=f"needs real footage: ../shared/{', ../shared/'.join(missing)}")
