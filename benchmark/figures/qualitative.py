"""Figure 5: predictions of several methods on one image of each task.

Shows the sources' images: never committed (see `pictures`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from benchmark.captions import MISSING
from benchmark.dataset import Dataset
from benchmark.figures import style
from benchmark.figures.pictures import (
    MASK,
    PREDICTION,
    Mask,
    Picture,
    legend,
    licences,
    load_masks,
    load_pictures,
    new_grid,
    show,
)
from benchmark.figures.records import LeftOutError, Runs, dice_by_image, share, shared_tasks
from benchmark.methods import METHODS
from benchmark.scoring import TaskImages
from benchmark.tables import Row

ALWAYS = Row("propl")


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """A row of the figure."""

    task: str
    picture: Picture
    mask: Mask  # the three at the protocol's size
    preds: Sequence[Mask]  # one a method
    dice: Sequence[float | None]  # of each, 0 to 1; None: no value under the profile


@dataclass(frozen=True, slots=True, eq=False)
class Qualitative:
    """Methods across, images down."""

    partition: str
    methods: Sequence[str]
    lines: Sequence[Line]
    footer: str


def prepare(
    runs: Runs, partition: str, dataset: Dataset, images: Sequence[str] = ()
) -> Qualitative:
    """The best method of each category, and ProPL; of each the run with the lowest seed.

    Args:
        runs: all there are.
        partition: of the runs to show.
        dataset: where the images are.
        images: ids of test images; by default of each task the one that has the median Dice of
            the best method.

    Raises:
        LeftOutError: no run, or an unknown id.
        MixtureError: the runs cannot be compared.
        RecordError: a run's rows hold no masks.
        DatasetError: the data set is not the one the runs saw.
    """
    ranked = runs.first_of_rows(partition)
    best, best_run = next(iter(ranked.items()))
    rows = one_a_category(ranked)
    shown = [ranked[row] for row in rows]
    tasks = shared_tasks(shown)
    known = {str(image): task for task in tasks for image in best_run.images[task].ids}
    if unknown := [image for image in images if image not in known]:
        raise LeftOutError(
            f"'{unknown[0]}' is no test image of these runs; the data set lists their ids in "
            f"{dataset.root / 'splits'}/<task>/test.txt"
        )
    scored = [task for task in tasks if dice_by_image(best_run.images[task])]
    ids = list(images) or [median_image(best_run.images[task]) for task in scored]
    masks = [load_masks(run.record, runs.results, ids) for run in shown]
    pictures = load_pictures(dataset, best_run.record, {image: known[image] for image in ids})
    lines = [
        Line(
            known[image],
            pictures[image],
            masks[0][image].mask,
            [own[image].pred for own in masks],
            [dice_by_image(run.images[known[image]]).get(image) for run in shown],
        )
        for image in ids
    ]
    choice = (
        "chosen by id" if images else f"in each task the one with the median Dice of {best.title}"
    )
    notes = (f"Images: {choice}.", "In corners: Dice in %.", licences(pictures.values()))
    titles = [row.title for row in rows]
    return Qualitative(partition, titles, lines, runs.footer(shown, *notes))


def one_a_category(ranked: Iterable[Row]) -> list[Row]:
    """The first method of each category, and ProPL if it is there, in the order of the tables."""
    rows = list(ranked)
    best = {row.category: row for row in reversed(rows)}
    chosen = {*best.values(), *({ALWAYS} & {*rows})}
    return [row for row in map(Row, METHODS) if row in chosen]


def median_image(images: TaskImages) -> str:
    """Id of the image with the (lower) median Dice; equal ones in the order of their ids."""
    scored = sorted((dice, image) for image, dice in dice_by_image(images).items())
    return scored[(len(scored) - 1) // 2][1]


@style.styled
def draw(data: Qualitative) -> Figure:
    """Image, mask, and each method's prediction over both."""
    figure, grid = new_grid(
        f"Predictions, {share(data.partition)} of the training images labelled",
        data.footer,
        [(line.task, [line.picture] * (2 + len(data.methods))) for line in data.lines],
        headings=1,
    )
    for axes, heading in zip(grid[0], ("image", "mask", *data.methods), strict=True):
        axes.set_title(heading, pad=3)
    for line, row in zip(data.lines, grid, strict=True):
        mask = MASK.of(line.mask)
        show(row[0], line.picture)
        show(row[1], line.picture, [mask])
        for axes, pred, dice in zip(row[2:], line.preds, line.dice, strict=True):
            corner = MISSING if dice is None else f"{100 * dice:.1f}"
            show(axes, line.picture, [mask, PREDICTION.of(pred)], corner)
    legend(figure, {"mask": MASK, "prediction": PREDICTION})
    return figure
