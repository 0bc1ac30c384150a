"""The selective scan: three forms, one definition, written here as a loop in float64."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from baselines.networks import scan
from baselines.networks.scan import selective_scan, visits
from baselines.networks.scan.compiled import decay
from baselines.networks.scan.plain import plain_scan
from benchmark.jit import COMPILED

HEIGHT, WIDTH, CHANNELS, STATES = 9, 15, 6, 16  # 135 steps: no multiple of a stretch


def inputs(largest_step: float, images: int = 2, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    length = HEIGHT * WIDTH
    exponents = torch.rand(images, 4, length, CHANNELS, generator=generator, dtype=torch.float64)
    dt = 1e-3 * (largest_step / 1e-3) ** exponents  # log-uniform
    a = -torch.arange(1.0, STATES + 1, dtype=torch.float64).expand(4, CHANNELS, -1).clone()
    values = [
        normal(images, length, CHANNELS),
        dt,
        a,
        normal(images, 4, length, STATES),
        normal(images, 4, length, STATES),
    ]
    return [value.requires_grad_() for value in values]


def loop(u: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, order: Tensor) -> Tensor:
    outputs = []
    for k, pixels in enumerate(order.tolist()):
        h = u.new_zeros(u.shape[0], u.shape[2], a.shape[2])
        y: list[Tensor] = [u.new_empty(0)] * len(pixels)
        for p in pixels:
            entering = (dt[:, k, p] * u[:, p])[..., None] * b[:, k, p, None]
            h = torch.exp(dt[:, k, p, :, None] * a[k]) * h + entering
            y[p] = (h * c[:, k, p, None]).sum(-1)
        outputs.append(torch.stack(y, dim=1))
    return torch.stack(outputs, dim=1)


def assert_equals_the_loop(form, largest_step: float) -> None:
    exact = inputs(largest_step)
    expected = loop(*exact, visits(HEIGHT, WIDTH))
    weight = torch.randn_like(expected)
    gradients = torch.autograd.grad((expected * weight).sum(), exact)
    single = [value.detach().float().requires_grad_() for value in exact]
    y = form(*single)
    ours = torch.autograd.grad((y * weight.float()).sum(), single)
    for name, value, truth in zip(
        ["y", "u", "dt", "a", "b", "c"], (y, *ours), (expected, *gradients), strict=True
    ):
        error = (value.double() - truth).abs().max() / truth.abs().max()
        assert error <= 1e-6, (name, float(error))


@pytest.mark.parametrize("largest_step", [0.1, 1.0, 10.0])
def test_plain_pytorch_equals_the_loop(largest_step):
    assert_equals_the_loop(lambda *x: plain_scan(*x, visits(HEIGHT, WIDTH)), largest_step)


@pytest.mark.skipif(not COMPILED, reason="numba cannot be imported")
@pytest.mark.parametrize("largest_step", [0.1, 1.0, 10.0])
def test_the_compiled_form_equals_the_loop(largest_step):
    assert_equals_the_loop(lambda *x: selective_scan(*x, HEIGHT, WIDTH), largest_step)


def test_without_numba_the_plain_form_serves(monkeypatch):
    values = [value.detach().float() for value in inputs(0.1)]
    expected = selective_scan(*values, HEIGHT, WIDTH)
    monkeypatch.setattr(scan, "COMPILED", False)
    monkeypatch.setattr(scan.compiled, "CompiledScan", None)
    torch.testing.assert_close(selective_scan(*values, HEIGHT, WIDTH), expected)


def test_more_threads_give_the_same_bits():
    values = inputs(1.0)
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            single = [value.detach().float().requires_grad_() for value in values]
            y = selective_scan(*single, HEIGHT, WIDTH)
            results.append([y, *torch.autograd.grad(y.square().sum(), single)])
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))


@pytest.mark.skipif(not COMPILED, reason="numba cannot be imported")
def test_the_exponential_is_exact_to_rounding():
    import numpy as np

    x = -np.concatenate((np.geomspace(1e-7, 87, 4000), [0.0])).astype(np.float32)
    ours = np.array([decay(value) for value in x], dtype=np.float64)
    exact = np.exp(x.astype(np.float64))
    assert np.max(np.abs(ours / exact - 1)) < 3e-7
    assert decay(np.float32(-500)) < 1e-37


def test_directions_are_rows_columns_and_both_backwards():
    assert visits(2, 3).tolist() == [
        [0, 1, 2, 3, 4, 5],
        [0, 3, 1, 4, 2, 5],
        [5, 4, 3, 2, 1, 0],
        [5, 2, 4, 1, 3, 0],
    ]


def test_a_pixel_is_seen_by_those_that_follow_it():
    values = [value.detach().float() for value in inputs(0.1, images=1)]
    before = selective_scan(*values, HEIGHT, WIDTH)
    pixel = 4 * WIDTH + 7
    values[0][0, pixel] += 1
    moved = (selective_scan(*values, HEIGHT, WIDTH) != before).any(dim=-1)[0]  # (4, L)
    for k, order in enumerate(visits(HEIGHT, WIDTH)):
        place = order.tolist().index(pixel)
        assert not moved[k, order[:place]].any()
        assert moved[k, order[place:]].all()


INTERPRETED = """
import torch
from baselines.networks.scan import fused, visits
from baselines.networks.scan.plain import plain_scan
from benchmark.jit import COMPILED

fused.STRETCH, fused.BLOCK = 4, 2
for top in (0.1, 10.0):
    torch.manual_seed(0)
    dt = 1e-3 * (top / 1e-3) ** torch.rand(1, 4, 6, 3)
    values = [torch.randn(1, 6, 3), dt, -torch.rand(4, 3, 2) * 16,
              torch.randn(1, 4, 6, 2), torch.randn(1, 4, 6, 2)]
    values = [v.double().requires_grad_() for v in values]
    expected = plain_scan(*values, visits(2, 3))
    weight = torch.randn_like(expected)
    gradients = torch.autograd.grad((expected * weight).sum(), values)
    single = [v.detach().float().requires_grad_() for v in values]
    y = fused.FusedScan.apply(*single, 2, 3)
    ours = torch.autograd.grad((y * weight.float()).sum(), single)
    for value, truth in zip((y, *ours), (expected, *gradients)):
        error = float(((value.double() - truth).abs().max() / truth.abs().max()).detach())
        assert error <= 1e-6, error
print("equal")
"""


def test_the_kernels_equal_the_definition_in_tritons_interpreter():
    pytest.importorskip("triton", reason="torch without Triton")
    done = subprocess.run(
        [sys.executable, "-c", INTERPRETED],
        env={**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "equal", done.stderr[-2000:]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("largest_step", [0.1, 10.0])
def test_the_kernels_equal_the_loop_on_a_gpu(largest_step):
    def on_gpu(*values: Tensor) -> Tensor:
        return selective_scan(*(value.cuda() for value in values), HEIGHT, WIDTH).cpu()

    assert_equals_the_loop(on_gpu, largest_step)
