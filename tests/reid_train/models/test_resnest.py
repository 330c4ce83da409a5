"""ResNeSt-50: shapes, sizes and the split attention by hand."""

from __future__ import annotations

import pytest
import torch

from reid_train.models.resnest import Bottleneck, ResNeSt, SplitAttention

torch.set_num_threads(1)


@pytest.mark.parametrize("hw", [(64, 32), (72, 40), (96, 48)])
def test_the_maps_stand_at_strides_16_and_32(hw: tuple[int, int]) -> None:
    local, whole = ResNeSt((1, 1, 1, 1)).eval()(torch.zeros(2, 3, *hw))
    size = [-(-side // 16) for side in hw], [-(-side // 32) for side in hw]
    assert local.shape == (2, 1024, *size[0])
    assert whole.shape == (2, 2048, *size[1])


def test_the_full_network_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        backbone = ResNeSt()
    assert sum(p.numel() for p in backbone.parameters()) == pytest.approx(25.43e6, abs=5e3)


def test_the_keys_are_those_of_the_published_imagenet_file() -> None:
    with torch.device("meta"):
        keys = ResNeSt().state_dict().keys()
    for key in ("conv1.0.weight", "conv1.6.weight", "bn1.weight", "layer1.0.conv2.bn0.bias", "layer4.2.conv3.weight"):
        assert key in keys
    assert {key.split(".")[0] for key in keys} == {"conv1", "bn1", "layer1", "layer2", "layer3", "layer4"}
    shortcuts = {key.rsplit(".", 1)[0] for key in keys if "downsample" in key}
    assert shortcuts == {f"layer{stage}.0.downsample.{place}" for stage in range(1, 5) for place in (1, 2)}


def test_split_attention_without_preference_is_the_mean_of_the_two_halves() -> None:
    torch.manual_seed(0)
    attention = SplitAttention(64).eval()
    torch.nn.init.zeros_(attention.fc2.weight)
    torch.nn.init.zeros_(attention.fc2.bias)
    x = torch.randn(2, 64, 5, 4)
    first, second = torch.relu(attention.bn0(attention.conv(x))).chunk(2, dim=1)
    torch.testing.assert_close(attention(x), (first + second) / 2)


def test_split_attention_takes_one_half_where_its_scores_say_so() -> None:
    torch.manual_seed(0)
    attention = SplitAttention(64).eval()
    torch.nn.init.zeros_(attention.fc2.weight)
    with torch.no_grad():
        attention.fc2.bias.copy_(torch.cat((torch.full((64,), 50.0), torch.full((64,), -50.0))))
    x = torch.randn(2, 64, 5, 4)
    torch.testing.assert_close(attention(x), torch.relu(attention.bn0(attention.conv(x)))[:, :64])


def test_the_pool_in_a_block_counts_its_padding_and_the_one_in_the_shortcut_does_not() -> None:
    block = Bottleneck(256, 128, stride=2, pool=True, project=True)
    assert isinstance(block.downsample, torch.nn.Sequential)
    ones = torch.ones(1, 1, 3, 3)
    inside, beside = block.pool(ones), block.downsample[0](ones)
    torch.testing.assert_close(inside.flatten(), torch.full((4,), 4 / 9))
    torch.testing.assert_close(beside.flatten(), torch.ones(4))


@pytest.mark.parametrize("blocks", [(3, 4, 6), (3, 4, 0, 3)])
def test_other_numbers_of_stages_are_refused(blocks: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="four stages"):
        ResNeSt(blocks)
