"""The queue: every job to one worker at a time, and none lost."""

import os
import sqlite3
import subprocess
import sys
import time

import pytest

from benchmark.sweep import queue as queue_module
from benchmark.sweep.queue import (
    DEATHS,
    DONE,
    FAILED,
    RUNNING,
    SILENCE,
    WAITING,
    Queue,
    QueueError,
    Task,
)

ME = os.getpid()


@pytest.fixture
def queue(tmp_path):
    made = Queue(tmp_path / "results/sweep.sqlite")
    made.put(Task(name, "{}") for name in ("unet/1_4/seed0", "propl/1_4/seed0", "unet/1_8/seed0"))
    yield made
    made.close()


@pytest.fixture
def gone():
    """Id of a process that is no more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def states(queue):
    return {entry.name: entry.state for entry in queue.entries()}


def test_jobs_are_given_out_in_order_and_each_once(queue):
    assert [queue.lease(ME).name for _ in range(3)] == [
        "unet/1_4/seed0", "propl/1_4/seed0", "unet/1_8/seed0",
    ]  # fmt: skip
    assert queue.lease(ME) is None
    assert set(states(queue).values()) == {RUNNING}


def test_one_method_is_served_in_turn(queue):
    assert queue.lease(ME, like="propl").name == "propl/1_4/seed0"
    assert queue.lease(ME, like="unet").name == "unet/1_4/seed0"
    assert queue.lease(ME, like="unet").name == "unet/1_8/seed0"


def test_one_method_is_not_served_before_much_longer_jobs(queue):
    """Or the longest would begin last, with all other workers idle."""
    jobs = [("ddfp/1_4/seed0", 90), ("unet/1_4/seed0", 50), ("unet/1_8/seed0", 40)]
    queue.put(Task(name, "{}", seconds) for name, seconds in jobs)
    assert queue.lease(ME, like="unet").name == "unet/1_4/seed0"  # more than half of 90
    assert queue.lease(ME, like="unet").name == "ddfp/1_4/seed0"
    assert queue.lease(ME, like="ddfp").name == "unet/1_8/seed0"


def test_one_method_is_served_within_a_rank_alone(queue):
    """Or a worker would go on with a method into the next table."""
    jobs = [("ddfp/1_4/seed0", 5, 0), ("unet/1_4/seed0", 5, 0), ("unet/1_8/seed0", 50, 1)]
    queue.put(Task(name, "{}", seconds, rank) for name, seconds, rank in jobs)
    assert [queue.lease(ME, like="unet").name for _ in jobs] == [
        "unet/1_4/seed0", "ddfp/1_4/seed0", "unet/1_8/seed0",
    ]  # fmt: skip


def test_how_far_a_job_is(queue):
    name = queue.lease(ME).name
    assert queue.beat(name, ME, 0.25, 31.5)
    assert [(e.share, e.speed) for e in queue.entries() if e.name == name] == [(0.25, 31.5)]
    queue.give_back(ME)
    assert queue.lease(ME).name == name
    assert [(e.share, e.speed) for e in queue.entries() if e.name == name] == [(0, 0)]


def test_one_process_leases_for_several_workers(queue):
    one, two = queue.lease(ME).name, queue.lease(ME).name
    queue.give_back(ME, one, died=True)
    assert [(e.state, e.deaths) for e in queue.entries()][:2] == [(WAITING, 1), (RUNNING, 0)]
    assert queue.lease(ME).name == one
    assert two != one


def test_a_queue_of_a_former_version_is_begun_anew(tmp_path):
    path = tmp_path / "sweep.sqlite"
    with sqlite3.connect(path) as old:
        old.execute("CREATE TABLE jobs (name TEXT PRIMARY KEY, spec TEXT)")
        old.execute("INSERT INTO jobs VALUES ('unet/1_4/seed0', '{}')")
    old.close()
    queue = Queue(path)
    assert queue.entries() == []
    queue.put([Task("unet/1_4/seed0", "{}")])
    assert [entry.name for entry in Queue(path).entries()] == ["unet/1_4/seed0"]


def test_a_queue_is_not_taken_from_another_version_that_works_at_it(tmp_path):
    path = tmp_path / "sweep.sqlite"
    queue = Queue(path)
    queue.put([Task("unet/1_4/seed0", "{}")])
    queue.lease(ME)
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA user_version = 1")
    other.close()
    with pytest.raises(QueueError, match="another version of usbench works at"):
        Queue(path)
    queue.give_back(ME)
    assert Queue(path).entries() == []


def test_what_a_killed_sweep_left_is_not_taken_up_by_one_that_asks_for_other_runs(queue, gone):
    queue.lease(gone)
    queue.put([Task("ddfp/1_4/seed0", "{}")])
    assert states(queue) == {"ddfp/1_4/seed0": WAITING}


def test_a_file_that_is_no_queue_is_one_clear_error(tmp_path):
    path = tmp_path / "sweep.sqlite"
    path.write_bytes(b"no database" * 100)
    with pytest.raises(QueueError, match=r"sweep.sqlite: file is not a database"):
        Queue(path)


def test_what_ends_is_not_given_out_again(queue):
    one, two, three = (queue.lease(ME).name for _ in range(3))
    assert queue.finish(one, ME)
    assert queue.fail(two, ME, "no such thing")
    queue.give_back(ME)
    assert states(queue) == {one: DONE, two: FAILED, three: WAITING}
    assert queue.lease(ME).name == three
    assert [entry.problem for entry in queue.entries() if entry.name == two] == ["no such thing"]
    queue.retry({one, three})
    assert queue.lease(ME) is None
    queue.retry({two})
    assert queue.lease(ME).name == two


def test_only_the_one_who_has_a_job_can_end_it(queue, gone):
    name = queue.lease(ME).name
    assert not queue.finish(name, gone)
    assert not queue.fail(name, gone, "")
    assert not queue.beat(name, gone)
    assert queue.beat(name, ME)
    assert states(queue)[name] == RUNNING


def test_the_job_of_a_process_that_is_no_more_is_given_out_again(queue, gone):
    name = queue.lease(gone).name
    assert queue.lease(ME).name == name
    queue.reclaim()
    assert states(queue)[name] == RUNNING


def test_a_process_that_is_silent_but_alive_keeps_its_job(queue, monkeypatch):
    """A machine that slept: its process must not find another at its run when it wakes."""
    name = queue.lease(ME).name
    now, up, slept = time.time(), time.clock_gettime(time.CLOCK_BOOTTIME), 100 * SILENCE
    monkeypatch.setattr(queue_module.time, "time", lambda: now + slept)
    monkeypatch.setattr(queue_module.time, "clock_gettime", lambda _: up + slept)
    assert queue.lease(ME).name != name


def test_of_another_machine_only_silence_tells(queue, tmp_path, monkeypatch, gone):
    monkeypatch.setattr(queue_module.socket, "gethostname", lambda: "elsewhere")
    far = Queue(tmp_path / "results/sweep.sqlite")
    name = far.lease(gone).name
    assert queue.lease(ME).name != name
    now = time.time()
    monkeypatch.setattr(queue_module.time, "time", lambda: now + SILENCE + 1)
    assert queue.lease(ME).name == name


def test_a_job_that_kills_its_workers_is_given_up(queue):
    queue.put([Task("unet/1_4/seed0", "{}")])
    for _ in range(DEATHS):
        assert queue.lease(ME).name == "unet/1_4/seed0"
        queue.give_back(ME, died=True)
    assert queue.lease(ME) is None
    (entry,) = queue.entries()
    assert (entry.state, entry.problem) == (FAILED, f"its process was killed {DEATHS} times")


def test_it_does_not_matter_who_finds_the_worker_gone(queue, gone):
    """Its supervisor, or another worker that asks for a job."""
    queue.put([Task("unet/1_4/seed0", "{}")])
    for _ in range(DEATHS):
        assert queue.lease(gone).name == "unet/1_4/seed0"
        queue.reclaim()
        queue.give_back(gone, died=True)  # counted once
    assert queue.lease(ME) is None
    assert [(entry.state, entry.deaths) for entry in queue.entries()] == [(FAILED, DEATHS)]


def test_to_be_asked_to_stop_is_no_death(queue):
    for _ in range(DEATHS + 1):
        queue.lease(ME)
        queue.give_back(ME)
    assert FAILED not in states(queue).values()


def test_a_new_sweep_keeps_what_runs_and_what_failed(queue):
    running, failed, done = (queue.lease(ME).name for _ in range(3))
    queue.fail(failed, ME, "why")
    queue.finish(done, ME)
    (same,) = (entry.spec for entry in queue.entries() if entry.name == failed)
    queue.put([Task(done, "{}"), Task(failed, same), Task("ddfp/1_4/seed0", "{}")])
    assert states(queue) == {
        running: RUNNING, failed: FAILED, done: WAITING, "ddfp/1_4/seed0": WAITING,
    }  # fmt: skip


def test_what_failed_waits_again_when_something_else_is_asked_for(queue):
    failed = queue.lease(ME).name
    queue.fail(failed, ME, "why")
    queue.put([Task(failed, '{"new": 1}')])
    (entry,) = queue.entries()
    assert (entry.spec, entry.state, entry.deaths) == ('{"new": 1}', WAITING, 0)


@pytest.mark.parametrize("name", ["folder", "folder/there"])
def test_a_place_where_no_queue_can_be_is_one_clear_error(tmp_path, name):
    path = tmp_path / "folder/there"
    path.mkdir(parents=True)
    with pytest.raises(QueueError, match=rf"{tmp_path / name}: .*; see that its folder may be"):
        Queue(tmp_path / name)


def test_processes_that_ask_at_once_get_different_jobs(tmp_path):
    path = tmp_path / "sweep.sqlite"
    made = Queue(path)
    made.put(Task(f"unet/1_4/seed{number}", "{}") for number in range(120))
    code = (
        "import os, sys; from pathlib import Path; from benchmark.sweep.queue import Queue\n"
        "queue = Queue(Path(sys.argv[1]))\n"
        "while entry := queue.lease(os.getpid()):\n"
        "    print(entry.name); queue.finish(entry.name, os.getpid())\n"
    )
    asking = [
        subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    got = [name for process in asking for name in process.communicate()[0].split()]
    assert [process.returncode for process in asking] == [0] * 4
    assert sorted(got) == sorted(entry.name for entry in made.entries())
    assert {entry.state for entry in made.entries()} == {DONE}
