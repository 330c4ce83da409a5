"""Exported networks: the pipeline loads them by their manifest and computes what the original computes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import reid_train.export as exporting
from pipeline.reid.build import build_embedder
from pipeline.reid.config import ReidConfig
from pipeline.types import Clips
from reid_train.data.config import TransformConfig
from reid_train.data.transforms import transform_clip
from reid_train.export import export_onnx, run_export
from reid_train.models import MODELS, build_model
from reid_train.onnx_file import ExportError
from reid_train.state import Checkpoint, about_network, save_checkpoint
from tests.reid_train.tiny import Tiny, tiny_recipe

SMALL_RESNET = {"blocks": (1, 1, 1, 1)}
SMALL = {  # every system, smaller where its options allow it
    "psta": {"input_hw": (32, 16), **SMALL_RESNET},
    "ste_nvan": {"input_hw": (256, 32), "stripes": 16, **SMALL_RESNET},
    "nvan": {"input_hw": (32, 16), **SMALL_RESNET},
    "ste_nvan_baseline": {"input_hw": (32, 16), **SMALL_RESNET},
    "sticc": {"input_hw": (32, 16), "channels": 64},
    "st_reid": {"input_hw": (96, 32), **SMALL_RESNET},
    "light": {"input_hw": (128, 64), "pretrained": False},
    "staformer": {"input_hw": (64, 64)},
}


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(MODELS, "tiny", Small)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Small(Tiny):
    """The tests' network, without its dropout's and its norm's part in the vector."""

    def embed(self, clips: Tensor, mask: Tensor | None = None) -> Tensor:
        maps = torch.relu(self.backbone(clips.flatten(0, 1))).mean(dim=(2, 3))
        embedding: Tensor = self.neck(maps.reshape(clips.shape[0], clips.shape[1], -1).mean(dim=1))
        return embedding


def seeded(name: str, **options: object) -> nn.Module:
    torch.manual_seed(0)
    return build_model(name, 5, **options).eval()


def pipeline_vectors(path: Path, images: np.ndarray) -> np.ndarray:
    """What the pipeline makes of clips (K, T, h, w, 3) uint8 BGR."""
    embedder = build_embedder(ReidConfig(model=path.name, threads=1), path.parent)
    ids = np.arange(1, len(images) + 1)
    counts = np.full(len(images), images.shape[1])
    return embedder.embed(Clips(ids, images, np.ones(len(images), np.float32), counts)).vector


def expected_vectors(model: nn.Module, images: np.ndarray, input_hw: tuple[int, int]) -> np.ndarray:
    """What the network makes of them as training reads them."""
    transform = TransformConfig(input_hw=input_hw)
    clips = torch.stack([transform_clip(np.ascontiguousarray(clip[..., ::-1]), transform) for clip in images])
    with torch.inference_mode():
        vectors = model.embed(clips).numpy()  # type: ignore[operator]
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("name", [*SMALL])
def test_the_pipeline_computes_what_the_network_computes(name: str, tmp_path: Path) -> None:
    model = seeded(name, **SMALL[name])
    report = export_onnx(model, tmp_path / f"{name}.onnx")
    length = 1 if name == "st_reid" else 8
    assert report.dim == model.dim and report.max_relative_error < 1e-4
    assert report.input_shape == ("N", *((length,) if length > 1 else ()), 3, *model.input_hw)
    images = np.random.default_rng(0).integers(0, 256, (3, length, *SMALL[name]["input_hw"], 3), np.uint8)
    vectors = pipeline_vectors(report.model, images)
    assert np.abs(vectors - expected_vectors(model, images, model.input_hw)).max() < 1e-4


def test_a_network_of_single_crops_is_averaged_by_the_pipeline(tmp_path: Path) -> None:
    model = seeded("tiny", use_norm=False, input_hw=(32, 16))
    report = export_onnx(model, tmp_path / "tiny.onnx", clip_length=1)
    assert report.input_shape == ("N", 3, 32, 16)
    manifest = json.loads(report.manifest.read_text())
    assert manifest["clip_length"] == 1 and manifest["input_size"] == [32, 16] and manifest["colour"] == "rgb"


def test_a_network_with_colours_is_written_as_it_computes(tmp_path: Path) -> None:
    options = {"input_hw": (64, 32), "pretrained": False, "taps": [0, 2], "stripes": 4, "hidden": 0, "dim": 16}
    model = seeded("light", **options, colours=2.0)
    report = export_onnx(model, tmp_path / "light.onnx", clip_length=1)
    assert report.max_relative_error < 1e-4 and report.dim == 16


def test_the_manifest_tells_a_changed_model(tmp_path: Path) -> None:
    report = export_onnx(seeded("tiny", input_hw=(32, 16)), tmp_path / "tiny.onnx")
    embedder = build_embedder(ReidConfig(model="tiny.onnx", threads=1), tmp_path)
    assert (embedder.dim, embedder.input_hw, embedder.clip_length) == (8, (32, 16), 2)
    data = bytearray(report.model.read_bytes())
    data[-1] ^= 1
    report.model.write_bytes(bytes(data))
    with pytest.raises(ValueError, match="sha256"):
        build_embedder(ReidConfig(model="tiny.onnx", threads=1), tmp_path)


def test_a_checkpoint_is_exported_beside_it_with_its_recipe_s_clips_and_colours(tmp_path: Path) -> None:
    recipe = tiny_recipe(
        tmp_path, transform={"input_hw": (32, 16), "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.1]},
        test={"clip_length": 3},
    )  # fmt: skip
    about = about_network("tiny", 5, {"input_hw": [32, 16]}) | {
        "recipe": recipe.model_dump(mode="json"),
        "epochs_done": 4,
    }
    about["recipe"]["about"] = "drawn people"
    save_checkpoint(tmp_path / "best.safetensors", Checkpoint(seeded("tiny", input_hw=(32, 16)).state_dict(), about))
    report = run_export(tmp_path)
    assert report.model == tmp_path / "tiny.onnx"
    manifest = json.loads(report.manifest.read_text())
    assert (manifest["clip_length"], manifest["mean"], manifest["std"]) == (3, [0.5, 0.4, 0.3], [0.2, 0.2, 0.1])
    assert manifest["about"] == "tiny, trained on drawn people, 4 epochs, crops resized bilinear"
    # best.json describes the checkpoint; an export must not take its place.
    with pytest.raises(ValueError, match=r"best\.json is there and is no manifest"):
        run_export(tmp_path, tmp_path / "best.onnx")
    run_export(tmp_path)  # a second time, over the first


def test_a_file_that_computes_something_else_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = export_onnx(seeded("tiny", input_hw=(32, 16)), tmp_path / "tiny.onnx").model.read_bytes()
    export = torch.onnx.export

    def export_another(network: nn.Module, *arguments: object, **options: object) -> object:
        torch.manual_seed(1)
        return export(
            exporting._Vectors(build_model("tiny", 5, input_hw=(32, 16)), is_image=False).eval(), *arguments, **options
        )

    monkeypatch.setattr(torch.onnx, "export", export_another)
    with pytest.raises(ExportError, match="differs from the original"):
        export_onnx(seeded("tiny", input_hw=(32, 16)), tmp_path / "tiny.onnx")
    assert (tmp_path / "tiny.onnx").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny.json", "tiny.onnx"]


class FixedBatch(Small):
    """Turns the batch size into a number of Python, which exporters can only write as it is."""

    def embed(self, clips: Tensor, mask: Tensor | None = None) -> Tensor:
        return super().embed(clips) * len(clips)


def test_what_no_exporter_can_write_is_an_error_that_says_why(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"no exporter can .* torchscript: .* dynamo: "):
        export_onnx(FixedBatch(5, input_hw=(32, 16)).eval(), tmp_path / "no.onnx")
    assert list(tmp_path.iterdir()) == []


class Unscaled(Small):
    """Has a batch norm without scale, on which the older exporter fails and prints its whole graph."""

    def __init__(self, num_pids: int, **options: object) -> None:
        super().__init__(num_pids, **options)  # type: ignore[arg-type]
        self.unscaled = nn.BatchNorm1d(self.dim, affine=False)

    def embed(self, clips: Tensor, mask: Tensor | None = None) -> Tensor:
        vector: Tensor = self.unscaled(super().embed(clips))
        return vector


def test_an_exporter_that_fails_leaves_no_graph_on_the_terminal(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    print("before")
    export_onnx(Unscaled(5, input_hw=(32, 16)).eval(), tmp_path / "unscaled.onnx")
    print("after")
    assert capfd.readouterr().out == "before\nafter\n"


def test_a_clip_length_and_a_name_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="clip_length 6: psta needs a positive multiple of 8"):
        export_onnx(seeded("psta", **SMALL["psta"]), tmp_path / "psta.onnx", clip_length=6)
    with pytest.raises(ValueError, match=r"of 8 x 8: the pipeline takes sides from 16 to 2048"):
        export_onnx(seeded("tiny", input_hw=(8, 8)), tmp_path / "tiny.onnx")
    with pytest.raises(ValueError, match=r"ends in \.onnx"):
        export_onnx(seeded("tiny", input_hw=(32, 16)), tmp_path / "tiny.pt")
