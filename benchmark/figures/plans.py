"""The one list of figures: what each is made from, how it is drawn, what its file is called."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from benchmark.dataset import Dataset, open_dataset
from benchmark.figures import cost, efficiency, hard, perturbations, prompting, qualitative
from benchmark.figures.records import LeftOutError, Runs
from dataset_builders.tasks import PARTITIONS

IMAGES = "images"  # folder of figures that show the sources' images


@dataclass(frozen=True, slots=True)
class Plan:
    """Figures made from the same data."""

    prepare: Callable[[], Any]  # raises UsageError where the records do not allow it
    draw: Mapping[str, Callable[[Any], Figure]]  # by file name without ending

    @property
    def shows_images(self) -> bool:
        """Whether the figures must not be published."""
        return any(name.startswith(f"{IMAGES}/") for name in self.draw)


def plan_all(runs: Runs, data: Path | None, images: Sequence[str]) -> Iterator[Plan]:
    """Every figure; those of one partition for each partition that has runs.

    Args:
        runs: all there are.
        data: of the data set, if any.
        images: for the qualitative figure.
    """
    yield Plan(partial(prompting.prepare, runs), {"prompting": prompting.draw})
    yield Plan(partial(perturbations.prepare, runs), {"perturbations": perturbations.draw})
    yield Plan(partial(efficiency.prepare, runs), {"label_efficiency": efficiency.draw})
    run = {run.record.split for run in runs.every}
    for name in (name for name in PARTITIONS if name in run):
        yield Plan(partial(cost.prepare, runs, name), {f"cost_{name}": cost.draw})
        yield Plan(
            partial(_qualitative, runs, name, data, images),
            {f"{IMAGES}/qualitative_{name}": qualitative.draw},
        )
        yield Plan(
            partial(_hard, runs, name, data),
            {
                f"{IMAGES}/worst_{name}": hard.draw_worst,
                f"{IMAGES}/disputed_{name}": hard.draw_disputed,
            },
        )


def _qualitative(
    runs: Runs, partition: str, data: Path | None, images: Sequence[str]
) -> qualitative.Qualitative:
    return qualitative.prepare(runs, partition, _opened(data), images)


def _hard(runs: Runs, partition: str, data: Path | None) -> hard.Hard:
    return hard.prepare(runs, partition, _opened(data))


def _opened(data: Path | None) -> Dataset:
    if data is None:
        raise LeftOutError("they show images, and no data set was named; name it with --data")
    return open_dataset(data)
