"""`python -m pipeline settings`."""

from __future__ import annotations


def settings() -> None:
    """Print every key of cams.yaml and pipeline.yaml with its default and meaning, as Markdown."""
    from pipeline.reference import settings_reference

    print(settings_reference(), end="")
