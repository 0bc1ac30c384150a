"""From losses to gradients, the way a run executes it: precision, compilation, parts of a batch."""

import logging
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from benchmark.execution import Execution
from benchmark.guard import LESS_MEMORY, TrainingError, brief
from benchmark.method import Batch, Clock, Losses

logger = logging.getLogger(__name__)
_compiled_for: object = None


def compile_for(architecture: object) -> None:
    """Forget what was compiled for another architecture than that of the next training.

    torch keeps compiled code with the function, not with the object: the next training of the same
    architecture, whose weights are other tensors of the same shapes, runs it at once. But it keeps
    no more than 8 variants of a function and runs others uncompiled, with a warning; the losses of
    `baselines.supervised` are those of ten methods, each in grey and in colour.

    Args:
        architecture: all that the compiled code depends on.
    """
    global _compiled_for
    if _compiled_for not in (None, architecture):
        torch.compiler.reset()
    _compiled_for = architecture


class ForwardBackward:
    """A `benchmark.method.Backward` that does what an execution says.

    Where memory runs out, the same batch is tried again in two parts, and so are all that follow.

    Args:
        method: whose losses they are.
        execution: how to do them.

    Attributes:
        execution: how the last ones were done.
    """

    def __init__(self, method: nn.Module, execution: Execution) -> None:
        self.execution = execution
        self._method = method
        self._compiled: dict[Losses, Losses] = {}

    def __call__(self, losses: Losses, batch: Batch, clock: Clock) -> dict[str, Tensor]:
        """Add the gradients of the sum of the losses; return the terms, detached.

        Raises:
            TrainingError: memory ran out and parts of a batch would not do.
        """
        if self.execution.compile:
            losses = self._compile(losses)
        while True:
            try:
                return self._in_parts(losses, batch, clock)
            except torch.OutOfMemoryError as error:
                if batch.img_x.is_cuda and torch.cuda.is_current_stream_capturing():
                    raise  # within a recording nothing can be done twice
                self.execution = _in_halves(self.execution, self._method, batch, error)
            # only now is nothing left of the pass that failed: the error held its tensors
            self._method.zero_grad(set_to_none=True)
            torch.cuda.empty_cache()

    def _in_parts(self, losses: Losses, batch: Batch, clock: Clock) -> dict[str, Tensor]:
        """Mean of the parts: that of the batch, where losses are means over images."""
        done = []
        parts = self.execution.micro_batches
        for part in batch.split(parts):
            with self._precision(batch.img_x.device):
                terms = losses(part, clock)
            total = torch.stack(list(terms.values())).sum()
            (total / parts).backward()  # outside of autocast, as torch advises
            done.append({name: term.detach() for name, term in terms.items()})
        return {name: torch.stack([terms[name] for terms in done]).mean() for name in done[0]}

    def _precision(self, device: torch.device) -> AbstractContextManager[object]:
        if self.execution.precision == "bf16":
            return torch.autocast(device.type, torch.bfloat16)
        return nullcontext()

    def _compile(self, losses: Losses) -> Losses:
        if losses not in self._compiled:
            # random numbers from torch's generator, as uncompiled, and not the compiler's own
            self._compiled[losses] = torch.compile(
                losses, dynamic=False, options={"fallback_random": True}
            )
        return self._compiled[losses]


def _in_halves(
    execution: Execution, method: nn.Module, batch: Batch, error: torch.OutOfMemoryError
) -> Execution:
    """The same in two parts a batch.

    Raises:
        TrainingError: it was in parts already, or they would give another result.
    """
    labelled, unlabelled = len(batch.img_x), len(batch.img_u)
    norms = sum(isinstance(module, _BatchNorm) and module.training for module in method.modules())
    if execution.micro_batches > 1:
        reason = f"a batch is done in {execution.micro_batches} parts already"
    elif norms:
        reason = (
            f"a batch in parts would give another result: {norms} layers of this method normalise "
            "over the images of a batch"
        )
    elif labelled % 2 or unlabelled % 2:
        reason = f"{labelled} labelled and {unlabelled} unlabelled images make no equal halves"
    else:
        logger.warning("from here on a batch is done in two parts: %s", brief(error))
        return replace(execution, micro_batches=2)
    raise TrainingError(f"{brief(error)} ({reason}); {LESS_MEMORY}") from error
