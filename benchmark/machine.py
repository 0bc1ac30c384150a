"""What a run ran on: device, versions, commit, memory."""

import platform
import resource
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import torch

from dataset_builders.errors import UsageError

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
