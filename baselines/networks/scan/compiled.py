"""The selective scan on a CPU: one pass over each sequence, nothing of the state kept but marks.

Written out, the factors of the recurrence take N times the memory of what goes in. Here they live
in registers; the backward pass makes them again, from the state at every 56th step.
"""

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from benchmark.jit import jit

F = TypeVar("F", bound=Callable[..., Any])
Array = npt.NDArray[np.float32]
Order = npt.NDArray[np.int64]
EVERY = 56  # steps between marks: the root of 3,136, so that marks and one stretch take the same

LOG2_E = np.float32(1.4426950408889634)
# ln 2 in two parts: a whole number times the first is exact, the second mends the rest
LN2_HIGH, LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
# the Taylor series of exp on [-0.35, 0.35]: the first term left out is below 2e-7
C2, C3, C4, C5, C6 = (np.float32(1 / math.factorial(n)) for n in range(2, 7))
ONE, HALF = np.float32(1), np.float32(0.5)
LOWEST = np.float32(-126)  # a power of two below it is no normal number
BIAS, SHIFT = np.int32(127), np.int32(23)


def _fast(function: F) -> F:
    """Machine code in which sums may be reordered, so that they vectorise."""
    return jit(function, fastmath={"contract", "nsz", "reassoc", "arcp"}, error_model="numpy")


@_fast
def decay(x: np.float32) -> np.float32:
    """exp(x) for x <= 0, within 3e-7 of its size: the library's does not vectorise."""
    z = max(x * LOG2_E, LOWEST)
    k = np.int32(z - HALF)  # towards zero: the nearest whole number, for what is negative
    whole = np.float32(k)
    r = max(x, LOWEST / LOG2_E) - whole * LN2_HIGH - whole * LN2_LOW
    series = ONE + r * (ONE + r * (C2 + r * (C3 + r * (C4 + r * (C5 + r * C6)))))
    power = np.int32((k + BIAS) << SHIFT).view(np.float32)  # 2 ** k by its exponent's bits
    return np.float32(series * power)


@_fast
def forward(
    u: Array, dt: Array, a: Array, b: Array, c: Array, order: Order, y: Array, marks: Array
) -> None:
    """One sequence: u, dt, y (L, d); a (d, N); b, c (L, N); marks (ceil(L / EVERY), d, N)."""
    width, states = a.shape
    h = np.zeros((width, states), np.float32)
    for t in range(len(order)):
        p = order[t]
        if t % EVERY == 0:
            marks[t // EVERY] = h
        for i in range(width):
            x, w = dt[p, i], dt[p, i] * u[p, i]
            total = np.float32(0)
            for n in range(states):
                value = decay(x * a[i, n]) * h[i, n] + w * b[p, n]
                h[i, n] = value
                total += value * c[p, n]
            y[p, i] = total


@_fast
def backward(
    u: Array,
    dt: Array,
    a: Array,
    b: Array,
    c: Array,
    order: Order,
    marks: Array,
    gy: Array,
    gu: Array,
    gdt: Array,
    ga: Array,
    gb: Array,
    gc: Array,
) -> None:
    """Gradients of one sequence, added to gu, gdt (L, d), ga (d, N), gb, gc (L, N)."""
    length = len(order)
    width, states = a.shape
    g = np.zeros((width, states), np.float32)  # of the state, from the steps that follow
    h = np.empty((EVERY + 1, width, states), np.float32)
    decays = np.empty((EVERY, width, states), np.float32)
    for stretch in range((length - 1) // EVERY, -1, -1):
        start = stretch * EVERY
        stop = min(length, start + EVERY)
        h[0] = marks[stretch]
        for t in range(start, stop):
            p, s = order[t], t - start
            for i in range(width):
                x, w = dt[p, i], dt[p, i] * u[p, i]
                for n in range(states):
                    factor = decay(x * a[i, n])
                    decays[s, i, n] = factor
                    h[s + 1, i, n] = factor * h[s, i, n] + w * b[p, n]
        for t in range(stop - 1, start - 1, -1):
            p, s = order[t], t - start
            for i in range(width):
                x, w, q = dt[p, i], dt[p, i] * u[p, i], gy[p, i]
                into, through = np.float32(0), np.float32(0)
                for n in range(states):
                    gh = g[i, n] + q * c[p, n]
                    gc[p, n] += q * h[s + 1, i, n]
                    gb[p, n] += gh * w
                    into += gh * b[p, n]
                    carried = gh * decays[s, i, n]
                    factor = carried * h[s, i, n]
                    through += factor * a[i, n]
                    ga[i, n] += factor * x
                    g[i, n] = carried
                gu[p, i] += into * x
                gdt[p, i] += into * u[p, i] + through


class CompiledScan(torch.autograd.Function):
    """`selective_scan` by numba, a thread for each sequence."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch's own
        u: Tensor,
        dt: Tensor,
        a: Tensor,
        b: Tensor,
        c: Tensor,
        order: Tensor,
    ) -> Tensor:
        images, directions, length, width = dt.shape
        inputs = [x.detach().contiguous().numpy() for x in (u, dt, a, b, c)]
        y = np.empty(dt.shape, np.float32)
        stretches = -(-length // EVERY)
        marks = np.empty((images, directions, stretches, width, a.shape[2]), np.float32)
        visits = order.numpy()

        def one(i: int, k: int) -> None:
            us, dts, as_, bs, cs = inputs
            forward(us[i], dts[i, k], as_[k], bs[i, k], cs[i, k], visits[k], y[i, k], marks[i, k])

        _each(one, images, directions)
        ctx.inputs, ctx.marks, ctx.visits = inputs, marks, visits
        return torch.from_numpy(y)

    @staticmethod
    def backward(ctx: Any, gy: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        us, dts, as_, bs, cs = ctx.inputs
        images, directions = dts.shape[:2]
        seen = gy.contiguous().numpy()
        # one slot for each sequence, so that threads never add to the same place
        gu, gdt = np.zeros(dts.shape, np.float32), np.zeros(dts.shape, np.float32)
        ga = np.zeros((images, *as_.shape), np.float32)
        gb, gc = np.zeros(bs.shape, np.float32), np.zeros(cs.shape, np.float32)

        def one(i: int, k: int) -> None:
            backward(
                *(us[i], dts[i, k], as_[k], bs[i, k], cs[i, k], ctx.visits[k]),
                *(ctx.marks[i, k], seen[i, k]),
                *(gu[i, k], gdt[i, k], ga[i, k], gb[i, k], gc[i, k]),
            )

        _each(one, images, directions)
        gradients = (gu.sum(axis=1), gdt, ga.sum(axis=0), gb, gc)
        return (*(torch.from_numpy(g) for g in gradients), None)


def _each(one: Callable[[int, int], None], images: int, directions: int) -> None:
    """Call `one` for every sequence, in as many threads as torch may use."""
    places = [(i, k) for i in range(images) for k in range(directions)]
    if torch.get_num_threads() == 1:
        for place in places:
            one(*place)
        return
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        list(pool.map(lambda place: one(*place), places))
