"""What a stage remembers as bytes, and back: graphs of plain objects, with all that they share kept shared.

The bytes are a pickle (protocol 5) of a small dialect. Reading it builds nothing but containers, numbers, numpy arrays
and generators, and objects of classes that were defined in the modules that the reader allows; everything else is
refused before it is imported. So a file that was tampered with, or is none of ours, does no more than raise an error.

What can not be saved (open files, threads, compiled code) must not hang on the objects; a module that does is written
by its name and found again.
"""

from __future__ import annotations

import builtins
import collections
import functools
import importlib
import io
import pickle
import types
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

VALUE_MODULES = "pipeline.types", "pipeline.settings", "pipeline.geometry."
"""What a state of any room may hold: to be allowed beside the modules of that room."""

_BUILTINS = frozenset(("set", "frozenset", "bytearray", "complex", "slice", "range"))
_COLLECTIONS = frozenset(("deque", "OrderedDict", "defaultdict", "Counter"))
_NUMPY = frozenset(
    (
        *(("numpy", "ndarray"), ("numpy", "dtype")),
        *(("numpy._core.numeric", "_frombuffer"), ("numpy._core.multiarray", "_reconstruct")),
        *(("numpy._core.multiarray", "scalar"), ("numpy.random._pickle", "__generator_ctor")),
        *(("numpy.random._pickle", "__bit_generator_ctor"), ("numpy.random._pcg64", "PCG64")),
        ("numpy.random.bit_generator", "SeedSequence"),
        ("numpy.random.bit_generator", "__pyx_unpickle_SeedSequence"),
    )
)
_OLD_NUMPY = {"numpy.core.numeric": "numpy._core.numeric", "numpy.core.multiarray": "numpy._core.multiarray"}


class StateError(ValueError):
    """A state that can not be written, or not be read back. The message says what stands in the way."""


def save_state(value: Any) -> bytes:
    """The graph of objects below `value`. Raises StateError for one that holds what can not be saved."""
    file = io.BytesIO()
    pickler = pickle.Pickler(file, protocol=5)
    pickler.dispatch_table = {types.ModuleType: _by_name}
    try:
        pickler.dump(value)
    except (pickle.PicklingError, TypeError, AttributeError, RecursionError) as error:
        raise StateError(f"this state can not be saved: {error}") from error
    return file.getvalue()


def load_state(data: bytes, allowed: Sequence[str]) -> Any:
    """The graph that `save_state` gave as bytes.

    allowed: the modules whose classes may be built; a name that ends in a dot stands for all modules of a package.
    Raises StateError for bytes that are damaged, or that name anything else.
    """
    try:
        return _Reader(io.BytesIO(data), tuple(allowed)).load()
    except StateError:
        raise
    except Exception as error:  # hostile or damaged bytes may fail in any way
        raise StateError(f"this saved state is damaged: {type(error).__name__}: {error}") from error


class _Reader(pickle.Unpickler):
    """Finds nothing but what is allowed."""

    def __init__(self, file: io.BytesIO, allowed: tuple[str, ...]) -> None:
        super().__init__(file)
        self._allowed = allowed

    def find_class(self, module: str, name: str) -> Any:
        module = _OLD_NUMPY.get(module, module)
        if module == "builtins" and name in _BUILTINS:
            return getattr(builtins, name)
        if module == "collections" and name in _COLLECTIONS:
            return getattr(collections, name)
        if (module, name) in _NUMPY:
            found = getattr(importlib.import_module(module), name)
            return functools.partial(_owned, found) if name == "_frombuffer" else found
        if (module, name) == (__name__, _module.__name__):
            return functools.partial(_module, self._allowed)
        if _is_allowed(module, self._allowed) and "." not in name:
            found = getattr(importlib.import_module(module), name, None)
            if isinstance(found, type) and found.__module__ == module:
                return found
        raise StateError(f"this saved state names {module}.{name}, which has no place in one; it is none of ours")


def _owned(read: Callable[..., np.ndarray], *arguments: Any) -> np.ndarray:
    """An array whose memory is its own, not the bytes that were read: only such a one can be lengthened in place."""
    found = read(*arguments)
    own = found.copy(order="K")
    own.flags.writeable = found.flags.writeable
    return own


def _by_name(module: types.ModuleType) -> tuple[Callable[..., Any], tuple[str]]:
    return _module, (module.__name__,)


def _module(*arguments: Any) -> types.ModuleType:
    """The module of a name, given what is allowed."""
    allowed, name = arguments
    if not isinstance(name, str) or not _is_allowed(name, allowed):
        raise StateError(f"this saved state names the module {name!r}, which has no place in one")
    return importlib.import_module(name)


def _is_allowed(module: str, allowed: tuple[str, ...]) -> bool:
    return any(module.startswith(one) if one.endswith(".") else module == one for one in allowed)
