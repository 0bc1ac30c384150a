"""A process that does the runs its parent names, one after another: for engines of many threads.

A run is stopped by a signal, and Python hands signals to the main thread of a process alone. Where
a worker has to answer questions while it works, as an actor of Ray does, its methods run in other
threads; so the run gets a process of its own, which also finds the right number of threads in its
environment when it loads torch. It serves run after run, so that loading is paid for once.

    parent -> child    {"name": ..., "spec": ..., "log": ..., ...}, a line for every run
    child -> parent    {"share": ..., "speed": ...} now and then, {"state": ..., ...} at its end
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any

from benchmark.sweep.embedded import Slot
from benchmark.sweep.engine import STOPPED

BEAT_SECONDS = 5.0
DONE, FAILED, UNFIT, HALTED, DIED = "done", "failed", "unfit", "halted", "died"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended."""

    state: str  # UNFIT: not because of the run, but of the place; HALTED: asked to stop
    problem: str = ""
    files: Mapping[str, int] = field(default_factory=dict)  # `collecting.files_of` it


class Child:
    """The process, seen from its parent; made anew for the next run when it ended.

    Args:
        threads: of torch, on the CPU.
    """

    def __init__(self, threads: int) -> None:
        self._environment = Slot(threads=threads).environment
        self._process: subprocess.Popen[str] | None = None
        self._halted = threading.Event()
        self.share, self.speed = 0.0, 0.0  # of the run that is under way

    def do(self, name: str, spec: str, log: Path, versions: Mapping[str, str]) -> Outcome:
        """One run, to its end.

        Args:
            name: of the run.
            spec: of `Job.spec`, with absolute paths.
            log: gets what the run prints.
            versions: that must be here too.
        """
        self.share, self.speed = 0.0, 0.0
        if self._process is None or self._process.poll() is not None:
            self._process = self._start()
        tells, hears = self._process.stdin, self._process.stdout
        assert tells
        assert hears
        if self._halted.is_set():  # before there was a process to ask
            return Outcome(HALTED)
        job = {"name": name, "spec": spec, "log": str(log), "versions": dict(versions)}
        print(json.dumps(job), file=tells, flush=True)
        for line in hears:
            said: dict[str, Any] = json.loads(line)
            if "state" in said:
                return Outcome(**said)
            self.share, self.speed = said["share"], said["speed"]
        self._process.wait()
        return Outcome(HALTED if self._halted.is_set() else DIED)

    def halt(self) -> None:
        """Ask the run to leave a checkpoint and end."""
        again = self._halted.is_set()
        self._halted.set()
        if self._process is not None and not again:  # a second signal would end it at once
            self._process.send_signal(signal.SIGTERM)

    def _start(self) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "benchmark.sweep.child"],
            cwd=Path(__file__).parents[2],  # where this package is, installed or not
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )


def versions_here() -> dict[str, str]:
    """What must be equal wherever runs of one sweep are done, or their outcomes differ."""
    import torch

    from benchmark.machine import commit, describe

    packages = describe(torch.device("cpu"))
    del packages["device"], packages["threads"]
    try:
        release = version("usbench")
    except PackageNotFoundError:  # a checkout that is not installed
        release = ""
    return {**packages, "usbench": f"{release} ({commit()})"}


def unfit(data: Path, versions: Mapping[str, str]) -> str:
    """Why this machine cannot do a run of a sweep; empty if it can.

    Args:
        data: the data set.
        versions: that the sweep began with.
    """
    from benchmark.hub_data import SCHEME

    host = socket.gethostname()
    here = versions_here()
    for name, wanted in versions.items():
        if (found := here.get(name, "none")) != wanted:
            return (
                f"node {host} has {name} {found}, the sweep began with {wanted}; "
                "install the same on all nodes, then add --retry"
            )
    if not str(data).startswith(SCHEME) and not data.is_dir():
        return (
            f"node {host} has no data set at {data}; put it there, or use a folder that all nodes "
            "share, then add --retry"
        )
    return ""


def main() -> None:
    """Do runs until the parent is gone."""
    from benchmark.train import Interrupted

    told = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is no message
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    jobs: SimpleQueue[dict[str, Any]] = SimpleQueue()
    threading.Thread(target=_listen, args=(jobs,), daemon=True).start()
    while True:
        job = jobs.get()
        _print_to(Path(job["log"]))
        over = threading.Event()
        beats = threading.Thread(target=_beat, args=(told, over), daemon=True)
        beats.start()
        try:
            outcome = _do(job["name"], job["spec"], job["versions"])
        except Interrupted:
            outcome = Outcome(HALTED)
        over.set()
        beats.join()
        print(json.dumps(asdict(outcome)), file=told)
        if outcome.state == HALTED:
            raise SystemExit(STOPPED)


def _do(name: str, spec: str, versions: Mapping[str, str]) -> Outcome:
    from benchmark.sweep.collecting import files_of
    from benchmark.sweep.jobs import request_of
    from benchmark.sweep.worker import perform

    request = request_of(spec)
    if problem := unfit(request.data, versions):
        print(f"Error: {problem}", file=sys.stderr, flush=True)
        return Outcome(UNFIT, problem)
    if problem := perform(spec):
        return Outcome(FAILED, problem)
    return Outcome(DONE, files=files_of(request.results, name))


def _listen(jobs: "SimpleQueue[dict[str, Any]]") -> None:
    for line in sys.stdin:
        jobs.put(json.loads(line))
    # Without its parent a run would go on beside the one that takes it over, in the same folder:
    # it ends at once, and the other goes on from its last checkpoint.
    os._exit(STOPPED)


def _print_to(log: Path) -> None:
    """Standard output and error go to a file from here on, also those of libraries."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)


def _beat(told: IO[str], over: threading.Event) -> None:
    from benchmark.progress import standing

    while not over.wait(BEAT_SECONDS):
        if now := standing():
            print(json.dumps({"share": now.share, "speed": now.images_per_s}), file=told)


if __name__ == "__main__":
    main()
