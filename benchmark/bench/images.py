"""Random images in the shape of a data set, so that speed can be measured where there is none."""

from pathlib import Path

import numpy as np

from benchmark.data import Batches, resident
from benchmark.dataset import Dataset, Images, load
from benchmark.resolve import Plan
from dataset_builders.tasks import TASKS

RANDOM = Dataset(
    root=Path("random"),
    content_sha256="random",
    partial=(),
    images=dict.fromkeys(TASKS, (600, 200)),  # train, test
)


def tasks_of(plan: Plan) -> tuple[str, ...]:
    """All tasks for a universal method, else the first."""
    return next(iter(plan.parts.values()))


def resident_batches(plan: Plan) -> Batches:
    """Training images of one training on the device: the data set's, or as many random ones."""
    tasks, dataset, size = tasks_of(plan), plan.dataset, plan.protocol.size
    images = [
        random_images(task, dataset.images[task][0], size)
        if dataset is RANDOM
        else load(dataset, task, "train", size)
        for task in tasks
    ]
    labels = [dataset.labelled(task, plan.request.split) for task in tasks]
    unlabelled = plan.kind.unlabelled
    on_device = resident(images, labels, plan.device, unlabelled=unlabelled)
    return Batches(on_device, plan.protocol.batch, plan.request.seed, unlabelled=unlabelled)


def random_images(task: str, count: int, size: int) -> Images:
    """Noise, with masks of noise; not zeros, on which devices can be faster."""
    rng = np.random.default_rng(0)
    channels = 3 if TASKS[task].colour else 1
    names = [f"{task}-{number}" for number in range(count)]
    return Images(
        task,
        ids=names,
        groups=names,
        pixels=rng.integers(256, size=(count, channels, size, size), dtype=np.uint8),
        masks=rng.integers(2, size=(count, size, size), dtype=np.uint8),
    )
