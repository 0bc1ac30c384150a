"""One run, from settings to record: the only place where data, method, loop and record meet.

    results/unfinished/<run>/<part>.pt        checkpoint of the part in training
    results/unfinished/<run>/<part>.json      a part that is done; its rows beside it as Parquet

A part is one training: each task of a single-task method, or the one model of a universal method.
"""

import json
import shutil
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from benchmark import machine, record
from benchmark.part import train_part
from benchmark.progress import Progress
from benchmark.record import DatasetEntry, RunRecord, TaskEntry
from benchmark.resolve import Plan, Request, RunError, resolve


def run(request: Request) -> Path:
    """Train, evaluate, leave one record; return its path.

    Raises:
        ValueError: of any kind of this package, before anything is trained or overwritten.
        Interrupted: the user stopped it; a checkpoint is left.
    """
    plan = resolve(request)
    name = record.run_name(request.method, request.split, request.seed, plan.tag)
    unfinished = request.results / "unfinished" / name
    earlier = _earlier_record(plan, name)
    if request.restart:
        shutil.rmtree(unfinished, ignore_errors=True)
    elif _begun(unfinished) and not request.resume:
        raise RunError(
            f"{unfinished} holds an unfinished {name}; "
            "add --resume to go on with it, or --restart to begin again"
        )
    unfinished.mkdir(parents=True, exist_ok=True)
    entries: dict[str, TaskEntry] = {}
    frames = []
    parameters = 0
    with Progress(f"{name} on {plan.device}") as progress:
        for part, tasks in plan.parts.items():
            done = unfinished / f"{part}.json"
            if not done.is_file():
                train_part(plan, part, tasks, unfinished, progress)
            saved = json.loads(done.read_text())
            parameters = saved["parameters"]
            entries |= {task: TaskEntry(**entry) for task, entry in saved["tasks"].items()}
            frames.append(pd.read_parquet(done.with_suffix(".parquet")))
    finished = _record(plan, entries, parameters)
    if earlier is not None:
        finished = replace(finished, tasks={**earlier.tasks, **finished.tasks})
        frames.insert(0, record.images_of(earlier, request.results))
    path = record.save(finished, pd.concat(frames, ignore_index=True), request.results)
    shutil.rmtree(unfinished)
    return path


def _begun(unfinished: Path) -> bool:
    """Whether a checkpoint or a finished part is there; a run that could not start leaves none."""
    return unfinished.is_dir() and any(unfinished.iterdir())


def _earlier_record(plan: Plan, name: str) -> RunRecord | None:
    """A finished record of other tasks of the same run, to which these will be added.

    Raises:
        RunError: a finished record is there that would be lost.
    """
    path = record.path_of(plan.request.results, name)
    if not path.is_file() or plan.request.restart:
        return None
    settings = plan.settings
    earlier = record.load(path)
    theirs = {key: getattr(earlier, key) for key in settings if key != "dataset"}
    theirs["dataset"] = earlier.dataset.content_sha256
    again = sorted(set(earlier.tasks) & set(plan.tasks))
    if theirs == settings and not again and not plan.kind.universal:
        return earlier
    reason = f"of {', '.join(again)}" if theirs == settings and again else "with other settings"
    raise RunError(
        f"{path} holds a finished {name} {reason}; "
        "add --restart to replace it, or give another --results"
    )


def _record(plan: Plan, entries: dict[str, TaskEntry], parameters: int) -> RunRecord:
    request = plan.request
    return RunRecord(
        method=request.method,
        split=request.split,
        seed=request.seed,
        preset=request.preset,
        tag=plan.tag,
        variant=request.variant,
        encoder=plan.protocol.encoder or getattr(plan.kind, "encoder", ""),
        weights=plan.protocol.weights,
        parameters=parameters,
        protocol=asdict(plan.protocol),
        config=asdict(plan.config),
        dataset=DatasetEntry(
            plan.dataset.content_sha256, plan.dataset.partial, dict(plan.dataset.images)
        ),
        tasks=entries,
        machine=machine.describe(plan.device),
        commit=machine.commit(),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
    )
