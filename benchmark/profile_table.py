"""How much the definition of a metric moves each method's score and rank.

`comparison` is pure: from per-image rows to a line per metric, profile and method. `terminal` and
`markdown` print it: a block per metric, methods down, profiles across.
"""

import io
from collections.abc import Iterator, Mapping, Sequence

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from benchmark.profiles import PROFILES, Profile, Scores
from benchmark.record import RecordError
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
        best, equals share the better one) and `tasks`, how many the score is the mean of. Score
        and rank are NaN where there is none.

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
    return pd.DataFrame(
        {
            "metric": metric.key,
            "profile": profile.name,
            "method": list(scores),
            "unit": profile.unit if metric.key == "hd95" else metric.unit,
            "score": mean.to_numpy(),
            "rank": mean.rank(method="min", ascending=not metric.higher_is_better).to_numpy(),
            "tasks": len(values),
        }
    )


def terminal(compared: pd.DataFrame, width: int) -> str:
    """For a screen of `width` columns; legible from 100 on."""
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=False, color_system=None)
    for metric in METRICS:
        header, *lines = _block(compared, metric)
        grid = Grid(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
        for title in header:
            grid.add_column(title, justify="left" if title == header[0] else "right")
        for line in lines:
            grid.add_row(*line)
        console.print(grid)
        console.print(Text(_note(compared, metric) + "\n"))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()).rstrip() + "\n"


def markdown(compared: pd.DataFrame) -> str:
    """For a repository's page."""
    lines: list[str] = []
    for metric in METRICS:
        header, *body = _block(compared, metric)
        rule = [":--", *["--:"] * (len(header) - 1)]
        lines += [f"| {' | '.join(cells)} |" for cells in (header, rule, *body)]
        lines += ["", _note(compared, metric), ""]
    return "\n".join(lines)


def _block(compared: pd.DataFrame, metric: Metric) -> Iterator[list[str]]:
    """Header, then a line per method: its score and rank under each profile."""
    of_metric = compared[compared["metric"] == metric.key]
    yield [metric.title, *of_metric["profile"].unique()]
    for method, lines in of_metric.groupby("method", sort=False):
        scores = zip(lines["score"], lines["rank"], strict=True)
        yield [str(method), *(_cell(*score) for score in scores)]


def _cell(score: float, rank: float) -> str:
    return MISSING if pd.isna(score) else f"{score:.{DECIMALS}f} ({rank:.0f})"


def _note(compared: pd.DataFrame, metric: Metric) -> str:
    """Units, tasks, and whose rank depends on the profile."""
    of_metric = compared[compared["metric"] == metric.key]
    of_tasks = compared["tasks"].max()
    units = {}
    for line in of_metric.drop_duplicates("profile").itertuples():
        fewer = f", mean of {line.tasks} of {of_tasks} tasks" if line.tasks < of_tasks else ""
        units[line.profile] = f"{line.unit}{fewer}"
    usual = next(iter(units.values()))
    other = "".join(f"; {name}: {unit}" for name, unit in units.items() if unit != usual)
    moved = [
        f"{method} {low:.0f} to {high:.0f}"
        for method, ranks in of_metric.groupby("method", sort=False)["rank"]
        if (low := ranks.min()) < (high := ranks.max())
    ]
    return (
        f"{metric.title} in {usual}{other}; in brackets the rank among the methods. "
        f"Ranks that depend on the profile: {', '.join(moved) or 'none'}."
    )
