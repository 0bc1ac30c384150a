"""The one training loop."""

from typing import Protocol as Interface

from torch import Tensor
from torch.optim import SGD, AdamW, Optimizer

from benchmark.data import Batches
from benchmark.execution import Execution
from benchmark.method import Clock, Method
from benchmark.protocol import Protocol


class Interrupted(Exception):  # noqa: N818 - a request of the user, not an error
    """Training was asked to stop; the state is that after a whole step."""

    def __init__(self, step: int) -> None:
        super().__init__(f"stopped after {step} steps")
        self.step = step


class Watcher(Interface):
    """What the loop tells, and asks, after every step."""

    def __call__(self, step: int, terms: dict[str, Tensor]) -> bool:
        """Return True to stop. Terms are still on the device; reading one waits for it."""


def make_optimizer(method: Method, protocol: Protocol) -> Optimizer:
    """The protocol's optimiser over everything that learns."""
    parameters = [parameter for parameter in method.parameters() if parameter.requires_grad]
    if protocol.optimizer == "adamw":
        return AdamW(parameters, lr=protocol.rate, weight_decay=protocol.decay)
    return SGD(
        parameters, lr=protocol.rate, momentum=protocol.momentum, weight_decay=protocol.decay
    )


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
) -> Execution:
    """Run steps `start` to `total`.

    Returns:
        How the last step was executed.

    Raises:
        Interrupted: the watcher asked for it.
    """
    method.train()
    for step in range(start, total):
        clock = Clock(step, total)
        for group in optimizer.param_groups:
            group["lr"] = protocol.rate * clock.poly(protocol.power)
        terms = method.update(batches.at(step), clock, optimizer)
        method.after_step(clock)
        if watch(step + 1, terms):
            raise Interrupted(step + 1)
    return execution
