"""The engine without a dependency: some worker processes on this machine, kept at work.

with Workers(queue, slots) as workers:
    while workers.tend():
        ...
"""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

from benchmark.sweep.engine import STOPPED, WorkerError
from benchmark.sweep.queue import RUNNING, WAITING, Queue

_PATIENCE = 120.0  # seconds a worker has to write its checkpoint


@dataclass(frozen=True, slots=True)
class Slot:
    """Where one run at a time has its place."""

    device: str = ""  # "1": the GPU that is visible; empty for all
    threads: int = 1  # of torch, on the CPU

    @property
    def environment(self) -> dict[str, str]:
        """Of its worker."""
        own = {"OMP_NUM_THREADS": str(self.threads), "OMP_WAIT_POLICY": "PASSIVE"}
        return {
            **os.environ,
            **own,
            **({"CUDA_VISIBLE_DEVICES": self.device} if self.device else {}),
        }


def slots_here(count: int | None, device: str, pack: int = 1) -> list[Slot]:
    """Slots of this machine: `pack` a GPU, or of each core one, unless `count` says how many.

    Args:
        count: of slots; they share GPUs and cores evenly.
        device: as `usbench run` takes it.
        pack: slots of each GPU.
    """
    import torch

    gpus = [""] if device.startswith("cuda:") else []  # that one, which the runs themselves name
    if device in ("auto", "cuda") and (here := torch.cuda.device_count()):
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
        gpus = visible if visible != [""] else [str(number) for number in range(here)]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    cores = cores or 1
    count = count or len(gpus) * pack or cores
    threads = max(1, cores // count)
    return [Slot(gpus[n % len(gpus)] if gpus else "", threads) for n in range(count)]


class Workers:
    """One worker process a slot, as long as there is work; a killed one is replaced.

    Ctrl-C counts between two looks after them, or a job could be left without its worker, and the
    queue within a change; a second one counts at once.

    Args:
        queue: their work.
        slots: where they run.
    """

    def __init__(self, queue: Queue, slots: Sequence[Slot]) -> None:
        self._queue = queue
        self._idle = list(slots)
        self._at_work: list[tuple[Slot, subprocess.Popen[bytes]]] = []
        self._interrupted = False

    def __enter__(self) -> Self:
        self._queue.reclaim()
        self._handler = signal.signal(signal.SIGINT, self._interrupt)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        signal.signal(signal.SIGINT, self._handler)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self._interrupted = True
        signal.signal(signal.SIGINT, self._handler)

    @property
    def processes(self) -> list[int]:
        """Ids of those at work."""
        return [process.pid for _, process in self._at_work]

    def tend(self) -> bool:
        """Look after the workers once; returns whether there is work left.

        Raises:
            WorkerError: a worker ended by itself before it could take a job.
            KeyboardInterrupt: Ctrl-C was pressed.
        """
        if self._interrupted:
            raise KeyboardInterrupt
        for slot, process in list(self._at_work):
            if (code := process.poll()) is None:
                continue
            self._at_work.remove((slot, process))
            self._idle.append(slot)
            had = any(entry.worker == process.pid for entry in self._queue.entries())
            self._queue.give_back(process.pid, died=code not in (0, STOPPED))
            if code > 0 and code != STOPPED and not had:
                raise WorkerError(
                    f"a worker could not start (exit code {code}); see {_log(self._queue.path)}"
                )
        self._queue.reclaim()
        states = [entry.state for entry in self._queue.entries()]
        for _ in range(min(states.count(WAITING), len(self._idle))):
            slot = self._idle.pop(0)
            self._at_work.append((slot, _start(self._queue.path, slot)))
        # one whose supervisor was killed may still be on its way to a checkpoint
        return bool(self._at_work) or RUNNING in states

    def stop(self) -> None:
        """Ask all to stop; their runs leave checkpoints, and their jobs wait again."""
        for _, process in self._at_work:
            process.send_signal(signal.SIGTERM)
        for _, process in self._at_work:
            try:
                process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            self._queue.give_back(process.pid)
        self._at_work.clear()


def _log(queue: Path) -> Path:
    return queue.parent / "logs" / "workers.log"


def _start(queue: Path, slot: Slot) -> "subprocess.Popen[bytes]":
    _log(queue).parent.mkdir(parents=True, exist_ok=True)
    with _log(queue).open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "benchmark.sweep.worker", str(queue), str(os.getpid())],
            env=slot.environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C is for the one who tends them
        )
