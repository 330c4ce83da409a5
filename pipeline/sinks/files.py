"""Files that appear under their final name only when they are whole.

While it grows a file is called `<name>.partial`. When it is whole it is written through to the disk (fsync) and
renamed in one step, so a reader sees the old file or the new one, never half of one. Where a run fails, the
`.partial` file stays: `pipeline.sinks.recovery.recover` makes whole files of what it holds. Files that are derived
from those at the end are called `<name>.closing` until they are whole; nothing is lost with them.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, TextIO

logger = logging.getLogger(__name__)

PARTIAL = ".partial"
CLOSING = ".closing"
JOURNAL_FOLDER = "journal"
PARTS_FOLDER = "parts"
TABLE_FILE = "global_tracks.csv"
_UNFINISHED = "unfinished"
_PROBE = ".write-test"
_PROBE_BYTES = 65_536

_REMEDIES = {
    errno.ENOSPC: "the disk is full; free some space or choose another output folder with --output",
    errno.EDQUOT: "the disk quota is used up; free some space or choose another output folder with --output",
    errno.EFBIG: "the file is larger than the file system allows; choose another output folder with --output",
    errno.EACCES: "no permission to write there; change it or choose another output folder with --output",
    errno.EPERM: "writing there is not permitted; choose another output folder with --output",
    errno.EROFS: "the file system is read-only; choose another output folder with --output",
    errno.ENOTDIR: "a part of the path is a file, not a folder; choose another output folder with --output",
    errno.EEXIST: "a file of that name is in the way; move it or choose another output folder with --output",
    errno.ENAMETOOLONG: "the name is too long for the file system; choose a shorter --output",
    errno.EMFILE: "too many open files; raise the limit with `ulimit -n`",
    errno.EIO: "the disk or the network share failed; check it or choose another output folder with --output",
}


class OutputError(Exception):
    """Results can not be written (or read back). The message names the file or folder, the reason and the remedy."""


def output_error(path: Path, error: OSError) -> OutputError:
    """`error` told in terms of the output `path`, with a remedy where the cause is known."""
    reason = error.strerror or str(error)
    remedy = _REMEDIES.get(error.errno or 0, "check the output folder or choose another one with --output")
    return OutputError(f"{path}: cannot write: {reason}: {remedy}")


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turn an OSError raised inside into an OutputError that names `path`."""
    try:
        yield
    except OSError as error:
        raise output_error(path, error) from error


def partial_path(path: Path) -> Path:
    """Where the file lives while it is not whole: the same folder, so that the rename is one step."""
    return path.with_name(path.name + PARTIAL)


def closing_path(path: Path) -> Path:
    """Where a file that is derived from `.partial` ones lives while it is not whole."""
    return path.with_name(path.name + CLOSING)


def publish(temporary: Path, final: Path) -> None:
    """Write `temporary` through to the disk and rename it to `final` in one step. Raises OutputError."""
    with naming(final):
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, final)
        _sync_folder(final.parent)


class AtomicFile:
    """A UTF-8 text file that gets its name when it is whole.

        with AtomicFile(path) as file:
            file.write("...")

    Leaving the block without an exception publishes the file. With one (Ctrl-C included: the writer may stand in
    the middle of a line) the `.partial` file stays for recovery, and an earlier file at `path` is untouched. A sink
    that only ever writes whole lines calls `publish()` itself. Raises OutputError where the disk does not take it.
    """

    def __init__(self, path: Path, *, temporary: Path | None = None, keep_bytes: int | None = None) -> None:
        """keep_bytes: go on behind so many bytes of the temporary file that is there."""
        self.path = path
        self.temporary = temporary or partial_path(path)
        with naming(self.temporary):
            self.temporary.parent.mkdir(parents=True, exist_ok=True)
            mode: Literal["w", "a"] = "w" if keep_bytes is None else "a"
            if keep_bytes is not None:
                _cut(self.path, self.temporary, keep_bytes)
            self._file: TextIO = self.temporary.open(mode, encoding="utf-8", newline="")

    def write(self, text: str) -> None:
        """Append `text`; it reaches the operating system with `flush`, or when the buffer is full."""
        try:
            self._file.write(text)
        except OSError as error:
            raise output_error(self.temporary, error) from error

    def flush(self) -> None:
        """Hand what was written to the operating system, so that it survives the end of this process."""
        try:
            self._file.flush()
        except OSError as error:
            raise output_error(self.temporary, error) from error

    def close(self) -> None:
        """Write through to the disk and close; the file keeps its temporary name."""
        if self._file.closed:
            return
        with naming(self.temporary):
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()

    def settle(self) -> int:
        """Write through to the disk what was written so far -> how many bytes the file has."""
        with naming(self.temporary):
            self._file.flush()
            os.fsync(self._file.fileno())
            return os.fstat(self._file.fileno()).st_size

    def publish(self) -> None:
        """Close and give the file its name."""
        self.close()
        publish(self.temporary, self.path)

    def abandon(self) -> None:
        """Close and keep the temporary name, on a disk that may have failed: raises nothing."""
        with contextlib.suppress(OSError):
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            try:
                self.publish()
            except BaseException:
                self.abandon()
                raise
        else:
            self.abandon()


def _cut(final: Path, temporary: Path, keep_bytes: int) -> None:
    """Leave `keep_bytes` of the temporary file of a run that was killed; where that run had got so far as to give it
    its name, of a copy."""
    source = temporary if temporary.exists() else final
    num_bytes = source.stat().st_size if source.exists() else 0
    if num_bytes < keep_bytes:
        raise OutputError(
            f"{temporary}: has {num_bytes} bytes, but {keep_bytes} were written when the run's state was saved, so it "
            "can not be gone on with; put the file back, or start the run anew"
        )
    if source is final:
        copy = closing_path(final)
        shutil.copyfile(final, copy)
        os.replace(copy, temporary)
    os.truncate(temporary, keep_bytes)


def ends_well(kind: type[BaseException] | None) -> bool:
    """Whether a run that left its block with this exception has whole results: it ended, or someone pressed Ctrl-C."""
    return kind is None or issubclass(kind, KeyboardInterrupt)


def prepare_output(folder: Path, *, go_on: bool = False) -> Path:
    """Make the output folder and see that it takes files, so that a run fails at its start and not at its end.

    Files of an earlier run stay until whole new ones replace them. `.partial` files of a run that was killed are
    moved to `unfinished-1/` (or -2, ...) inside the folder with its journal, where `recover` can still make whole
    files of them; with `go_on` they stay where they are. Raises OutputError.
    """
    with naming(folder):
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / _PROBE
        try:
            with probe.open("wb") as file:
                file.write(bytes(_PROBE_BYTES))
                file.flush()
                os.fsync(file.fileno())
        finally:
            with contextlib.suppress(OSError):
                probe.unlink()
        for path in (*folder.glob(f"*{CLOSING}"), *folder.glob(f"*/*{CLOSING}")):
            path.unlink(missing_ok=True)
        if not go_on:
            _set_aside(folder)
    return folder


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Make the folder, and let nobody else who asks write into it meanwhile. Raises OutputError where another does.

    The lock is on the folder itself and goes with the process, however that ends. A file system that knows no locks
    is written into without.
    """
    with naming(folder):
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OutputError(
                f"{folder}: another process is writing there; wait for it, or choose another folder with --output"
            ) from None
        except OSError as error:
            logger.debug("%s: can not be locked: %s", folder, error)
        yield
    finally:
        os.close(handle)


def remove_partials(folder: Path) -> None:
    """Remove what a run needed until it was whole. Raises OutputError."""
    with naming(folder):
        for path in sorted(folder.glob(f"*{PARTIAL}")):
            path.unlink()
    remove_rows(folder)


def remove_rows(folder: Path) -> None:
    """Remove the rows that the run's table was made of. Raises OutputError."""
    with naming(folder):
        partial_path(folder / TABLE_FILE).unlink(missing_ok=True)
        if (folder / PARTS_FOLDER).is_dir():
            shutil.rmtree(folder / PARTS_FOLDER)


def _set_aside(folder: Path) -> None:
    left = sorted(folder.glob(f"*{PARTIAL}"))
    if not left:
        shutil.rmtree(folder / JOURNAL_FOLDER, ignore_errors=True)
        return
    left += [path for name in (JOURNAL_FOLDER, PARTS_FOLDER) if (path := folder / name).exists()]
    number = 1
    while (aside := folder / f"{_UNFINISHED}-{number}").exists():
        number += 1
    aside.mkdir()
    for path in left:
        os.replace(path, aside / path.name)
    logger.warning("%s: an earlier run was cut off; its unfinished files are kept in %s", folder, aside)


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable, on systems that can open a folder."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems do not sync folders
            raise
    finally:
        os.close(handle)
