"""The one training loop."""

from collections.abc import Callable
from typing import Protocol as Interface

import torch
from torch import Tensor
from torch.optim import SGD, AdamW, Optimizer

from benchmark.data import Batches
from benchmark.execution import Execution
from benchmark.guard import Finite, explained
from benchmark.machine import arithmetic
from benchmark.method import Method
from benchmark.protocol import Protocol
from benchmark.step import Stepper, rate_at


class Interrupted(Exception):  # noqa: N818 - a request of the user, not an error
    """Training was asked to stop; the state is that after a whole step."""

    def __init__(self, step: int) -> None:
        super().__init__(f"stopped after {step} steps" if step else "stopped between trainings")
        self.step = step


class Watcher(Interface):
    """What the loop tells, and asks, after every step."""

    def __call__(self, step: int, terms: dict[str, Tensor]) -> bool:
        """Return True to stop. Terms are still on the device; reading one waits for it.

        The next step may overwrite them.
        """


def make_optimizer(method: Method, protocol: Protocol) -> Optimizer:
    """The protocol's optimiser over everything that learns.

    Fused: one pass over the weights, on a CPU too, where AdamW takes a third of the time.
    """
    learning = [parameter for parameter in method.parameters() if parameter.requires_grad]
    rate, decay = protocol.rate, protocol.decay
    if protocol.optimizer == "adamw":
        on_gpu = learning[0].is_cuda
        return AdamW(learning, lr=rate, weight_decay=decay, fused=True, capturable=on_gpu)
    return SGD(learning, lr=rate, momentum=protocol.momentum, weight_decay=decay, fused=True)


def train(
    method: Method,
    batches: Batches,
    optimizer: Optimizer,
    protocol: Protocol,
    total: int,
    *,
    execution: Execution,
    start: int = 0,
    watch: Watcher = lambda step, terms: False,
    staged: Callable[[int], None] = lambda stage: None,
    guard: Finite | None = None,
) -> Execution:
    """Run all stages of a method, most methods' only one.

    Args:
        method: on the device of the batches.
        batches: of all steps.
        optimizer: of `make_optimizer`; forgets its moments before every stage.
        protocol: for the learning rate.
        total: steps of each stage.
        execution: how to do them.
        start: steps that were done before, of all stages together.
        watch: told of every step, counted likewise.
        staged: told of every stage, before the method makes ready for it.
        guard: sees every loss; whoever saves asks it first.

    Returns:
        How the last step was executed.

    Raises:
        Interrupted: the watcher asked for it.
        TrainingError: a loss is not finite, or memory ran out.
    """
    method.train()
    device = batches.images.pixels.device
    guard = guard or Finite(device)
    with arithmetic(execution, device), explained():
        for stage in range(start // total, method.stages):
            before = stage * total
            if start <= before:
                staged(stage)
                optimizer.state.clear()
                _begin(method, stage, batches, execution)
            step_by = Stepper(method, batches, optimizer, protocol, total, execution, stage)
            for step in range(max(start - before, 0), total):
                terms = step_by(step)
                done = before + step + 1
                guard.observe(done, terms, rate_at(protocol, step, total))
                if watch(done, terms):
                    raise Interrupted(done)
            guard.check(method)
            execution = step_by.execution
            del step_by  # a recording holds memory that the next stage's beginning may need
    return execution


def _begin(method: Method, stage: int, batches: Batches, execution: Execution) -> None:
    """What a method does before a stage, in the precision of its steps."""
    bf16 = execution.precision == "bf16"
    device = batches.images.pixels.device.type
    with torch.no_grad(), torch.autocast(device, torch.bfloat16, enabled=bf16):
        method.begin(stage, batches.pool)
    method.train()
