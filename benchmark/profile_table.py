"""How much the definition of a metric moves each method's score and rank.

`comparison` is pure: from per-image rows to a line per metric, profile and method. `terminal` and
`markdown` print it: a block per metric, methods down, profiles across.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table as Grid
from rich.text import Text

from benchmark.profiles import PROFILES, Profile, Scores
from benchmark.record import RecordError
from benchmark.render import markdown_row, to_screen
from benchmark.tables import DECIMALS, METRICS, Metric

MISSING = "–"


def comparison(
    rows: Mapping[str, pd.DataFrame], profiles: Sequence[Profile] = tuple(PROFILES.values())
) -> pd.DataFrame:
    """Score methods under several profiles and rank them under each.

    A score is the mean over the tasks that all methods have. Where a profile gives a task no value
    for any of them (HD95 in mm where no spacing is known), it is over the other tasks; a method
    that alone lacks a value has no score and no rank.

    Args:
        rows: a method's name -> the per-image rows of its run.
        profiles: the definitions, in the order they are printed.

    Returns:
        A line per metric, profile and method, in this order: `metric` (dice, iou, hd95),
        `profile`, `method`, `unit` ("%" or the profile's), `score` (in that unit), `rank` (1 is
        best, equals share the better one), `tasks` (codes of those that the score is the mean of),
        and `left_out` and `images`: how many of all common tasks' HD95 leaves out, and how many
        there are. Score and rank are NaN where there is none.

    Raises:
        RecordError: no task that all have, or rows that lack what a profile needs; it names the
            method and the profile.
    """
    tasks = _common_tasks(rows)
    scores = {
        profile: {name: _task_scores(name, own, tasks, profile) for name, own in rows.items()}
        for profile in profiles
    }
    return pd.concat(
        [_ranked(metric, *item) for metric in METRICS for item in scores.items()],
        ignore_index=True,
    )


def _common_tasks(rows: Mapping[str, pd.DataFrame]) -> list[str]:
    by_method = {name: list(frame["task"].unique()) for name, frame in rows.items()}
    every = [task for tasks in by_method.values() for task in tasks]
    if common := [task for task in dict.fromkeys(every) if every.count(task) == len(rows)]:
        return common
    named = "; ".join(f"{name}: {', '.join(tasks)}" for name, tasks in by_method.items())
    raise RecordError(
        f"no task that all runs have ({named or 'no run given'}); compare runs of one task at least"
    )


def _task_scores(
    name: str, frame: pd.DataFrame, tasks: Sequence[str], profile: Profile
) -> dict[str, Scores]:
    try:
        return {task: profile.task_scores(frame[frame["task"] == task]) for task in tasks}
    except RecordError as error:
        raise RecordError(f"{name}: {error}") from error


def _ranked(
    metric: Metric, profile: Profile, scores: Mapping[str, Mapping[str, Scores]]
) -> pd.DataFrame:
    """Methods under one metric of one profile."""
    values = pd.DataFrame(
        {
            name: {task: getattr(score, metric.key) for task, score in own.items()}
            for name, own in scores.items()
        }
    ).dropna(how="all")  # tasks down, methods across
    mean = metric.scale * values.mean(skipna=False)
    every = [list(own.values()) for own in scores.values()]
    return pd.DataFrame(
        {
            "metric": metric.key,
            "profile": profile.name,
            "method": list(scores),
            "unit": profile.unit if metric.key == "hd95" else metric.unit,
            "score": mean.to_numpy(),
            "rank": mean.rank(method="min", ascending=not metric.higher_is_better).to_numpy(),
            "tasks": " ".join(map(str, values.index)),
            "left_out": [sum(score.hd95_dropped for score in own) for own in every],
            "images": [sum(score.images for score in own) for own in every],
        }
    )


def terminal(compared: pd.DataFrame, width: int) -> str:
    """For a screen of `width` columns; legible from 100 on."""
    parts: list[RenderableType] = []
    for (title, *profiles), lines, note in _blocks(compared):
        grid = Grid(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
        grid.add_column(title)
        for profile in profiles:
            grid.add_column(profile, justify="right")
        for line in lines:
            grid.add_row(*line)
        parts += [grid, Text(note + "\n")]
    return to_screen(parts, width, colour=False)


def markdown(compared: pd.DataFrame) -> str:
    """For a repository's page."""
    text: list[str] = []
    for header, lines, note in _blocks(compared):
        rule = [":--", *["--:"] * (len(header) - 1)]
        text += [*map(markdown_row, (header, rule, *lines)), "", note, ""]
    return "\n".join(text)


def _blocks(compared: pd.DataFrame) -> Iterator[tuple[list[str], list[list[str]], str]]:
    """Header, a line per method, and a note: of each metric, and of what HD95 leaves out."""
    for metric in METRICS:
        own = compared[compared["metric"] == metric.key]
        header = [metric.title, *own["profile"].unique()]
        yield header, _lines(own, lambda row: _cell(row["score"], row["rank"])), _note(own, metric)
    hd95 = compared[compared["metric"] == "hd95"]
    if hd95["left_out"].any():
        header = ["no HD95", *hd95["profile"].unique()]
        images = " or ".join(map(str, sorted(hd95["images"].unique())))
        note = f"Images that HD95 leaves out, of {images}: the profile gives them no distance."
        yield header, _lines(hd95, lambda row: str(row["left_out"])), note


def _lines(own: pd.DataFrame, cell: Callable[["pd.Series[Any]"], str]) -> list[list[str]]:
    """A line per method: its cell under each profile."""
    return [
        [str(method), *(cell(row) for _, row in rows.iterrows())]
        for method, rows in own.groupby("method", sort=False)
    ]


def _cell(score: float, rank: float) -> str:
    return MISSING if pd.isna(score) else f"{score:.{DECIMALS}f} ({rank:.0f})"


def _note(own: pd.DataFrame, metric: Metric) -> str:
    """Units, tasks, and whose rank depends on the profile."""
    every = max(own["tasks"], key=len)
    units = {
        str(name): f"{unit}, of {tasks.replace(' ', ', ') or 'no task'} alone" * (tasks != every)
        or unit
        for name, unit, tasks in zip(own["profile"], own["unit"], own["tasks"], strict=True)
    }
    usual = next(iter(units.values()))
    other = "".join(f"; {name}: {unit}" for name, unit in units.items() if unit != usual)
    moved = [
        f"{method} {low:.0f} to {high:.0f}"
        for method, ranks in own.groupby("method", sort=False)["rank"]
        if (low := ranks.min()) < (high := ranks.max())
    ]
    return (
        f"{metric.title} in {usual}, mean of {every.replace(' ', ', ')}{other}; in brackets the "
        f"rank among the methods. Ranks that depend on the profile: {', '.join(moved) or 'none'}."
    )
