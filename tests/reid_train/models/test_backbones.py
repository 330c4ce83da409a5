from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from reid_train.models.backbones import EfficientNetLite0, SameConv2d, load_pretrained, read_weights, resnet50


def test_resnet50_computes_what_torchvision_computes() -> None:
    torch.manual_seed(0)
    theirs = torchvision.models.resnet50(weights=None).eval()
    ours = resnet50(last_stride=2).eval()
    ours.load_state_dict({key: value for key, value in theirs.state_dict().items() if not key.startswith("fc.")})
    images = torch.randn(1, 3, 64, 32)
    with torch.no_grad():
        pooled = ours(images).mean(dim=(2, 3))
        torch.testing.assert_close(theirs.fc(pooled), theirs(images), rtol=1e-4, atol=1e-5)


def test_last_stride_one_keeps_sixteenths() -> None:
    with torch.no_grad():
        assert resnet50(blocks=(1, 1, 1, 1))(torch.zeros(1, 3, 64, 32)).shape == (1, 2048, 4, 2)
        assert resnet50(last_stride=2, blocks=(1, 1, 1, 1))(torch.zeros(1, 3, 64, 32)).shape == (1, 2048, 2, 1)
        assert EfficientNetLite0(last_stride=1)(torch.zeros(1, 3, 64, 32)).shape == (1, 1280, 4, 2)
        assert EfficientNetLite0()(torch.zeros(1, 3, 64, 32)).shape == (1, 1280, 2, 1)


def test_without_its_relu_the_stem_gives_negative_numbers() -> None:
    torch.manual_seed(0)
    images = torch.randn(1, 3, 32, 16)
    with torch.no_grad():
        assert resnet50(blocks=(1, 1, 1, 1)).eval().stem(images).min() >= 0
        assert resnet50(stem_relu=False, blocks=(1, 1, 1, 1)).eval().stem(images).min() < 0


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [7, 8])
def test_same_padding_puts_the_odd_pixel_last(kernel: int, stride: int, size: int) -> None:
    conv = SameConv2d(1, 1, (kernel, 1), (stride, 1), bias=False)
    torch.nn.init.ones_(conv.weight)
    num_rows = -(-size // stride)
    before = max((num_rows - 1) * stride + kernel - size, 0) // 2
    windows = [range(row * stride - before, row * stride - before + kernel) for row in range(num_rows)]
    with torch.no_grad():
        sums = conv(torch.arange(1.0, size + 1).reshape(1, 1, size, 1))[0, 0, :, 0]
    assert sums.tolist() == [sum(pixel + 1 for pixel in window if 0 <= pixel < size) for window in windows]


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_local_image_net_weights_are_loaded_without_their_classifier(tmp_path: Path, suffix: str) -> None:
    source, target = (resnet50(blocks=(1, 1, 1, 1)) for _ in range(2))
    weights = {f"module.{key}": value for key, value in source.state_dict().items() if "num_batches" not in key}
    weights |= {"module.fc.weight": torch.zeros(1000, 2048), "module.fc.bias": torch.zeros(1000)}
    path = tmp_path / f"weights{suffix}"
    save_file(weights, path) if suffix == ".safetensors" else torch.save(weights, path)
    load_pretrained(target, path)
    assert all(torch.equal(value, source.state_dict()[key]) for key, value in target.state_dict().items())


def test_keys_of_another_naming_can_be_renamed(tmp_path: Path) -> None:
    source, target = (resnet50(blocks=(1, 1, 1, 1)) for _ in range(2))
    torch.save(
        {**{f"body.{key}": value for key, value in source.state_dict().items()}, "x": torch.zeros(1)},
        tmp_path / "w.pth",
    )
    load_pretrained(target, tmp_path / "w.pth", rename=lambda key: None if key == "x" else key.removeprefix("body."))
    assert torch.equal(target.conv1.weight, source.conv1.weight)


def test_weights_that_do_not_fit_are_refused_by_name(tmp_path: Path) -> None:
    net = resnet50(blocks=(1, 1, 1, 1))
    before = net.conv1.weight.detach().clone()
    weights = dict(net.state_dict())
    del weights["layer1.0.conv1.weight"]
    weights["layer9.conv.weight"] = torch.zeros(1)
    weights["bn1.weight"] = torch.zeros(3)
    torch.save(weights, tmp_path / "odd.pth")
    with pytest.raises(ValueError, match=r"odd\.pth.*missing layer1\.0\.conv1\.weight.*unexpected layer9\.conv\.weight.*bn1\.weight is \(3,\), want \(64,\)"):  # noqa: E501  # fmt: skip
        load_pretrained(net, tmp_path / "odd.pth")
    assert torch.equal(net.conv1.weight, before)


def test_files_that_hold_no_weights_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"gone\.pth"):
        read_weights(tmp_path / "gone.pth")
    (tmp_path / "text.pth").write_text("<html>Google Drive - Quota exceeded</html>")
    with pytest.raises(ValueError, match=r"text\.pth"):
        read_weights(tmp_path / "text.pth")
    (tmp_path / "text.safetensors").write_text("<html>Google Drive - Quota exceeded</html>")
    with pytest.raises(ValueError, match=r"text\.safetensors"):
        read_weights(tmp_path / "text.safetensors")
    (tmp_path / "empty.pth").touch()
    with pytest.raises(ValueError, match=r"empty\.pth"):
        read_weights(tmp_path / "empty.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(ValueError, match=r"list\.pth holds a list"):
        read_weights(tmp_path / "list.pth")
    torch.save({"epoch": 3}, tmp_path / "epoch.pth")
    with pytest.raises(ValueError, match=r"epoch\.pth.*epoch"):
        read_weights(tmp_path / "epoch.pth")
