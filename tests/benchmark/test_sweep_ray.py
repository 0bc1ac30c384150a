"""Ray: all runs are done, on whatever nodes there are, with the records of single runs."""

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pytest
from small_runs import TINY, assert_same, queue_of, small_run

from benchmark import record
from benchmark.run import run
from benchmark.sweep import child, collecting, ray_engine
from benchmark.sweep.engine import WorkerError
from benchmark.sweep.jobs import Job
from benchmark.sweep.queue import DONE, FAILED, RUNNING, WAITING, Queue, Task
from benchmark.sweep.ray_actor import Token
from benchmark.sweep.ray_engine import RayWorkers
from benchmark.sweep.worker import log_of

NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_dashboard": False}


@pytest.fixture(scope="module")
def cluster():
    """Of one node; a test adds its own."""
    utils = pytest.importorskip("ray.cluster_utils", reason="needs Ray: pip install 'usbench[ray]'")
    os.environ.update(ray_engine._SWITCHES)
    made = utils.Cluster(initialize_head=True, head_node_args=NODE)
    yield made
    made.shutdown()


@pytest.fixture
def node(cluster):
    """A second node, which goes with the test."""
    added = cluster.add_node(**NODE)
    yield added
    if added in cluster.worker_nodes:
        cluster.remove_node(added, allow_graceful=False)


def states(queue):
    return [entry.state for entry in queue.entries()]


def tend(workers, disturb=lambda: None):
    """Until all is done; returns the nodes that were at work."""
    nodes = set()
    while workers.tend():
        nodes |= {slot.place.node for slot in workers._slots if slot.entry}
        disturb()
        time.sleep(0.05)
    return nodes


def assert_as_alone(asked, tmp_path):
    for request in asked:
        alone = run(replace(request, results=tmp_path / "alone"))
        assert_same(record.path_of(request.results, record.load(alone).name), alone)


def test_both_nodes_do_the_runs_and_one_that_fails_leaves_the_others(
    cluster, node, small_data, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)  # paths of the request may be relative, nodes work elsewhere
    results = (tmp_path / "sweep").relative_to(tmp_path)
    asked = [
        small_run(small_data, results, method, seed=seed, resume=True)
        for method, seed in (("unet", 0), ("propl", 0), ("unet", 1))
    ]
    broken = replace(asked[0], seed=2, overrides={**TINY, "encoder": "resnot18"})
    queue = queue_of(results, [broken, *asked])
    with RayWorkers(queue, cluster.address) as workers:
        assert len(tend(workers)) == 2
    assert states(queue) == [FAILED, DONE, DONE, DONE]
    assert "resnot18" in queue.entries()[0].problem
    assert "resnot18" in log_of(queue.path, "unet/1_4/seed2").read_text()
    assert "FH step 4/4" in log_of(queue.path, "unet/1_4/seed0").read_text()
    assert_as_alone(asked, tmp_path)


@pytest.mark.slow
def test_a_node_that_comes_gets_work_and_one_that_is_killed_loses_nothing(
    cluster, small_data, tmp_path
):
    longer = {"overrides": {**TINY, "steps": "40"}, "resume": True}
    asked = [small_run(small_data, tmp_path / "sweep", seed=seed, **longer) for seed in (0, 1)]
    queue, added, victims = queue_of(tmp_path / "sweep", asked), [], []

    def disturb():
        if not added:
            if RUNNING in states(queue):
                added.append(cluster.add_node(**NODE))
            return
        for slot in workers._slots:
            late = slot.entry and slot.place.node == added[0].node_id
            part = tmp_path / "sweep/unfinished" / (slot.entry.name if late else "") / "FH.json"
            if late and not victims and part.is_file():  # one of its two trainings is done
                cluster.remove_node(added[0], allow_graceful=False)
                victims.append(slot.entry.name)

    with RayWorkers(queue, cluster.address) as workers:
        assert len(tend(workers, disturb)) == 2
    assert states(queue) == [DONE, DONE]
    assert victims
    assert {entry.name: entry.deaths for entry in queue.entries()}[victims[0]] == 1
    log = log_of(queue.path, victims[0]).read_text()
    assert log.count("unet/1_4/seed") == 2  # it began twice
    assert log.count("FH: ") == 1  # but did the first training once
    assert_as_alone(asked, tmp_path)


@pytest.mark.slow
def test_what_a_node_finished_in_a_folder_of_its_own_is_collected(
    cluster, small_data, tmp_path, monkeypatch
):
    monkeypatch.setattr(ray_engine, "_token", lambda queue: Token(queue, "not what it holds"))
    monkeypatch.setattr(ray_engine, "PIECE", 1000)
    monkeypatch.setattr("benchmark.sweep.collecting.PIECE", 1000)
    first, both = (
        small_run(small_data, tmp_path / "sweep", tasks=tasks, resume=True)
        for tasks in (("FH",), ("OT",))
    )
    run(first)  # a record to which another task is added
    queue = queue_of(tmp_path / "sweep", [both])
    with RayWorkers(queue, cluster.address) as workers:
        tend(workers)
    assert states(queue) == [DONE]
    run(replace(first, results=tmp_path / "alone"))
    alone = run(replace(both, results=tmp_path / "alone"))
    made = record.path_of(tmp_path / "sweep", "unet/1_4/seed0")
    assert_same(made, alone)
    assert set(record.load(made).tasks) == {"FH", "OT"}
    for ending in (".parquet", ".masks.parquet"):
        same = made.with_suffix(ending).read_bytes() == alone.with_suffix(ending).read_bytes()
        assert same, ending
    for part in ("FH", "OT"):
        place = f"weights/unet/1_4/seed0/{part}.safetensors"
        same = (tmp_path / "sweep" / place).read_bytes() == (
            tmp_path / "alone" / place
        ).read_bytes()
        assert same, place
    assert "OT step 4/4" in log_of(queue.path, "unet/1_4/seed0").read_text()
    own = Path(tempfile.gettempdir()) / "usbench-not what it holds"
    assert own.is_dir()
    try:
        assert not [path for path in own.rglob("*") if path.is_file()]
    finally:
        shutil.rmtree(own)


@pytest.mark.slow
def test_a_sweep_that_is_stopped_goes_on_from_its_checkpoint(cluster, small_data, tmp_path):
    longer = {"overrides": {**TINY, "steps": "40"}, "resume": True}
    asked = small_run(small_data, tmp_path / "sweep", tasks=("FH",), **longer)
    queue = queue_of(tmp_path / "sweep", [asked])
    log = log_of(queue.path, "unet/1_4/seed0")

    def stop():
        if log.is_file() and "FH: " in log.read_text():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), RayWorkers(queue, cluster.address) as workers:
        tend(workers, stop)
    assert states(queue) == [WAITING]
    assert list((tmp_path / "sweep/unfinished").rglob("FH.checkpoint.safetensors"))
    with RayWorkers(queue, cluster.address) as workers:
        tend(workers)
    assert states(queue) == [DONE]
    assert queue.entries()[0].deaths == 0
    assert_as_alone([asked], tmp_path)


def test_a_node_without_the_data_is_told_once_and_gets_no_more(cluster, small_data, tmp_path):
    asked = [small_run(tmp_path / "gone", tmp_path / "sweep", seed=seed) for seed in (0, 1)]
    queue = queue_of(tmp_path / "sweep", asked)
    message = rf"node {socket.gethostname()} has no data set at {tmp_path}/gone"
    with (
        pytest.raises(WorkerError, match=f"no node can do a run: {message}"),
        RayWorkers(queue, cluster.address) as workers,
    ):
        tend(workers)
    assert states(queue) == [FAILED, WAITING]
    assert re.match(message, queue.entries()[0].problem)


def test_several_share_a_gpu(cluster, tmp_path):
    added = cluster.add_node(**NODE | {"num_cpus": 8, "num_gpus": 1})
    try:
        queue = Queue(tmp_path / "sweep.sqlite")
        queue.put(Task(f"unet/1_4/seed{seed}", "{}") for seed in range(5))
        with RayWorkers(queue, cluster.address, pack=3) as workers:
            workers._give = lambda slot: None
            while not workers._slots or any(slot.place is None for slot in workers._slots):
                assert workers.tend()
                time.sleep(0.1)
            assert [slot.place.node for slot in workers._slots] == [added.node_id] * 3
            assert workers._threads(workers._slots[0].place) == 2
    finally:
        cluster.remove_node(added, allow_graceful=False)


def test_without_ray_or_a_cluster_it_is_one_clear_error(tmp_path, monkeypatch):
    queue = Queue(tmp_path / "sweep.sqlite")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "ray", None)
        with pytest.raises(WorkerError, match=r"install it with: pip install 'usbench\[ray\]'"):
            RayWorkers(queue)


def fetching(contents, pieces):
    """Reads so many pieces; then the node is lost."""
    left = iter(range(pieces))

    def fetch(file, start):
        if next(left, None) is None:
            raise RuntimeError("lost")
        return contents[file][start : start + 10]

    return fetch


def results_of_a_node(folder):
    """What a finished run left there, as far as collecting cares."""
    contents = {
        "weights/unet/1_4/seed0/FH.safetensors": b"w" * 25,
        "runs/unet/1_4/seed0.parquet": b"rows",
        "runs/unet/1_4/seed0.masks.parquet": b"masks of the rows",
        "runs/unet/1_4/seed0.json": b"record",
    }
    for file, content in contents.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(content)
    return contents


def test_files_come_whole_or_not_at_all(tmp_path, monkeypatch):
    monkeypatch.setattr(collecting, "PIECE", 10)
    there, here = tmp_path / "there", tmp_path / "here"
    contents = results_of_a_node(there)
    files = collecting.files_of(there, "unet/1_4/seed0")
    assert files == {file: len(content) for file, content in contents.items()}
    assert list(files)[-1].endswith(".json")
    stale = here / "weights/unet/1_4/seed0/TG.safetensors"  # of a record that was removed
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"old")

    for pieces in range(7):
        with pytest.raises(RuntimeError, match="lost"):
            collecting.collect(here, "unet/1_4/seed0", files, fetching(contents, pieces))
        assert not (here / "runs").exists()
        whole = here / "weights/unet/1_4/seed0/FH.safetensors"
        assert not whole.exists() or whole.read_bytes() == b"w" * 25

    collecting.collect(here, "unet/1_4/seed0", files, fetching(contents, 7))
    found = {str(path.relative_to(here)): path for path in here.rglob("*") if path.is_file()}
    assert {file: path.read_bytes() for file, path in found.items()} == contents


def test_what_a_machine_lacks_is_told(small_data, tmp_path):
    here = child.versions_here()
    assert child.unfit(small_data, here) == ""
    assert child.unfit(Path("hf:lab/usbench@v1"), here) == ""
    gone = child.unfit(tmp_path / "gone", here)
    assert gone.startswith(f"node {socket.gethostname()} has no data set at {tmp_path}/gone")
    other = child.unfit(small_data, {**here, "torch": "1.0"})
    assert other.startswith(f"node {socket.gethostname()} has torch {here['torch']}, the sweep")


def python_of(script):
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", script], stdin=pipe, stdout=pipe, text=True)


def test_a_process_that_is_killed_is_told_and_made_anew(tmp_path, monkeypatch):
    """The run is a child's own process: a death of it is not the actor's."""
    doing = child.Child(1)
    lost = child.Outcome(child.DIED)
    script = "import os, signal; input(); os.kill(os.getpid(), signal.SIGKILL)"
    start = doing._start
    monkeypatch.setattr(doing, "_start", lambda: python_of(script))
    assert doing.do("unet/1_4/seed0", "{}", tmp_path / "log", {}) == lost
    monkeypatch.setattr(doing, "_start", start)
    monkeypatch.chdir(tmp_path)
    spec = Job("", small_run(tmp_path / "gone", tmp_path)).spec
    failed = doing.do("unet/1_4/seed0", spec, tmp_path / "log", {})
    assert failed.state == child.UNFIT
    process = doing._process
    assert process.poll() is None
    process.stdin.close()  # as where its parent is gone
    assert process.wait(30) == 130
