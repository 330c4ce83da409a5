"""What can be asked of a run over HTTP: its cameras changed while it goes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NoReturn, Protocol

MAX_BODY_BYTES = 1 << 16


class RefusedError(ValueError):
    """What was asked for can not be done; nothing has changed. The message is for who asked, free of credentials.

    `status` is the answer: 400 for an entry that is wrong, 404 for a camera that is not there, 409 for what does not
    fit this run.
    """

    def __init__(self, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.status = status


class Changes(Protocol):
    """Adds and removes cameras. Each says what was done, and raises RefusedError where it can not be."""

    def reload(self) -> str:
        """Read the cameras' file again: those that are new are added, those that are no longer there removed."""
        ...

    def add(self, entry: Mapping[str, Any]) -> str:
        """One camera more, from an entry as in the cameras' file."""
        ...

    def remove(self, name: str) -> str: ...


def body_length(text: str | None) -> int:
    """Of a header Content-Length. Raises RefusedError."""
    if text is None:
        raise RefusedError("want a body with its Content-Length", 411)
    if not (text.isascii() and text.isdigit()):
        raise RefusedError("Content-Length: want a number")
    if len(text) > 18 or int(text) > MAX_BODY_BYTES:
        raise RefusedError(f"a body may have {MAX_BODY_BYTES} bytes", 413)
    return int(text)


def entry_of(body: bytes) -> dict[str, Any]:
    """A camera's entry from the JSON of a request. Raises RefusedError, which quotes nothing of it."""
    try:
        entry = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise RefusedError("want a JSON object, a camera as in cams.yaml") from None
    if not isinstance(entry, dict):
        raise RefusedError("want a JSON object, a camera as in cams.yaml")
    return entry


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)
