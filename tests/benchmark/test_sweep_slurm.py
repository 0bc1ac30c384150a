"""The SLURM engine: on submitit's local processes, and on a small SLURM of this machine."""

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import small_slurm
from small_runs import TINY, assert_same, queue_of, small_run

from benchmark import record
from benchmark.run import run
from benchmark.sweep import slurm_engine
from benchmark.sweep.embedded import Slot
from benchmark.sweep.engine import WorkerError
from benchmark.sweep.queue import DONE, RUNNING, WAITING, Queue, Task
from benchmark.sweep.slurm_engine import TRIES, SlurmWorkers, Supervisor, parameters_of
from dataset_builders.errors import UsageError

pytest.importorskip("submitit", reason="needs submitit: pip install 'usbench[slurm]'")

PATIENCE = 240.0  # seconds on a busy machine


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(slurm_engine, "LOOK_SECONDS", 0.2)


@pytest.fixture(autouse=True)
def one_core(monkeypatch):
    """Threads change how sums round; the single runs of these tests have one."""
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1")


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """A small SLURM, first on the path."""
    made = small_slurm.Cluster(small_slurm.install(tmp_path / "slurm"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'slurm/bin'}:{os.environ['PATH']}")
    yield made
    for path in made.folder.glob("*.task"):
        made.send(path.stem, signal.SIGKILL)


@pytest.fixture
def queue(tmp_path):
    """Of jobs that nobody does."""
    made = Queue(tmp_path / "results/sweep.sqlite")
    made.put(Task(f"unet/1_4/seed{seed}", "{}") for seed in range(4))
    yield made
    made.close()


def runs(small_data, results, count, tasks=("FH", "OT"), steps="4"):
    common = {"resume": True, "tasks": tasks, "overrides": {**TINY, "steps": steps}}
    return [small_run(small_data, results, seed=seed, **common) for seed in range(count)]


def states(queue):
    return [entry.state for entry in queue.entries()]


def until(what):
    """Wait for it."""
    end = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < end
        time.sleep(0.05)


def tend(workers, once=lambda: False):
    """Keep at it until all is done; `once` is called until it says that it did something."""
    end, did = time.monotonic() + PATIENCE, False
    while workers.tend():
        did = did or once()
        assert time.monotonic() < end
        time.sleep(0.05)
    assert did or once.__name__ == "<lambda>"


def trains(queue, name):
    """The run of this job has done a step."""
    log = queue.path.parent / "logs" / f"{name}.log"
    return log.exists() and " step " in log.read_text()


def assert_like_single_runs(asked, results, tmp_path):
    for request in asked:
        alone = run(replace(request, results=tmp_path / "alone"))
        assert_same(record.path_of(results, record.load(alone).name), alone)


def test_local_tasks_make_the_records_of_single_runs_though_one_is_killed(small_data, tmp_path):
    results = tmp_path / "sweep"
    asked = runs(small_data, results, 2)
    queue = queue_of(results, asked)
    with SlurmWorkers(queue, 2, {"timeout_min": 60}, cluster="local") as workers:

        def kill():
            """One supervisor is no more; its worker notices, or another takes its run."""
            if RUNNING not in states(queue):
                return False
            entry = next(entry for entry in queue.entries() if entry.state == RUNNING)
            stat = Path(f"/proc/{entry.worker}/stat").read_text()
            supervisor = int(stat.rpartition(") ")[2].split()[1])
            for process in (supervisor, entry.worker):
                os.kill(process, signal.SIGKILL)
            return True

        tend(workers, kill)
    assert states(queue) == [DONE] * 2
    assert_like_single_runs(asked, results, tmp_path)


@pytest.mark.slow
def test_a_task_that_is_preempted_goes_on_where_it_was(small_data, tmp_path, cluster):
    """SLURM signals every process; the run leaves a checkpoint, and the task is queued again."""
    results = tmp_path / "sweep"
    asked = runs(small_data, results, 2, tasks=("FH",), steps="40")
    queue = queue_of(results, asked)
    with SlurmWorkers(queue, 2, parameters_of(["cpus_per_task=1"], "cpu", 1)) as workers:

        def preempt():
            if not all(trains(queue, f"unet/1_4/seed{seed}") for seed in range(2)):
                return False
            for number in ("TERM", "USR2"):
                cluster.scancel("123", "--signal", number)
            return True

        tend(workers, preempt)
        assert workers.ids == ["123"]
    assert [cluster.starts(task) for task in ("123_0", "123_1")] == [2, 2]
    assert states(queue) == [DONE] * 2
    assert [entry.deaths for entry in queue.entries()] == [0, 0]
    assert not list(cluster.folder.glob("124*"))
    for seed in range(2):
        log = (results / f"logs/unet/1_4/seed{seed}.log").read_text()
        assert log.count("unet/1_4") == 2  # it began anew
        assert log.count("FH step 1/40") == 1  # but not from the beginning
    assert_like_single_runs(asked, results, tmp_path)


def test_checkpoint_stops_the_workers_and_gives_their_jobs_back(small_data, tmp_path):
    queue = queue_of(tmp_path, runs(small_data, tmp_path, 1, steps="100000"))
    supervisor = Supervisor(str(queue.path), 1)
    again = []

    def signalled(*_):
        again.append(supervisor.checkpoint())
        raise SystemExit(-1)  # as submitit does

    def preempt():
        until(lambda: trains(queue, "unet/1_4/seed0"))
        os.kill(os.getpid(), signal.SIGUSR2)

    before = {number: signal.getsignal(number) for number in (signal.SIGUSR2, signal.SIGTERM)}
    signal.signal(signal.SIGUSR2, signalled)
    thread = threading.Thread(target=preempt)
    thread.start()
    try:
        with pytest.raises(SystemExit):
            supervisor()
    finally:
        thread.join()
        for number, handler in before.items():
            signal.signal(number, handler)
    (entry,) = Queue(queue.path).entries()
    assert (entry.state, entry.deaths) == (WAITING, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(entry.worker, 0)
    assert [path for path in (tmp_path / "unfinished").rglob("*") if path.is_file()]
    (delayed,) = again
    assert (delayed.function.queue, delayed.function.pack) == (str(queue.path), 1)
    assert delayed.args == ()


@pytest.mark.slow
def test_ctrl_c_cancels_the_tasks_and_their_runs_wait_again(small_data, tmp_path, cluster):
    asked = runs(small_data, tmp_path / "sweep", 1, steps="100000")
    queue = queue_of(tmp_path / "sweep", asked)

    def stop():
        if trains(queue, "unet/1_4/seed0"):
            raise KeyboardInterrupt

    workers = SlurmWorkers(queue, 1, parameters_of([], "cpu", 1))
    with pytest.raises(KeyboardInterrupt), workers:
        tend(workers, stop)
    assert (cluster.folder / "123.cancelled").exists()
    until(lambda: states(queue) == [WAITING])
    (entry,) = queue.entries()
    assert entry.deaths == 0
    assert [path for path in (tmp_path / "sweep/unfinished").rglob("*") if path.is_file()]


def test_the_script(queue, cluster):
    (cluster.folder / "held").touch()
    words = [
        "partition=gpu", "time=1-12:00:00", "account=lab", "constraint=h100", "cpus_per_task=6",
        "sbatch.reservation=course", "setup=module load cuda", "setup=ulimit -n 4096",
    ]  # fmt: skip
    with SlurmWorkers(queue, 3, parameters_of(words, "auto", 1)) as workers:
        assert workers.tend()
    script = (cluster.folder / "123.sh").read_text()
    logs = queue.path.parent / "logs/slurm"
    for line in (
        "partition=gpu", "time=2160", "account=lab", "constraint=h100", "cpus-per-task=6",
        "gpus-per-node=1", "array=0-2%3", "signal=USR2@180", "job-name=usbench",
        "reservation=course", f"output={logs}/%A_%a_0_log.out", f"error={logs}/%A_%a_0_log.err",
    ):  # fmt: skip
        assert f"#SBATCH --{line}\n" in script
    assert "module load cuda\nulimit -n 4096\n" in script
    (command,) = [line for line in script.splitlines() if line.startswith("srun")]
    assert "--cpus-per-task=6" in command
    assert f"{sys.executable} -u -m submitit.core._submit {logs}" in command
    assert len(list(logs.glob("123_*_submitted.pkl"))) == 3


def test_defaults():
    assert parameters_of([], "auto", 3) == {
        "timeout_min": 720, "slurm_job_name": "usbench", "slurm_signal_delay_s": 180,
        "slurm_gpus_per_node": 1, "slurm_cpus_per_task": 6,
        "slurm_srun_args": ["--cpus-per-task=6"],
    }  # fmt: skip
    assert "slurm_gpus_per_node" not in parameters_of([], "cpu", 1)
    for word in ("gres=gpu:a100:1", "gpus_per_task=1", "sbatch.gpus-per-socket=1"):
        assert "slurm_gpus_per_node" not in parameters_of([word], "auto", 1)
    assert "slurm_cpus_per_task" not in parameters_of(["cpus_per_gpu=4"], "auto", 1)
    assert parameters_of(["time=45"], "cpu", 1)["timeout_min"] == 45
    assert parameters_of(["timeout_min=45"], "cpu", 1)["timeout_min"] == 45
    assert parameters_of(["time=10:30:00"], "cpu", 1)["timeout_min"] == 630
    given = parameters_of(["exclusive=true", "mem_gb=1.5", "gpus_per_node=h100:2"], "cuda", 1)
    assert given["slurm_exclusive"] is True
    assert given["slurm_mem_gb"] == 1.5
    assert given["slurm_gpus_per_node"] == "h100:2"


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("partitoin=gpu", "'partitoin' .did you mean 'partition'.*sbatch.NAME|sbatch.NAME.*parti"),
        ("nodes=2", "unknown --slurm parameter .* 'nodes'"),
        ("partition", "--slurm partition: write it as name=value"),
        ("time=1h", "time=1h: write minutes, or 1-12:00:00"),
        ("time=30:00", "time=30:00: write minutes"),
        ("time=5", "time=5: a task needs 10 minutes or more"),
    ],
)
def test_a_bad_parameter_is_one_clear_error(word, message):
    with pytest.raises(UsageError, match=message):
        parameters_of([word], "auto", 1)


def test_what_submitit_refuses_is_one_clear_error(queue, cluster):
    with pytest.raises(UsageError, match=r"--slurm: .*partitoin"):
        SlurmWorkers(queue, 1, {"slurm_partitoin": "gpu"})


def test_without_slurm_nothing_runs(queue, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match=r"no sbatch on this machine.* login node"):
        SlurmWorkers(queue, 1, {})
    assert states(queue) == [WAITING] * 4


def test_without_submitit(queue, monkeypatch):
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(UsageError, match=r"pip install 'usbench\[slurm\]'"):
        SlurmWorkers(queue, 1, {})
    with pytest.raises(UsageError, match=r"pip install 'usbench\[slurm\]'"):
        parameters_of([], "cpu", 1)


def test_the_engine_is_imported_without_submitit_and_without_torch():
    code = (
        "import sys; sys.modules['submitit'] = None; import benchmark.sweep.slurm_engine\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_sbatch_refuses_is_told(queue, cluster):
    (cluster.folder / "full").touch()
    with (
        SlurmWorkers(queue, 2, parameters_of([], "cpu", 1)) as workers,
        pytest.raises(WorkerError, match=r"takes no tasks: .*Invalid account"),
    ):
        workers.tend()


def test_workers_that_cannot_start_are_told_with_the_log(queue, cluster, tmp_path, monkeypatch):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/sitecustomize.py").write_text(
        "import os, sys\nif 'benchmark.sweep.worker' in sys.orig_argv: os._exit(3)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "broken"))
    with (
        SlurmWorkers(queue, 2, parameters_of([], "cpu", 1)) as workers,
        pytest.raises(WorkerError, match=r"no task could start a worker(.|\n)*exit code 3"),
    ):
        tend(workers)
    assert not (cluster.folder / "124.sh").exists()


def test_tasks_that_are_lost_are_submitted_again_but_not_for_ever(queue, cluster):
    """Python itself does not start on the nodes."""
    words = ["setup=export PYTHONHOME=/nowhere"]
    with (
        SlurmWorkers(queue, 2, parameters_of(words, "cpu", 1)) as workers,
        pytest.raises(WorkerError, match=rf"lost {TRIES} times in a row(.|\n)*_log.err:\n.+"),
    ):
        tend(workers)
    assert len(list(cluster.folder.glob("*.sh"))) == TRIES


def test_as_many_tasks_as_there_is_work_for(queue, cluster):
    """Four jobs: two tasks of three runs each, and again two when one of them is lost."""
    (cluster.folder / "held").touch()
    with SlurmWorkers(queue, 5, parameters_of([], "cpu", 3), pack=3) as workers:
        workers.tend()
        assert cluster.tasks("123") == ["123_0", "123_1"]
        for _ in range(3):
            queue.lease(os.getpid())
        (cluster.folder / "123_1.1.start").touch()
        (cluster.folder / "123_1.1.code").write_text("1")
        workers._jobs[0].watcher.clear()
        until(lambda: workers.tend() and len(workers._jobs) == 2 and cluster.tasks("124"))
    assert cluster.tasks("124") == ["124"]


def test_tasks_that_were_left_are_found_again(queue, cluster):
    (cluster.folder / "held").touch()
    with SlurmWorkers(queue, 2, parameters_of([], "cpu", 1)) as workers:
        told = workers.detach()
    assert "scancel 123 ends it" in told
    with SlurmWorkers(queue, 2, parameters_of([], "cpu", 1)) as watching:
        assert watching.tend()
        assert watching.ids == ["123"]
    assert not (cluster.folder / "124.sh").exists()
    assert not list(cluster.folder.glob("*.cancelled"))
    for task in cluster.tasks("123"):
        cluster.scancel(task)
    with SlurmWorkers(queue, 2, parameters_of([], "cpu", 1)) as anew:
        assert anew.tend()
        assert anew.ids == ["124"]
    assert len(list(cluster.folder.glob("124_*.cancelled"))) == 2


def test_the_slots_of_a_task(monkeypatch):
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "8")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-5ab")
    assert slurm_engine.slots_of_task(2) == [Slot("3", 2), Slot("GPU-5ab", 2)] * 2
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert slurm_engine.slots_of_task(2) == [Slot("", 4)] * 2
    monkeypatch.delenv("SLURM_CPUS_PER_TASK")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    assert slurm_engine.slots_of_task(2) == [Slot("", 1)] * 2
