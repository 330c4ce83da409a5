"""What the journal asks of the file system, in one place, so that a test can pull the plug at each step."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol


class Disk(Protocol):
    def write(self, descriptor: int, data: bytes | memoryview) -> int:
        """Write some of the data at the end of the file -> how many bytes."""
        ...

    def fsync(self, descriptor: int) -> None: ...

    def truncate(self, descriptor: int, num_bytes: int) -> None: ...

    def create(self, path: Path) -> int:
        """A new file, open for appending."""
        ...

    def replace(self, source: Path, target: Path) -> None: ...

    def unlink(self, path: Path) -> None: ...


class RealDisk:
    """The operating system."""

    def write(self, descriptor: int, data: bytes | memoryview) -> int:
        return os.write(descriptor, data)

    def fsync(self, descriptor: int) -> None:
        os.fsync(descriptor)

    def truncate(self, descriptor: int, num_bytes: int) -> None:
        os.ftruncate(descriptor, num_bytes)

    def create(self, path: Path) -> int:
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)

    def replace(self, source: Path, target: Path) -> None:
        os.replace(source, target)

    def unlink(self, path: Path) -> None:
        path.unlink()


def write_all(disk: Disk, descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[disk.write(descriptor, rest) :]


def sync_folder(disk: Disk, folder: Path) -> None:
    """Make new and removed names of a folder last."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        disk.fsync(descriptor)
    finally:
        os.close(descriptor)
