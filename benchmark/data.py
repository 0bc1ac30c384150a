"""Training images resident on the device, and the batches of every step.

Which images a step sees is a function of (seed, step) alone, so a resumed run sees the same. Images
stay bytes and masks stay bits until a step needs them, and no step waits for the device.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmark.dataset import Images
from benchmark.keys import stable_key, step_keys
from benchmark.method import Batch
from benchmark.tracing import traced


class Stream:
    """An endless, reshuffled sequence of the same images; every pass holds each once.

    Args:
        members: (N,) indices into the resident images, on the CPU.
        batch: images a step.
        seed: of the shuffling.
        device: where the indices are wanted.
    """

    def __init__(self, members: Tensor, batch: int, seed: int, device: torch.device) -> None:
        self.members = members
        self.batch = batch
        self.seed = seed
        self.device = device
        self._passes: dict[int, Tensor] = {}  # those of the last step, on the device

    def restrict(self, members: Tensor) -> None:
        """From here on other images (N,)."""
        self.members = members
        self._passes.clear()

    @property
    def steps_per_epoch(self) -> int:
        """Steps until every image was seen; the last batch of a pass is filled from the next."""
        return -(-len(self.members) // self.batch)

    def at(self, step: int) -> Tensor:
        """Indices (batch,) of one step, on the device."""
        if not len(self.members):
            return self.members.to(self.device)
        number, start = divmod(step * self.batch, len(self.members))
        last = ((step + 1) * self.batch - 1) // len(self.members)
        kept = self._passes
        self._passes = {
            n: kept[n] if n in kept else self._order(n) for n in range(number, last + 1)
        }
        return torch.cat(list(self._passes.values()))[start : start + self.batch]

    def _order(self, number: int) -> Tensor:
        """A whole pass, computed on the CPU and moved in one go."""
        # a stream's own generator: nothing else that draws numbers can disturb it
        generator = torch.Generator().manual_seed(stable_key(f"{self.seed}/{number}"))
        order = self.members[torch.randperm(len(self.members), generator=generator)]
        if self.device.type == "cuda":
            order = order.pin_memory()  # from other memory the copy would be waited for
        return order.to(self.device, non_blocking=True)


@dataclass(frozen=True, slots=True)
class Resident:
    """All training images of a run on the device.

    Attributes:
        pixels: (N, C, S, S) uint8; C is 3 if any task is in colour.
        masks: (N, ceil(S * S / 8)) uint8, eight pixels to a byte, the first in the highest bit;
            of unlabelled images only what a method says of them itself, 0 before.
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
    size = images[0].pixels.shape[-1]
    pixels = torch.empty((sum(kept), channels, size, size), dtype=torch.uint8, device=device)
    # task by task: the whole set is in memory once, not three times
    for part, place in zip(images, pixels.split(kept), strict=True):
        place.copy_(torch.tensor(part.pixels[: len(place)]))
    masks = torch.zeros((sum(kept), -(-(size**2) // 8)), dtype=torch.uint8)
    for part, count, place in zip(images, labels, masks.split(kept), strict=True):
        place[:count] = pack_masks(part.masks[:count])
    ranks = torch.cat([torch.arange(count) for count in kept])
    limits = torch.cat([torch.full((n,), limit) for n, limit in zip(kept, labels, strict=True)])
    tasks = torch.cat([torch.full((count,), index) for index, count in enumerate(kept)])
    keys = [stable_key(name) for part, n in zip(images, kept, strict=True) for name in part.ids[:n]]
    return Resident(
        pixels=pixels,
        masks=masks.to(device),
        tasks=tasks.to(device),
        keys=torch.tensor(keys, dtype=torch.int64).to(device),
        labelled=torch.nonzero(ranks < limits).flatten(),
        unlabelled=torch.nonzero(ranks >= limits).flatten(),
    )


def pack_masks(masks: NDArray[np.uint8]) -> Tensor:
    """Masks (N, S, S) of 0 and 1 as `Resident` holds them, on the CPU."""
    return torch.from_numpy(np.packbits(masks.reshape(len(masks), -1), axis=1))


def unpack_masks(packed: Tensor, size: int) -> Tensor:
    """Masks (B, 1, S, S) of packed ones (B, ceil(S * S / 8)), both uint8, on their device."""
    device = packed.device
    if device.type == "cpu" and not traced(packed):
        pixels = torch.from_numpy(np.unpackbits(packed.numpy(), axis=1, count=size * size))
        return pixels.view(-1, 1, size, size)
    # for each byte its eight pixels as the bytes of one integer: one read and write for eight
    bits = torch.arange(256, device=device)[:, None] >> torch.arange(7, -1, -1, device=device)
    eight = (bits & 1).to(torch.uint8).view(torch.int64)[:, 0]
    pixels = eight.index_select(0, packed.flatten().int()).view(packed.shape).view(torch.uint8)
    return pixels[:, : size * size].view(-1, 1, size, size)


class Unlabelled:
    """The unlabelled images of a run, as a method meets them between two stages.

    An image is named by its place among them, (n,) int64 on the CPU.

    Args:
        images: of `resident`.
        stream: deals out those that are chosen.

    Attributes:
        chosen: (N,) bool on the CPU, which images the stage sees; all of them at first.
    """

    def __init__(self, images: Resident, stream: Stream) -> None:
        self.chosen = torch.ones(len(images.unlabelled), dtype=torch.bool)
        self._images = images
        self._stream = stream

    def __len__(self) -> int:
        return len(self.chosen)

    def batches(self, places: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """So many images at a time.

        Yields:
            Their places (n,), the images (n, C, S, S) as stored and tasks (n,), both on the device.
        """
        for part in places.split(size):
            rows = self._rows(part)
            images = self._images
            yield part, images.pixels.index_select(0, rows), images.tasks.index_select(0, rows)

    def label(self, places: Tensor, masks: Tensor) -> None:
        """Masks (n, S, S) of 0 and 1 that batches have from here on as `pseudo_u`."""
        packed = pack_masks(masks.to("cpu", torch.uint8).numpy())
        self._images.masks[self._rows(places)] = packed.to(self._images.masks.device)

    def choose(self, chosen: Tensor) -> None:
        """Which images (N,) bool the stage sees, one at least."""
        self.chosen = chosen.cpu()
        self._stream.restrict(self._images.unlabelled[self.chosen])

    def state(self) -> dict[str, Tensor]:
        """For a checkpoint."""
        return {"chosen": self.chosen, "masks": self._images.masks}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state` returned."""
        self._images.masks.copy_(state["masks"])
        self.choose(state["chosen"])

    def _rows(self, places: Tensor) -> Tensor:
        """Indices of the resident images, on the device."""
        return self._images.unlabelled[places].to(self._images.pixels.device)


class Batches:
    """The batch of every step of a run.

    Args:
        images: of `resident`.
        batch: images a step; half are unlabelled if the method uses such.
        seed: of the run.
        unlabelled: whether the method uses unlabelled images.

    Attributes:
        pool: the unlabelled images, to be labelled and chosen from.
    """

    def __init__(self, images: Resident, batch: int, seed: int, *, unlabelled: bool) -> None:
        self.images = images
        self.seed = seed
        half = batch // 2 if unlabelled else 0
        device, none = images.pixels.device, images.unlabelled[:0]
        members = images.unlabelled if unlabelled else none
        self.labelled = Stream(
            images.labelled, batch - half, stable_key(f"labelled/{seed}"), device
        )
        self.unlabelled = Stream(members, half, stable_key(f"unlabelled/{seed}"), device)
        self.pool = Unlabelled(images, self.unlabelled)

    @property
    def steps_per_epoch(self) -> int:
        """An epoch is a pass over the unlabelled images, or over the labelled if it is all."""
        stream = self.unlabelled if len(self.unlabelled.members) else self.labelled
        return stream.steps_per_epoch

    def indices(self, step: int) -> tuple[Tensor, Tensor]:
        """Which labelled (B,) and unlabelled (U,) images a step sees, int64 on the device."""
        return self.labelled.at(step), self.unlabelled.at(step)

    def gather(self, x: Tensor, u: Tensor, step: int | Tensor) -> Batch:
        """The batch of given images, by operations on the device alone.

        Args:
            x: (B,) int64 indices of labelled images, on the device.
            u: (U,) int64 indices of unlabelled images, on the device.
            step: a number, or () int64 on the device: a recorded graph reads it there.
        """
        images, both = self.images, torch.cat((x, u))
        keys = step_keys(images.keys.index_select(0, both), self.seed, step)
        masks = unpack_masks(images.masks.index_select(0, both), images.pixels.shape[-1])
        return Batch(
            img_x=images.pixels.index_select(0, x),
            mask_x=masks[: len(x)],
            task_x=images.tasks.index_select(0, x),
            key_x=keys[: len(x)],
            img_u=images.pixels.index_select(0, u),
            task_u=images.tasks.index_select(0, u),
            key_u=keys[len(x) :],
            pseudo_u=masks[len(x) :],
        )

    def at(self, step: int) -> Batch:
        """The batch of one step, on the device."""
        return self.gather(*self.indices(step), step)
