"""One run, from settings to record: the only place where data, method, loop and record meet.

    results/unfinished/<run>/
        start.json                          the run began with these settings
        earlier.json, earlier.parquet       a finished record of other tasks, to be added to
        <part>.checkpoint.safetensors       of the part in training
        <part>.weights.safetensors          of a part that is done
        <part>.parquet, <part>.json         its rows; written last: it is done

A part is one training: each task of a single-task method, or the one model of a universal method.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from benchmark import machine, record, weights
from benchmark.checkpoint import CheckpointError, anew, require_same
from benchmark.files import replace_together, replacing
from benchmark.part import Part, load_part, train_part
from benchmark.progress import Progress
from benchmark.record import DatasetEntry, RunRecord
from benchmark.resolve import Plan, Request, RunError, resolve, rounding
from benchmark.train import Interrupted

START = "start.json"


def run(request: Request) -> Path:
    """Train, evaluate, leave one record; return its path.

    Raises:
        ValueError: of any kind of this package, before anything is trained or overwritten.
        WriteError: the disk is full; what was done so far is kept.
        Interrupted: the user stopped it; a checkpoint is left.
    """
    plan = resolve(request)
    name = plan.name
    folder = request.results / "unfinished" / name
    if request.resume and not request.restart and is_done(plan):
        _remove(folder)
        return record.path_of(request.results, name)
    _begin(plan, name, folder)
    try:
        with Progress(f"{name} on {plan.device}", _tests(plan)) as progress:
            for part, tasks in plan.parts.items():
                if progress.stopped:  # after the last step of the part before
                    raise Interrupted(0)
                if not (folder / f"{part}.json").is_file():
                    train_part(plan, part, tasks, folder, progress)
                progress.done()
    except BaseException:
        if not any(folder.glob("*.safetensors")) and not _done(plan, folder):
            _remove(folder)  # nothing to go on with
        raise
    path = _finish(plan, name, folder)
    _remove(folder)
    return path


def is_done(plan: Plan, *, elsewhere: bool = False) -> bool:
    """Whether the record of this very run is there, with all its tasks, and nothing to tidy up.

    Args:
        plan: of the run.
        elsewhere: it is done on a machine whose device is not known here.

    Raises:
        RunError: a record with other settings stands in its place.
    """
    path = record.path_of(plan.request.results, plan.name)
    begun = (plan.request.results / "unfinished" / plan.name / START).is_file()
    if begun or not path.is_file():
        return False
    done = record.load(path)
    ours, theirs = plan.settings, _settings(done)
    if elsewhere:  # TF32 comes with the device; nobody asks for it
        for settings in (ours, theirs):
            settings["execution"] = {**settings["execution"], "tf32": None}
    if theirs != ours:
        raise RunError(
            f"{path} holds a finished {plan.name} with other settings; give another --results, "
            "or remove it, as usbench run --restart does"
        )
    return set(plan.tasks) <= set(done.tasks)


def _tests(plan: Plan) -> dict[str, int]:
    """Test images of each part."""
    images = plan.dataset.images
    return {part: sum(images[task][1] for task in tasks) for part, tasks in plan.parts.items()}


def _begin(plan: Plan, name: str, folder: Path) -> None:
    """Make the folder of a new run, or make sure that the one there is this run's.

    Raises:
        RunError: an unfinished run or a finished record is there that would be lost.
        CheckpointError: to be resumed, but begun with other settings, or by a former version.
    """
    request, start = plan.request, folder / START
    if request.restart:
        _remove(folder)
    elif start.is_file():
        if not request.resume:
            raise RunError(
                f"{folder} holds an unfinished {name}; "
                "add --resume to go on with it, or --restart to begin again"
            )
        require_same(start, json.loads(start.read_text()), plan.exact)
        return
    elif folder.is_dir() and any(path.stem in plan.parts for path in folder.iterdir()):
        raise CheckpointError(
            f"{folder} was left by a former version of usbench, which this one cannot go on with; "
            + anew(folder)
        )
    if earlier := _earlier_record(plan, name):
        rows = record.images_of(earlier, request.results).to_parquet(index=False)
        text = record.path_of(request.results, name).read_bytes()
        replace_together({folder / "earlier.parquet": rows, folder / "earlier.json": text})
    text = json.dumps(plan.exact).encode()
    with replacing(start, len(text)) as file:
        file.write(text)


def _remove(folder: Path) -> None:
    """Begin with the file that says that there is a run."""
    (folder / START).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def _done(plan: Plan, folder: Path) -> list[Path]:
    """Parts that are done."""
    return [path for part in plan.parts if (path := folder / f"{part}.json").is_file()]


def _earlier_record(plan: Plan, name: str) -> RunRecord | None:
    """A finished record of other tasks of the same run, to which these will be added.

    Raises:
        RunError: a finished record is there that would be lost.
    """
    path = record.path_of(plan.request.results, name)
    if not path.is_file() or plan.request.restart:
        return None
    earlier = record.load(path)
    same = _settings(earlier) == plan.settings
    again = sorted(set(earlier.tasks) & set(plan.tasks))
    if same and not again and not plan.kind.universal:
        return earlier
    reason = f"of {', '.join(again)}" if same and again else "with other settings"
    raise RunError(
        f"{path} holds a finished {name} {reason}; "
        "add --restart to replace it, or give another --results"
    )


def _settings(done: RunRecord) -> dict[str, Any]:
    """Settings of a record, as `Plan.settings` has them."""
    names = ("method", "split", "seed", "variant", "preset", "protocol", "config")
    return {
        **{name: getattr(done, name) for name in names},
        "dataset": done.dataset.content_sha256,
        "execution": rounding(done.execution),
    }


def _finish(plan: Plan, name: str, folder: Path) -> Path:
    """Write the record of all parts, and put their weights where the record's name finds them."""
    request = plan.request
    parts = _done(plan, folder)
    finished = _record(plan, [load_part(path) for path in parts])
    files = [path.with_suffix(".parquet") for path in parts]
    if (before := folder / "earlier.json").is_file():
        earlier = record.load(before)
        finished = replace(
            finished,
            tasks={**earlier.tasks, **finished.tasks},
            execution=_together([earlier.execution, finished.execution]),
            validation={**earlier.validation, **finished.validation},
        )
        files.insert(0, before.with_suffix(".parquet"))
    rows = pd.concat([pd.read_parquet(path) for path in files], ignore_index=True)
    path = record.save(finished, rows, request.results)
    made = {part: folder / f"{part}.weights.safetensors" for part in plan.parts}
    kept = set(made if plan.kind.universal else finished.tasks)
    weights.keep(request.results, name, made, kept if request.keep_weights else kept - set(made))
    return path


def _together(executions: Sequence[Mapping[str, object]]) -> dict[str, object]:
    """One execution for several parts: where memory ran out in some, the most parts of a batch."""
    most = max(int(str(each.get("micro_batches", 1))) for each in executions)
    return {**executions[-1], "micro_batches": most}


def _record(plan: Plan, parts: Sequence[Part]) -> RunRecord:
    request = plan.request
    return RunRecord(
        method=request.method,
        split=request.split,
        seed=request.seed,
        preset=request.preset,
        tag=plan.tag,
        variant=request.variant,
        encoder=plan.encoder,
        weights=plan.protocol.weights,
        parameters=parts[-1].parameters,
        protocol=asdict(plan.protocol),
        config=asdict(plan.config),
        dataset=DatasetEntry(
            plan.dataset.content_sha256,
            plan.dataset.partial,
            dict(plan.dataset.images),
            plan.dataset.published,
        ),
        tasks={task: entry for part in parts for task, entry in part.tasks.items()},
        execution=_together([part.execution for part in parts]),
        validation={task: curve for part in parts for task, curve in part.validation.items()},
        machine=machine.describe(plan.device),
        commit=machine.commit(),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
    )
