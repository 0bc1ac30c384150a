"""Two processes that want one file, and one that is killed."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from transfer_cases import HALF, OLD, QUICK

from dataset_builders.download.lock import alone
from dataset_builders.download.transfer import fetch

FETCH = """
import sys
from pathlib import Path
from dataset_builders.download.transfer import fetch
fetch([sys.argv[1]], Path(sys.argv[2]))
"""


@pytest.fixture
def target(tmp_path):
    return tmp_path / "x.zip"


def other_process(server, target):
    return subprocess.Popen([sys.executable, "-c", FETCH, server.url("/x.zip"), str(target)])


def paused(after, reached, go_on):
    """So many bytes, and the rest when it may go on."""

    def fault(handler, file, reply):
        rest, reply.body = reply.body[after:], reply.body[:after]
        handler.send(reply)
        reached.set()
        go_on.wait(20)
        handler.wfile.write(rest)
        reply.status = 0

    return fault


def wait_for(size, target):
    part = target.with_name("x.zip.part")
    while not (part.exists() and part.stat().st_size == size):
        time.sleep(0.01)


def test_the_second_process_waits_and_finds_the_file(server, target):
    reached, go_on, seen = threading.Event(), threading.Event(), []

    def waiting(done, total):
        seen.append(done)
        go_on.set()

    file = server.add("/x.zip", OLD, [paused(HALF, reached, go_on)])
    other = other_process(server, target)
    assert reached.wait(20)
    wait_for(HALF, target)
    fetch([server.url("/x.zip")], target, report=waiting)
    assert other.wait(20) == 0
    assert target.read_bytes() == OLD
    assert len(file.seen) == 1
    assert seen[0] == HALF  # how far the other one is
    assert [path.name for path in target.parent.iterdir()] == ["x.zip"]


def test_a_killed_process_leaves_its_part_and_no_lock(server, target):
    reached, go_on = threading.Event(), threading.Event()
    file = server.add("/x.zip", OLD, [paused(HALF, reached, go_on)])
    other = other_process(server, target)
    assert reached.wait(20)
    wait_for(HALF, target)
    os.kill(other.pid, signal.SIGKILL)
    other.wait(20)
    go_on.set()
    fetch([server.url("/x.zip")], target, patience=QUICK)
    assert file.seen[1]["range"] == f"bytes={HALF}-"
    assert target.read_bytes() == OLD
    assert [path.name for path in target.parent.iterdir()] == ["x.zip"]


def test_threads_take_turns(target):
    """Each deletes the lock file when it leaves, and still no two are ever inside together."""
    inside, most = 0, 0

    def enter():
        nonlocal inside, most
        for _ in range(20):
            with alone(target, lambda: None):
                inside += 1
                most = max(most, inside)
                time.sleep(0.0005)
                inside -= 1

    threads = [threading.Thread(target=enter) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert most == 1
    assert not list(target.parent.iterdir())
