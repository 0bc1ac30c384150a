"""Random numbers that are functions of (seed, step, sample), never the state of a generator.

A run can so be resumed or repeated exactly, a sample's view does not depend on its neighbours in
the batch, and a GPU draws the numbers that a CPU draws. A number is a hash of a key and of which
draw it is (SplitMix64; Steele, Lea, Flood 2014); all of it is integer arithmetic on the device.
"""

import hashlib

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmark.tracing import traced


def _signed(number: int) -> int:
    """The same 64 bits as a signed integer: torch has no other, and wraps on overflow as needed."""
    return (number + 2**63) % 2**64 - 2**63


# constants of SplitMix64
_GOLDEN = _signed(0x9E3779B97F4A7C15)
_MIX_1 = _signed(0xBF58476D1CE4E5B9)
_MIX_2 = _signed(0x94D049BB133111EB)


def stable_key(name: str) -> int:
    """63 bits of a name, the same on every machine."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) >> 1


def step_keys(samples: Tensor, seed: int, step: int | Tensor) -> Tensor:
    """Random keys (B,) of samples (B,) at one step of one run.

    Args:
        samples: int64, a stable key each.
        seed: of the run.
        step: a number, or () int64 on the samples' device: a recorded graph can change it.
    """
    return _mix(_mix(samples + _signed(_GOLDEN * (seed + 1))) + _multiple(step))


def derive(keys: Tensor, purpose: int) -> Tensor:
    """Keys whose numbers have nothing to do with those of `keys`.

    Args:
        keys: of any shape.
        purpose: a constant, the `stable_key` of what they are for.
    """
    return _mix(keys ^ purpose)


def uniform(keys: Tensor, draw: int, low: float = 0.0, high: float = 1.0) -> Tensor:
    """The `draw`-th number of each key, float32 in [low, high), of the shape of `keys`."""
    return between(_fraction(keys + _multiple(draw)), low, high)


def uniforms(keys: Tensor, count: int) -> Tensor:
    """The first `count` numbers (count, ...) of each key (...), in [0, 1).

    One call costs what one `uniform` costs: a device is kept busy by large operations.
    """
    draws = torch.arange(count, device=keys.device).view(-1, *[1] * keys.ndim)
    return _fraction(keys + _multiple(draws))


def beta(keys: Tensor, alpha: int, beta: int) -> Tensor:
    """One number of each key, of the distribution Beta(alpha, beta).

    It is that of the `alpha`-th smallest of alpha + beta - 1 uniform numbers.
    """
    return uniforms(keys, alpha + beta - 1).sort(0).values[alpha - 1]


def between(fractions: Tensor, low: float, high: float) -> Tensor:
    """Numbers in [0, 1) brought to [low, high)."""
    return low + (high - low) * fractions


def _multiple(number: int | Tensor) -> int | Tensor:
    """The `number`-th step of SplitMix64's sequence, counted from 0."""
    if isinstance(number, Tensor):
        # ~n is -(n + 1); torch.compile would do n + 1 times the constant without wrapping
        return ~number * -_GOLDEN
    return _signed(_GOLDEN * (number + 1))


def _mix(keys: Tensor) -> Tensor:
    """Scatter 64-bit integers so that neighbouring inputs give unrelated outputs."""
    if _as_arrays(keys):
        return torch.from_numpy(_mix_arrays(keys.numpy().view(np.uint64)).view(np.int64))
    keys = (keys ^ _shift(keys, 30)) * _MIX_1
    keys = (keys ^ _shift(keys, 27)) * _MIX_2
    return keys ^ _shift(keys, 31)


def _shift(keys: Tensor, bits: int) -> Tensor:
    """Logical right shift: torch's own copies the sign."""
    return (keys >> bits) & ((1 << (64 - bits)) - 1)


def _fraction(keys: Tensor) -> Tensor:
    """The upper 24 bits of a hash, as many as float32 holds exactly, in [0, 1)."""
    if _as_arrays(keys):
        upper = _mix_arrays(keys.numpy().view(np.uint64)) >> np.uint64(40)
        return torch.from_numpy(upper.astype(np.float32) / np.float32(2**24))
    return _shift(_mix(keys), 40).to(torch.float32) / 2**24


def _as_arrays(keys: Tensor) -> bool:
    """Whether NumPy may do it: with a batch's few keys it takes a fifth of torch's time."""
    return keys.device.type == "cpu" and not traced(keys)


def _mix_arrays(keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """`_mix` of arrays; their shifts are logical."""
    keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(_MIX_1 % 2**64)
    keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(_MIX_2 % 2**64)
    return keys ^ (keys >> np.uint64(31))
