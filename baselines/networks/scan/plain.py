"""The selective scan in plain PyTorch: the definition, for any device and precision.

Stable for any step size: every factor is a decay between 0 and 1 and products are only ever of
those. (Dividing by a cumulative product instead, as is often seen, gives NaN.)
"""

import math

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint


def plain_scan(u: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, order: Tensor) -> Tensor:
    """See `selective_scan`. One direction after another, each made again in the backward pass."""
    outputs = []
    for k, visits in enumerate(order):
        back = torch.argsort(visits)
        y: Tensor = checkpoint(
            sequence,
            *(u[:, visits], dt[:, k, visits], a[k], b[:, k, visits], c[:, k, visits]),
            use_reentrant=False,
        )
        outputs.append(y[:, back])
    return torch.stack(outputs, dim=1)


def sequence(u: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """One direction in two levels: steps inside stretches, all stretches at once; then stretches.

    56 + 56 steps instead of 3,136. Slices come from `unbind`: indexing step by step would fill a
    whole tensor for each step in the backward pass.

    u and dt are (B, L, d), a is (d, N) and below 0, b and c are (B, L, N); returns (B, L, d).
    """
    length = u.shape[1]
    stretch = math.isqrt(length - 1) + 1
    count = -(-length // stretch)
    u, dt, b, c = (
        _padded(x, stretch * count).unflatten(1, (count, stretch)) for x in (u, dt, b, c)
    )
    decay = torch.exp(dt[..., None] * a)  # (B, count, stretch, d, N)
    entering = (dt * u)[..., None] * b[..., None, :]
    h = p = torch.ones(())
    states, products = [], []
    for step, (factor, value) in enumerate(zip(decay.unbind(2), entering.unbind(2), strict=True)):
        h, p = (torch.addcmul(value, factor, h), factor * p) if step else (value, factor)
        states.append(h)  # as if every stretch began from 0
        products.append(p)  # what of its beginning is left
    carry = torch.zeros_like(h[:, 0])
    carries = []
    for last, left in zip(h.unbind(1), p.unbind(1), strict=True):
        carries.append(carry)
        carry = torch.addcmul(last, left, carry)
    begun = torch.stack(carries, dim=1)[:, :, None]  # (B, count, 1, d, N)
    state = torch.addcmul(torch.stack(states, dim=2), torch.stack(products, dim=2), begun)
    y = (state @ c[..., None])[..., 0]  # (B, count, stretch, d)
    return y.flatten(1, 2)[:, :length]


def _padded(x: Tensor, length: int) -> Tensor:
    """Zeros at the end: a step of size 0 leaves the state as it is."""
    missing = length - x.shape[1]
    return torch.nn.functional.pad(x, (0, 0, 0, missing)) if missing else x
