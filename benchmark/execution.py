"""How steps are executed on a device: what may change speed and rounding, and nothing else."""

from dataclasses import dataclass

import torch

from benchmark.settings import choose

PRECISIONS = ("fp32", "bf16")


@dataclass(frozen=True)
class Execution:
    """One way of doing the arithmetic of a method; fp32 and all else off is the reference."""

    precision: str = "fp32"  # or "bf16": autocast of the forward pass; weights stay fp32
    channels_last: bool = True  # convolutions run a third faster so, on a CPU too
    compile: bool = False  # torch.compile of the losses
    graph: bool = False  # a whole step as one CUDA graph
    deterministic: bool = False  # the same bits every time on a GPU too, at some cost
    micro_batches: int = 1  # parts of a batch that are done in turn to save memory

    def __post_init__(self) -> None:
        choose("precision", self.precision, PRECISIONS)


def execution_on(
    device: torch.device,
    *,
    precision: str | None = None,
    compile_: bool | None = None,
    graph: bool | None = None,
    deterministic: bool = False,
) -> Execution:
    """What the user asked for, and for the rest what suits the device."""
    return Execution(
        precision=precision or "fp32",
        compile=bool(compile_),
        graph=bool(graph),
        deterministic=deterministic,
    )
