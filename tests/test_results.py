"""What is committed under results/ is what the records give."""

import shutil
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from benchmark.methods import METHODS
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


def test_no_mask_of_a_source_is_committed():
    for name in FOLDERS:
        for path in (RESULTS / name / "runs").rglob("*.parquet"):
            if not path.name.endswith(".masks.parquet"):  # ignored by git
                assert not set(MASKS) & set(pq.read_schema(path).names), path


# what 60 steps of cross-entropy do not yet find; `results/README.md` says so
NOT_YET = {
    *(("augseg", task) for task in ("BC", "LA", "LV", "MD", "OT", "TG", "TN", "mean")),
    *(("u2pl", task) for task in ("OT", "TN")),
    ("csc_pa", "OT"),
}


def test_every_trained_net_beats_itself_untrained_but_where_the_readme_says_so():
    """And U-Net and ProPL reach what the smallest useful run should."""

    def dice(folder: str) -> pd.Series:
        table = pd.read_csv(RESULTS / folder / "tables/table3.csv")
        table = table[(table.metric == "dice") & table.ours.notna()]
        return table.set_index(["method", "task"]).ours

    trained, untrained = dice("mini"), dice("untrained")
    assert set(trained.index) == set(untrained.index)
    assert {method for method, _ in trained.index} == set(METHODS)
    assert set(trained.index[trained <= untrained]) == NOT_YET
    for method in ("unet", "propl"):
        assert trained[method, "FH"] > 80
        assert trained[method, "mean"] > 60
