"""The network against its card: exact parameter counts, shapes, and what depends on what."""

import pytest
import torch

from baselines.networks.encoders import Encoder
from propl.network import Decoder, ProPLNet, positions
from propl.prompts import TOKENS

CONVNEXT = [96, 192, 384, 768]  # channels of v1 to v4
SMALL = [8, 16, 24, 32]


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.fixture(scope="module")
def decoder():
    return Decoder(CONVNEXT, 768)


def test_parameters_are_those_of_the_paper_s_network(decoder):
    assert count(decoder) == 14_357_953
    assert [count(block) for block in decoder.prompts] == [5_322_073, 1_481_389, 445_858]
    assert [count(block) for block in decoder.ups] == [5_162_496, 1_291_008, 322_944]
    assert count(decoder.subpixel) == 332_160
    assert count(decoder.out) == 25


def test_the_encoder_is_convnext_tiny_with_four_maps():
    encoder = Encoder("convnext_tiny.fb_in1k", "none")
    assert count(encoder) == 27_818_592
    assert encoder.channels == CONVNEXT
    maps = encoder(torch.zeros(1, 3, 64, 64))
    assert [tuple(level.shape[1:]) for level in maps] == [
        (96, 16, 16), (192, 8, 8), (384, 4, 4), (768, 2, 2),
    ]  # fmt: skip


def features(batch: int, size: int = 64) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(batch, width, size // stride, size // stride, generator=generator)
        for width, stride in zip(SMALL, (4, 8, 16, 32), strict=True)
    ]


def test_logits_have_the_size_of_the_image():
    small = Decoder(SMALL, 16)
    assert small(features(2), torch.randn(2, TOKENS, 16)).shape == (2, 1, 64, 64)


def test_images_of_two_tasks_in_one_batch_give_what_they_give_alone():
    small = Decoder(SMALL, 16).eval()
    v, text = features(2), torch.randn(2, TOKENS, 16)
    together = small(v, text)
    for i in range(2):
        alone = small([level[i : i + 1] for level in v], text[i : i + 1])
        assert torch.allclose(together[i], alone[0], atol=1e-5)


def test_the_prompt_changes_the_prediction_and_without_prompting_it_cannot():
    v, text = features(1), torch.randn(2, TOKENS, 16)
    for prompting, differs in ((True, True), (False, False)):
        small = Decoder(SMALL, 16, prompting=prompting).eval()
        one, other = small(v, text[:1]), small(v, text[1:])
        assert torch.allclose(one, other, atol=1e-4) != differs


def test_alpha_starts_at_1_7_and_scales_the_text():
    small = Decoder(SMALL, 16).eval()
    assert [block.alpha.item() for block in small.prompts] == pytest.approx([1.7] * 3)
    v, text = features(1), torch.randn(2, TOKENS, 16)
    for block in small.prompts:
        block.alpha.data.zero_()
    assert torch.allclose(small(v, text[:1]), small(v, text[1:]), atol=1e-6)


def test_positions_are_sines_and_cosines_of_the_place():
    code = positions(10, 6, torch.zeros(1))[0]
    assert torch.allclose(code[:, 0], torch.arange(10.0).sin())
    assert torch.allclose(code[:, 1], torch.arange(10.0).cos())
    assert torch.allclose(code[:, 4], (torch.arange(10.0) / 10_000 ** (4 / 6)).sin(), atol=1e-6)


def test_text_is_frozen_and_kept_with_the_weights():
    net = ProPLNet(Encoder("tf_efficientnet_lite0", "none"), torch.randn(8, TOKENS, 16))
    assert "text" in net.state_dict()
    assert not net.text.requires_grad
