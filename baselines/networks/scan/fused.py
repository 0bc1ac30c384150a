"""The selective scan on a GPU, in Triton: what goes in is read once, and no state is written out.

A program serves one sequence and a block of its channels. It walks through the sequence in
stretches of `STRETCH` steps, scans each in parallel and carries the state, in fp32 registers, to
the next; directions are index arithmetic on the image, so nothing is copied or flipped. The
backward pass walks back, and makes the state again from the one kept at the start of each stretch.

`TRITON_INTERPRET=1` runs the same kernels without a GPU; the tests do.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

STRETCH = 32  # T, steps scanned at once
BLOCK = 8  # D, channels of one program


@triton.jit
def _combine(a1, b1, a2, b2):
    """One step out of two: h -> a1 h + b1, then h -> a2 h + b2."""
    return a1 * a2, a2 * b1 + b2


@triton.jit
def _pixel(t, k, height, width):
    """Where direction k is at step t: rows, columns, and both from the end."""
    t = tl.where(k >= 2, height * width - 1 - t, t)
    return tl.where(k % 2 == 0, t, (t % height) * width + t // height)


@triton.jit
def _forward(
    u,
    dt,
    a,
    b,
    c,
    y,
    marks,
    height,
    width,
    channels,
    stretches,
    N: tl.constexpr,
    T: tl.constexpr,
    D: tl.constexpr,
):
    sequence = tl.program_id(0)
    image, k = sequence // 4, sequence % 4
    length = height * width
    steps = tl.arange(0, T)
    n = tl.arange(0, N)
    i = tl.program_id(1) * D + tl.arange(0, D)
    inside = i < channels
    rate = tl.load(a + (k * channels + i)[:, None] * N + n, mask=inside[:, None], other=0.0)
    h = tl.zeros((D, N), tl.float32)
    for stretch in range(stretches):
        mark = marks + ((sequence * stretches + stretch) * channels + i)[:, None] * N + n
        tl.store(mark, h, mask=inside[:, None])
        t = stretch * T + steps
        here = t < length
        p = _pixel(t, k, height, width)
        both = here[:, None] & inside
        own = (sequence * length + p)[:, None]
        x = tl.load(dt + own * channels + i, mask=both, other=0.0)
        v = tl.load(u + (image * length + p)[:, None] * channels + i, mask=both, other=0.0)
        bs = tl.load(b + own * N + n, mask=here[:, None], other=0.0)
        cs = tl.load(c + own * N + n, mask=here[:, None], other=0.0)
        decay = tl.exp(x[:, :, None] * rate)  # 1 beyond the end: the state stays
        left, states = tl.associative_scan((decay, (x * v)[:, :, None] * bs[:, None]), 0, _combine)
        states += left * h
        tl.store(y + own * channels + i, tl.sum(states * cs[:, None], 2), mask=both)
        h = tl.sum(tl.where((steps == T - 1)[:, None, None], states, 0.0), 0)


@triton.jit
def _backward(
    u,
    dt,
    a,
    b,
    c,
    marks,
    gy,
    gu,
    gdt,
    ga,
    gb,
    gc,
    height,
    width,
    channels,
    stretches,
    N: tl.constexpr,
    T: tl.constexpr,
    D: tl.constexpr,
):
    sequence = tl.program_id(0)
    image, k = sequence // 4, sequence % 4
    length = height * width
    steps = tl.arange(0, T)
    n = tl.arange(0, N)
    i = tl.program_id(1) * D + tl.arange(0, D)
    inside = i < channels
    rate = tl.load(a + (k * channels + i)[:, None] * N + n, mask=inside[:, None], other=0.0)
    # gb and gc have a slot for each block of channels: nothing is added by two programs
    slot = tl.program_id(1) * tl.num_programs(0) * length
    g = tl.zeros((D, N), tl.float32)  # of the state before the stretch that was done last
    total = tl.zeros((D, N), tl.float32)
    for done in range(stretches):
        stretch = stretches - 1 - done
        mark = marks + ((sequence * stretches + stretch) * channels + i)[:, None] * N + n
        h = tl.load(mark, mask=inside[:, None], other=0.0)
        t = stretch * T + steps
        here = t < length
        both = here[:, None] & inside
        p = _pixel(t, k, height, width)
        own = (sequence * length + p)[:, None]
        x = tl.load(dt + own * channels + i, mask=both, other=0.0)
        v = tl.load(u + (image * length + p)[:, None] * channels + i, mask=both, other=0.0)
        q = tl.load(gy + own * channels + i, mask=both, other=0.0)
        bs = tl.load(b + own * N + n, mask=here[:, None], other=0.0)
        cs = tl.load(c + own * N + n, mask=here[:, None], other=0.0)
        decay = tl.exp(x[:, :, None] * rate)

        # the state before each step: the same scan, one step late
        late = here & (steps > 0)
        before = _pixel(t - 1, k, height, width)
        late_own = (sequence * length + before)[:, None]
        late_both = late[:, None] & inside
        x1 = tl.load(dt + late_own * channels + i, mask=late_both, other=0.0)
        at = (image * length + before)[:, None]
        v1 = tl.load(u + at * channels + i, mask=late_both, other=0.0)
        b1 = tl.load(b + late_own * N + n, mask=late[:, None], other=0.0)
        entering = (x1 * v1)[:, :, None] * b1[:, None]
        left, previous = tl.associative_scan((tl.exp(x1[:, :, None] * rate), entering), 0, _combine)
        previous += left * h
        states = decay * previous + (x * v)[:, :, None] * bs[:, None]

        # gradient of each state: from its own output, and from the steps that follow
        follows = (steps < T - 1) & (t + 1 < length)
        after = (sequence * length + _pixel(t + 1, k, height, width))[:, None]
        x2 = tl.load(dt + after * channels + i, mask=follows[:, None] & inside, other=0.0)
        left, gh = tl.associative_scan(
            (tl.exp(x2[:, :, None] * rate), q[:, :, None] * cs[:, None]), 0, _combine, reverse=True
        )
        gh += left * g
        carried = gh * decay
        g = tl.sum(tl.where((steps == 0)[:, None, None], carried, 0.0), 0)

        through = carried * previous
        into = tl.sum(gh * bs[:, None], 2)
        tl.store(gu + own * channels + i, into * x, mask=both)
        tl.store(gdt + own * channels + i, into * v + tl.sum(through * rate, 2), mask=both)
        total += tl.sum(through * x[:, :, None], 0)
        place = (slot + sequence * length + p)[:, None] * N + n
        tl.store(gb + place, tl.sum(gh * (x * v)[:, :, None], 1), mask=here[:, None])
        tl.store(gc + place, tl.sum(states * q[:, :, None], 1), mask=here[:, None])
    tl.store(ga + (sequence * channels + i)[:, None] * N + n, total, mask=inside[:, None])


class FusedScan(torch.autograd.Function):
    """`selective_scan` by the kernels above."""

    @staticmethod
    def forward(
        ctx: Any,
        u: Tensor,
        dt: Tensor,
        a: Tensor,
        b: Tensor,
        c: Tensor,
        height: int,
        width: int,
    ) -> Tensor:
        u, dt, a, b, c = (x.contiguous() for x in (u, dt, a, b, c))
        images, directions, length, channels = dt.shape
        states = a.shape[2]
        stretches = triton.cdiv(length, STRETCH)
        y = torch.empty_like(dt)
        marks = dt.new_empty(images, directions, stretches, channels, states)
        grid = (images * directions, triton.cdiv(channels, BLOCK))
        sizes = (height, width, channels, stretches)
        _forward[grid](u, dt, a, b, c, y, marks, *sizes, N=states, T=STRETCH, D=BLOCK)
        ctx.save_for_backward(u, dt, a, b, c, marks)
        ctx.sizes = sizes
        return y

    @staticmethod
    def backward(ctx: Any, gy: Tensor) -> tuple[Tensor | None, ...]:
        u, dt, a, b, c, marks = ctx.saved_tensors
        images, directions, _, channels = dt.shape
        states = a.shape[2]
        grid = (images * directions, triton.cdiv(channels, BLOCK))
        gu, gdt = torch.empty_like(dt), torch.empty_like(dt)
        ga = a.new_empty(images, *a.shape)
        gb, gc = (x.new_empty(grid[1], *x.shape) for x in (b, c))
        inputs = (u, dt, a, b, c, marks, gy.contiguous())
        gradients = (gu, gdt, ga, gb, gc)
        _backward[grid](*inputs, *gradients, *ctx.sizes, N=states, T=STRETCH, D=BLOCK)
        return gu.sum(dim=1), gdt, ga.sum(dim=0), gb.sum(dim=0), gc.sum(dim=0), None, None
