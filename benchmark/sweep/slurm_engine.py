"""The runs of a sweep on the nodes of a SLURM cluster, through submitit.

    with SlurmWorkers(queue, 8, parameters_of(["partition=gpu"], "auto", 2), 2) as workers:
        while workers.tend():
            ...

A task of the job array is not a run. It keeps worker processes at the queue, as the embedded engine
does on one machine, so a task that begins late, ends early or moves to another node takes no run
with it. The queue lies in the results folder, which all nodes share. Every look at it locks it:
tasks look rarely.
"""

import os
import re
import shutil
import signal
import time
from collections.abc import Iterable
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Self

from benchmark.sweep.embedded import Slot, Workers
from benchmark.sweep.engine import WorkerError
from benchmark.sweep.queue import DONE, FAILED, RUNNING, WAITING, Entry, Queue
from dataset_builders.errors import UsageError

if TYPE_CHECKING:
    import submitit
    from submitit.helpers import DelayedSubmission

    Job = submitit.Job[None]

LOOK_SECONDS = 5.0  # between two looks at the queue, of a task and of the one who submitted it
SHORTEST = 10  # minutes of a task
HOURS = 12  # of a task; one that reaches them is queued again, and the runs go on
TRIES = 5  # so often tasks are submitted while no run ends
_GLANCE = 0.2  # seconds
_NOTICE = 180  # seconds between the signal and the end: workers have 120 for their checkpoints
_GRACE = 600  # seconds that SLURM may take to end a task after SIGTERM
_TOLD = 5  # lines of a log
_NOTICES = (signal.SIGUSR1, signal.SIGUSR2)  # which of them, submitit's environment says
_PROGRAMS = ("sbatch", "srun", "sacct", "scancel", "scontrol")
_OURS = {"nodes", "tasks_per_node", "ntasks_per_node", "additional_parameters", "use_srun"}
_LISTS = {"setup", "teardown", "srun_args"}


class Supervisor:
    """What a task does on its node: it keeps workers at the queue until nothing waits.

    It holds plain values only, since submitit pickles it.

    Args:
        queue: path of its file.
        pack: runs at a time on each GPU of the task, or on its cores.
    """

    def __init__(self, queue: str, pack: int) -> None:
        self.queue, self.pack = queue, pack
        self._heard: set[int] = set()  # signals

    def __call__(self) -> None:
        """Raises WorkerError if workers cannot start."""
        # submitit's handlers wait until no change to the queue is half done
        handlers = {number: signal.getsignal(number) for number in _NOTICES}
        for known in (signal.SIGTERM, *_NOTICES):
            signal.signal(known, self._hear)
        queue = Queue(Path(self.queue))
        with Workers(queue, slots_of_task(self.pack)) as workers:
            while not self._heard and _tend(workers):
                self._wait(LOOK_SECONDS)
        queue.close()
        # after SIGTERM alone SLURM ends the task, or signals that it may be queued again; to
        # leave before would look as if nothing were left to do
        if self._heard == {signal.SIGTERM}:
            self._heard.clear()
            self._wait(_GRACE)
        for number, handler in handlers.items():
            if number in self._heard and callable(handler):
                handler(number, None)

    def checkpoint(self) -> "DelayedSubmission":
        """What submitit queues again when a task is preempted or reaches its time limit."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(Supervisor(self.queue, self.pack))

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self._heard.add(number)

    def _wait(self, seconds: float) -> None:
        """For so long, or until a signal comes."""
        due = time.monotonic() + seconds
        while not self._heard and time.monotonic() < due:
            time.sleep(_GLANCE)


def _tend(workers: Workers) -> bool:
    """Look after the workers of this task; whether it has any, and so whether work waited."""
    # SLURM sends its notice to every process of a task, and it would end a worker without a
    # checkpoint: workers inherit that it is blocked
    signal.pthread_sigmask(signal.SIG_BLOCK, _NOTICES)
    try:
        return workers.tend() and bool(workers.processes)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _NOTICES)


def slots_of_task(pack: int) -> list[Slot]:
    """`pack` slots on each GPU that SLURM gave to this task, or on its cores; cores are shared."""
    gpus = [gpu for gpu in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if gpu] or [""]
    cores = int(os.environ.get("SLURM_CPUS_PER_TASK", 0)) or len(os.sched_getaffinity(0))
    count = pack * len(gpus)
    return [Slot(gpus[n % len(gpus)], max(1, cores // count)) for n in range(count)]


class SlurmWorkers:
    """A job array whose tasks keep workers at the queue; lost tasks are submitted again.

    Tasks that were submitted before, and left, are found again and count: the same command only
    watches them. Leaving ends the tasks that it submitted itself.

    Args:
        queue: their work, in a folder that all nodes share.
        slots: tasks at a time.
        parameters: of `parameters_of`.
        pack: runs at a time on a GPU.
        cluster: "local" for processes of this machine in place of tasks.

    Raises:
        UsageError: no submitit, no SLURM, or parameters that submitit refuses.
    """

    def __init__(
        self,
        queue: Queue,
        slots: int,
        parameters: dict[str, Any],
        pack: int = 1,
        cluster: str | None = None,
    ) -> None:
        submitit = _submitit()
        missing = [name for name in _PROGRAMS if shutil.which(name) is None]
        if cluster is None and missing:
            raise UsageError(
                f"no {missing[0]} on this machine: give --engine slurm on a login node of the "
                "cluster, or leave it out to work on this machine"
            )
        self._queue, self._slots, self._pack = queue, slots, pack
        self._supervisor = Supervisor(str(queue.path.absolute()), pack)
        self._folder = queue.path.absolute().parent / "logs" / "slurm"
        cluster = cluster or "slurm"
        self._job_class: type[Job] = submitit.LocalJob if cluster == "local" else submitit.SlurmJob
        self._executor = submitit.AutoExecutor(
            self._folder,
            cluster,
            # that a task reaches its time limit is no fault of it
            **{f"{cluster}_max_num_timeout": 1000},
        )
        try:
            self._executor.update_parameters(**parameters)
        except (NameError, ValueError, TypeError, AssertionError) as error:
            raise UsageError(f"--slurm: {error}") from None
        self._jobs: list[Job] = []  # that wait or run
        self._own: list[Job] = []  # of these, those to be ended with this object
        self._lost: list[Job] = []  # the last that ended
        self._begun: dict[str, float] = {}
        self._tries = self._ended = 0
        self._due = 0.0

    def __enter__(self) -> Self:
        self._queue.reclaim()
        self._begun = {entry.name: entry.began for entry in self._queue.entries()}
        self._jobs = self._left_before()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._own:
            self._own[0].get_info(mode="force")  # asks SLURM about all of them
        for job in self._own:
            # after the last run, tasks that have begun end by themselves
            if not (job.done() or (kind is None and job.state == "RUNNING")):
                job.cancel(check=False)

    @property
    def ids(self) -> list[str]:
        """SLURM's ids of the arrays whose tasks wait or run."""
        return list(dict.fromkeys(job.job_id.partition("_")[0] for job in self._jobs))

    def tend(self) -> bool:
        """Look after the tasks, now and then; returns whether there is work left.

        Raises:
            WorkerError: no task could start a worker, or all were lost again and again.
        """
        if time.monotonic() < self._due:
            return True
        self._due = time.monotonic() + LOOK_SECONDS
        self._queue.reclaim()
        states = [entry.state for entry in self._queue.entries()]
        waiting, running = states.count(WAITING), states.count(RUNNING)
        if not waiting + running:
            return False
        if gone := [job for job in self._jobs if job.done()]:
            self._lost = gone
            self._jobs = [job for job in self._jobs if job not in gone]
        if (ended := states.count(DONE) + states.count(FAILED)) > self._ended:
            self._ended, self._tries = ended, 0
        free = max(0, self._pack * len(self._jobs) - running)
        wanted = -(-(waiting - free) // self._pack)
        if (missing := min(self._slots - len(self._jobs), wanted)) > 0:
            self._submit(missing)
        return True

    def detach(self) -> str:
        """Submit the tasks and leave them; returns how to watch and to end them.

        Raises:
            UsageError: there is nothing to submit.
        """
        if not self.tend() or not self._jobs:
            raise UsageError(
                "nothing waits to be done; the same command without --detach says what failed, and "
                "--retry tries it again"
            )
        self._own = []
        ids = " ".join(self.ids)
        return (
            f"SLURM has it as job {ids} and goes on by itself; the same command without --detach "
            f"shows how far it is, squeue -j {','.join(self.ids)} what waits for a node, scancel "
            f"{ids} ends it"
        )

    def _submit(self, count: int) -> None:
        if problem := self._problem():
            if self._jobs:
                return  # the tasks that are left do the work
            raise WorkerError(f"{problem}; {self._log()}")
        self._tries += 1
        try:
            jobs = self._executor.submit_array([self._supervisor] * count)
        except (RuntimeError, OSError) as error:
            raise WorkerError(f"SLURM takes no tasks: {error}") from None
        self._jobs += jobs
        self._own += jobs

    def _problem(self) -> str:
        """Why there is no sense in more tasks; empty if there is."""
        begun = any(self._has_begun(entry) for entry in self._queue.entries())
        # the file is there if a task ended by itself, and not if it was killed
        if not begun and any(job.paths.result_pickle.exists() for job in self._lost):
            return "no task could start a worker"
        if self._tries >= TRIES:
            return f"tasks were lost {TRIES} times in a row"
        return ""

    def _has_begun(self, entry: Entry) -> bool:
        return entry.began != self._begun.get(entry.name, 0.0)

    def _log(self) -> str:
        """The last lines of the log of a task that was lost."""
        for job in self._lost:
            for path in (job.paths.stderr, job.paths.stdout):
                if path.exists() and (lines := path.read_text(errors="replace").split("\n")):
                    told = [line for line in lines if line.strip()][-_TOLD:]
                    return "\n".join([f"the end of {path}:", *told])
        return f"it left no log in {self._folder}; do the nodes share that folder?"

    def _left_before(self) -> "list[Job]":
        """Tasks of this queue that another process submitted, and that wait or run."""
        ending = "_submitted.pkl"
        names = sorted(path.name for path in self._folder.glob(f"*{ending}"))
        jobs = [self._job_class(self._folder, name.removesuffix(ending)) for name in names]
        # unknown: long past, or since a moment
        return [job for job in jobs if not job.done() and job.state != "UNKNOWN"]


def parameters_of(words: Iterable[str], device: str, pack: int) -> dict[str, Any]:
    """What `--slurm` says, for submitit, with defaults: a GPU, two cores a run, 12 hours.

    Args:
        words: `name=value` each, with the names of submitit; `sbatch.NAME=value` is any other
            option of sbatch.
        device: of the runs, as `usbench run` takes it.
        pack: runs at a time on a GPU.

    Raises:
        UsageError: an unknown name or a bad value; or no submitit.
    """
    from benchmark.settings import choose

    submitit = _submitit()
    known = submitit.SlurmExecutor._valid_parameters() | submitit.AutoExecutor._valid_parameters()
    given: dict[str, Any] = {}
    others: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not (equals and name and text):
            raise UsageError(f"--slurm {word}: write it as name=value, such as partition=gpu")
        if name.startswith("sbatch."):
            others[name.removeprefix("sbatch.").replace("_", "-")] = _value(text)
            continue
        choose(
            "--slurm parameter (others of sbatch: sbatch.NAME=VALUE)", name, sorted(known - _OURS)
        )
        if name in _LISTS:
            given[name] = [*given.get(name, []), text]
        else:
            given[name] = _value(text)
    _add_defaults(given, others, device, pack)
    minutes = _minutes(str(given.pop("time", given.pop("timeout_min", 60 * HOURS))))
    if others:
        given["additional_parameters"] = others
    return {"timeout_min": minutes, **{f"slurm_{name}": value for name, value in given.items()}}


def _add_defaults(given: dict[str, Any], others: dict[str, Any], device: str, pack: int) -> None:
    names = [*given, *others]
    given.setdefault("job_name", given.pop("name", "usbench"))
    given.setdefault("signal_delay_s", _NOTICE)
    if device != "cpu" and not any("gpu" in name or name == "gres" for name in names):
        given["gpus_per_node"] = 1
    if not any(name.startswith("cpus") for name in names):
        given["cpus_per_task"] = 2 * pack
    if "cpus_per_task" in given:
        # srun does not take it over from sbatch in every version of SLURM
        given.setdefault("srun_args", []).append(f"--cpus-per-task={given['cpus_per_task']}")


def _value(text: str) -> Any:  # noqa: ANN401 - of any type that submitit takes
    if text in ("true", "false"):
        return text == "true"
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text) if "." in text else int(text)
    return text


def _minutes(text: str) -> int:
    """Minutes, or SLURM's [days-]hours:minutes:seconds.

    Raises:
        UsageError: neither, or too short for a run to get anywhere.
    """
    found = re.fullmatch(r"(?:(\d+)-)?(\d+):(\d\d):\d\d", text)
    if not (found or text.isdecimal()):
        raise UsageError(f"--slurm time={text}: write minutes, or 1-12:00:00 for a day and a half")
    days, hours, minutes = (
        (int(part or 0) for part in found.groups()) if found else (0, 0, int(text))
    )
    total = 60 * (24 * days + hours) + minutes
    if total < SHORTEST:
        raise UsageError(
            f"--slurm time={text}: a task needs {SHORTEST} minutes or more, since its runs stop "
            f"{_NOTICE // 60} minutes before the end"
        )
    return total


def _submitit() -> Any:  # noqa: ANN401 - a module
    try:
        import submitit
    except ImportError:
        raise UsageError(
            "--engine slurm needs the package submitit: pip install 'usbench[slurm]'"
        ) from None
    return submitit
