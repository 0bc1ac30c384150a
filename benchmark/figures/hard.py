"""Hard test images of each task: those that all methods miss, and those they dispute.

Shows the sources' images: never committed (see `pictures`).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmark.dataset import Dataset
from benchmark.figures import style
from benchmark.figures.pictures import (
    MANY_PREDICTIONS,
    MASK,
    OTHER_PREDICTION,
    PREDICTION,
    THIN_MASK,
    Masks,
    Picture,
    legend,
    licences,
    load_masks,
    load_pictures,
    new_grid,
    show,
)
from benchmark.figures.records import LeftOutError, Runs, dice_by_image, share, shared_tasks
from benchmark.tables import Run
from dataset_builders.tasks import TASKS

EACH = 6  # images a task
CAPTION = 5.0  # pt: as broad as an image are 27 letters


@dataclass(frozen=True, slots=True, eq=False)
class Hard:
    """Where the methods of a partition fail, and what they predicted there."""

    partition: str
    dice: pd.DataFrame  # image id x title, 0 to 1; the best method first
    worst: Mapping[str, Sequence[str]]  # task -> image ids, lowest mean Dice first
    disputed: Mapping[str, Sequence[str]]  # task -> image ids, largest range of Dice first
    masks: Mapping[str, Mapping[str, Masks]]  # title -> image id
    pictures: Mapping[str, Picture]  # by image id
    footer: str


def prepare(runs: Runs, partition: str, dataset: Dataset) -> Hard:
    """The images of every task with the lowest mean, and with the largest range, of Dice.

    Over all methods as published, of each the run with the lowest seed. Of a group only one image
    is shown: the frames of a patient tend to fail together.

    Raises:
        LeftOutError: fewer than two methods.
        MixtureError: the runs cannot be compared.
        RecordError: a run's rows hold no masks.
        DatasetError: the data set is not the one the runs saw.
    """
    first = runs.first_of_rows(partition)
    if len(first) < 2:
        raise LeftOutError(
            f"one method at {share(partition)}, two are needed; make another with "
            f"`usbench run --method propl --split {partition}`"
        )
    images = _images(first.values())
    dice = pd.DataFrame({row.title: _dice(run) for row, run in first.items()})
    dice = dice[dice.index.isin(images.index)].dropna()
    if dice.empty:
        raise LeftOutError(f"no image has a Dice of all methods under profile {runs.profile}")
    worst = hardest(images, 1 - dice.mean(axis=1))
    disputed = hardest(images, dice.max(axis=1) - dice.min(axis=1))
    ids = {image for by_task in (worst, disputed) for own in by_task.values() for image in own}
    masks = {row.title: load_masks(run.record, runs.results, ids) for row, run in first.items()}
    record = next(iter(first.values())).record
    pictures = load_pictures(dataset, record, {image: images.task[image] for image in ids})
    footer = runs.footer(first.values(), "At most one image a group.", licences(pictures.values()))
    return Hard(partition, dice, worst, disputed, masks, pictures, footer)


def _images(runs: Collection[Run]) -> pd.DataFrame:
    """Task and group by id, of the images of all tasks that the runs share."""
    run = next(iter(runs))
    tables = [
        pd.DataFrame({"task": task, "group": own.groups}, index=own.ids.tolist())
        for task, own in run.images.items()
        if task in shared_tasks(runs)
    ]
    return pd.concat(tables)


def _dice(run: Run) -> dict[str, float]:
    return {
        image: dice for own in run.images.values() for image, dice in dice_by_image(own).items()
    }


def hardest(images: pd.DataFrame, difficulty: "pd.Series[float]") -> dict[str, list[str]]:
    """Ids of the hardest images of every task, at most one a group; ties in the order of ids.

    Args:
        images: task and group by id.
        difficulty: by id; images without one are left out.
    """
    ranked = images.assign(difficulty=difficulty).dropna().reset_index(names="id")
    ranked = ranked.sort_values(["difficulty", "id"], ascending=[False, True])
    ranked = ranked.drop_duplicates(["task", "group"])
    of_task = {task: list(ranked.id[ranked.task == task][:EACH]) for task in TASKS}
    return {task: ids for task, ids in of_task.items() if ids}


@style.styled
def draw_worst(data: Hard) -> Figure:
    """Every image with all predictions; in its corner their mean Dice."""
    title = f"Lowest mean Dice over {len(data.masks)} methods"
    figure, panels = _panels(data, title, data.worst, "In corners: mean Dice in %.", captions=1)
    for image, axes in panels:
        found = [own[image] for own in data.masks.values()]
        outlines = [MANY_PREDICTIONS.of(one.pred) for one in found]
        outlines.append(THIN_MASK.of(found[0].mask))
        show(axes, data.pictures[image], outlines, f"{100 * data.dice.loc[image].mean():.1f}")
        _caption(axes, image)
    legend(figure, {"mask": THIN_MASK, "predictions": MANY_PREDICTIONS})
    return figure


@style.styled
def draw_disputed(data: Hard) -> Figure:
    """Every image with its best and its worst prediction; Dice in its corner, methods below."""
    title = f"Largest range of Dice over {len(data.masks)} methods"
    corners = "In corners: Dice in % of the best / the worst method; their names below."
    figure, panels = _panels(data, title, data.disputed, corners, captions=2)
    for image, axes in panels:
        scores = data.dice.loc[image]
        best, worst = str(scores.idxmax()), str(scores.idxmin())
        outlines = [
            MASK.of(data.masks[best][image].mask),
            PREDICTION.of(data.masks[best][image].pred),
            OTHER_PREDICTION.of(data.masks[worst][image].pred),
        ]
        corner = f"{100 * scores[best]:.1f} / {100 * scores[worst]:.1f}"
        show(axes, data.pictures[image], outlines, corner)
        _caption(axes, image, f"{best} / {worst}")
    legend(
        figure,
        {"mask": MASK, "best prediction": PREDICTION, "worst prediction": OTHER_PREDICTION},
    )
    return figure


def _panels(
    data: Hard, title: str, ids: Mapping[str, Sequence[str]], corners: str, captions: int
) -> tuple[Figure, list[tuple[str, Axes]]]:
    """The figure, and of every image its id and axes."""
    labelled = f"{title}, {share(data.partition)} labelled"
    rows = [(task, [data.pictures[image] for image in own]) for task, own in ids.items()]
    figure, grid = new_grid(labelled, f"{data.footer} {corners}", rows, captions=captions)
    every = [image for own in ids.values() for image in own]
    return figure, list(zip(every, (axes for row in grid for axes in row), strict=True))


def _caption(axes: Axes, image: str, *more: str) -> None:
    """The image's id without its task, which stands on the left; then other lines."""
    text = "\n".join((image.partition("/")[2], *more))
    axes.text(0.5, -0.02, text, transform=axes.transAxes, ha="center", va="top", size=CAPTION)
