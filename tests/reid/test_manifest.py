"""Manifests are read strictly, and every fault is named by file and key."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from pipeline.reid.build import build_embedder, model_path
from pipeline.reid.config import ReidConfig
from pipeline.reid.manifest import check_sha256, load_manifest
from tests.reid import tiny_embedders as tiny


def test_a_manifest_keeps_what_it_says_and_fills_in_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "net.json"
    path.write_text(json.dumps({"input_size": [256, 128], "colour": "bgr", "mean": [1, 2, 3], "std": [4, 5, 6]}))
    manifest = load_manifest(path)
    assert manifest.input_size == (256, 128) and manifest.std == (4, 5, 6)
    assert manifest.clip_length == 1 and manifest.scale == pytest.approx(1 / 255) and manifest.sha256 is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"input_size": [32, 16],\n "colour": }', r"net\.json:2: .*no valid JSON"),
        (json.dumps({**tiny.MANIFEST, "color": "rgb"}), r"net\.json: color: unknown key; there are .*colour"),
        (json.dumps({**tiny.MANIFEST, "std": [1, 0, 1]}), r"net\.json: std\.1: "),
        (json.dumps({**tiny.MANIFEST, "colour": "RGB"}), r"net\.json: colour: "),
        (json.dumps({**tiny.MANIFEST, "format": 2}), r"net\.json: format: "),
        (json.dumps([1, 2]), r"net\.json: file: "),
    ],
)
def test_a_faulty_manifest_is_named_by_file_and_key(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "net.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        load_manifest(path)


def test_the_hash_is_checked_against_the_model(tmp_path: Path) -> None:
    model, path = tmp_path / "net.onnx", tmp_path / "net.json"
    model.write_bytes(b"abc")
    path.write_text(json.dumps({**tiny.MANIFEST, "sha256": hashlib.sha256(b"abc").hexdigest().upper()}))
    manifest = load_manifest(path)
    check_sha256(model, manifest, str(path))
    model.write_bytes(b"abd")
    with pytest.raises(ValueError, match=r"net\.json: sha256 is .*net\.onnx"):
        check_sha256(model, manifest, str(path))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "osnet"}, r"reid\.model: 'osnet' is neither"),
        ({"model": "gone.onnx"}, r"reid\.model: no such file: .*gone\.onnx"),
        ({"model": "net.onnx"}, r"reid\.model: .*has no manifest at .*net\.json; write one, e\.g\. \{"),
        ({"model": "net.onnx", "manifest": "m.json"}, r"reid\.manifest: .*has no manifest at .*m\.json"),
        ({"model": "net.onnx", "manifest": "m.json", "inline": tiny.MANIFEST}, r"reid\.manifest: reid\.inline"),
        ({"model": "colour", "manifest": "m.json"}, r"reid\.manifest: colour takes no manifest"),
    ],
)
def test_a_configuration_without_an_embedder_names_the_key_and_the_remedy(
    options: dict[str, object], message: str, tmp_path: Path
) -> None:
    tiny.save_image_network(tmp_path / "net.onnx")
    with pytest.raises(ValueError, match=message):
        build_embedder(ReidConfig.model_validate(options), tmp_path)


def test_the_model_of_the_configuration_is_a_file_or_none(tmp_path: Path) -> None:
    assert model_path(ReidConfig(model="colour"), tmp_path) is None
    assert model_path(ReidConfig(model="net.onnx"), tmp_path) == tmp_path / "net.onnx"
