"""JSON files written whole: `run.json` and the like."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.sinks.files import AtomicFile


def write_json_atomically(path: Path, payload: Mapping[str, Any]) -> None:
    """Write `payload` as indented JSON, keys in their order, in one step. Numbers that JSON lacks become null.

    Paths become text, numpy scalars and arrays numbers and lists, sets sorted lists. Raises OutputError where the
    file can not be written and TypeError for a value that has no place in JSON; an earlier file then stays.
    """
    text = json_text(payload)
    with AtomicFile(path) as file:
        file.write(text)


def json_text(payload: Mapping[str, Any]) -> str:
    """`payload` as `write_json_atomically` writes it."""
    return json.dumps(_plain(payload), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return float(value) if math.isfinite(value) else None
        case np.generic() | np.ndarray():
            return _plain(value.tolist())
        case Path():
            return str(value)
        case Mapping():
            return {str(key): _plain(entry) for key, entry in value.items()}
        case list() | tuple():
            return [_plain(entry) for entry in value]
        case set() | frozenset():
            return [_plain(entry) for entry in sorted(value)]
        case _:
            raise TypeError(f"run.json: no JSON for {type(value).__name__}")
