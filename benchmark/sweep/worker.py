"""A process that does one job of the queue after another.

    python -m benchmark.sweep.worker QUEUE [PARENT]

It serves the runs of one method in turn, so that loading torch and the networks is paid for once.
What a run prints goes to `logs/NAME.log` beside the queue.
"""

import os
import signal
import sqlite3
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path

from benchmark.sweep.engine import STOPPED
from benchmark.sweep.jobs import request_of
from benchmark.sweep.queue import Queue, QueueError
from dataset_builders.errors import UsageError

BEAT_SECONDS = 10.0  # each locks the queue for a moment
_TOLD = 5  # lines of a traceback that are kept in the queue; the log has all


def log_of(queue: Path, name: str) -> Path:
    """Where the output of a job goes."""
    return queue.parent / "logs" / f"{name}.log"


def work(path: Path, parent: int | None = None) -> int:
    """Do jobs until none waits, until nobody waits for them, or until a failure spoilt the device.

    Args:
        path: of the queue.
        parent: process that started this one, and looks after it.

    Returns:
        How many it did; failed ones count.

    Raises:
        Interrupted: it was asked to stop; the job waits again, with a checkpoint, or was in its
            last steps and is done.
    """
    from benchmark.progress import was_asked_to_stop
    from benchmark.train import Interrupted

    queue, done, like = Queue(path), 0, ""
    worker, parent = os.getpid(), parent or os.getppid()
    while os.getppid() == parent and (entry := queue.lease(worker, like)):
        like = entry.name.partition("/")[0]
        with _printing_to(log_of(path, entry.name)), _heard(path, entry.name, parent):
            problem = perform(entry.spec)
        if problem:
            queue.fail(entry.name, worker, problem)
        else:
            queue.finish(entry.name, worker)
        done += 1
        if was_asked_to_stop():
            raise Interrupted(0)
        if _is_broken():
            break
    return done


def perform(spec: str) -> str:
    """Do the run that `Job.spec` wrote down; returns why it failed, or nothing.

    Raises:
        Interrupted: it was asked to stop, and left a checkpoint.
    """
    from benchmark.run import run
    from benchmark.train import Interrupted

    try:
        run(request_of(spec))
    except Interrupted:
        raise
    except UsageError as error:
        print(f"Error: {error}", file=sys.stderr, flush=True)
        return str(error)
    except Exception:  # whatever it is, the other jobs go on
        traceback.print_exc()
        return "\n".join(traceback.format_exc().strip().splitlines()[-_TOLD:])
    return ""


def _is_broken() -> bool:
    """Whether the next job needs another process; whoever looks after this one starts it."""
    from benchmark.step import Recording

    return Recording.broken


@contextmanager
def _printing_to(log: Path) -> Iterator[None]:
    """Standard output and error go to a file, also those of libraries."""
    log.parent.mkdir(parents=True, exist_ok=True)
    kept = os.dup(1), os.dup(2)
    with log.open("a", buffering=1) as file:
        try:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
            with redirect_stdout(file), redirect_stderr(file):
                yield
        finally:
            for descriptor, before in zip((1, 2), kept, strict=True):
                os.dup2(before, descriptor)
                os.close(before)


@contextmanager
def _heard(path: Path, name: str, parent: int) -> Iterator[None]:
    """Tell the queue now and then how far the job is; stop where nobody waits for it."""
    from benchmark.progress import Standing, standing

    over, worker = threading.Event(), os.getpid()

    def beat() -> None:
        queue, last = None, Standing()
        while not over.wait(BEAT_SECONDS):
            last, known = standing() or last, True
            with suppress(sqlite3.Error, QueueError):  # locked for long; the next beat may pass
                queue = queue or Queue(path)  # a connection serves one thread
                known = queue.beat(name, worker, last.share, last.images_per_s)
            if not known or os.getppid() != parent:
                os.kill(worker, signal.SIGTERM)  # the run leaves a checkpoint
                break
        if queue:
            queue.close()

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def main() -> int:
    """Exit code `STOPPED` if it was asked to stop."""
    from benchmark.train import Interrupted

    path = Path(sys.argv[1])
    try:
        work(path, *map(int, sys.argv[2:]))
    except Interrupted:
        Queue(path).give_back(os.getpid())
        return STOPPED
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
