"""Disturb a sweep at random moments and give the same command again, until all its runs are done.

    python kill_sweep.py DATA OUT TIMES SEEDS

OUT/whole is never disturbed; OUT/0, 1, ... are, as many as it takes to disturb them TIMES times.
Of every five times, the third is Ctrl-C; in the others are killed, with SIGKILL: all at once, the
command alone, one worker, all workers. A line of JSON is printed for each time, and for each sweep
that ends.

A process of its own imports torch once and then forks the command, which forks its workers: what
is disturbed is the work and not the imports. It computes nothing itself, since a forked child has
none of its parent's threads.
"""

import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import torch
from small_runs import of_tasks, sweep_words

import benchmark.commands.sweep
import benchmark.part
from benchmark import files, machine
from benchmark.cli import app
from benchmark.progress import Progress
from benchmark.resolve import Request, resolve
from benchmark.sweep import embedded, jobs, queue, worker

KINDS = ("everything", "command", "interrupt", "worker", "workers")
METHODS = ("unet", "dodnet")
WORDS = ("--tables", "3", "--methods", ",".join(METHODS), "--slots", "2")


def fork(do: Callable[[], object], log: Path) -> int:
    """A process that does it and ends; its id."""
    sys.stdout.flush()
    if pid := os.fork():
        return pid
    code: object = 1
    try:
        with log.open("a") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        code = do()
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(int(code or 0))


class Forked:
    """A worker, as `subprocess.Popen` has one, in which everything is imported already."""

    def __init__(self, command, *, stdout, **_):
        sys.argv = command[2:]
        self.pid = fork(worker.main, Path(stdout.name))

    def poll(self):
        return self.wait(0.0, raising=False)

    def wait(self, timeout=600.0, *, raising=True):
        end = time.monotonic() + timeout
        while not (found := os.waitpid(self.pid, os.WNOHANG))[0]:
            if time.monotonic() >= end:
                if raising:
                    raise embedded.subprocess.TimeoutExpired
                return None
            time.sleep(0.01)
        return os.waitstatus_to_exitcode(found[1])

    def send_signal(self, number):
        os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)


def hurry(steps: Path) -> None:
    """Two tasks, a checkpoint after every step, which is noted in a file, and no waiting."""
    jobs.requests_of = of_tasks("FH", "OT")
    benchmark.part.CHECKPOINT_SECONDS = -1.0
    benchmark.commands.sweep.TEND_SECONDS = worker.BEAT_SECONDS = 0.05
    queue.DEATHS = 1000
    files.os.fsync = lambda number: None  # SIGKILL takes no page from the disk cache
    machine.commit = lambda: "unknown"
    embedded.subprocess = SimpleNamespace(Popen=Forked, TimeoutExpired=TimeoutError, DEVNULL=None)
    real = Progress.step

    def step(self, done, terms):
        real(self, done, terms)
        with steps.open("a") as file:
            file.write(f"{Path.cwd().name} {self._title} {self._part} {done}\n")

    Progress.step = step


def start(data: Path, results: Path, seeds: str) -> int:
    def command() -> None:
        os.setpgid(0, 0)
        os.chdir(results)  # says whose the steps are
        app([*sweep_words(data, results), *WORDS, "--seeds", seeds])

    results.mkdir(parents=True, exist_ok=True)
    return fork(command, results / "log")


def children(parent: int) -> list[int]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            state, its_parent = (process / "stat").read_text().rpartition(")")[2].split()[:2]
            if state != "Z" and int(its_parent) == parent:
                found.append(int(process.name))
    return found


def disturb(command: int, kind: str, generator: random.Random) -> int:
    """Returns how many workers were killed."""
    workers = children(command)
    if kind == "everything":
        os.killpg(command, signal.SIGKILL)  # as the machine does that loses power: no one is left
        return len(workers)
    if kind in ("command", "interrupt"):
        os.kill(command, signal.SIGINT if kind == "interrupt" else signal.SIGKILL)
        return 0
    victims = workers if kind == "workers" else generator.sample(workers, min(1, len(workers)))
    for process in victims:
        os.kill(process, signal.SIGKILL)
    return len(victims)


def ended(command: int, seconds: float) -> bool:
    """Whether it ends by itself within that time; it is not yet waited for."""
    deadline = time.monotonic() + seconds
    while os.waitid(os.P_PID, command, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True


def status(command: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(command, 0)[1])


def records(results: Path) -> dict[str, tuple[int, str]]:
    return {
        str(path): (path.stat().st_mtime_ns, path.read_text())
        for path in (results / "runs").rglob("*.json")
    }


def say(**fields: object) -> None:
    print(json.dumps(fields), flush=True)


def main(data: Path, out: Path, times: int, seeds: str) -> None:
    torch.set_num_threads(1)
    for method in METHODS:
        resolve(Request(method, "1_4", preset="smoke", data=data, device="cpu"))  # imports it
    out.mkdir(parents=True, exist_ok=True)
    hurry(out / "steps")
    generator = random.Random(times)
    began = time.monotonic()
    code = status(start(data, out / "whole", seeds))
    took = time.monotonic() - began
    say(results="whole", kind="", status=code, killed=0, seconds=took)
    number = disturbed = 0
    seen: dict[str, tuple[int, str]] = {}
    command = start(data, out / "0", seeds)
    while True:
        results, kind = out / str(number), KINDS[disturbed % len(KINDS)]
        last = disturbed == times
        over = ended(command, 600.0 if last else generator.uniform(0, 0.7 * took))
        seen = records(results) | seen  # what was first seen of each
        assert seen == records(results), "a record was written twice"
        if over:
            say(results=str(number), kind="", status=status(command), killed=0)
            if last:
                return
            number, seen = number + 1, {}
            command = start(data, out / str(number), seeds)
            continue
        workers = children(command)
        killed = disturb(command, kind, generator)
        disturbed += 1
        code = None
        if kind in ("everything", "command", "interrupt"):
            code = status(command)
            left = kind == "interrupt" and at_work(results) & set(workers)
            assert not left, "a worker did not give its job back"
            command = start(data, results, seeds)
        say(results=str(number), kind=kind, status=code, killed=killed)


def at_work(results: Path) -> set[int]:
    """Workers that have a job."""
    if not (path := results / "sweep.sqlite").is_file():
        return set()
    made = queue.Queue(path)
    found = {entry.worker for entry in made.entries() if entry.state == queue.RUNNING}
    made.close()
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
