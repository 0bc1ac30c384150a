"""Swin-Unet: what pretrained weights go into, and where tokens go."""

import timm
import torch

from baselines.networks.swin_unet import SwinUNet
from baselines.networks.token_unet import Expand


def test_pretrained_weights_go_into_the_encoder_and_the_mirrored_decoder():
    torch.manual_seed(0)
    network = SwinUNet(64, "", "none")
    swin = timm.create_model("swin_tiny_patch4_window7_224", img_size=64)
    network.load_mirrored(swin)
    for level in range(3):
        for ours in (network.down[level], network.up[2 - level]):
            for block, source in zip(ours, swin.layers[level].blocks, strict=False):
                for name, value in source.state_dict().items():
                    assert torch.equal(block.state_dict()[name], value), (level, name)
    assert torch.equal(network.embed.proj.weight, swin.patch_embed.proj.weight)
    assert torch.equal(
        network.merge[2].reduction.weight, swin.layers[3].downsample.reduction.weight
    )


def test_the_encoder_is_timms_swin():
    torch.manual_seed(0)
    network = SwinUNet(64, "", "none").eval()
    swin = timm.create_model(
        "swin_tiny_patch4_window7_224", img_size=64, depths=(2, 2, 2, 2)
    ).eval()
    network.load_mirrored(swin)
    seen = []
    network.norm.register_forward_hook(lambda *call: seen.append(call[2]))
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        network(image)
        torch.testing.assert_close(seen[0], swin.forward_features(image))


def test_expansion_spreads_channels_over_neighbouring_tokens():
    expand = Expand(4, 2, 3)
    with torch.no_grad():
        expand.expand.weight.zero_()
        for place in range(4):  # the place-th group of channels of a token carries its number
            expand.expand.weight[3 * place : 3 * place + 3, 0] = torch.tensor([0, place + 1.0, 0])
    expand.norm = torch.nn.Identity()
    spread = expand(torch.ones(1, 2, 3, 4))
    assert spread.shape == (1, 4, 6, 3)
    assert torch.equal(spread[0, :2, :2, 1], torch.tensor([[1.0, 2], [3, 4]]))
    assert torch.equal(spread[0, 2:, 4:, 1], torch.tensor([[1.0, 2], [3, 4]]))
