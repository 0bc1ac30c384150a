"""The network against its card: exact parameter counts, shapes, and what depends on what."""

import pytest
import torch

from baselines.networks.dynamic_head import dynamic_head
from baselines.networks.encoders import Encoder
from propl.network import Decoder, Prompting, ProPLNet, Trunk, decoder, positions
from propl.prompts import TOKENS

CONVNEXT = [96, 192, 384, 768]  # channels of v1 to v4
SMALL = [8, 16, 24, 32]


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.fixture(scope="module")
def whole():
    return Decoder(CONVNEXT, 768, 224)


def test_parameters_are_those_of_the_paper_s_network(whole):
    assert count(whole) == 14_357_953
    assert [count(block) for block in whole.prompts] == [5_322_073, 1_481_389, 445_858]
    assert [count(block) for block in whole.ups] == [5_162_496, 1_291_008, 322_944]
    assert count(whole.subpixel) == 332_160
    assert count(whole.out) == 25


@pytest.mark.parametrize(
    ("prompting", "own"),
    [
        # norms before pooling and before the 8 maps, those 8 maps, what makes 153 numbers
        ("dodnet", 2 * 768 + 2 * 24 + (24 + 1) * 8 + (768 + 8 + 1) * 153),
        # text and image, brought to 256 each, make them
        (
            "clip_um",
            2 * 768 + 2 * 24 + (24 + 1) * 8 + (768 + 1) * 256 * 2 + (2 * 256 + 1) * 153,
        ),
        ("none", 25),
    ],
)
def test_other_promptings_exchange_the_guides_and_the_last_convolution(prompting, own, whole):
    text = torch.zeros(8, 768) if prompting == "clip_um" else torch.zeros(8, TOKENS, 768)
    other = decoder(prompting, CONVNEXT, text, 224)
    assert count(other) == count(whole.ups) + count(whole.subpixel) + own


@pytest.mark.parametrize("prompting", ["dodnet", "clip_um"])
def test_filters_are_made_of_the_pooled_v4_of_each_pass(prompting):
    torch.manual_seed(0)
    small = decoder(prompting, SMALL, torch.randn(3, 16), 64).double().eval()
    *skips, v4 = [level.double() for level in features(2)]
    tasks = torch.tensor([2, 0])
    passes = torch.cat((v4, -v4, v4.flip(0)))
    together = small([*skips, passes], tasks).chunk(3)
    for own, logits in zip(passes.chunk(3), together, strict=True):
        assert torch.allclose(logits, small([*skips, own], tasks), atol=1e-12)
    network, trunk = small.network, small.network.backbone
    assert isinstance(trunk, Trunk)
    deep, fine = trunk([*skips, v4])
    assert deep is v4
    pooled = network.pool(v4) if prompting == "dodnet" else network.from_image(v4)
    told = (
        torch.eye(3).double() if prompting == "dodnet" else network.from_text(network.text).relu()
    )
    parameters = network.controller(torch.cat((pooled.flatten(1), told[tasks]), dim=1))
    expected = dynamic_head(network.reduce(fine), parameters)
    assert torch.allclose(together[0], expected, atol=1e-12)


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
    small = Decoder(SMALL, 16, 64)
    assert small(features(2), torch.randn(2, TOKENS, 16)).shape == (2, 1, 64, 64)


def test_images_of_two_tasks_in_one_batch_give_what_they_give_alone():
    small = Decoder(SMALL, 16, 64).eval()
    v, text = features(2), torch.randn(2, TOKENS, 16)
    together = small(v, text)
    for i in range(2):
        alone = small([level[i : i + 1] for level in v], text[i : i + 1])
        assert torch.allclose(together[i], alone[0], atol=1e-5)


def test_the_prompt_changes_the_prediction_and_without_prompting_it_cannot():
    v, text = features(1), torch.randn(2, TOKENS, 16)
    for prompting, differs in ((True, True), (False, False)):
        small = Decoder(SMALL, 16, 64, prompting=prompting).eval()
        one, other = small(v, text[:1]), small(v, text[1:])
        assert torch.allclose(one, other, atol=1e-4) != differs


def attention(block: torch.nn.MultiheadAttention, q, k, v):
    """Written out: scaled dot products of every head, softmax, weighted sum."""
    projected = []
    for x, weight, bias in zip(
        (q, k, v), block.in_proj_weight.chunk(3), block.in_proj_bias.chunk(3), strict=True
    ):
        heads = (x @ weight.T + bias).unflatten(-1, (block.num_heads, -1)).transpose(1, 2)
        projected.append(heads)  # (B, heads, tokens, C / heads)
    q, k, v = projected
    shares = (q @ k.mT / q.shape[-1] ** 0.5).softmax(dim=-1)
    return block.out_proj((shares @ v).transpose(1, 2).flatten(2))


def test_prompting_is_equations_1_to_3_with_norms_and_positions():
    block = Prompting(width=8, places=20, tokens=12, text_width=16).double()
    v, text = torch.randn(2, 8, 4, 5).double(), torch.randn(2, TOKENS, 16).double()
    place, place_text = positions(20, 8).double(), positions(12, 8).double()
    z, tau = v.flatten(2).mT, block.adapter(text)
    u = block.norm_self(z)
    z = z + block.norm_self_out(attention(block.attend_self, u + place, u + place, u))
    u = block.norm_text(z)
    h = attention(block.attend_text, u + place, tau + place_text, tau)
    expected = z + block.alpha * block.norm_text_out(h)
    assert torch.allclose(block(v, text).flatten(2).mT, expected, atol=1e-12)


def test_alpha_starts_at_1_7_and_scales_the_text():
    small = Decoder(SMALL, 16, 64).eval()
    assert [block.alpha.item() for block in small.prompts] == pytest.approx([1.7] * 3)
    v, text = features(1), torch.randn(2, TOKENS, 16)
    for block in small.prompts:
        block.alpha.data.zero_()
    assert torch.allclose(small(v, text[:1]), small(v, text[1:]), atol=1e-6)


def test_positions_are_sines_and_cosines_of_the_place():
    code = positions(10, 6)[0]
    assert torch.allclose(code[:, 0], torch.arange(10.0).sin())
    assert torch.allclose(code[:, 1], torch.arange(10.0).cos())
    assert torch.allclose(code[:, 4], (torch.arange(10.0) / 10_000 ** (4 / 6)).sin(), atol=1e-6)


def test_logits_are_those_of_the_blocks_one_after_the_other():
    small = Decoder(SMALL, 16, 64).double()
    h = torch.randn(2, SMALL[0], 16, 16, dtype=torch.float64)
    blocks = (*small.subpixel.parameters(), *small.out.parameters())
    folded, plain = small._logits(h), small.out(small.subpixel(h))
    assert torch.allclose(folded, plain, atol=1e-12)
    gradients = [torch.autograd.grad(y.square().sum(), blocks) for y in (folded, plain)]
    for ours, theirs in zip(*gradients, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-9)


def test_checkpoints_hold_weights_and_statistics_of_the_blocks_only(whole):
    assert not [name for name in whole.state_dict() if "place" in name]
    assert "ups.2.conv_block.norm2.running_var" in whole.state_dict()


def test_text_is_frozen_and_kept_with_the_weights():
    net = ProPLNet(Encoder("test_efficientnet", "none"), torch.randn(8, TOKENS, 16), 32)
    assert "text" in net.state_dict()
    assert not net.text.requires_grad


@pytest.mark.parametrize(("name", "calls"), [("test_convnext", 1), ("test_efficientnet", 2)])
def test_parts_of_a_batch_are_encoded_as_if_alone(name, calls):
    net = ProPLNet(Encoder(name, "none"), torch.randn(8, TOKENS, 16), 32).train()
    parts = torch.randn(2, 3, 32, 32), 3 * torch.randn(4, 3, 32, 32)
    alone = [net.encoder(part) for part in parts]
    seen = []
    net.encoder.register_forward_hook(lambda *_: seen.append(1))
    for together, expected in zip(net.encode(*parts), alone, strict=True):
        for level, level_alone in zip(together, expected, strict=True):
            assert torch.allclose(level, level_alone, atol=1e-4)
    assert len(seen) == calls
