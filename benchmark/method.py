"""The promise every method makes; the loop in `benchmark.train` needs nothing else."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from benchmark.fidelity import Fidelity
from benchmark.protocol import Protocol

if TYPE_CHECKING:
    from benchmark.data import Unlabelled


@dataclass(frozen=True, slots=True)
class Clock:
    """Where training stands; every schedule is a function of it."""

    step: int | Tensor  # 0-based; () int64 on the device if the method is capturable
    total: int
    stage: int = 0  # of a method with several; each has `total` steps of its own

    @property
    def fraction(self) -> float | Tensor:
        """Share of the stage done, in [0, 1)."""
        return self.step / self.total

    def poly(self, power: float) -> float | Tensor:
        """Polynomial decay from 1 towards 0."""
        decay: float | Tensor = (1 - self.fraction) ** power
        return decay


@dataclass(frozen=True, slots=True)
class Batch:
    """Images as stored, on the device; views are the method's own call to `benchmark.augment`.

    B labelled and U unlabelled images; U is 0 for methods that use none.
    """

    img_x: Tensor  # (B, C, H, W) uint8, or float in [0, 1]; C is 1, or 3 for colour
    mask_x: Tensor  # (B, 1, H, W) uint8 or float, 0 or 1
    task_x: Tensor  # (B,) int64, index into Setup.tasks
    key_x: Tensor  # (B,) int64, random key of (seed, step, sample)
    img_u: Tensor  # (U, C, H, W)
    task_u: Tensor  # (U,)
    key_u: Tensor  # (U,)
    # (U, 1, H, W) uint8, 0 or 1: what a method of several stages said of them in `begin`; 0 before
    pseudo_u: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.uint8))

    def split(self, parts: int) -> list[Self]:
        """Parts with equally many labelled, and equally many unlabelled images each.

        Args:
            parts: a divisor of both numbers.
        """
        columns = [getattr(self, own.name).tensor_split(parts) for own in fields(self)]
        return [type(self)(*column) for column in zip(*columns, strict=True)]


@dataclass(frozen=True, slots=True)
class Setup:
    """What a method is built for."""

    tasks: tuple[str, ...]  # codes the model serves; one for single-task methods
    protocol: Protocol
    seed: int
    blank: bool = False  # trained weights will be loaded: pretrained ones need not be had

    @property
    def weights(self) -> str:
        """Where the encoder begins: "imagenet", "packaged" or "none"."""
        return "none" if self.blank else self.protocol.weights


Losses = Callable[[Batch, Clock], dict[str, Tensor]]
Backward = Callable[[Losses, Batch, Clock], dict[str, Tensor]]


def plain_backward(losses: Losses, batch: Batch, clock: Clock) -> dict[str, Tensor]:
    """Gradients of the sum of the losses, added to what is there; returns the terms, detached.

    The reference: `benchmark.backward` does the same in other precisions, compiled, or in parts.
    """
    terms = losses(batch, clock)
    torch.stack(list(terms.values())).sum().backward()
    return {name: term.detach() for name, term in terms.items()}


class Method(nn.Module, ABC):
    """One method, one file: its settings, its network, its losses in the paper's symbols.

    Loops, devices, files and logging are elsewhere.
    """

    universal: ClassVar[bool] = False  # one model for all tasks, or one per task
    unlabelled: ClassVar[bool] = False  # whether it learns from unlabelled images
    stages: ClassVar[int] = 1  # trainings one after another, each as long as that of other methods
    # whether a step can be recorded as a CUDA graph: Python then runs once for all steps, so it may
    # not branch on the clock, nor on the value of a tensor; if False, the clock has plain numbers
    capturable: ClassVar[bool] = True
    # beginnings of names in its state that training needs and prediction does not: they are in
    # checkpoints and not among the weights that are kept
    training_only: ClassVar[tuple[str, ...]] = ()
    # timm's name of the encoder its paper uses; "" where it is the network's own
    encoder: ClassVar[str]
    # where it can begin; "packaged" among them means that the encoder can be exchanged
    weights: ClassVar[tuple[str, ...]] = ("imagenet", "packaged", "none")
    text_encoder: ClassVar[str] = ""  # that its paper uses, if it reads prompts
    fidelity: ClassVar[Fidelity]  # what it follows, and where it departs
    # name -> settings of Config and Protocol that make it; "paper" is the default
    variants: ClassVar[Mapping[str, Mapping[str, Any]]] = {"paper": {}}

    @dataclass(frozen=True)
    class Config:
        """The method's own settings, each with its source."""

    config: Config

    @classmethod
    def from_scratch(cls, config: Any) -> bool:  # noqa: ANN401 - of the method's own Config
        """Whether these settings take a network without an encoder that could be exchanged."""
        return False

    def __init__(self, config: Config, setup: Setup) -> None:
        super().__init__()
        self.config = config
        self.setup = setup

    @abstractmethod
    def losses(self, batch: Batch, clock: Clock) -> dict[str, Tensor]:
        """Named scalar terms, already weighted; their sum is minimised and each is logged.

        A term without gradient is logged only: such as the share of pixels that a method trusts.
        """

    @abstractmethod
    def predict(self, images: Tensor, tasks: Tensor) -> Tensor:
        """Foreground probability (B, 1, H, W) of images (B, C, H, W) in [0, 1], tasks (B,)."""

    def begin(self, stage: int, unlabelled: "Unlabelled") -> None:
        """Called before the first step of every stage, without gradients.

        The optimiser and the clock begin anew. Weights stay unless they are overwritten, in place.

        Args:
            stage: 0-based.
            unlabelled: images that the method may label, and among which it may choose.
        """

    def after_step(self, clock: Clock) -> None:
        """Called after every update: moving averages, queues."""

    def update(
        self, batch: Batch, clock: Clock, optimizer: Optimizer, backward: Backward = plain_backward
    ) -> dict[str, Tensor]:
        """One step of learning; overridden only where a paper updates twice.

        Args:
            batch: of this step.
            clock: of this step.
            optimizer: of everything that learns; its rate is set.
            backward: turns losses into gradients, as this run executes it.

        Returns:
            The terms, detached.
        """
        optimizer.zero_grad(set_to_none=True)
        terms = backward(self.losses, batch, clock)
        optimizer.step()
        return terms
