"""Training images kept aside, so that a training can be watched without a look at the test set.

For the eye alone: the last weights are the result, whatever the curve shows. It costs labels: what
is kept aside is not learned from, and neither is any other image of the same groups.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmark.dataset import Images
from benchmark.evaluate import THRESHOLD, predict
from benchmark.keys import stable_key
from benchmark.method import Method
from benchmark.metrics_gpu import count_pixels
from benchmark.protocol import Protocol
from dataset_builders.errors import UsageError


@dataclass(frozen=True, slots=True)
class Carved:
    """Training images of some tasks, in two parts that share no group."""

    training: list[Images]  # one entry per task, in order of rank
    labels: list[int]  # how many of each begin with a label
    held: list[Images]  # kept aside; all have a label


def carve(images: Sequence[Images], labels: Sequence[int], share: float) -> Carved:
    """Keep a share of the labelled groups of each task aside.

    Which groups follows from their names alone, so all seeds and methods share them. A patient who
    serves several tasks is kept aside in all of them.

    Args:
        images: one entry per task, in order of rank.
        labels: how many of each task carry a label, 1 or more.
        share: of the groups among the labelled images; 0 keeps none aside.

    Raises:
        UsageError: a task has too few groups to be divided.
    """
    if not share:
        return Carved(list(images), list(labels), [])
    aside = {
        group
        for part, count in zip(images, labels, strict=True)
        for group in _first_groups(part.task, part.groups[:count], share)
    }
    carved = Carved([], [], [])
    for part, count in zip(images, labels, strict=True):
        kept = np.array([group not in aside for group in part.groups])
        labelled = np.arange(len(kept)) < count
        if not (kept & labelled).any():
            raise UsageError(
                f"validation = {share} leaves task {part.task} without a labelled image: other "
                "tasks keep its groups aside; choose a smaller share or a larger split"
            )
        carved.training.append(_only(part, kept))
        carved.labels.append(int((kept & labelled).sum()))
        carved.held.append(_only(part, ~kept & labelled))
    return carved


def _first_groups(task: str, groups: Sequence[str], share: float) -> list[str]:
    """A share of the groups, at least one and not all, in the order of a keyed hash."""
    ordered = sorted(set(groups), key=lambda group: stable_key(f"validation/{group}"))
    if len(ordered) < 2:
        raise UsageError(
            f"validation = {share} is not possible: all labelled images of task {task} are of one "
            f"group, {ordered[0]}; choose a larger split, or leave validation at 0"
        )
    return ordered[: min(max(1, round(share * len(ordered))), len(ordered) - 1)]


def _only(images: Images, chosen: NDArray[np.bool_]) -> Images:
    places = np.flatnonzero(chosen)
    return replace(
        images,
        ids=[images.ids[place] for place in places],
        groups=[images.groups[place] for place in places],
        pixels=images.pixels[places],
        masks=images.masks[places],
    )


class Score(NamedTuple):
    """One point of a curve."""

    step: int  # steps done
    task: str
    dice: float  # mean over the task's images, in [0, 1]


class Validation:
    """Scores the images kept aside now and then.

    Args:
        held: of `carve`; none if nothing was kept aside, and then nothing is ever due.
        protocol: how often, and how many images at a time.
        total: steps of the training.
        device: where the method is.
        precision: of `benchmark.execution.Execution`.
    """

    def __init__(
        self,
        held: Sequence[Images],
        protocol: Protocol,
        total: int,
        device: torch.device,
        precision: str = "fp32",
    ) -> None:
        self.curve: list[Score] = []
        self.seconds = 0.0  # spent here since the process began
        self._tasks = [part.task for part in held]
        self._pixels = [torch.tensor(part.pixels).to(device) for part in held]
        self._masks = [torch.tensor(part.masks).to(device).bool() for part in held]
        self._batch = protocol.evaluation_batch
        self._every = max(1, round(protocol.validation_every * total))
        self._total = total
        self._device = device
        self._precision = precision

    def due(self, step: int) -> bool:
        """Whether to score after so many steps; always after the last."""
        return bool(self._tasks) and (step % self._every == 0 or step == self._total)

    # not inference_mode: what a network keeps from here for itself must not break its training
    @torch.no_grad()
    def score(self, method: Method, step: int) -> float:
        """Add a point for each task to the curve; return the mean Dice of the tasks.

        The method and torch's random numbers are left as they were found.
        """
        began, mode = time.monotonic(), method.training
        method.eval()
        generators = [self._device] if self._device.type == "cuda" else []
        with torch.random.fork_rng(generators, device_type=self._device.type):
            dice = torch.stack([self._dice(method, task) for task in range(len(self._tasks))])
        method.train(mode)
        scores = dice.tolist()  # waits for the device, once for all tasks
        self.curve += [Score(step, *score) for score in zip(self._tasks, scores, strict=True)]
        self.seconds += time.monotonic() - began
        return float(np.mean(scores))

    def _dice(self, method: Method, task: int) -> Tensor:
        """Mean Dice () of one task's images, on the device."""
        pixels, masks = self._pixels[task], self._masks[task]
        batches = predict(method, pixels, task, self._batch, self._precision)
        preds = torch.cat([probs > THRESHOLD for probs in batches])
        overlap = count_pixels(preds & masks).double()
        whole = count_pixels(preds) + count_pixels(masks)
        # nothing there and nothing found is right, as in the profile "paper"
        return torch.where(whole == 0, 1.0, 2 * overlap / whole).mean()

    @property
    def best(self) -> tuple[int, float] | None:
        """Step and mean Dice of the highest point so far, the first of equals; only to look at."""
        points: dict[int, list[float]] = {}
        for score in self.curve:
            points.setdefault(score.step, []).append(score.dice)
        means = {step: float(np.mean(dice)) for step, dice in points.items()}
        return max(means.items(), key=itemgetter(1), default=None)

    def state(self) -> dict[str, Any]:
        """For a checkpoint, of plain values."""
        return {"curve": [list(score) for score in self.curve], "best": self.best}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned; an empty mapping is a beginning."""
        self.curve = [Score(*score) for score in state.get("curve", ())]
