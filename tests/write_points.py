"""Every call by which a run changes its output folder, one after the other, as a moment to be killed.

    point = WritePoints(folder, die_at=17, told=descriptor).install()

The process gets SIGKILL right before the call of that number: no buffer is flushed and no `finally` is run. With
`torn`, half of the bytes are written first, where the call writes bytes. Each call's kind is sent to `told`, so that
who waits for the process knows where it ended.
"""

from __future__ import annotations

import builtins
import io
import os
import re
import shutil
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.sinks.files import AtomicFile

_CREATES = os.O_CREAT | os.O_TRUNC
_BY_DESCRIPTOR = ("write", "fsync", "ftruncate")
_BY_PATH = ("replace", "rename", "truncate", "unlink", "remove", "mkdir", "rmdir")


class WritePoints:
    """Counts the calls that change `folder`. One per process, which is changed for good."""

    def __init__(self, folder: Path, die_at: int, told: int, *, torn: bool = False) -> None:
        self.number = 0
        self._folder = str(folder.resolve())
        self._die_at = die_at
        self._told = told
        self._torn = torn
        self._lock = threading.Lock()
        self._write = os.write

    def install(self) -> WritePoints:
        for name in _BY_DESCRIPTOR:
            setattr(os, name, self._watched(name, getattr(os, name), lambda a, _: os.readlink(f"/proc/self/fd/{a[0]}")))
        for name in _BY_PATH:
            setattr(os, name, self._watched(name, getattr(os, name), lambda a, _: a[0]))
        os.open = self._watched("create", os.open, lambda a, _: a[0] if a[1] & _CREATES else None)
        opened = self._watched("create", io.open, _path_to_write)
        io.open = builtins.open = opened
        shutil.copyfile = self._watched("copy", shutil.copyfile, lambda a, _: a[1])
        for name in ("write", "flush"):
            call = self._watched(f"text {name}", getattr(AtomicFile, name), lambda a, _: a[0].temporary)
            setattr(AtomicFile, name, call)
        return self

    def _watched(self, name: str, call: Callable[..., Any], path_of: Callable[[Any, Any], Any]) -> Callable[..., Any]:
        def wrapper(*arguments: Any, **named: Any) -> Any:
            path = path_of(arguments, named)
            if path is not None and not isinstance(path, int) and self._is_mine(path):
                self._pass(name, os.fspath(path), call, arguments)
            return call(*arguments, **named)

        return wrapper

    def _is_mine(self, path: Any) -> bool:
        full = os.path.abspath(os.fspath(path))
        return full == self._folder or full.startswith(self._folder + os.sep)

    def _pass(self, name: str, path: str, call: Callable[..., Any], arguments: Any) -> None:
        with self._lock:
            self.number += 1
            if self.number != self._die_at:
                return
            place = os.path.relpath(os.path.abspath(path), self._folder)
            self._write(self._told, f"{name} {re.sub(r'[0-9]+', '*', place)}".encode())
            if self._torn and name == "write":
                call(arguments[0], memoryview(arguments[1])[: len(arguments[1]) // 2])
            if self._torn and name == "text write":
                call(arguments[0], arguments[1][: len(arguments[1]) // 2])
                arguments[0]._file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
            threading.Event().wait()  # the signal is on its way


def _path_to_write(arguments: Any, named: Any) -> Any:
    mode = arguments[1] if len(arguments) > 1 else named.get("mode", "r")
    return arguments[0] if set(mode) & set("wax+") else None
