"""Time of the selective scan, forward and backward, against loops as they are often written.

    python -m baselines.networks.scan.bench

One direction, 192 channels, 16 states, one thread; processor time, best of three, sides in turn.
The loop that indexes step by step takes time with the square of the length, since the backward
pass of every index fills a whole tensor: it is timed on a quarter of the steps. Where there is a
CUDA device, the Triton kernels are timed there against the plain form, in all four directions.
"""

import time
from collections.abc import Callable

import torch
from torch import Tensor

from baselines.networks.scan import selective_scan, visits
from baselines.networks.scan.compiled import CompiledScan
from baselines.networks.scan.plain import plain_scan, sequence

CHANNELS, STATES, SIDE = 192, 16, 56
Scan = Callable[..., Tensor]


def inputs(images: int, directions: int, length: int, device: str = "cpu") -> list[Tensor]:
    """u, dt, a, b, c of `selective_scan` with steps up to 0.1."""
    torch.manual_seed(0)
    dt = 1e-3 * 100 ** torch.rand(images, directions, length, CHANNELS)
    a = -torch.arange(1.0, STATES + 1).expand(directions, CHANNELS, -1)
    shapes = [(images, length, CHANNELS), *([(images, directions, length, STATES)] * 2)]
    u, b, c = (torch.randn(*shape) for shape in shapes)
    return [x.to(device).clone().requires_grad_() for x in (u, dt, a, b, c)]


def _factors(u: Tensor, dt: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    return torch.exp(dt[..., None] * a), (dt * u)[..., None] * b[..., None, :]


def unbind_loop(u: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """Step by step, slices taken all at once."""
    decay, entering = _factors(u, dt, a, b)
    h = torch.zeros_like(decay[:, 0])
    states = []
    for factor, value in zip(decay.unbind(1), entering.unbind(1), strict=True):
        h = torch.addcmul(value, factor, h)
        states.append(h)
    return (torch.stack(states, dim=1) @ c[..., None])[..., 0]


def sliced_loop(u: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """Step by step, each slice by its index."""
    decay, entering = _factors(u, dt, a, b)
    h = torch.zeros_like(decay[:, 0])
    outputs = []
    for t in range(u.shape[1]):
        h = decay[:, t] * h + entering[:, t]
        outputs.append((h * c[:, t, None]).sum(-1))
    return torch.stack(outputs, dim=1)


def _compiled(u: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    order = torch.arange(u.shape[1])[None]
    y: Tensor = CompiledScan.apply(u, dt[:, None], a[None], b[:, None], c[:, None], order)
    return y[:, 0]


def _seconds(scan: Scan, length: int) -> float:
    """Processor time of one forward and backward pass."""
    u, dt, a, b, c = inputs(1, 1, length)
    began = time.process_time()
    scan(u, dt[:, 0], a[0], b[:, 0], c[:, 0]).sum().backward()
    return time.process_time() - began


def on_cpu() -> None:
    """Print ratios at 56x56 steps, and at a quarter of them for the loop with slices."""
    torch.set_num_threads(1)
    length = SIDE * SIDE
    _seconds(_compiled, 8)  # the first call compiles
    for scans, steps, rounds in (
        ((_compiled, sequence, unbind_loop), length, 3),
        ((_compiled, sequence, sliced_loop), length // 4, 1),
    ):
        times = {scan.__name__: float("inf") for scan in scans}
        for _ in range(rounds):
            for scan in scans:
                times[scan.__name__] = min(times[scan.__name__], _seconds(scan, steps))
        reference = times[scans[-1].__name__]
        print(f"{steps} steps, forward and backward:")
        for name, seconds in times.items():
            print(f"  {name.strip('_'):12} {1e3 * seconds:10.1f} ms  {reference / seconds:8.1f}x")


def on_gpu(images: int = 16) -> None:
    """Print the kernels' time against the plain form's, and how far their values are apart."""
    values = inputs(images, 4, SIDE * SIDE, "cuda")
    order = visits(SIDE, SIDE).cuda()
    forms: dict[str, Scan] = {
        "fused": lambda u, dt, a, b, c: selective_scan(u, dt, a, b, c, SIDE, SIDE),
        "plain": lambda u, dt, a, b, c: plain_scan(u, dt, a, b, c, order),
    }
    times = {}
    for name, form in forms.items():
        best = float("inf")
        for _ in range(4):  # the first compiles
            torch.cuda.synchronize()
            began = time.perf_counter()
            y = form(*values)
            y.sum().backward()
            torch.cuda.synchronize()
            best = min(best, time.perf_counter() - began)
        times[name] = best
        print(f"  {name:12} {1e3 * best:10.2f} ms")
    with torch.no_grad():
        fused, plain = (form(*values) for form in forms.values())
    error = float((fused - plain).abs().max() / plain.abs().max())
    print(f"fused is {times['plain'] / times['fused']:.1f}x plain; values within {error:.1e}")


if __name__ == "__main__":
    on_cpu()
    if torch.cuda.is_available():
        on_gpu()
