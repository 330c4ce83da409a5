"""The kinds of sources, and which a camera has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Literal, TypeAlias
from urllib.parse import unquote, urlsplit

from pipeline.ingest.config import IngestConfig
from pipeline.ingest.device import open_device
from pipeline.ingest.images import open_folder
from pipeline.ingest.source import Source
from pipeline.ingest.urls import is_stream
from pipeline.ingest.video import open_file, open_stream

SourceKind: TypeAlias = Literal["file", "folder", "stream", "device"]

SOURCES: Final[Mapping[SourceKind, Callable[..., Source]]] = {
    "file": open_file,
    "folder": open_folder,
    "stream": open_stream,
    "device": open_device,
}
LIVE: Final[frozenset[SourceKind]] = frozenset(("stream", "device"))


def locate(source: str) -> tuple[SourceKind, str]:
    """The kind of a camera's source, and its one true address: two cameras with the same share a decoder."""
    source = source.strip()
    if source.isdecimal():
        return "device", str(int(source))
    if is_stream(source):
        return "stream", source
    path = Path(unquote(urlsplit(source).path) if source.lower().startswith("file://") else source)
    if path.parent == Path("/dev") and path.name.startswith("video") and path.name[5:].isdecimal():
        return "device", path.name[5:]
    path = path.expanduser().resolve()
    return ("folder" if path.is_dir() else "file"), str(path)


def open_source(kind: SourceKind, address: str, config: IngestConfig, *, threads: int) -> Source:
    """Open a source of the kind. Raises SourceError, free of credentials, where it cannot be read."""
    return SOURCES[kind](address, config, threads=threads)
