"""The flow against autograd, its own inverse, torch.distributions and another library's."""

import math

import pytest
import torch
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from baselines.networks.flow import UNLABELLED, Affine, ClassMixture, Density, RealNVP


def lively(module, seed=0):
    """Weights that bend: with the first ones, nearly zero, a wrong sign would hardly show."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        parameter.data = 0.2 * torch.randn(parameter.shape, generator=generator)
    return module.double().requires_grad_(False)


def vectors(count, width, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, width, generator=generator, dtype=torch.float64)


def test_log_det_is_that_of_autograds_jacobian():
    flow, x = lively(RealNVP(4)), vectors(5, 4)
    _, log_det = flow(x)
    for one, ours in zip(x, log_det, strict=True):
        jacobian = torch.autograd.functional.jacobian(lambda v: flow(v[None])[0][0], one)
        torch.testing.assert_close(ours, torch.linalg.slogdet(jacobian).logabsdet)
    assert log_det.abs().min() > 0.01


@pytest.mark.parametrize("width", [4, 64])
def test_inverse_undoes_it(width):
    flow, x = lively(RealNVP(width)), vectors(7, width)
    z, _ = flow(x)
    assert (z - x).abs().max() > 0.1
    torch.testing.assert_close(flow.inverse(z), x)


def test_mixture_and_its_parts_are_those_of_torch():
    mixture, z = lively(ClassMixture(3, 6)), vectors(8, 6)
    label = torch.tensor([0, 1, 2, UNLABELLED, UNLABELLED, 2, 1, 0])
    parts = MultivariateNormal(mixture.means, torch.eye(6, dtype=torch.float64))
    whole = MixtureSameFamily(Categorical(torch.ones(3, dtype=torch.float64)), parts).log_prob(z)
    each = parts.log_prob(z[:, None])  # (N, K)
    expected = [whole[n] if y == UNLABELLED else each[n, y] for n, y in enumerate(label.tolist())]
    torch.testing.assert_close(mixture(z, label), torch.stack(expected))
    torch.testing.assert_close(mixture(z), whole)


def test_densities_are_those_of_zuko():
    """The same networks within zuko's couplings, permutations and mixture."""
    transforms = pytest.importorskip("zuko.transforms")
    zuko_distributions = pytest.importorskip("zuko.distributions")
    width = 6
    density, v = lively(Density(width, 2)), vectors(9, width)

    def affine(net):
        def meta(other):
            s, t = net(other)
            one = torch.distributions.AffineTransform(t, s.exp())
            return transforms.DependentTransform(one, 1)

        return meta

    first = torch.arange(width) < width // 2
    steps = []
    for coupling, order in zip(density.flow.couplings, density.flow.orders, strict=True):
        # zuko's mask says what stays
        steps.append(transforms.CouplingTransform(affine(coupling.of_first), ~first))
        steps.append(transforms.CouplingTransform(affine(coupling.of_second), first))
        steps.append(transforms.PermutationTransform(order))
    parts = MultivariateNormal(density.mixture.means, torch.eye(width, dtype=torch.float64))
    mixture = zuko_distributions.Mixture(parts, torch.zeros(2, dtype=torch.float64))
    flow = zuko_distributions.NormalizingFlow(transforms.ComposedTransform(*steps), mixture)
    torch.testing.assert_close(density(v), flow.log_prob(v))


def test_log_scales_stay_within_two():
    net = Affine(4)
    net.net[-1].bias.data = 1e6 * torch.tensor([1.0, -1, 1, -1, 1, 1, 1, 1])
    s, _ = net(torch.randn(3, 4))
    assert s.abs().max() <= 2
    assert s.abs().min().item() == pytest.approx(2 * 0.636 * math.pi / 2, abs=1e-3)


def test_first_weights_are_small_and_permutations_always_the_same():
    torch.manual_seed(0)
    density = Density(256, 2)
    torch.manual_seed(1)
    other = Density(256, 2)
    weights = torch.cat([w.flatten() for w in density.flow.parameters()])
    assert weights.std().item() == pytest.approx(0.05, rel=0.01)
    assert density.mixture.means.std().item() == pytest.approx(1, rel=0.1)
    assert torch.equal(density.flow.orders, other.flow.orders)
    assert not torch.equal(*density.flow.orders)
    # four networks of 128 -> 256 -> 256 -> 256, and two means
    assert sum(w.numel() for w in density.parameters()) == 4 * 164_608 + 512
