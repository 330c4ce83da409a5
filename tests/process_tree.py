"""Which processes a process has started, and those in turn."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


def descendants(of: int, name: str) -> list[int]:
    """Processes whose name begins so: the given one and all below it."""
    found: dict[int, tuple[str, int]] = {}
    for path in Path("/proc").glob("[0-9]*/status"):
        with suppress(OSError):
            lines = dict(line.split(":\t", 1) for line in path.read_text().splitlines() if ":\t" in line)
            found[int(path.parent.name)] = lines["Name"], int(lines["PPid"])

    def is_below(pid: int) -> bool:
        return pid == of or (pid in found and is_below(found[pid][1]))

    return [pid for pid, (its_name, _) in found.items() if its_name.startswith(name) and is_below(pid)]
