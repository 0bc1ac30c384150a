"""H2Former: channel attention in the layout it means, and in the one it was released with."""

import torch

from baselines.networks.h2former import AttendedMlp, ChannelAttention, H2Former


def test_channel_attention_weighs_whole_channels():
    torch.manual_seed(0)
    attention = ChannelAttention()
    x = torch.rand(2, 6, 5, 5) + 0.1
    ratio = (attention(x) / x).flatten(2)
    torch.testing.assert_close(ratio, ratio[:, :, :1].expand_as(ratio))
    assert ((ratio > 1) & (ratio < 2)).all()


def test_the_released_layout_mixes_tokens_and_channels():
    torch.manual_seed(0)
    tokens = torch.rand(2, 16, 8)
    plain, mixed = (AttendedMlp(8, 4, scrambled=scrambled) for scrambled in (False, True))
    mixed.load_state_dict(plain.state_dict())
    # weights of one half everywhere: attention that only scales, by 1.5
    for mlp in (plain, mixed):
        torch.nn.init.zeros_(mlp.attention.over_channels.weight)
    expected = 1.5 * plain.mlp(tokens)
    torch.testing.assert_close(plain(tokens), expected)
    scrambled = mixed(tokens)
    assert not torch.allclose(scrambled, expected)
    torch.testing.assert_close(
        scrambled, expected.reshape(2, 8, 16).transpose(1, 2)
    )  # the same numbers, elsewhere


def test_the_image_is_halved_once_before_the_first_stage():
    network = H2Former("resnet34.tv_in1k", 64, "none", scrambled=False).eval()
    sides = []
    for stage in network.swin:
        stage.register_forward_hook(lambda _, __, out: sides.append(tuple(out.shape[1:])))
    with torch.no_grad():
        assert network(torch.rand(1, 3, 64, 64)).shape == (1, 1, 64, 64)
    assert sides == [(64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4)]
