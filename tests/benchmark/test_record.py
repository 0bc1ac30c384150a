"""A record on disk: what it must keep, and records from before it kept that."""

import json
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import pytest
from fake_records import make_record

from benchmark import record
from benchmark.execution import Execution

RESULTS = Path(__file__).parents[2] / "results"


def test_a_record_keeps_how_its_steps_were_executed(tmp_path):
    made = make_record(execution=asdict(Execution(precision="bf16", graph=True)))
    path = record.save(made, pd.DataFrame({"id": ["a"]}), tmp_path)
    assert record.load(path) == made
    assert json.loads(path.read_text())["execution"]["precision"] == "bf16"


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*/runs/*/*/seed*.json")), ids=str)
def test_committed_records_can_be_read(path):
    assert record.load(path).tasks


def test_a_record_from_before_has_no_execution(tmp_path):
    path = record.save(make_record(), pd.DataFrame({"id": ["a"]}), tmp_path)
    fields = json.loads(path.read_text())
    del fields["execution"]
    path.write_text(json.dumps(fields))
    assert record.load(path).execution == {}


def test_settings_of_an_older_record_are_read_in_todays_names(tmp_path):
    older = {"perturbations": 2, "prompting": False, "calibration": True}
    path = record.save(
        make_record(tag="prompting=false", config=older), pd.DataFrame({"id": ["a"]}), tmp_path
    )
    (found,) = record.load_all(tmp_path)
    assert found.config == {
        "perturbations": 2, "prompting": "none", "uplc": True, "noise": "dropout", "sigma": 0.6547,
        "decoder": "p",
    }  # fmt: skip
    assert record.path_of(tmp_path, found.name) == path
