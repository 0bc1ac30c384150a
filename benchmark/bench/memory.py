"""Peak memory of a piece of work, beyond what was held before it."""

import ctypes
import gc
from pathlib import Path

import torch

from benchmark.machine import peak_memory_mb


class PeakMemory:
    """Begins a new peak; what nobody needs any more is given back first."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        gc.collect()
        self._known = _reset(device)
        self._before = peak_memory_mb(device)

    def mb(self) -> float | None:
        """Most that was held since, less what was held then; None where it cannot be known."""
        return peak_memory_mb(self._device) - self._before if self._known else None


def _reset(device: torch.device) -> bool:
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        return True
    try:
        # else the C library keeps what an earlier method freed, and this one takes it unseen
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")  # the peak is now what is held
    except (OSError, AttributeError):
        return False  # not Linux, or another C library
    return True
