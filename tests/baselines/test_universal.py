"""Dynamic filters, standardised convolutions, entropy and embeddings."""

import pytest
import torch
from torch.nn import functional as F

from baselines.networks.dodnet import StandardConv
from baselines.networks.dynamic_head import COUNT, dynamic_head
from baselines.networks.univ_full import UnivFull as Network
from baselines.networks.univ_full import upsample
from baselines.univ_full import UnivFull, entropy
from benchmark.method import Batch, Clock, Setup
from benchmark.protocol import Protocol


def test_dynamic_filters_are_three_convolutions_per_image():
    torch.manual_seed(0)
    features, parameters = torch.rand(3, 8, 5, 6), torch.randn(3, COUNT)
    logits = dynamic_head(features, parameters)
    for image, made in enumerate(parameters):
        # weights of all layers first, then all biases
        w1, w2, w3, b1, b2, b3 = made.split([64, 64, 8, 8, 8, 1])
        x = F.relu(F.conv2d(features[image : image + 1], w1.view(8, 8, 1, 1), b1))
        x = F.relu(F.conv2d(x, w2.view(8, 8, 1, 1), b2))
        torch.testing.assert_close(logits[image : image + 1], F.conv2d(x, w3.view(1, 8, 1, 1), b3))


def test_standard_convolutions_ignore_scale_and_offset_of_a_filter():
    torch.manual_seed(0)
    convolution = StandardConv(4, 3, 3)
    x = torch.rand(2, 4, 6, 6)
    before = convolution(x)
    with torch.no_grad():
        convolution.weight.mul_(3).add_(0.7)
    torch.testing.assert_close(convolution(x), before, atol=1e-4, rtol=1e-4)


def test_upsampling_is_bilinear_away_from_the_border():
    x = torch.rand(2, 3, 6, 6)
    expected = F.interpolate(x, scale_factor=8, mode="bilinear")
    torch.testing.assert_close(upsample(x)[..., 8:-8, 8:-8], expected[..., 8:-8, 8:-8])
    assert upsample(x).shape == expected.shape


def test_comparing_before_upsampling_is_comparing_after():
    torch.manual_seed(0)
    network = Network(torch.nn.Identity(), 16, 3, torch.randn(3, 2, 10))
    features = torch.rand(2, 16, 4, 4)
    pixels = upsample(network.embed(features))  # (B, d, H, W)
    expected = torch.einsum("kld,bdhw->bklhw", network.embeddings, pixels)
    torch.testing.assert_close(network.similarity(features), expected)
    norms = network.embeddings.norm(dim=-1)
    torch.testing.assert_close(norms, torch.ones_like(norms))


def test_entropy_of_two_labels():
    scores = torch.tensor([[0.0, 0.0], [20.0, -20.0]]).view(1, 2, 2, 1, 1)
    torch.testing.assert_close(
        entropy(scores).flatten(), torch.tensor([2.0, 1.0]).log(), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize(("alpha", "beta"), [(0.0, 1.0), (1.0, 0.0)])
def test_the_two_entropy_terms_are_told_apart(alpha, beta):
    torch.manual_seed(0)
    protocol = Protocol(size=64, weights="none", encoder="tf_efficientnet_lite0")
    method = UnivFull(UnivFull.Config(alpha=alpha, beta=beta), Setup(("BC", "FH"), protocol, 0))
    images = torch.rand(2, 1, 64, 64)
    index = torch.arange(2)
    batch = Batch(images, (images > 0.5).float(), index, index, images, index, index)
    terms = method.losses(batch, Clock(0, 1))
    assert (terms["cross"] > 0) == (alpha > 0)
    assert (terms["within"] > 0) == (beta > 0)
    # entropies of two labels are at most ln 2
    assert terms["cross"] <= 0.6932
    assert terms["within"] <= 0.6932


def test_unlabelled_images_teach_no_classifier():
    torch.manual_seed(0)
    protocol = Protocol(size=64, weights="none", encoder="tf_efficientnet_lite0")
    method = UnivFull(UnivFull.Config(), Setup(("BC", "FH"), protocol, 0))
    images = torch.rand(2, 1, 64, 64)
    index = torch.arange(2)
    batch = Batch(images, (images > 0.5).float(), index, index, images, index, index)
    terms = method.losses(batch, Clock(0, 1))
    (terms["cross"] + terms["within"]).backward()
    assert method.net.heads.grad is None
    assert method.net.embed.weight.grad.abs().sum() > 0
