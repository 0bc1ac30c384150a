"""One step of training: rate, batch, update; done one operation after another or as a CUDA graph.

A graph is all of a step's work on the device, recorded once and then started as a whole: gathering
the batch, views, forward, backward, optimiser, moving averages. Whatever changes from step to step
(indices, step, rate) it reads from tensors that stay in place.
"""

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor
from torch.optim import Optimizer

from benchmark.backward import ForwardBackward
from benchmark.data import Batches
from benchmark.execution import Execution
from benchmark.guard import brief
from benchmark.method import Clock, Method
from benchmark.protocol import Protocol

WARM_UP = 3  # steps before one is recorded: in them libraries choose kernels, moments are made

logger = logging.getLogger(__name__)


def rate_at(protocol: Protocol, step: int, total: int) -> float:
    """The learning rate of a step."""
    return protocol.rate * float(Clock(step, total).poly(protocol.power))


class Stepper:
    """Does the steps of one training.

    Args:
        method: in training mode, on the device of the batches; its weights stay in place.
        batches: of all steps.
        optimizer: of `benchmark.train.make_optimizer`.
        protocol: for the learning rate.
        total: steps of the stage.
        execution: how to do them.
        stage: 0-based; images and views go on from the stage before.
    """

    def __init__(
        self,
        method: Method,
        batches: Batches,
        optimizer: Optimizer,
        protocol: Protocol,
        total: int,
        execution: Execution,
        stage: int = 0,
    ) -> None:
        self.method = method
        self.batches = batches
        self.optimizer = optimizer
        self.protocol = protocol
        self.total = total
        self.stage = stage
        device = batches.images.pixels.device
        self._backward = ForwardBackward(method, execution)
        # on the device and always in the same place: a recorded step reads it there
        for group in optimizer.param_groups:
            group["lr"] = torch.zeros((), device=device)
        self._number = torch.zeros((), dtype=torch.int64, device=device)
        recorded = execution.graph and method.capturable
        self._recording = Recording(device) if recorded else None

    @property
    def execution(self) -> Execution:
        """How the last step was done."""
        graph = self._recording is not None and self._recording.possible
        return replace(self._backward.execution, graph=graph)

    def __call__(self, step: int) -> dict[str, Tensor]:
        """Do a step of the stage.

        Returns:
            Its loss terms, on the device, until the next step overwrites them.
        """
        rate = rate_at(self.protocol, step, self.total)
        for group in self.optimizer.param_groups:
            group["lr"].fill_(rate)
        x, u = self.batches.indices(self._before + step)
        if not self.method.capturable:
            return self._update(x, u, step)
        self._number.fill_(step)
        if self._recording is None:
            return self._update(x, u, self._number)
        return self._recording(self._update, x, u, self._number)

    @property
    def _before(self) -> int:
        """Steps of earlier stages."""
        return self.stage * self.total

    def _update(self, x: Tensor, u: Tensor, step: int | Tensor) -> dict[str, Tensor]:
        batch = self.batches.gather(x, u, self._before + step)
        clock = Clock(step, self.total, self.stage)
        terms = self.method.update(batch, clock, self.optimizer, self._backward)
        self.method.after_step(clock)
        return terms


class Recording:
    """A function of tensors that is recorded as a CUDA graph after a few calls.

    The first calls are real ones, on the stream that will record, as torch asks for; so nothing is
    done that an unrecorded training would not do, and the results are the same.

    Args:
        device: a CUDA device.

    Attributes:
        broken: whether a recording failed in this process, but for want of memory. CUDA may then
            go on recording what others do: nothing on a GPU should be done by it any more.
        possible: whether memory sufficed; if not, every call is a plain one.
    """

    broken: ClassVar[bool] = False

    def __init__(self, device: torch.device) -> None:
        self.possible = True
        self._stream = torch.cuda.Stream(device)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: tuple[Tensor, ...] = ()
        self._result: dict[str, Tensor] = {}
        self._calls = 0

    def __call__(
        self, function: Callable[..., dict[str, Tensor]], *inputs: Tensor
    ) -> dict[str, Tensor]:
        """What the function returns for the inputs; a graph returns the same tensors every time.

        Args:
            function: the same in every call; reads nothing that changes but the inputs and what
                stays in place. It is not kept: whoever has the recording may be what it is of.
            inputs: of the same shapes in every call.
        """
        if not self._inputs:
            self._inputs = tuple(given.clone() for given in inputs)
        for kept, given in zip(self._inputs, inputs, strict=True):
            kept.copy_(given)
        self._calls += 1
        if self._calls > WARM_UP and self.possible and self._graph is None:
            self._record(function)
        if self._graph is None:
            return self._aside(function)
        self._graph.replay()
        return self._result

    def _aside(self, function: Callable[..., dict[str, Tensor]]) -> dict[str, Tensor]:
        here = torch.cuda.current_stream()
        self._stream.wait_stream(here)
        with torch.cuda.stream(self._stream):
            result = function(*self._inputs)
        here.wait_stream(self._stream)
        return result

    def _record(self, function: Callable[..., dict[str, Tensor]]) -> None:
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=self._stream):
                self._result = function(*self._inputs)
        except torch.OutOfMemoryError as error:
            self.possible = False
            logger.warning("steps are not recorded as a graph: %s", brief(error))
        except BaseException:
            Recording.broken = True
            raise
        else:
            self._graph = graph
