"""Where the time of a step goes, measured on steps of its own so as not to slow the timed ones."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial, wraps
from inspect import isfunction
from typing import Any
from unittest.mock import patch

import torch
from torch.optim import Optimizer

from benchmark.bench.rates import synchronise
from benchmark.data import Batches

INPUT, FORWARD, BACKWARD, OPTIMISER = "input", "forward", "backward", "optimiser"
PHASES = (INPUT, FORWARD, BACKWARD, OPTIMISER)
# public functions of modules whose names begin so are input work
VIEWS = ("benchmark.augment", "benchmark.views.")
Function = Callable[..., Any]


class Stopwatch:
    """Charges wall time to one phase at a time; a phase within another stops the outer one."""

    def __init__(self, device: torch.device) -> None:
        self.seconds = dict.fromkeys(PHASES, 0.0)
        self._device = device
        self._open: list[str] = []
        self._since = 0.0

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Charge what happens within to `name`."""
        self._charge()
        self._open.append(name)
        try:
            yield
        finally:
            self._charge()
            self._open.pop()

    def timed(self, name: str, function: Function) -> Function:
        """The function, charged to `name`."""

        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - any function's
            with self.phase(name):
                return function(*args, **kwargs)

        return call

    def _charge(self) -> None:
        synchronise(self._device)
        now = time.perf_counter()
        if self._open:
            self.seconds[self._open[-1]] += now - self._since
        self._since = now


def phases(
    step: Callable[[], object], batches: Batches, optimizer: Optimizer, device: torch.device
) -> dict[str, float]:
    """Seconds of one step by phase; forward is all that is not one of the others."""
    watch = Stopwatch(device)
    with ExitStack() as patches:
        for owner, name, phase in (
            (torch.autograd, "backward", BACKWARD),
            (optimizer, "step", OPTIMISER),
            (optimizer, "zero_grad", OPTIMISER),
        ):
            timed = watch.timed(phase, getattr(owner, name))
            patches.enter_context(patch.object(owner, name, timed))
        patches.enter_context(_input_replaced(batches, partial(watch.timed, INPUT)))
        with watch.phase(FORWARD):
            step()
    return watch.seconds


def input_alone(step: Callable[[], object], batches: Batches) -> Callable[[], None]:
    """Run one step; what returns does that step's input work again, and nothing else."""
    calls: list[Callable[[], object]] = []
    within = False

    def recorded(function: Function) -> Function:
        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - any function's
            nonlocal within
            if within:
                return function(*args, **kwargs)
            calls.append(partial(function, *args, **kwargs))
            within = True
            try:
                return function(*args, **kwargs)
            finally:
                within = False

        return call

    def again() -> None:
        for call in calls:
            call()

    with _input_replaced(batches, recorded):
        step()
    return again


@contextmanager
def _input_replaced(batches: Batches, wrap: Callable[[Function], Function]) -> Iterator[None]:
    """Dealing out a batch and making views, wrapped wherever our modules have imported them."""
    with ExitStack() as patches:
        for name in ("indices", "gather", "at"):
            patches.enter_context(patch.object(batches, name, wrap(getattr(batches, name))))
        for module in [module for name, module in sys.modules.items() if _ours(name)]:
            for name, function in vars(module).copy().items():
                if isfunction(function) and _is_view(function):
                    patches.enter_context(patch.object(module, name, wrap(function)))
        yield


def _ours(module: str) -> bool:
    return module.partition(".")[0] in ("benchmark", "baselines", "propl")


def _is_view(function: Function) -> bool:
    return function.__module__.startswith(VIEWS) and not function.__name__.startswith("_")
