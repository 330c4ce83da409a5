"""Which detector a configuration means, and what is said where it means none."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pytest

from pipeline.detect.build import build_detector, model_hash, model_path
from pipeline.detect.config import DetectConfig


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"model": ""}, ["detect.model", ".onnx", "ultralytics", "{camera}.csv"]),
        ({"model": "gone.onnx"}, ["detect.model", "no such file", "gone.onnx"]),
        ({"model": "models/gone.engine"}, ["detect.model", "no such file", "gone.engine"]),
        ({"model": "m.onnx", "kind": "onnx", "files": {"a": "a.csv"}}, ["detect.files", "m.onnx"]),
    ],
)
def test_a_configuration_without_a_detector_is_answered_with_the_choices(
    options: dict[str, object], words: list[str], tmp_path: Path
) -> None:
    with pytest.raises(ValueError) as caught:
        build_detector(DetectConfig.model_validate(options), ["a"], tmp_path)
    assert all(word in str(caught.value) for word in words)


def test_a_missing_package_is_named_with_its_licence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ultralytics", None)
    (tmp_path / "people.pt").write_bytes(b"")
    with pytest.raises(ValueError, match=r'(?s)pip install "crosscam\[ultralytics\]".*AGPL-3\.0'):
        build_detector(DetectConfig(model="people.pt"), ["a"], tmp_path)


def test_the_hash_of_a_file_is_its_sha256_and_that_of_a_folder_follows_names_and_contents(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "a.xml").write_bytes(b"abc")
    (folder / "b.bin").write_bytes(b"")
    assert model_hash(folder / "a.xml") == hashlib.sha256(b"abc").hexdigest()
    before = model_hash(folder)
    assert before == model_hash(folder) and len(before) == 64
    (folder / "b.bin").rename(folder / "c.bin")
    renamed = model_hash(folder)
    (folder / "c.bin").write_bytes(b"x")
    assert len({before, renamed, model_hash(folder)}) == 3
    assert model_path(DetectConfig(model="model"), tmp_path) == folder
    assert model_path(DetectConfig(model="yolo11n.pt"), tmp_path) is None
