"""A run from request to record: exact, resumable, and nothing is lost or overwritten."""

import json
import signal
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from benchmark import part, record
from benchmark.checkpoint import CheckpointError
from benchmark.metrics import COLUMNS, NATIVE_COLUMNS
from benchmark.progress import Progress
from benchmark.resolve import Request, RunError, resolve
from benchmark.run import run
from benchmark.train import Interrupted
from dataset_builders.errors import UsageError
from dataset_builders.tasks import TASKS

TINY = {"size": "32", "steps": "4", "batch": "4", "weights": "none", "text": "random"}


def request(small_data: Path, results: Path, method: str = "unet", **changes) -> Request:
    tasks = ("FH", "OT") if method == "unet" else ("FH", "LA", "LV", "OT")
    asked = Request(
        method, "1_4", tasks=tasks, preset="smoke", overrides=TINY, data=small_data,
        results=results, device="cpu",
    )  # fmt: skip
    return replace(asked, **changes)


def outcome(path: Path) -> tuple[dict, pd.DataFrame]:
    """What must be equal of two equal runs."""
    fields = json.loads(path.read_text())
    for entry in fields["tasks"].values():
        del entry["seconds"], entry["peak_memory_mb"]
    del fields["finished"]
    return fields, pd.read_parquet(path.with_suffix(".parquet"))


def interrupt_at(monkeypatch, step: int, number: int = signal.SIGINT) -> None:
    real = Progress.step

    def stepped(self, done, terms):
        real(self, done, terms)
        if done == step:
            signal.raise_signal(number)

    monkeypatch.setattr(Progress, "step", stepped)


@pytest.fixture(scope="module", params=["unet", "propl"])
def finished(request, small_data, tmp_path_factory):
    name = request.param
    results = tmp_path_factory.mktemp(name)
    return name, run(globals()["request"](small_data, results, name))


def test_a_record_says_what_was_run_on_what(finished, small_data):
    name, path = finished
    done = record.load(path)
    manifest = json.loads((small_data / "manifest.json").read_text())
    assert (done.method, done.split, done.seed, done.tag) == (name, "1_4", 0, "")
    assert done.dataset.content_sha256 == manifest["content_sha256"]
    assert list(done.dataset.partial) == manifest["partial"]
    assert done.protocol["size"] == 32
    assert done.weights == "none"
    assert done.parameters > 10**6
    assert done.machine["device"].startswith("cpu")
    universal = name == "propl"
    for task, entry in done.tasks.items():
        train, test = done.dataset.images[task]
        assert entry.train_labelled == train // 4
        assert entry.train_unlabelled == (train - train // 4 if universal else 0)
        assert entry.test_images == test
        assert entry.steps == (4 * len(done.tasks) if universal else 4)
        assert entry.seconds > 0
        assert entry.peak_memory_mb > 0


def test_there_is_one_row_for_each_test_image(finished, small_data):
    _, path = finished
    rows = pd.read_parquet(path.with_suffix(".parquet"))
    names = ["task", "id", "group", "duplicate_of"]
    assert list(rows.columns) == [*names, *COLUMNS, "spacing_mm", *NATIVE_COLUMNS]
    masks = pd.read_parquet(path.with_suffix(".masks.parquet"))
    assert list(masks.columns) == ["id", "mask_png", "pred_png"]
    assert masks["id"].equals(rows["id"])
    for task, of_task in rows.groupby("task"):
        ids = (small_data / f"splits/{task}/test.txt").read_text().split("\n")[:-1]
        assert of_task["id"].tolist() == ids
        assert (of_task[["tp", "fp", "fn", "tn"]].sum(axis=1) == 32 * 32).all()


def test_nothing_unfinished_is_left(finished):
    _, path = finished
    assert not list(path.parents[4].glob("unfinished/**/*.pt"))


def test_the_same_request_gives_the_same_result(finished, small_data, tmp_path):
    name, path = finished
    fields, rows = outcome(run(request(small_data, tmp_path, name)))
    same_fields, same_rows = outcome(path)
    assert fields == same_fields
    pd.testing.assert_frame_equal(rows, same_rows)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_goes_on_to_the_same_result(
    finished, small_data, tmp_path, monkeypatch, number
):
    name, path = finished
    asked = request(small_data, tmp_path, name)
    with monkeypatch.context() as patch:
        interrupt_at(patch, 3, number)
        with pytest.raises(Interrupted, match="stopped after 3 steps"):
            run(asked)
    assert not (tmp_path / "runs").exists()
    with pytest.raises(RunError, match="add --resume to go on with it, or --restart"):
        run(asked)
    fields, rows = outcome(run(replace(asked, resume=True)))
    same_fields, same_rows = outcome(path)
    assert fields == same_fields
    pd.testing.assert_frame_equal(rows, same_rows)


def test_a_checkpoint_of_other_settings_is_refused(small_data, tmp_path, monkeypatch):
    asked = request(small_data, tmp_path)
    with monkeypatch.context() as patch:
        interrupt_at(patch, 2)
        with pytest.raises(Interrupted):
            run(asked)
    other = replace(asked, overrides={**TINY, "rate": "0.5"}, resume=True)
    with pytest.raises(CheckpointError, match=r"rate: then 0\.001, now 0\.5.*--restart"):
        run(other)
    assert run(replace(other, resume=False, restart=True)).is_file()


def test_a_killed_run_goes_on_from_its_last_checkpoint(small_data, tmp_path, monkeypatch):
    """As after kill -9: no handler runs, and the checkpoint is that of the step before."""
    asked = request(small_data, tmp_path, tasks=("FH",))
    monkeypatch.setattr(part, "CHECKPOINT_SECONDS", 0.0)
    real = Progress.step

    def killed(self, done, terms):
        if done == 3:
            raise MemoryError
        real(self, done, terms)

    with monkeypatch.context() as patch:
        patch.setattr(Progress, "step", killed)
        with pytest.raises(MemoryError):
            run(asked)
    fields, rows = outcome(run(replace(asked, resume=True)))
    fresh_fields, fresh_rows = outcome(run(request(small_data, tmp_path / "fresh", tasks=("FH",))))
    assert fields == fresh_fields
    pd.testing.assert_frame_equal(rows, fresh_rows)


def test_tasks_run_one_by_one_make_the_same_record(small_data, tmp_path):
    whole = outcome(run(request(small_data, tmp_path / "whole")))
    run(request(small_data, tmp_path / "parts", tasks=("FH",)))
    parts = outcome(run(request(small_data, tmp_path / "parts", tasks=("OT",))))
    assert whole[0] == parts[0]
    pd.testing.assert_frame_equal(whole[1], parts[1])


def test_a_finished_record_is_not_overwritten_unasked(small_data, tmp_path):
    path = run(request(small_data, tmp_path, tasks=("FH",)))
    before = path.read_bytes()
    with pytest.raises(RunError, match=r"holds a finished unet/1_4/seed0 of FH.*--restart"):
        run(request(small_data, tmp_path, tasks=("FH",)))
    with pytest.raises(RunError, match=r"with other settings.*another --results"):
        run(request(small_data, tmp_path, tasks=("OT",), overrides={**TINY, "rate": "0.5"}))
    assert path.read_bytes() == before


def test_an_ablation_has_a_record_of_its_own(small_data, tmp_path):
    asked = request(small_data, tmp_path, "propl", tasks=("FH",))
    changed = replace(asked, overrides={**TINY, "prompting": "false", "calibration": "false"})
    assert run(changed).name == "seed0+prompting=false,calibration=false.json"
    assert resolve(replace(asked, variant="released")).tag == "released"
    assert resolve(replace(asked, overrides={**TINY, "prompting": "true"})).tag == ""


def test_the_released_variant_is_the_released_code(small_data, tmp_path):
    plan = resolve(request(small_data, tmp_path, "propl", variant="released", overrides={}))
    assert (plan.config.perturbations, plan.config.power, plan.config.hard) == (3, 2.0, True)
    assert (plan.protocol.rotation, plan.protocol.view_share) == (0.0, 0.1)
    assert plan.protocol.text == "cxr-bert"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "unte"}, r"unknown method 'unte' \(did you mean 'unet'\?\)"),
        ({"method": "pspnet"}, "PSPNet is not implemented yet"),
        ({"split": "1_2"}, "unknown split '1_2'.*1_16, 1_8, 1_4, full"),
        ({"preset": "best"}, "unknown preset 'best'.*paper, fast, mini, smoke"),
        ({"variant": "newer"}, "unknown variant of unet 'newer'"),
        ({"tasks": ("XX",)}, f"unknown task 'XX'.*{', '.join(TASKS)}"),
        ({"overrides": {"sieze": "3"}}, r"unknown setting 'sieze'"),
        ({"overrides": {"size": "33"}}, "multiple of 32"),
        ({"device": "gpu"}, "unknown device 'gpu'"),
        ({"method": "propl", "split": "full"}, "'full' leaves none"),
    ],
    ids=str,
)
def test_a_request_that_cannot_be_is_one_clear_error(small_data, tmp_path, changes, message):
    with pytest.raises(UsageError, match=message):
        run(request(small_data, tmp_path / "results", **changes))
    assert not (tmp_path / "results").exists()


def test_a_split_without_labels_is_refused(small_data, tmp_path):
    manifest = json.loads((small_data / "manifest.json").read_text())
    manifest["tasks"]["FH"]["train"] = 15
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UsageError, match="1_16 leaves task FH without a labelled image"):
        run(request(tmp_path, tmp_path / "results", split="1_16", tasks=("FH",)))
