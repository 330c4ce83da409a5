"""What an embedder is."""

from __future__ import annotations

from typing import Protocol

from pipeline.types import Clips, Embeddings


class Embedder(Protocol):
    """Turns clips into appearance vectors; stateless, batched over cameras and tracklets."""

    @property
    def clip_length(self) -> int:
        """T, the number of crops it takes per clip."""
        ...

    @property
    def input_hw(self) -> tuple[int, int]:
        """Height and width of a crop in pixels."""
        ...

    @property
    def dim(self) -> int:
        """D, the length of a vector."""
        ...

    def embed(self, clips: Clips) -> Embeddings:
        """One unit vector per clip, in order. Raises ValueError where the crops have another size."""
        ...
