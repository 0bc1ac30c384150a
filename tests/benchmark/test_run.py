"""A run from request to record: exact, resumable, and nothing is lost or overwritten."""

import json
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from small_runs import TINY, assert_same, interrupt_at, small_run
from typer.testing import CliRunner

from benchmark import part, record, tensors
from benchmark.checkpoint import CheckpointError
from benchmark.cli import app
from benchmark.guard import TrainingError
from benchmark.methods import METHODS
from benchmark.metrics import COLUMNS, NATIVE_COLUMNS
from benchmark.profiles import PROFILES
from benchmark.progress import Progress
from benchmark.resolve import RunError, resolve
from benchmark.run import run
from benchmark.train import Interrupted
from dataset_builders.errors import UsageError
from dataset_builders.tasks import TASKS


@pytest.fixture(scope="module", params=["unet", "propl"])
def finished(request, small_data, tmp_path_factory):
    name = request.param
    results = tmp_path_factory.mktemp(name)
    return name, run(small_run(small_data, results, name))


def test_a_record_says_what_was_run_on_what(finished, small_data):
    name, path = finished
    done = record.load(path)
    manifest = json.loads((small_data / "manifest.json").read_text())
    assert (done.method, done.split, done.seed, done.tag) == (name, "1_4", 0, "")
    assert done.dataset.content_sha256 == manifest["content_sha256"]
    assert list(done.dataset.partial) == manifest["partial"]
    assert done.protocol["size"] == 32
    assert done.weights == "none"
    assert done.parameters > 10**5
    assert done.execution["precision"] == "fp32"
    assert done.execution["micro_batches"] == 1
    assert done.validation == {}
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
    assert not [p for p in (path.parents[3] / "unfinished").rglob("*") if p.is_file()]


def test_the_same_request_gives_the_same_result(finished, small_data, tmp_path):
    name, path = finished
    assert_same(run(small_run(small_data, tmp_path, name)), path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_goes_on_to_the_same_result(
    finished, small_data, tmp_path, monkeypatch, number
):
    name, path = finished
    asked = small_run(small_data, tmp_path, name)
    with monkeypatch.context() as patch:
        interrupt_at(patch, 3, number)
        with pytest.raises(Interrupted, match="stopped after 3 steps"):
            run(asked)
    assert not (tmp_path / "runs").exists()
    with pytest.raises(RunError, match="add --resume to go on with it, or --restart"):
        run(asked)
    assert_same(run(replace(asked, resume=True)), path)


@pytest.mark.parametrize("step", [1, 4])
def test_other_settings_are_refused_wherever_a_run_was_interrupted(
    small_data, tmp_path, monkeypatch, step
):
    """Also in the second part, when the first is done: a record has one set of settings."""
    asked = small_run(small_data, tmp_path)
    with monkeypatch.context() as patch:
        interrupt_at(patch, step)
        with pytest.raises(Interrupted):
            run(asked)
    for changes, message in {
        "rate": ({"overrides": {**TINY, "rate": "0.5"}}, r"rate: then 0\.001, now 0\.5"),
        "precision": ({"precision": "bf16"}, "precision: then fp32, now bf16"),
        "deterministic": ({"deterministic": True}, "deterministic: then False, now True"),
        "tasks": ({"tasks": ("FH",)}, r"tasks: then \['FH', 'OT'\], now \['FH'\]"),
    }.values():
        with pytest.raises(CheckpointError, match=rf"{message}.*--restart"):
            run(replace(asked, resume=True, **changes))
    assert run(replace(asked, resume=True)).is_file()


def test_a_checkpoint_of_other_settings_is_refused(small_data, tmp_path, monkeypatch):
    asked = small_run(small_data, tmp_path)
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
    asked = small_run(small_data, tmp_path, tasks=("FH",))
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
    fresh = run(small_run(small_data, tmp_path / "fresh", tasks=("FH",)))
    assert_same(run(replace(asked, resume=True)), fresh)


def test_an_interrupted_restart_goes_on_too(small_data, tmp_path, monkeypatch):
    """The record that it replaces stays until the new one is complete."""
    path = run(small_run(small_data, tmp_path, tasks=("FH",)))
    before = path.read_bytes()
    other = small_run(small_data, tmp_path, tasks=("FH",), overrides={**TINY, "rate": "0.5"})
    with monkeypatch.context() as patch:
        interrupt_at(patch, 2)
        with pytest.raises(Interrupted):
            run(replace(other, restart=True))
    assert path.read_bytes() == before
    assert run(replace(other, resume=True)) == path
    assert record.load(path).protocol["rate"] == 0.5


def test_an_interrupted_restart_with_equal_settings_is_not_taken_for_the_finished_run(
    small_data, tmp_path, monkeypatch
):
    asked = small_run(small_data, tmp_path, tasks=("FH",))
    path = run(asked)
    before = path.stat().st_mtime_ns
    with monkeypatch.context() as patch:
        interrupt_at(patch, 2)
        with pytest.raises(Interrupted):
            run(replace(asked, restart=True))
    run(replace(asked, resume=True))
    assert path.stat().st_mtime_ns > before


def test_to_resume_a_finished_run_changes_nothing(small_data, tmp_path):
    asked = small_run(small_data, tmp_path, tasks=("FH",))
    path = run(asked)
    before = path.read_bytes()
    assert run(replace(asked, resume=True)) == path
    with pytest.raises(RunError, match="with other settings"):
        run(replace(asked, overrides={**TINY, "rate": "0.5"}, resume=True))
    assert path.read_bytes() == before


def test_an_unfinished_run_of_a_former_version_says_so(small_data, tmp_path):
    asked = small_run(small_data, tmp_path, tasks=("FH",))
    folder = tmp_path / "unfinished" / "unet" / "1_4" / "seed0"
    folder.mkdir(parents=True)
    (folder / "FH.pt").write_bytes(b"a pickle")
    for changes in ({}, {"resume": True}):
        with pytest.raises(CheckpointError, match=r"left by a former version.*--restart"):
            run(replace(asked, **changes))
    assert run(replace(asked, restart=True)).is_file()


def test_what_is_kept_aside_is_watched_and_in_the_record(small_data, tmp_path, monkeypatch):
    watched = {**TINY, "validation": "0.3", "validation_every": "0.5"}
    asked = small_run(small_data, tmp_path / "whole", overrides=watched)
    path = run(asked)
    done = record.load(path)
    assert set(done.validation) == {"FH", "OT"}
    for task, entry in done.tasks.items():
        assert [step for step, _ in done.validation[task]] == [2, 4]
        assert 1 <= entry.train_labelled < done.dataset.images[task][0] // 4
    resumed = replace(asked, results=tmp_path / "resumed", resume=True)
    with monkeypatch.context() as patch:
        interrupt_at(patch, 3)
        with pytest.raises(Interrupted):
            run(resumed)
    assert_same(run(resumed), path)


def test_weights_that_are_not_finite_are_never_saved(small_data, tmp_path, monkeypatch):
    """Their loss may have been finite still; the checkpoint before is the good one."""
    asked = small_run(small_data, tmp_path, tasks=("FH",))
    monkeypatch.setattr(part, "CHECKPOINT_SECONDS", 0.0)
    real = part._Training._watch

    def watch(self, step, terms):
        if step == 3:
            next(self.method.parameters()).data.fill_(torch.inf)
        return real(self, step, terms)

    monkeypatch.setattr(part._Training, "_watch", watch)
    with pytest.raises(TrainingError, match=r"not finite after step 3.*good checkpoint is .*FH"):
        run(asked)
    (saved,) = tmp_path.rglob("FH.checkpoint.safetensors")
    assert tensors.read(saved)[1]["standing"]["step"] == 2


def test_tasks_run_one_by_one_make_the_same_record(small_data, tmp_path):
    watched = {**TINY, "validation": "0.3", "validation_every": "1"}
    whole = run(small_run(small_data, tmp_path / "whole", overrides=watched))
    parts = small_run(small_data, tmp_path / "parts", overrides=watched)
    run(replace(parts, tasks=("FH",)))
    assert_same(run(replace(parts, tasks=("OT",))), whole)


def test_a_run_killed_while_it_replaces_the_record_loses_no_task(small_data, tmp_path, monkeypatch):
    """Rows, masks and record take their names one after another; a kill may come in between."""
    whole = run(small_run(small_data, tmp_path / "whole"))
    run(small_run(small_data, tmp_path / "parts", tasks=("FH",)))
    asked = small_run(small_data, tmp_path / "parts", tasks=("OT",))
    real = Path.replace
    for ending in (".masks.parquet", ".json"):

        def replace_or_die(path, target, ending=ending):
            if target.name == f"seed0{ending}":
                raise MemoryError
            return real(path, target)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", replace_or_die)
            with pytest.raises(MemoryError):
                run(replace(asked, resume=ending == ".json"))
        assert not list((tmp_path / "parts" / "runs").rglob("*.json"))
    assert_same(run(replace(asked, resume=True)), whole)


def test_a_finished_record_is_not_overwritten_unasked(small_data, tmp_path):
    path = run(small_run(small_data, tmp_path, tasks=("FH",)))
    before = path.read_bytes()
    with pytest.raises(RunError, match=r"holds a finished unet/1_4/seed0 of FH.*--restart"):
        run(small_run(small_data, tmp_path, tasks=("FH",)))
    with pytest.raises(RunError, match=r"with other settings.*another --results"):
        run(small_run(small_data, tmp_path, tasks=("OT",), overrides={**TINY, "rate": "0.5"}))
    assert path.read_bytes() == before


def test_an_ablation_has_a_record_of_its_own(small_data, tmp_path):
    asked = small_run(small_data, tmp_path, "propl", tasks=("FH",))
    changed = replace(asked, overrides={**TINY, "prompting": "none", "uplc": "false"})
    assert run(changed).name == "seed0+prompting=none,uplc=false.json"
    assert resolve(replace(asked, variant="released")).tag == "released"
    assert resolve(replace(asked, overrides={**TINY, "propl.prompting": "pud"})).tag == ""


def test_the_released_variant_is_the_released_code(small_data, tmp_path):
    plan = resolve(small_run(small_data, tmp_path, "propl", variant="released", overrides={}))
    assert (plan.config.perturbations, plan.config.power, plan.config.hard) == (3, 2.0, True)
    assert (plan.protocol.rotation, plan.protocol.view_share) == (0.0, 0.1)
    assert plan.protocol.text == "cxr-bert"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "unte"}, r"unknown method 'unte' \(did you mean 'unet'\?\)"),
        ({"split": "1_2"}, "unknown split '1_2'.*1_16, 1_8, 1_4, full"),
        ({"preset": "best"}, "unknown preset 'best'.*paper, fast, mini, smoke"),
        ({"variant": "newer"}, "unknown variant of unet 'newer'"),
        ({"tasks": ("XX",)}, f"unknown task 'XX'.*{', '.join(TASKS)}"),
        ({"overrides": {"sieze": "3"}}, r"unknown setting 'sieze'"),
        ({"overrides": {"size": "33"}}, "multiple of 32"),
        ({"seed": -1}, "seed = -1 is not possible; it must be 0 or more"),
        ({"device": "gpu"}, "unknown device 'gpu'"),
        ({"method": "propl", "split": "full"}, "'full' leaves none"),
    ],
    ids=str,
)
def test_a_request_that_cannot_be_is_one_clear_error(small_data, tmp_path, changes, message):
    with pytest.raises(UsageError, match=message):
        run(small_run(small_data, tmp_path / "results", **changes))
    assert not (tmp_path / "results").exists()


def test_an_option_and_a_setting_that_say_the_same_are_refused(small_data, tmp_path):
    words = ["run", "--method", "unet", "--split", "1_4", "--data", str(small_data)]
    words += ["--results", str(tmp_path / "results"), "--encoder", "one", "--set", "encoder=other"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 2
    assert "--encoder one and --set encoder=other say the same; leave one out" in done.stderr
    assert not (tmp_path / "results").exists()


def test_a_method_that_is_not_written_yet_is_one_clear_error(small_data, tmp_path, monkeypatch):
    monkeypatch.setitem(METHODS, "propl", replace(METHODS["propl"], target=None))
    with pytest.raises(RunError, match="ProPL is not implemented yet; there are: unet"):
        run(small_run(small_data, tmp_path / "results", "propl"))
    assert not (tmp_path / "results").exists()


def test_a_split_without_labels_is_refused(small_data, tmp_path):
    manifest = json.loads((small_data / "manifest.json").read_text())
    manifest["tasks"]["FH"]["train"] = 15
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UsageError, match="1_16 leaves task FH without a labelled image"):
        run(small_run(tmp_path, tmp_path / "results", split="1_16", tasks=("FH",)))


def test_the_command_prints_the_scores_below_the_record(finished, small_data):
    """They are those of the report: the paper's profile, in per cent."""
    name, path = finished
    done = record.load(path)
    words = ["run", "--method", name, "--split", "1_4", "--preset", "smoke", "--device", "cpu"]
    words += [word for task in done.tasks for word in ("--task", task)]
    words += [word for key, value in TINY.items() for word in ("--set", f"{key}={value}")]
    words += ["--data", str(small_data), "--results", str(path.parents[3]), "--resume"]
    printed = CliRunner().invoke(app, words)
    assert printed.exit_code == 0
    first, _, *lines = printed.output.splitlines()
    assert first == f"record: {path}"
    rows = pd.read_parquet(path.with_suffix(".parquet"))
    scores = {
        task: PROFILES["paper"].task_scores(of_task) for task, of_task in rows.groupby("task")
    }
    for line, task in zip(lines, [*done.tasks, "mean"], strict=False):
        wanted = list(scores.values()) if task == "mean" else [scores[task]]
        label, *values = line.split()
        assert label == task + "†" * (task in done.dataset.partial)
        for value, metric, scale in zip(
            values, ("dice", "iou", "hd95"), (100, 100, 1), strict=True
        ):
            mean = np.mean([getattr(score, metric) for score in wanted])
            assert float(value) == pytest.approx(scale * mean, abs=0.005)
