"""What a run runs on: device, its arithmetic, versions, commit, memory."""

import os
import platform
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path

import torch

from benchmark.execution import Execution
from dataset_builders.errors import UsageError

_CUBLAS = "CUBLAS_WORKSPACE_CONFIG"  # two values of it make cuBLAS give the same bits every time
_PACKAGES = ("torch", "torchvision", "timm", "segmentation-models-pytorch", "monai", "transformers")


def pick_device(name: str) -> torch.device:
    """`auto` is the GPU if there is one.

    Raises:
        UsageError: no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(
            f"unknown device '{name}'; choose one of: auto, cpu, cuda, cuda:1"
        ) from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"device '{name}': torch sees no CUDA GPU here; use --device cpu")
    return device


@contextmanager
def arithmetic(execution: Execution, device: torch.device) -> Iterator[None]:
    """Within it torch calculates as an execution says; afterwards its switches are as before.

    cuBLAS reads its variable once, when it is first used: nothing may run on the GPU before.
    """
    cudnn, exact = torch.backends.cudnn, execution.deterministic
    with ExitStack() as switches:
        for name, value in {
            "allow_tf32": execution.tf32,
            "deterministic": exact,
            "benchmark": not exact,  # shapes are the same in every step: worth trying kernels out
        }.items():
            switches.callback(setattr, cudnn, name, getattr(cudnn, name))
            setattr(cudnn, name, value)
        switches.callback(
            torch.use_deterministic_algorithms,
            torch.are_deterministic_algorithms_enabled(),
            warn_only=torch.is_deterministic_algorithms_warn_only_enabled(),
        )
        torch.use_deterministic_algorithms(exact)
        if exact and _CUBLAS not in os.environ:
            os.environ[_CUBLAS] = ":4096:8"
            switches.callback(os.environ.pop, _CUBLAS)
        if device.type == "cuda":
            switches.enter_context(torch.cuda.device(device))
        yield


def describe(device: torch.device) -> dict[str, str]:
    """Device and versions, for the record."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {
        "device": f"{device.type} ({name})",
        "threads": str(torch.get_num_threads()),
        "python": platform.python_version(),
        **{package: version(package) for package in _PACKAGES},
    }


def peak_memory_mb(device: torch.device) -> float:
    """Peak of the device's allocator since its reset; on the CPU of the whole process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)  # bytes there, KiB on Linux


def commit() -> str:
    """The checkout this package runs from: "<sha>", "<sha>-dirty", or "unknown"."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", "*.py")
        return git("rev-parse", "HEAD") + ("-dirty" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
