"""Many methods one after another: none stops the others, and each is written when it is done."""

import gc
import json
import os
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import torch

from benchmark import machine
from benchmark.bench.images import RANDOM
from benchmark.bench.rates import Rates, measure_rates
from benchmark.bench.step import StepBench, measure
from benchmark.files import replacing
from benchmark.methods import METHODS
from benchmark.resolve import Plan, Request, resolve
from benchmark.step import Recording
from dataset_builders.errors import UsageError

FORMAT = 1


@dataclass
class Report:
    """All that one call measured, as it is written."""

    begun: str
    commit: str
    machine: dict[str, str]
    preset: str
    split: str
    data: str  # content hash of the data set, or "random"
    rates: Rates
    methods: dict[str, StepBench] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)  # method -> why
    not_begun: tuple[str, ...] = ()  # the budget was spent before
    seconds: float = 0.0


def bench(
    requests: Mapping[str, Request],
    *,
    steps: int | None = None,
    budget_s: float | None = None,
    random: bool = True,
    out: Path | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Report:
    """Measure one method after another.

    Args:
        requests: method -> what is to be measured; all of one preset, split and device.
        steps: timed on each side of each method.
        budget_s: no method is begun after so many seconds.
        random: random images instead of the data set of the requests.
        out: JSON file, written again after every method.
        say: told of progress.

    Raises:
        UsageError: no method can be measured, or `out` cannot be written; nothing was written.
    """
    began = time.monotonic()
    plans, failed = _plans(requests, random=random)
    first = next(iter(plans.values()))
    if out is not None:
        _make_room(out)
    say(f"rates of {first.device} ...")
    report = Report(
        begun=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=machine.commit(),
        machine=machine.describe(first.device),
        preset=first.request.preset,
        split=first.request.split,
        data=first.dataset.content_sha256,
        rates=measure_rates(first.device),
        failed=failed,
    )
    for place, (name, plan) in enumerate(plans.items()):
        if budget_s is not None and time.monotonic() - began >= budget_s:
            report.not_begun = tuple(plans)[place:]
            break
        say(f"{METHODS[name].title} ...")
        try:
            report.methods[name] = measure(plan, report.rates, steps)
        except Exception as error:  # whatever it is, it is this method's
            report.failed[name] = _reason(error)
            say(f"  failed: {report.failed[name]}")
        if Recording.broken:
            report.not_begun = tuple(plans)[place + 1 :]
            say("what is left needs another process: this one's CUDA graphs are broken")
            break
        _forget(plan.device)
        report.seconds = time.monotonic() - began
        if out is not None:
            write(report, out)
    if out is not None:
        write(report, out)
    return report


def write(report: Report, path: Path) -> None:
    """As JSON, whole or not at all.

    Raises:
        WriteError: the file cannot be written.
    """
    text = json.dumps({"format": FORMAT, **asdict(report)}, indent=1).encode() + b"\n"
    with replacing(path, len(text)) as file:
        file.write(text)


def _plans(
    requests: Mapping[str, Request], *, random: bool
) -> tuple[dict[str, Plan], dict[str, str]]:
    """Plans, and why some methods have none."""
    plans: dict[str, Plan] = {}
    errors: dict[str, UsageError] = {}
    for name, request in requests.items():
        try:
            plans[name] = resolve(request, RANDOM if random else None)
        except UsageError as error:
            errors[name] = error
    if not plans:
        raise next(iter(errors.values()))
    return plans, {name: str(error) for name, error in errors.items()}


def _make_room(path: Path) -> None:
    """Find out before an hour of measuring that the file could not be written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise UsageError(f"--out {path} cannot be written; name a file in a folder of yours")


def _reason(error: Exception) -> str:
    """What happened, and where in our code if it is not the user's to mend."""
    if isinstance(error, UsageError):
        return str(error)
    root = Path(__file__).parents[2]
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(root)]
    place = Path(ours[-1].filename).relative_to(root).as_posix()
    return f"{type(error).__name__}: {error} ({place}:{ours[-1].lineno})"


def _forget(device: torch.device) -> None:
    """Give back what the method held, so that the next one finds the device as this one did."""
    torch.compiler.reset()
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
