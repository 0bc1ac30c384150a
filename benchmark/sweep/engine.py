"""What does the jobs of a queue: on this machine, in a Ray cluster, under SLURM.

with engine:
    while engine.tend():
        ...
"""

from types import TracebackType
from typing import Protocol, Self

from dataset_builders.errors import UsageError

STOPPED = 130  # a worker's exit code after it was asked to stop


class WorkerError(UsageError):
    """Workers cannot even start."""


class Engine(Protocol):
    """Keeps workers at a queue until nothing waits and nothing runs."""

    def __enter__(self) -> Self:
        """Take back the jobs of workers that are no more."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ask all workers to stop; their runs leave checkpoints, and their jobs wait again."""

    def tend(self) -> bool:
        """Look after the workers once, without waiting; returns whether there is work left.

        Raises:
            WorkerError: they cannot start.
        """
