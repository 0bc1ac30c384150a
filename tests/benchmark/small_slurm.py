"""A SLURM of one machine: sbatch, srun, sacct, scancel and scontrol, as far as submitit uses them.

The folder `cluster` has what they are given: N.sh is the script of job N, and each task has files
TASK.task, TASK.1.start, TASK.1.code (how its first start ended), TASK.cancelled. With a file `held`
there, no task begins; with `full`, none is taken. Signals reach every process of a task but its
batch shell, as those of SLURM do.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

PROGRAMS = ("sbatch", "srun", "sacct", "scancel", "scontrol")
KILL_WAIT = 30.0  # seconds between SIGTERM and SIGKILL
MARK = "SMALL_SLURM"  # in the environment of a task's processes


def install(folder: Path) -> Path:
    """Write the five programs into `folder`/bin; returns `folder`/cluster."""
    programs, cluster = folder / "bin", folder / "cluster"
    programs.mkdir(parents=True)
    cluster.mkdir()
    for name in PROGRAMS:
        path = programs / name
        path.write_text(f'#!/bin/sh\nexec {sys.executable} -E {__file__} {cluster} {name} "$@"\n')
        path.chmod(0o755)
    return cluster


class Cluster:
    """What the programs do with the folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def sbatch(self, script: str) -> None:
        if (self.folder / "full").exists():
            sys.exit("sbatch: error: Batch job submission failed: Invalid account")
        text = Path(script).read_text()
        job = str(123 + len(list(self.folder.glob("*.sh"))))
        (self.folder / f"{job}.sh").write_text(text)
        array = re.search(r"--array=0-(\d+)", text)
        for task in [f"{job}_{n}" for n in range(int(array[1]) + 1)] if array else [job]:
            (self.folder / f"{task}.task").touch()
            if not (self.folder / "held").exists():
                self.start(task)
        print("Submitted batch job", job)

    def start(self, task: str) -> None:
        job, _, number = task.partition("_")
        (self.folder / f"{task}.{self.starts(task) + 1}.start").touch()
        own = {"SLURM_JOB_ID": job, "SLURM_NTASKS": "1", "SLURM_PROCID": "0"}
        script = (self.folder / f"{job}.sh").read_text()
        if cores := re.search(r"--cpus-per-task=(\d+)", script):
            own["SLURM_CPUS_PER_TASK"] = cores[1]
        if number:
            own |= {"SLURM_ARRAY_JOB_ID": job, "SLURM_ARRAY_TASK_ID": number}
        code = f"{self.folder}/{task}.{self.starts(task)}.code"
        shell = f"bash {self.folder}/{job}.sh; echo $? > {code}.part; mv {code}.part {code}"
        subprocess.Popen(
            ["bash", "-c", shell],
            env=os.environ | own, start_new_session=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def starts(self, task: str) -> int:
        return len(list(self.folder.glob(f"{task}.*.start")))

    def srun(self, *given: str) -> None:
        words = list(given)
        task = os.environ["SLURM_JOB_ID"]
        if "SLURM_ARRAY_TASK_ID" in os.environ:
            task += "_" + os.environ["SLURM_ARRAY_TASK_ID"]
        for name, number in (("--output", 1), ("--error", 2)):
            place = words.index(name)
            path = words[place + 1].replace("%A_%a", task).replace("%j", task).replace("%t", "0")
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
            del words[place : place + 2]
        while words[0].startswith("--"):
            del words[0]
        os.environ[MARK] = f"{self.folder}/{task}"
        os.execvp(words[0], words)

    def sacct(self, *words: str) -> None:
        print("JobID|State|NodeList")
        for job in [words[n + 1] for n, word in enumerate(words) if word == "-j"]:
            for task in self.tasks(job):
                print(f"{task}|{self.state(task)}|node")

    def state(self, task: str) -> str:
        code = self.folder / f"{task}.{self.starts(task)}.code"
        if (self.folder / f"{task}.cancelled").exists():
            return "CANCELLED"
        if not code.exists():
            return "RUNNING" if self.starts(task) else "PENDING"
        return "COMPLETED" if code.read_text().strip() == "0" else "FAILED"

    def scancel(self, job: str, *words: str) -> None:
        for task in self.tasks(job):
            if words:
                self.send(task, signal.Signals["SIG" + words[-1].removeprefix("SIG")])
                continue
            (self.folder / f"{task}.cancelled").touch()
            self.send(task, signal.SIGTERM)
            later = [sys.executable, __file__, str(self.folder), "kill", task]
            subprocess.Popen(later, start_new_session=True)

    def kill(self, task: str) -> None:
        time.sleep(KILL_WAIT)
        self.send(task, signal.SIGKILL)

    def scontrol(self, verb: str, task: str) -> None:
        self.start(task)

    def tasks(self, job: str) -> list[str]:
        names = sorted(path.stem for path in self.folder.glob("*.task"))
        return [name for name in names if name == job or name.startswith(f"{job}_")]

    def send(self, task: str, number: int) -> None:
        for process in self.processes(task):
            with suppress(ProcessLookupError):
                os.kill(process, number)

    def processes(self, task: str) -> Iterator[int]:
        """Ids of those of a task that are at work."""
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if f"{MARK}={self.folder}/{task}" in (folder / "environ").read_text().split("\0"):
                    yield int(folder.name)


if __name__ == "__main__":
    getattr(Cluster(Path(sys.argv[1])), sys.argv[2])(*sys.argv[3:])
