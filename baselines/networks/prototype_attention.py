"""Attention to prototypes of foreground and of edges (CSC-PA; Ding et al., CVPR 2025).

Written from a description of shdkdh/CSC-PA at 0505d2e. Maps are (B, D, H, W) at stride 4; of a
batch of pairs the first half are one side, the second half their partners.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmark.keys import uniforms

ITEMS = 256  # edge vectors in the container
INNER = 256  # channels within the cross-image attention


class CrossAttention(nn.Module):
    """What a map finds where its partner resembles it.

    Y = softmax(theta(A') phi(B')^T) g(A'), with A' and B' normalised; returns A' + W Y. The values
    are the map's own and there is no 1 / sqrt(d), as in the code.

    Args:
        channels: D.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(channels)
        self.theta, self.phi, self.g = (nn.Linear(channels, INNER) for _ in range(3))
        self.w = nn.Linear(INNER, channels)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """(B, D, N) and partners of the same shape -> (B, D, N)."""
        a, b = (self.norm(side).relu().transpose(1, 2)[:, None] for side in (a, b))
        # fused: the weights of 56 x 56 positions with each other would take 39 MB a pair
        y = F.scaled_dot_product_attention(self.theta(a), self.phi(b), self.g(a), scale=1.0)
        attended: Tensor = a + self.w(y)
        return attended[:, 0].transpose(1, 2)


class FPA(nn.Module):
    """Foreground prototype attention: each side of a pair learns from the other.

    Args:
        channels: D.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = CrossAttention(channels), CrossAttention(channels)

    def forward(self, f: Tensor) -> Tensor:
        """Maps of pairs (2B, D, H, W) -> what is added to them."""
        a, b = correlation(f.flatten(2)).chunk(2)
        return torch.cat((self.first(a, b), self.second(b, a))).view_as(f)


def correlation(x: Tensor) -> Tensor:
    """How alike each position and each channel's prototype are, as cosines (B, D, N).

    The prototype of a channel is the mean of all positions, weighted by the softmax of that
    channel; no gradient goes through the weights.

    Args:
        x: (B, D, N).
    """
    prototypes = x.detach().softmax(dim=2) @ x.transpose(1, 2)  # (B, D, D)
    return F.normalize(prototypes.float(), dim=2) @ F.normalize(x.float(), dim=1)


class EPA(nn.Module):
    """Edge prototype attention: positions that resemble the edges seen so far get their mean.

    The container of edge vectors is mixed with those of the last step by a learned map over items.
    As it feeds on itself, the map's rows go through a softmax: with weights of any sum it would
    grow without bound. Attention is a softmax over all positions times their number, so that it is
    1 in the mean, whatever the size of the map.

    Args:
        channels: D.
        released: as the code has it: a map without constraint that never learns, a softmax over
            the rows of each column alone, no gradient through any of it.

    Attributes:
        container: (ITEMS, D), zero until edges were found.
        fresh: (ITEMS, D), found in the last step that found any.
    """

    container: Tensor
    fresh: Tensor

    def __init__(self, channels: int, *, released: bool = False) -> None:
        super().__init__()
        self.released = released
        self.mix = nn.Linear(2 * ITEMS, ITEMS, bias=released).requires_grad_(not released)
        self.register_buffer("container", torch.zeros(ITEMS, channels))
        self.register_buffer("fresh", torch.zeros(ITEMS, channels))

    def forward(self, f: Tensor) -> Tensor:
        """Maps (B, D, H, W) -> what is added to them; zero until edges were found."""
        prototype = self.mixed().mean(0)[:, None, None]  # (D, 1, 1)
        alike = F.cosine_similarity(f.float(), prototype[None], dim=1)  # (B, H, W)
        if self.released:
            attention = alike.detach().softmax(dim=1)
        else:
            attention = alike.flatten(1).softmax(dim=1).view_as(alike) * alike[0].numel()
        return prototype * attention[:, None]

    def mixed(self) -> Tensor:
        """The container (ITEMS, D) that this step uses."""
        both = torch.cat((self.container, self.fresh)).T
        if self.released:
            new = self.mix(both).T
        else:
            new = F.linear(both, self.mix.weight.softmax(dim=1)).T
        return torch.where(self.container.any(), new, self.fresh)

    @torch.no_grad()
    def store(self, fresh: Tensor) -> None:
        """Keep the container as mixed, and the vectors (ITEMS, D) to be mixed in next."""
        self.container.copy_(self.mixed())
        self.fresh.copy_(fresh)

    @torch.no_grad()
    def draw(self, f: Tensor, edge: Tensor, key: Tensor) -> Tensor:
        """Vectors (ITEMS, D) of random edge pixels, with replacement; if none, `fresh` again.

        Args:
            f: (B, D, H, W).
            edge: (B, H, W) bool.
            key: (1,).
        """
        upto = edge.flatten().cumsum(0)  # edge pixels up to each position
        rank = (uniforms(key, ITEMS)[:, 0] * upto[-1]).long()
        place = torch.searchsorted(upto, rank, right=True).clamp_max(len(upto) - 1)
        found = f.movedim(1, -1).flatten(0, 2).index_select(0, place)
        return torch.where(upto[-1] > 0, found.to(self.fresh.dtype), self.fresh)


def neighbours(maps: Tensor) -> list[Tensor]:
    """The eight maps (..., H, W) of what lies beside each pixel; zero beyond the border."""
    height, width = maps.shape[-2:]
    framed = F.pad(maps, (1, 1, 1, 1))
    return [
        framed[..., y : y + height, x : x + width]
        for y in range(3)
        for x in range(3)
        if (y, x) != (1, 1)
    ]


def edges(label: Tensor) -> Tensor:
    """Pixels whose neighbours are neither all foreground nor all background, (B, H, W) bool.

    Args:
        label: (B, H, W), 0 or 1; beyond the border is background.
    """
    around = torch.stack(neighbours(label)).sum(0)
    return (around > 0) & (around < 8)
