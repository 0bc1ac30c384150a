"""What the device can do at best, measured: the scale that a step's own rates are held against."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

REPEATS = 5
SIDE = {"cuda": 8192, "cpu": 1024}  # of the square matrices that are multiplied
COPIED_BYTES = {"cuda": 2**30, "cpu": 2**27}  # far more than any cache holds
PRECISIONS = {"cuda": ("fp32", "tf32", "bf16"), "cpu": ("fp32", "bf16")}


@dataclass(frozen=True, slots=True)
class Rates:
    """Best of several, on random numbers; on a CPU a second is one of processor time."""

    matrix_tflop_per_s: dict[str, float]  # precision of the operands -> rate of a large product
    copy_gb_per_s: float  # bytes read and bytes written


def measure_rates(device: torch.device) -> Rates:
    """A few seconds on a CPU, less on a GPU."""
    return Rates(
        {name: matrix_rate(device, name) for name in PRECISIONS[device.type]}, copy_rate(device)
    )


def matrix_rate(device: torch.device, precision: str) -> float:
    """Rate of a product of two square matrices, in TFLOP/s.

    Args:
        device: where.
        precision: "fp32", "tf32" (matrix units read fp32 numbers shortened to 19 bits; CUDA
            only) or "bf16".
    """
    side = SIDE[device.type]
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = (torch.randn(side, side, device=device).to(kind) for _ in range(2))
    with _fp32_products("high" if precision == "tf32" else "highest"):
        seconds = _best(lambda: a @ b, device)
    return 2 * side**3 / seconds / 1e12


def copy_rate(device: torch.device) -> float:
    """Rate of copying memory to memory on the device, in GB/s; reads and writes both count."""
    size = COPIED_BYTES[device.type]
    source = torch.randint(256, (size,), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * size / _best(lambda: target.copy_(source), device) / 1e9


def synchronise(device: torch.device) -> None:
    """Wait until the device has done what it was given; the CPU always has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _best(work: Callable[[], object], device: torch.device) -> float:
    """Seconds of the fastest of several calls, after one that warms up."""
    now = time.perf_counter if device.type == "cuda" else time.process_time
    times = []
    for _ in range(REPEATS + 1):
        synchronise(device)
        began = now()
        work()
        synchronise(device)
        times.append(now() - began)
    return min(times[1:])


@contextmanager
def _fp32_products(precision: str) -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
