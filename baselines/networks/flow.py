"""Density of feature vectors: a normalizing flow to a mixture of one Gaussian a class.

RealNVP (Dinh et al., ICLR 2017) in the form of DDFP: each block is an affine coupling that
transforms both halves, one after the other, and a fixed permutation. As built from FrEIA's parts in
Gavinwxy/DDFP at 7956c72.
"""

import math
from typing import cast

import torch
from torch import Tensor, nn

BLOCKS = 2
HIDDEN = 256  # units of each of the two hidden layers
CLAMP = 2.0  # log-scales lie within CLAMP * 0.636 * pi / 2 = 2.0 of zero
SPREAD = 0.05  # standard deviation of the first weights and biases
UNLABELLED = -1  # of a vector whose class is not known


class Affine(nn.Module):
    """log-scale s and shift t of one half, read from the other."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(width, HIDDEN),
            nn.ReLU(),
            nn.Linear(HIDDEN, HIDDEN),
            nn.ReLU(),
            nn.Linear(HIDDEN, 2 * width),
        )

    def forward(self, other: Tensor) -> tuple[Tensor, Tensor]:
        """(N, width) -> s and t, (N, width) each."""
        s, t = self.net(other).chunk(2, dim=1)
        return CLAMP * 0.636 * torch.atan(s), t


class Coupling(nn.Module):
    """The first half by what the second says of it, then the second by the new first.

    Args:
        width: of the vectors; even.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.of_first, self.of_second = (Affine(width // 2) for _ in range(2))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, D) -> y (N, D), log|det dy/dx| (N,)."""
        first, second = x.chunk(2, dim=1)
        s_1, t_1 = self.of_first(second)
        first = first * s_1.exp() + t_1
        s_2, t_2 = self.of_second(first)
        second = second * s_2.exp() + t_2
        return torch.cat((first, second), dim=1), (s_1 + s_2).sum(dim=1)

    def inverse(self, y: Tensor) -> Tensor:
        """(N, D) -> x."""
        first, second = y.chunk(2, dim=1)
        s_2, t_2 = self.of_second(first)
        second = (second - t_2) * (-s_2).exp()
        s_1, t_1 = self.of_first(second)
        first = (first - t_1) * (-s_1).exp()
        return torch.cat((first, second), dim=1)


class RealNVP(nn.Module):
    """An invertible map of vectors.

    Args:
        width: D, even.
        blocks: couplings, each with a permutation of its own.
    """

    orders: Tensor

    def __init__(self, width: int, blocks: int = BLOCKS) -> None:
        super().__init__()
        self.couplings = nn.ModuleList(Coupling(width) for _ in range(blocks))
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=SPREAD)
        # the same in every run
        orders = [
            torch.randperm(width, generator=torch.Generator().manual_seed(block))
            for block in range(blocks)
        ]
        self.register_buffer("orders", torch.stack(orders))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, D) -> z (N, D), log|det dz/dx| (N,)."""
        log_det = x.new_zeros(len(x))
        for coupling, order in zip(self.couplings, self.orders, strict=True):
            x, change = coupling(x)
            x, log_det = x[:, order], log_det + change
        return x, log_det

    def inverse(self, z: Tensor) -> Tensor:
        """(N, D) -> x."""
        for coupling, order in zip(reversed(self.couplings), self.orders.flip(0), strict=True):
            z = cast(Coupling, coupling).inverse(z[:, order.argsort()])
        return z


class ClassMixture(nn.Module):
    """Gaussians of equal weight and identity covariance, one a class; their means learn.

    Args:
        classes: K.
        width: D.
    """

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.means = nn.Parameter(torch.randn(classes, width))

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """Log-density (N,) of z (N, D).

        Args:
            z: vectors.
            label: (N,) int64, the class whose Gaussian is asked; UNLABELLED asks the mixture, and
                so does None for all.
        """
        distance = torch.stack([(z - mean).square().sum(dim=1) for mean in self.means], dim=1)
        each = -0.5 * (distance + z.shape[1] * math.log(2 * math.pi))  # (N, K)
        mixture = each.logsumexp(dim=1) - math.log(len(self.means))
        if label is None:
            return mixture
        own = each.gather(1, label.clamp_min(0)[:, None])[:, 0]
        return torch.where(label == UNLABELLED, mixture, own)


class Density(nn.Module):
    """log p of feature vectors, by flow and mixture.

    Args:
        width: D, even.
        classes: K.
    """

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.flow = RealNVP(width)
        self.mixture = ClassMixture(classes, width)

    def forward(self, v: Tensor, label: Tensor | None = None) -> Tensor:
        """Log-density (N,) of v (N, D), given the labels as `ClassMixture` takes them."""
        z, log_det = self.flow(v)
        log_p: Tensor = self.mixture(z, label) + log_det
        return log_p
