"""Whole files and folders, or none."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2

from pipeline.types import UInt8


class OutputFolderError(ValueError):
    """The folder for the output can not be used; the message says why and what to do."""


def new_folder(folder: Path) -> Path:
    """Make `folder`, which must not exist or be empty."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputFolderError(f"{folder} is not empty; name another folder, or remove it first")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputFolderError(f"{folder} can not be made: {error.strerror}") from error
    return folder


@contextmanager
def partial_folder(folder: Path, unit: int) -> Iterator[Path]:
    """A folder for what a unit writes. Its items move to `folder` when the unit is done, else they are removed."""
    partial = folder / f".partial-{unit:05d}"
    partial.mkdir(parents=True)
    try:
        yield partial
        for item in sorted(partial.rglob("*")):
            target = folder / item.relative_to(partial)
            if item.is_dir():
                target.mkdir(exist_ok=True)
            else:
                os.replace(item, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_jpeg(path: Path, image: UInt8, quality: int) -> None:
    """(H, W, 3) BGR."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _, coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    path.write_bytes(coded.tobytes())


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(value, separators=(",", ":")) + "\n")


def write_whole(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8", newline="\n")
    os.replace(partial, path)
