"""Training stops where it goes wrong, with an error that says where and what to try."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import shorten
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dataset_builders.errors import UsageError

EVERY = 100  # steps between two looks at losses on a GPU; a look waits for the device


class TrainingError(UsageError):
    """Training cannot go on; what was saved before is kept."""


class _Seen(NamedTuple):
    step: int  # 1-based
    rate: float
    names: tuple[str, ...]
    values: Tensor  # (terms,), on the device


class Finite:
    """Refuses losses and weights that are not finite, without a wait for a GPU in every step.

    On a CPU every step is looked at when it is done. On a GPU the losses stay there and are looked
    at together now and then, so the error comes later but names the step all the same.

    Args:
        device: where the losses are.
        checkpoint: where the training is saved; named in the error if it is there.
    """

    def __init__(self, device: torch.device, checkpoint: Path | None = None) -> None:
        self._every = 1 if device.type == "cpu" else EVERY
        self._checkpoint = checkpoint
        self._unseen: list[_Seen] = []
        self._step = 0

    def observe(self, step: int, terms: dict[str, Tensor], rate: float) -> None:
        """Remember the losses of a step.

        Args:
            step: 1-based.
            terms: scalars on the device.
            rate: the learning rate of this step.

        Raises:
            TrainingError: of `check`.
        """
        # a copy: a recorded step writes its terms to the same place every time
        values = torch.stack([term.detach().float() for term in terms.values()])
        self._unseen.append(_Seen(step, rate, tuple(terms), values))
        self._step = step
        if len(self._unseen) >= self._every:
            self.check()

    def check(self, method: nn.Module | None = None) -> None:
        """Look at all losses since the last look, and at the weights: before they are saved.

        Args:
            method: whose weights must be finite too. A gradient may be none of a finite loss.

        Raises:
            TrainingError: names step, term, value and rate of the first that is not finite.
        """
        unseen, self._unseen = self._unseen, []
        if unseen:
            # one copy, and so one wait, for all steps
            values = iter(torch.cat([seen.values for seen in unseen]).tolist())
            for seen in unseen:
                for name in seen.names:
                    if not math.isfinite(value := next(values)):
                        raise self._error(
                            f"loss term '{name}' is {value} at step {seen.step} "
                            f"(learning rate {seen.rate:.3g})"
                        )
        if method is not None and (name := _not_finite(method)):
            raise self._error(f"the weight '{name}' is not finite after step {self._step}")

    def _error(self, what: str) -> TrainingError:
        saved = self._checkpoint is not None and self._checkpoint.is_file()
        kept = f"the last good checkpoint is {self._checkpoint}" if saved else "none was saved yet"
        return TrainingError(
            f"{what}; training stopped, {kept}. Try a lower rate (--set rate=...), --precision "
            "fp32 if it was bf16, or another seed, and begin again with --restart"
        )


def _not_finite(method: nn.Module) -> str:
    """Name of the first parameter that is not finite, empty if all are."""
    named = dict(method.named_parameters())
    finite = torch.stack([p.detach().isfinite().all() for p in named.values()]).tolist()
    return next((name for name, fine in zip(named, finite, strict=True) if not fine), "")


@contextmanager
def explained() -> Iterator[None]:
    """Within it, what torch cannot do is said with what to try instead.

    Raises:
        TrainingError: in place of torch's own error.
    """
    try:
        yield
    except RuntimeError as error:
        if not (remedy := _remedy(error)):
            raise
        raise TrainingError(f"{brief(error)}; {remedy}") from error


LESS_MEMORY = (
    "try a smaller batch (--set batch=...), smaller images (--set protocol.size=...), "
    "or --precision bf16"
)


def brief(error: RuntimeError) -> str:
    """The beginning of what torch says, which may be pages."""
    return shorten(str(error), 160, placeholder="...")


def _remedy(error: RuntimeError) -> str:
    """What to try, empty if the error is none that a user can do something about."""
    text = str(error)
    if isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in text:
        return LESS_MEMORY
    if "does not have a deterministic implementation" in text:
        return "leave --deterministic off, or run this method on a CPU"
    if "captur" in text:
        return "this method's steps cannot be recorded; use --no-graph"
    # by its name: the compiler takes seconds to import
    if any(kind.__name__ == "TorchDynamoException" for kind in type(error).__mro__):
        return "leave --compile off"
    return ""
