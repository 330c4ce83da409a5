"""Nodes on their way to another process."""

from __future__ import annotations

import pickle
from collections.abc import Sequence

from pipeline.runtime.chain import Node


def pickled(nodes: Sequence[Node], message: object) -> bytes:
    """`message`, which holds `nodes`, for another process. Raises ValueError where a factory can not go there."""
    for node in nodes:
        try:
            pickle.dumps(node)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise ValueError(
                f"node {node.name}: its factory can not be sent to another process ({error}); "
                "make it an importable function or class, or a functools.partial of one"
            ) from error
    return pickle.dumps(message)
