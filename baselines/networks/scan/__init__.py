"""Selective scan in four directions over an image (Mamba: arXiv:2312.00752; VMamba: 2401.10166).

For direction k, visiting the pixels p in its order, each channel on its own:

    h_p = exp(dt_p a) h_(before p) + dt_p b_p u_p        y_p = <c_p, h_p>        h = 0 at first

Three forms of one function: `fused` (Triton) on a GPU, `compiled` (numba) on a CPU, and `plain`
(PyTorch), the definition, where neither can be had. Nothing is built by hand: the package mamba-ssm
needs a CUDA compiler.
"""

from functools import lru_cache

import torch
from torch import Tensor

from baselines.networks.scan import compiled
from baselines.networks.scan.plain import plain_scan
from benchmark.jit import COMPILED

DIRECTIONS = 4  # rows, columns, and both from the end


def selective_scan(
    u: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, height: int, width: int
) -> Tensor:
    """Outputs of the four directions, each where its pixel is; the state is fp32 always.

    Args:
        u: (B, L, d), pixels row by row; L = height * width.
        dt: (B, 4, L, d), above 0.
        a: (4, d, N), below 0.
        b: (B, 4, L, N), what of u enters the state.
        c: (B, 4, L, N), what of the state is read.
        height: of the image.
        width: of the image.

    Returns:
        (B, 4, L, d), fp32.
    """
    u, dt, a, b, c = (x.float() for x in (u, dt, a, b, c))
    if u.is_cuda:
        try:
            from baselines.networks.scan.fused import FusedScan
        except ImportError:  # torch without Triton
            return plain_scan(u, dt, a, b, c, visits(height, width).to(u.device))
        y: Tensor = FusedScan.apply(u, dt, a, b, c, height, width)
        return y
    order = visits(height, width)
    if not COMPILED or u.device.type != "cpu":
        return plain_scan(u, dt, a, b, c, order.to(u.device))
    compiled_y: Tensor = compiled.CompiledScan.apply(u, dt, a, b, c, order)
    return compiled_y


@lru_cache(maxsize=32)
def visits(height: int, width: int) -> Tensor:
    """Pixels (4, L) in the order in which each direction sees them."""
    rows = torch.arange(height * width)
    columns = rows.view(height, width).t().flatten()
    return torch.stack((rows, columns, rows.flip(0), columns.flip(0)))
