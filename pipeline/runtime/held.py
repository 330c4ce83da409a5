"""Items of which a large part stays where it was made, and is taken by the worker that stands beside it."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Held(Protocol):
    """An item that knows where its content is."""

    @property
    def where(self) -> Any:
        """What the runner finds the content by."""
        ...

    def whole(self, content: Any, /) -> Any:
        """The item with its content, as stages know it."""
        ...
