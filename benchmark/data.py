"""Training images resident on the device, and the batches of every step.

Which images a step sees is a function of (seed, step) alone, so a resumed run sees the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark.augment import stable_key, step_keys
from benchmark.dataset import Images
from benchmark.method import Batch


class Stream:
    """An endless, reshuffled sequence of the same images; every pass holds each once.

    Args:
        members: (N,) indices into the resident images, on the CPU.
        batch: images a step.
        seed: of the shuffling.
    """

    def __init__(self, members: Tensor, batch: int, seed: int) -> None:
        self.members = members
        self.batch = batch
        self.seed = seed
        self._passes: dict[int, Tensor] = {}  # the one or two passes a batch can touch

    @property
    def steps_per_epoch(self) -> int:
        """Steps until every image was seen; the last batch of a pass is filled from the next."""
        return -(-len(self.members) // self.batch)

    def at(self, step: int) -> Tensor:
        """Indices (batch,) of one step."""
        if not len(self.members):
            return self.members
        places = range(step * self.batch, (step + 1) * self.batch)
        return torch.stack(
            [self._order(place // len(self.members))[place % len(self.members)] for place in places]
        )

    def _order(self, number: int) -> Tensor:
        if number not in self._passes:
            # a stream's own generator: nothing else that draws numbers can disturb it
            generator = torch.Generator().manual_seed(stable_key(f"{self.seed}/{number}"))
            shuffled = self.members[torch.randperm(len(self.members), generator=generator)]
            self._passes = {n: kept for n, kept in self._passes.items() if n == number - 1}
            self._passes[number] = shuffled
        return self._passes[number]


@dataclass(frozen=True, slots=True)
class Resident:
    """All training images of a run on the device.

    Attributes:
        pixels: (N, C, S, S) uint8; C is 3 if any task is in colour.
        masks: (N, 1, S, S) uint8; those of unlabelled images are never in a batch.
        tasks: (N,) int64, index into the run's tasks.
        keys: (N,) int64, stable key of each sample's id.
        labelled: (L,) int64 indices on the CPU.
        unlabelled: (N - L,) int64 indices on the CPU.
    """

    pixels: Tensor
    masks: Tensor
    tasks: Tensor
    keys: Tensor
    labelled: Tensor
    unlabelled: Tensor


def resident(
    images: Sequence[Images], labels: Sequence[int], device: torch.device, *, unlabelled: bool
) -> Resident:
    """Put the training images of some tasks on the device.

    Args:
        images: one entry per task, in order of rank.
        labels: how many of each task carry a label.
        device: where to.
        unlabelled: whether to keep the other images; a supervised method has no use for them.
    """
    kept = [
        len(part.ids) if unlabelled else count for part, count in zip(images, labels, strict=True)
    ]
    channels = max(part.pixels.shape[1] for part in images)
    pixels = [
        torch.tensor(part.pixels[:count]).expand(-1, channels, -1, -1)
        for part, count in zip(images, kept, strict=True)
    ]
    ranks = torch.cat([torch.arange(count) for count in kept])
    limits = torch.cat([torch.full((n,), limit) for n, limit in zip(kept, labels, strict=True)])
    tasks = torch.cat([torch.full((count,), index) for index, count in enumerate(kept)])
    keys = [stable_key(name) for part, n in zip(images, kept, strict=True) for name in part.ids[:n]]
    masks = [torch.tensor(part.masks[:n]) for part, n in zip(images, kept, strict=True)]
    return Resident(
        pixels=torch.cat(pixels).to(device),
        masks=torch.cat(masks)[:, None].to(device),
        tasks=tasks.to(device),
        keys=torch.tensor(keys, dtype=torch.int64).to(device),
        labelled=torch.nonzero(ranks < limits).flatten(),
        unlabelled=torch.nonzero(ranks >= limits).flatten(),
    )


class Batches:
    """The batch of every step of a run.

    Args:
        images: of `resident`.
        batch: images a step; half are unlabelled if the method uses such.
        seed: of the run.
        unlabelled: whether the method uses unlabelled images.
    """

    def __init__(self, images: Resident, batch: int, seed: int, *, unlabelled: bool) -> None:
        self.images = images
        self.seed = seed
        half = batch // 2 if unlabelled else 0
        self.labelled = Stream(images.labelled, batch - half, stable_key(f"labelled/{seed}"))
        none = images.unlabelled[:0]
        members = images.unlabelled if unlabelled else none
        self.unlabelled = Stream(members, half, stable_key(f"unlabelled/{seed}"))

    @property
    def steps_per_epoch(self) -> int:
        """An epoch is a pass over the unlabelled images, or over the labelled if it is all."""
        stream = self.unlabelled if len(self.unlabelled.members) else self.labelled
        return stream.steps_per_epoch

    def at(self, step: int) -> Batch:
        """The batch of one step, on the device."""
        device = self.images.pixels.device
        x = self.labelled.at(step).to(device, non_blocking=True)
        u = self.unlabelled.at(step).to(device, non_blocking=True)
        keys = self.images.keys
        return Batch(
            img_x=self.images.pixels[x].float() / 255,
            mask_x=self.images.masks[x].float(),
            task_x=self.images.tasks[x],
            key_x=step_keys(keys[x], self.seed, step),
            img_u=self.images.pixels[u].float() / 255,
            task_u=self.images.tasks[u],
            key_u=step_keys(keys[u], self.seed, step),
        )
