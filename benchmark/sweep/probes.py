"""Probes that were made, in `probes.json` beside the records, and how new ones are made."""

import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from operator import itemgetter
from pathlib import Path
from typing import Any

import torch

from benchmark import machine
from benchmark.files import replacing
from benchmark.resolve import Plan
from benchmark.sweep.embedded import Slot
from benchmark.sweep.jobs import Job
from benchmark.sweep.probe import RESULT, Probe
from dataset_builders.errors import UsageError

FILE = "probes.json"
FORMAT = 1
LENGTH = ("steps", "epochs", "validation_every")  # of the protocol: how often, not how fast


class ProbeError(UsageError):
    """A method whose runs could not be probed."""


def conditions(plan: Plan, slots: Sequence[Slot]) -> dict[str, Any]:
    """All that decides how fast a method is, of plain values.

    Args:
        plan: of any of its runs.
        slots: that work at the same time.
    """
    protocol = asdict(plan.protocol)
    return {
        "method": plan.request.method,
        "config": asdict(plan.config),
        "protocol": {name: value for name, value in protocol.items() if name not in LENGTH},
        "execution": asdict(plan.execution),
        "dataset": plan.dataset.content_sha256,
        "tasks": list(plan.tasks),
        "host": platform.node(),
        "device": machine.describe(plan.device)["device"],
        "torch": str(torch.__version__),
        "threads": slots[0].threads,
        "slots": len(slots),
    }


class Probes:
    """Those of a folder of results.

    Args:
        results: where the file lies, or will lie; one that cannot be read counts as none.
    """

    def __init__(self, results: Path) -> None:
        self._path = results / FILE
        self._known: list[dict[str, Any]] = []  # each with "of" and "probe"
        try:
            found = json.loads(self._path.read_text())
            if found["format"] == FORMAT:
                self._known = found["probes"]
        except (OSError, ValueError, KeyError, TypeError):
            pass  # measuring again mends it

    def get(self, of: dict[str, Any]) -> Probe | None:
        """What was measured under these `conditions`; None if nothing was.

        Or with more slots at work, where that was: towards its end a sweep has fewer runs than
        slots, and goes no slower than before.
        """
        wanted, most = _apart(_plain(of))
        fitting = [
            (slots, entry["probe"])
            for entry in self._known
            for alike, slots in [_apart(entry["of"])]
            if alike == wanted and slots >= most
        ]
        if not fitting:
            return None
        _, probe = min(fitting, key=itemgetter(0))
        return Probe(**{**probe, "steps_s": tuple(probe["steps_s"])})

    def put(self, of: dict[str, Any], probe: Probe) -> None:
        """Keep what was measured, in the place of an earlier one.

        Raises:
            WriteError: the file cannot be written.
        """
        own = {"of": _plain(of), "probe": asdict(probe)}
        self._known = [*(entry for entry in self._known if entry["of"] != own["of"]), own]
        text = json.dumps({"format": FORMAT, "probes": self._known}, indent=1).encode() + b"\n"
        with replacing(self._path, len(text)) as file:
            file.write(text)


def measure(job: Job, slots: Sequence[Slot]) -> Probe:
    """Probe a run in all slots at once, so that what they take from each other is in the numbers.

    Raises:
        ProbeError: it could not be done.
    """
    job.request.results.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="probe-", dir=job.request.results) as name:
        folders = [Path(name) / str(number) for number in range(len(slots))]
        at_work = [_start(job, slot, own) for slot, own in zip(slots, folders, strict=True)]
        try:
            codes = [process.wait() for process in at_work]
        finally:
            for process in at_work:
                process.kill()
                process.wait()
        for code, folder in zip(codes, folders, strict=True):
            if code:
                raise ProbeError(_last_line(folder / "log") or f"its process ended with {code}")
        found = [json.loads((folder / RESULT).read_text()) for folder in folders]
    return Probe.together([Probe(**values) for values in found])


def _start(job: Job, slot: Slot, folder: Path) -> "subprocess.Popen[bytes]":
    folder.mkdir()
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "benchmark.sweep.probe"),
                *(job.spec, str(folder), str(time.time())),
            ],
            env=slot.environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _apart(of: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """Conditions without the number of slots, and that."""
    return {name: value for name, value in of.items() if name != "slots"}, of.get("slots", 1)


def _plain(of: dict[str, Any]) -> Any:  # noqa: ANN401 - what JSON gives back
    return json.loads(json.dumps(of))
