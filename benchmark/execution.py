"""How steps are executed on a device: what may change speed and rounding, and nothing else."""

import os
import shutil
import sys
from dataclasses import dataclass
from importlib.util import find_spec

import torch

from benchmark.settings import choose
from dataset_builders.errors import UsageError

PRECISIONS = ("fp32", "bf16")
BF16_CAPABILITY = (8, 0)  # of CUDA devices: Ampere, the first with units for it


@dataclass(frozen=True)
class Execution:
    """One way of doing the arithmetic of a method; fp32 and all else off is the reference."""

    precision: str = "fp32"  # or "bf16": autocast of the losses; weights stay fp32
    tf32: bool = False  # fp32 convolutions on a GPU with 10 bits of mantissa; matrix products never
    channels_last: bool = True  # convolutions run a third faster so, on a CPU too
    compile: bool = False  # torch.compile of the losses
    graph: bool = False  # a whole step as one CUDA graph
    deterministic: bool = False  # the same bits every time on a GPU too, at some cost
    micro_batches: int = 1  # parts of a batch that are done in turn to save memory

    def __post_init__(self) -> None:
        choose("precision", self.precision, PRECISIONS)
        if self.micro_batches < 1:
            raise UsageError(f"micro_batches = {self.micro_batches}; it must be 1 or more")


def execution_on(
    device: torch.device,
    *,
    precision: str | None = None,
    compile_: bool | None = None,
    graph: bool | None = None,
    deterministic: bool = False,
    capturable: bool = True,
) -> Execution:
    """What the user asked for, and for the rest what suits the device.

    Nothing is chosen here that would depart from the paper's numerics: precision is fp32, on a GPU
    as torch has it by default (convolutions in TF32), and a GPU records the step as a graph, which
    replays the same kernels. bf16 and compilation are faster and round otherwise: they are for the
    user to ask for.

    Args:
        device: that will do the steps.
        precision: "fp32", "bf16" or None.
        compile_: whether to compile; None is no.
        graph: whether to record; None is yes where it is possible.
        deterministic: whether a GPU must give the same bits every time.
        capturable: of the method.

    Raises:
        UsageError: the device, the machine or the method cannot do what was asked for.
    """
    on_gpu = device.type == "cuda"
    if (
        precision == "bf16"
        and on_gpu
        and torch.cuda.get_device_capability(device) < BF16_CAPABILITY
    ):
        raise UsageError(
            f"--precision bf16: {torch.cuda.get_device_name(device)} has no units for it "
            "(NVIDIA GPUs have since Ampere); use --precision fp32"
        )
    if graph and not on_gpu:
        raise UsageError(
            f"--graph records steps of a CUDA GPU and this is {device}; leave it off, or use "
            "--device cuda where there is one"
        )
    if graph and not capturable:
        raise UsageError(
            "--graph: this method decides something anew in every step, which no recording can; "
            "leave it off"
        )
    if compile_ and (missing := _missing_compiler(device)):
        raise UsageError(f"--compile needs {missing}; install it, or leave --compile off")
    return Execution(
        precision=precision or "fp32",
        tf32=on_gpu,
        compile=bool(compile_),
        graph=on_gpu and capturable if graph is None else graph,
        deterministic=deterministic,
    )


def _missing_compiler(device: torch.device) -> str:
    """What torch.compile lacks, empty if nothing: for a CPU it writes C++, for a GPU Triton."""
    mac = sys.platform == "darwin"
    compilers = [os.environ.get("CXX", "clang++" if mac else "g++")]
    if device.type == "cuda":
        if find_spec("triton") is None:
            return "the package 'triton'"
        compilers = [os.environ["CC"]] if "CC" in os.environ else ["gcc", "clang"]
    if any(shutil.which(compiler) for compiler in compilers):
        return ""
    return f"a compiler ({' or '.join(compilers)}, not found on the PATH)"
