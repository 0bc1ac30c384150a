"""What is committed under results/ is what the records give."""

import shutil
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from benchmark.claims import check_claims
from benchmark.claims_text import as_text
from benchmark.methods import METHODS
from benchmark.page import write as write_page
from benchmark.record import MASKS
from benchmark.report import write_all

RESULTS = Path(__file__).parents[1] / "results"
FOLDERS = sorted(path.parent.name for path in RESULTS.glob("*/runs"))


@pytest.mark.parametrize("name", FOLDERS)
def test_the_committed_tables_are_made_of_the_committed_records(name, tmp_path):
    shutil.copytree(
        RESULTS / name, tmp_path / name, ignore=shutil.ignore_patterns("tables", "*.masks.parquet")
    )
    made = {path.name: path.read_bytes() for path in write_all(tmp_path / name)}
    committed = {path.name: path.read_bytes() for path in (RESULTS / name / "tables").iterdir()}
    assert made == committed


def test_the_committed_claims_are_made_of_the_committed_records():
    assert (RESULTS / "mini/claims.md").read_text() == as_text(check_claims(RESULTS / "mini"), "md")


def test_the_committed_page_is_made_of_the_committed_records(tmp_path):
    here = tmp_path / "mini"
    ignored = shutil.ignore_patterns("tables", "figures", "*.masks.parquet")
    shutil.copytree(RESULTS / "mini", here, ignore=ignored)
    made = write_page(here, tmp_path / "report.html").read_bytes()
    assert made == (RESULTS / "mini/report.html").read_bytes()


def test_no_mask_of_a_source_is_committed():
    for name in FOLDERS:
        for path in (RESULTS / name / "runs").rglob("*.parquet"):
            if not path.name.endswith(".masks.parquet"):  # ignored by git
                assert not set(MASKS) & set(pq.read_schema(path).names), path


# what 60 steps do not yet find; `results/README.md` says so
NOT_YET = {
    *(("augseg", task) for task in ("BC", "LA", "LV", "MD", "OT", "TG", "TN", "mean")),
    *(("u2pl", task) for task in ("OT", "TN")),
    ("csc_pa", "OT"),
    ("univ_full", "BC"),
}


def dice(folder: str) -> pd.Series:
    """Of methods and tasks, with 1/4 of the labels."""
    table = pd.read_csv(RESULTS / folder / "tables/table3.csv")
    table = table[(table.metric == "dice") & table.ours.notna()]
    return table.set_index(["method", "task"]).ours


def test_every_trained_net_beats_itself_untrained_but_where_the_readme_says_so():
    trained, untrained = dice("mini"), dice("untrained")
    assert set(trained.index) == set(untrained.index)
    assert {method for method, _ in trained.index} == set(METHODS)
    assert set(trained.index[trained <= untrained]) == NOT_YET


SHORT_OF_IT = pytest.mark.xfail(strict=True, reason="59.4 on this data set, 60.6 on an earlier one")


@pytest.mark.parametrize(
    ("method", "task", "least"),
    [
        ("unet", "FH", 80),
        ("unet", "mean", 60),
        ("propl", "FH", 80),
        pytest.param("propl", "mean", 60, marks=SHORT_OF_IT),
    ],
)
def test_what_the_smallest_useful_run_should_reach(method, task, least):
    assert dice("mini")[method, task] > least


PARTITIONS_OF_TABLES = {"1/16": 1, "1/8": 2, "1/4": 3}


def both_seeds(number: int) -> pd.DataFrame:
    """Dice of what was trained with two seeds, a row a method and task."""
    first, second = (
        pd.read_csv(RESULTS / folder / f"tables/table{number}.csv")
        .query("metric == 'dice'")
        .set_index(["method", "task"])
        .ours
        for folder in ("mini", "second_seed")
    )
    return pd.DataFrame({"first": first, "second": second}).dropna()


def rows_about_chance() -> list[str]:
    """As `results/README.md` should have them: means, and the task that differs most."""
    rows = []
    for labelled, number in PARTITIONS_OF_TABLES.items():
        pairs = both_seeds(number)
        for name in [name for name in METHODS if name in pairs.index.unique("method")]:
            tasks = pairs.loc[name]
            mean = tasks.loc["mean"]
            tasks = tasks.drop("mean")
            most = (tasks["first"] - tasks["second"]).abs().idxmax()
            first, second = tasks.loc[most]
            rows.append(
                f"| {labelled} | {METHODS[name].title} | {mean['first']:.1f} | "
                f"{mean['second']:.1f} | {most} {first:.1f}, {second:.1f} |"
            )
    return rows


def test_the_readme_says_what_a_second_seed_changes():
    text = (RESULTS / "README.md").read_text()
    section = text.split("## How much is chance")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| 1/")]
    assert rows == rows_about_chance()
