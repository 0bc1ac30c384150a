"""Which runs a sweep has: those of the tables, each once, without those that are there."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_runs import TINY, small_run

from benchmark import record
from benchmark.methods import METHODS
from benchmark.resolve import Request, RunError
from benchmark.run import run
from benchmark.sweep.jobs import Job, request_of, requests_of, sort_out
from benchmark.tables import TABLES

COMMON = Request(method="", split="", preset="smoke")


def names(requests):
    return [(request.method, request.split, request.seed) for request in requests]


def test_the_tables_need_every_method_and_the_ablations_once():
    asked = requests_of(TABLES, COMMON)
    plain = [request for request in asked if not request.overrides]
    assert sorted(names(plain)) == sorted(
        (method, split, 0) for method in METHODS for split in ("1_16", "1_8", "1_4")
    )
    rest = [request for request in asked if request.overrides]
    assert {request.method for request in rest} == {"propl"}
    assert len(rest) == 9  # of the four rows of Tables 4 to 6 one is ProPL itself
    assert len(asked) == 21 * 3 + 9


def test_filters_and_seeds():
    asked = requests_of([1, 2], COMMON, methods=["unet", "propl"], splits=["1_8"], seeds=[0, 3])
    assert names(asked) == [
        ("unet", "1_8", 0), ("unet", "1_8", 3), ("propl", "1_8", 0), ("propl", "1_8", 3),
    ]  # fmt: skip
    ablation = requests_of([4], replace(COMMON, overrides={"steps": "3"}))
    assert {"steps": "3", "prompting": "none", "uplc": "false"} in [r.overrides for r in ablation]


def test_a_setting_with_a_methods_name_is_for_its_rows_alone():
    given = {"segformer.size": "b0", "protocol.size": "32"}
    asked = requests_of([1], replace(COMMON, overrides=given), methods=["unet", "segformer"])
    assert {request.method: request.overrides for request in asked} == {
        "unet": {"protocol.size": "32"},
        "segformer": given,
    }


@given(
    st.builds(
        Request,
        method=st.sampled_from(list(METHODS)),
        split=st.sampled_from(["1_16", "full"]),
        seed=st.integers(0, 99),
        tasks=st.lists(st.sampled_from(["BC", "TN"]), unique=True).map(tuple),
        overrides=st.dictionaries(st.text(min_size=1), st.text()),
        data=st.sampled_from([Path("data"), Path("/a b/c"), Path("hf:lab/usbench@v1.0.0")]),
        precision=st.none() | st.just("bf16"),
        graph=st.none() | st.booleans(),
    )
)
def test_a_request_comes_back_from_the_queue_as_it_was(request):
    assert request_of(Job("name", request).spec) == request


def test_runs_that_are_there_are_not_done_again(small_data, tmp_path):
    done, todo = (small_run(small_data, tmp_path, seed=seed) for seed in (0, 1))
    path = run(done)
    assert [[job.name for job in jobs] for jobs in sort_out([done, todo])] == [
        ["unet/1_4/seed1"], ["unet/1_4/seed0"],
    ]  # fmt: skip
    fewer = record.load(path).tasks
    assert set(fewer) == {"FH", "OT"}
    other = replace(done, tasks=("FH", "OT", "TG"))
    assert [job.name for job in sort_out([other])[0]] == ["unet/1_4/seed0"]


@pytest.mark.parametrize("change", ["setting", "data"])
def test_a_record_of_other_settings_is_told_before_anything_begins(small_data, tmp_path, change):
    request = small_run(small_data, tmp_path, tasks=("FH",))
    path = run(request)
    if change == "setting":
        request = replace(request, overrides={**request.overrides, "steps": "5"})
    else:
        fields = json.loads(path.read_text())
        fields["dataset"]["content_sha256"] = "0" * 64
        path.write_text(json.dumps(fields))
    with pytest.raises(RunError, match=r"finished unet/1_4/seed0 with other settings"):
        sort_out([request])


def test_a_record_of_another_device_counts_where_the_runs_are_done_elsewhere(small_data, tmp_path):
    """As on a login node, which has no GPU."""
    request = small_run(small_data, tmp_path, tasks=("FH",))
    path = run(request)
    fields = json.loads(path.read_text())
    fields["execution"]["tf32"] = True
    path.write_text(json.dumps(fields))
    with pytest.raises(RunError, match="other settings"):
        sort_out([request])
    todo, done = sort_out([request], elsewhere=True)
    assert (len(todo), len(done)) == (0, 1)


def test_a_run_that_was_killed_while_it_tidied_up_is_not_done(small_data, tmp_path):
    request = small_run(small_data, tmp_path, tasks=("FH",), resume=True)
    run(request)
    folder = tmp_path / "unfinished/unet/1_4/seed0"
    folder.mkdir(parents=True)
    (folder / "start.json").write_text("{}")
    assert len(sort_out([request])[0]) == 1


def test_rows_that_settings_make_the_same_run_are_one(small_data, tmp_path):
    plain = small_run(small_data, tmp_path, "propl")
    one = replace(plain, overrides={**TINY, "uplc": "false"})
    same = replace(plain, overrides={**TINY, "propl.uplc": "False"})
    todo, done = sort_out([plain, one, same])
    assert [job.request for job in todo] == [plain, one]
    assert done == []
