"""The documentation of the keys is what the models say."""

from __future__ import annotations

from pathlib import Path

from pipeline.reference import settings_reference

DOCS = Path(__file__).resolve().parents[1] / "docs/configuration.md"


def test_the_configuration_page_ends_with_the_tables_of_the_models() -> None:
    assert DOCS.read_text().endswith(settings_reference()), "run: python -m pipeline settings, and put it there"


def test_every_key_has_a_meaning() -> None:
    rows = [line for line in settings_reference().splitlines() if line.startswith("| `")]
    assert len(rows) > 50
    assert all(row.split("|")[3].strip() for row in rows)
