"""The promise every method makes; the loop in `benchmark.train` needs nothing else."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.optim import Optimizer

from benchmark.protocol import Protocol


@dataclass(frozen=True, slots=True)
class Clock:
    """Where training stands; every schedule is a function of it."""

    step: int  # 0-based
    total: int

    @property
    def fraction(self) -> float:
        """Share of the training done, in [0, 1)."""
        return self.step / self.total

    def poly(self, power: float) -> float:
        """Polynomial decay from 1 towards 0."""
        return float((1 - self.fraction) ** power)


@dataclass(frozen=True, slots=True)
class Batch:
    """Images as stored, on the device; views are the method's own call to `benchmark.augment`.

    B labelled and U unlabelled images; U is 0 for methods that use none.
    """

    img_x: Tensor  # (B, C, H, W) float in [0, 1]; C is 1, or 3 where a task is in colour
    mask_x: Tensor  # (B, 1, H, W) float, 0 or 1
    task_x: Tensor  # (B,) int64, index into Setup.tasks
    key_x: Tensor  # (B,) int64, random key of (seed, step, sample)
    img_u: Tensor  # (U, C, H, W)
    task_u: Tensor  # (U,)
    key_u: Tensor  # (U,)


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


class Method(nn.Module, ABC):
    """One method, one file: its settings, its network, its losses in the paper's symbols.

    Loops, devices, files and logging are elsewhere.
    """

    universal: ClassVar[bool] = False  # one model for all tasks, or one per task
    unlabelled: ClassVar[bool] = False  # whether it learns from unlabelled images
    encoder: ClassVar[str]  # timm's name of the encoder its paper uses
    # name -> settings of Config and Protocol that make it; "paper" is the default
    variants: ClassVar[Mapping[str, Mapping[str, Any]]] = {"paper": {}}

    @dataclass(frozen=True)
    class Config:
        """The method's own settings, each with its source."""

    config: Config

    def __init__(self, config: Config, setup: Setup) -> None:
        super().__init__()
        self.config = config
        self.setup = setup

    @abstractmethod
    def losses(self, batch: Batch, clock: Clock) -> dict[str, Tensor]:
        """Named scalar terms, already weighted; their sum is minimised and each is logged."""

    @abstractmethod
    def predict(self, images: Tensor, tasks: Tensor) -> Tensor:
        """Foreground probability (B, 1, H, W) of images (B, C, H, W) in [0, 1], tasks (B,)."""

    def after_step(self, clock: Clock) -> None:
        """Called after every update: moving averages, queues."""

    def update(self, batch: Batch, clock: Clock, optimizer: Optimizer) -> dict[str, Tensor]:
        """One step of learning; overridden only where a paper updates twice."""
        optimizer.zero_grad(set_to_none=True)
        terms = self.losses(batch, clock)
        sum(terms.values(), start=batch.img_x.new_zeros(())).backward()
        optimizer.step()
        return {name: term.detach() for name, term in terms.items()}
