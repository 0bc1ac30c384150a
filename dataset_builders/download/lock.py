"""One process at a time for one target."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

POLL = 0.5  # seconds


@contextmanager
def alone(target: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold `x.zip.lock` beside the target `x.zip`; wait for another process that does.

    The kernel frees the lock of a process that was killed.

    Args:
        target: what only one process may write.
        waiting: called twice a second while another process holds the lock.
    """
    path = target.with_name(f"{target.name}.lock")
    lock = FileLock(path)
    while not lock.is_locked:
        try:
            lock.acquire(timeout=POLL)
        except Timeout:
            waiting()
    try:
        yield
    finally:
        # while it is still held: who waits for this file sees that it is gone and makes another
        path.unlink(missing_ok=True)
        lock.release()
