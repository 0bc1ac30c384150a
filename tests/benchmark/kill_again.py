"""Kill a run again and again, each time at a random point, and resume it until it is done.

    python kill_again.py DATA OUT KILLS SCENARIO [SCENARIO ...]

A scenario is a method and the tasks of a run, such as unet:FH,OT; unet:FH:OT is two runs, one after
the other into the same record. OUT/SCENARIO/whole is never killed; OUT/SCENARIO/0, 1, ... are, as
many as it takes to kill KILLS times. A line of JSON is printed for each attempt.

Points are lines of `benchmark`, so that what happens once has its turn as what happens often, and
most of all lines that have to do with files. Every fifth kill comes from outside, after a random
time.

A process of its own imports torch once and then forks; it computes nothing itself, since a forked
child has none of its parent's threads.
"""

import json
import os
import random
import signal
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import torch

import benchmark.part
from benchmark import files, machine
from benchmark.resolve import Request, resolve
from benchmark.run import run

PACKAGE = Path(benchmark.part.__file__).parent
MODULES = {str(path): path.stem for path in PACKAGE.glob("*.py")}
WRITING = ("checkpoint", "files", "record", "run", "tensors", "weights")
SETTINGS = {
    "size": "32",
    "steps": "3",
    "batch": "4",
    "optimizer": "sgd",
    "encoder": "test_efficientnet",
    "weights": "none",
    "text": "random",
}
Point = tuple[str, int]  # a line, and the how manieth time it is come by


def watch(counts: Counter[str], point: Point | None) -> None:
    """Count the lines that are come by; at `point` the process is killed."""

    def on_line(frame, event, _):
        place = f"{MODULES[frame.f_code.co_filename]}:{frame.f_lineno}"
        counts[place] += 1
        if (place, counts[place]) == point:
            os.kill(os.getpid(), signal.SIGKILL)
        return on_line

    sys.settrace(lambda frame, event, _: on_line if frame.f_code.co_filename in MODULES else None)


def attempt(requests: list[Request], counts: Counter[str], point: Point | None) -> None:
    """Go on with the runs; the file `done` says which are behind us."""
    benchmark.part.CHECKPOINT_SECONDS = -1.0  # after every step
    files.os.fsync = lambda number: None  # SIGKILL takes no page from the disk cache
    machine.commit = lambda: "unknown"
    done = requests[0].results / "done"
    watch(counts, point)
    for index, request in enumerate(requests):
        if not done.is_file() or index > int(done.read_text()):
            run(request)
            done.write_text(str(index))
    sys.settrace(None)


def fork(out: Path, requests: list[Request], point: Point | None, seconds: float) -> bool:
    """Whether the attempt got to its end; `seconds` is when it is killed from outside."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            counts: Counter[str] = Counter()
            with (out / "log").open("a") as log:
                os.dup2(log.fileno(), 2)
                attempt(requests, counts, point)
            (out / "counts.json").write_text(json.dumps(counts))
            code = 0
        finally:
            os._exit(code)
    deadline = time.monotonic() + seconds
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.002)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    print(json.dumps({"results": str(requests[0].results), "point": point, "status": status}))
    if status not in (0, -signal.SIGKILL):
        sys.exit((out / "log").read_text())
    return status == 0


def kill(data: Path, out: Path, kills: int, scenario: str) -> None:
    method, *runs = scenario.split(":")
    asked = Request(
        method, "1_4", preset="smoke", overrides=SETTINGS, data=data, device="cpu", resume=True
    )
    requests = [replace(asked, tasks=tuple(tasks.split(","))) for tasks in runs]
    resolve(requests[0])  # imports the method
    generator = random.Random(scenario)

    def attempt_at(name: str, point: Point | None, seconds: float = 600.0) -> bool:
        (out / name).mkdir(parents=True, exist_ok=True)
        return fork(out, [replace(r, results=out / name) for r in requests], point, seconds)

    began = time.monotonic()
    assert attempt_at("whole", None)
    took = time.monotonic() - began
    counts: dict[str, int] = json.loads((out / "counts.json").read_text())
    places = sorted(counts)
    writing = [place for place in places if place.split(":")[0] in WRITING]
    number = killed = 0
    while killed < kills:
        if killed % 5 == 4:
            finished = attempt_at(str(number), None, generator.uniform(0, took))
        else:
            place = generator.choice(generator.choice((places, writing)))
            finished = attempt_at(str(number), (place, generator.randint(1, counts[place])))
        number += finished
        killed += not finished
    assert attempt_at(str(number), None)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for scenario in sys.argv[4:]:
        kill(Path(sys.argv[1]), Path(sys.argv[2]) / scenario, int(sys.argv[3]), scenario)
