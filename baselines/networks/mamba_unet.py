"""The network of Mamba-UNet (Wang et al., arXiv:2402.05079): Swin-Unet's skeleton on VSS blocks."""

import math
from collections.abc import Sequence

import torch
from timm.layers import DropPath, trunc_normal_
from torch import Tensor, nn
from torch.nn import functional as F

from baselines.networks.scan import DIRECTIONS, selective_scan
from baselines.networks.token_unet import TokenUNet

STATES = 16  # N
EXPAND = 2  # d = 2 C
STEP_RANGE = (1e-3, 1e-1)  # of the step sizes at the beginning, log-uniform
STEP_FLOOR = 1e-4


class SelectiveScan2d(nn.Module):
    """SS2D of VMamba: gated, a depth-wise convolution, then the scan in four directions, summed.

    Args:
        width: C, channels of a token.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = EXPAND * width  # d
        self.rank = -(-width // 16)  # R, width of the step sizes before they are spread to d
        self.in_proj = nn.Linear(width, 2 * inner, bias=False)
        self.conv = nn.Conv2d(inner, inner, 3, padding=1, groups=inner)
        self.select = nn.Parameter(torch.empty(DIRECTIONS, self.rank + 2 * STATES, inner))
        self.dt_weight = nn.Parameter(torch.empty(DIRECTIONS, inner, self.rank))
        self.dt_bias = nn.Parameter(torch.empty(DIRECTIONS, inner))
        self.a_log = nn.Parameter(torch.empty(DIRECTIONS, inner, STATES))
        self.skip = nn.Parameter(torch.ones(DIRECTIONS, inner))  # D
        self.norm = nn.LayerNorm(inner)
        self.out_proj = nn.Linear(inner, width, bias=False)
        self._initialise()

    def _initialise(self) -> None:
        """As Mamba: slow to fast decays in every channel, small steps."""
        trunc_normal_(self.in_proj.weight, std=0.02)
        trunc_normal_(self.out_proj.weight, std=0.02)
        bound = self.select.shape[-1] ** -0.5
        nn.init.uniform_(self.select, -bound, bound)
        nn.init.uniform_(self.dt_weight, -(self.rank**-0.5), self.rank**-0.5)
        low, high = (math.log(limit) for limit in STEP_RANGE)
        step = torch.empty_like(self.dt_bias).uniform_(low, high).exp().clamp_min(STEP_FLOOR)
        with torch.no_grad():
            self.dt_bias.copy_(step + torch.log(-torch.expm1(-step)))  # softplus, backwards
            self.a_log.copy_(torch.arange(1.0, STATES + 1).log().expand_as(self.a_log))

    def forward(self, x: Tensor) -> Tensor:
        """(B, h, w, C) -> the same shape."""
        height, width = x.shape[1:3]
        u, gate = self.in_proj(x).chunk(2, dim=-1)
        u = F.silu(self.conv(u.permute(0, 3, 1, 2))).permute(0, 2, 3, 1).flatten(1, 2)  # (B, L, d)
        with torch.autocast(x.device.type, enabled=False):  # the scan overflows in half precision
            y = self._scan(u.float(), height, width)
        y = self.norm(y.to(x.dtype)).unflatten(1, (height, width))
        out: Tensor = self.out_proj(y * F.silu(gate))
        return out

    def _scan(self, u: Tensor, height: int, width: int) -> Tensor:
        """(B, L, d) -> (B, L, d), all in fp32."""
        selected = u[:, None] @ self.select.transpose(1, 2)  # (B, 4, L, R + 2N)
        raw, b, c = selected.split((self.rank, STATES, STATES), dim=-1)
        spread = raw @ self.dt_weight.transpose(1, 2)  # (B, 4, L, d)
        dt = F.softplus(spread + self.dt_bias[:, None])
        y = selective_scan(u, dt, -self.a_log.exp(), b, c, height, width)
        return y.sum(dim=1) + self.skip.sum(dim=0) * u


class VSSBlock(nn.Module):
    """Norm, scan, residual; there is no MLP.

    Args:
        width: C.
        drop_path: rate.
    """

    def __init__(self, width: int, drop_path: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.scan = SelectiveScan2d(width)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """(B, h, w, C) -> the same shape."""
        residual: Tensor = x + self.drop_path(self.scan(self.norm(x)))
        return residual


def vss_stage(width: int, side: int, drop_path: Sequence[float]) -> nn.Module:
    """Blocks of one stage."""
    return nn.Sequential(*(VSSBlock(width, rate) for rate in drop_path))


class MambaUNet(TokenUNet):
    """19,121,376 parameters, whatever the size of the images.

    Args:
        size: height and width of the images in px.
    """

    def __init__(self, size: int) -> None:
        super().__init__(size, 96, vss_stage)
