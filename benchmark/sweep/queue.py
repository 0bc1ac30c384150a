"""The runs of a sweep and who does which: one SQLite file beside the records.

A job is leased to one worker at a time. A lease is void when its worker is no more (on this
machine), or has not been heard of for `SILENCE` seconds (on another); the job is then given out
again, and goes on from its checkpoint. Nothing here says what was finished: records do.

The file lies where all that share it can lock it: on the disk of one machine, or on a network file
system with working locks (NFS 4, Lustre with flock, GPFS).
"""

import os
import socket
import sqlite3
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dataset_builders.errors import UsageError

WAITING, RUNNING, DONE, FAILED = "waiting", "running", "done", "failed"
SILENCE = 300.0  # seconds
DEATHS = 5  # so often a job may end its process before it is given up
NEAR = 0.5  # a job of the same method goes first if it takes this share of the longest one's time
_FORMAT = 3  # of the table
_CLOCKS = 60.0  # seconds that the clock may have been set forward in the meantime

_TABLE = """
CREATE TABLE IF NOT EXISTS jobs (
    name TEXT PRIMARY KEY,
    spec TEXT NOT NULL,
    position INTEGER NOT NULL,
    rank INTEGER NOT NULL,
    seconds REAL NOT NULL,
    state TEXT NOT NULL,
    host TEXT NOT NULL DEFAULT '',
    worker INTEGER NOT NULL DEFAULT 0,
    heard REAL NOT NULL DEFAULT 0,
    began REAL NOT NULL DEFAULT 0,
    ended REAL NOT NULL DEFAULT 0,
    deaths INTEGER NOT NULL DEFAULT 0,
    share REAL NOT NULL DEFAULT 0,
    speed REAL NOT NULL DEFAULT 0,
    problem TEXT NOT NULL DEFAULT ''
)
"""


class QueueError(UsageError):
    """The file cannot be used now."""


@dataclass(frozen=True, slots=True)
class Task:
    """A job to be put into the queue."""

    name: str
    spec: str
    seconds: float = 0.0  # that it is predicted to take; 0: not known
    rank: int = 0  # all jobs of a lower rank are begun before it


@dataclass(frozen=True, slots=True)
class Entry:
    """A job as it stands."""

    name: str
    spec: str
    seconds: float  # predicted; 0: not known
    state: str
    host: str
    worker: int  # process id
    heard: float  # of the worker, seconds since 1970
    began: float
    ended: float
    deaths: int  # workers that ended while they had it
    share: float  # of it that is done, as the worker last said
    speed: float  # images/s, likewise
    problem: str


_FIELDS = ", ".join(Entry.__dataclass_fields__)


class Queue:
    """Several processes of several machines may open the same file."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._host = socket.gethostname()
        with self._explained():
            self._db = sqlite3.connect(path, timeout=60, isolation_level=None)
        with self._alone():
            if self._db.execute("PRAGMA user_version").fetchone() != (_FORMAT,):
                self._begin_anew()
            self._db.execute(_TABLE)

    def close(self) -> None:
        """Leave the file to others."""
        self._db.close()

    def put(self, tasks: Iterable[Task]) -> None:
        """Make the queue hold these, in this order, and no others that wait.

        A job that runs or failed stays what it is; one that was done waits again, since its
        record is asked for, and so does one that failed when something else was asked for.
        """
        with self._alone():
            self._reclaim()
            self._db.execute("DELETE FROM jobs WHERE state IN (?, ?)", (WAITING, DONE))
            self._db.executemany(
                "INSERT INTO jobs (name, spec, position, rank, seconds, state) "
                "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET spec = excluded.spec, "
                "position = excluded.position, rank = excluded.rank, seconds = excluded.seconds, "
                f"state = CASE WHEN state = '{FAILED}' AND spec != excluded.spec "
                f"THEN '{WAITING}' ELSE state END, "
                f"deaths = CASE WHEN state = '{FAILED}' AND spec != excluded.spec "
                "THEN 0 ELSE deaths END",
                [
                    (task.name, task.spec, place, task.rank, task.seconds, WAITING)
                    for place, task in enumerate(tasks)
                ],
            )

    def lease(self, worker: int, like: str = "") -> Entry | None:
        """Take the next job; None if none waits.

        Args:
            worker: process id of who takes it.
            like: the method of its last job: one of the same method is preferred, so that what
                was loaded and compiled serves again, but not to a job that takes much longer,
                which would be late if it began late.
        """
        with self._alone():
            self._reclaim()
            found = self._db.execute(
                f"WITH next AS (SELECT * FROM jobs WHERE state = '{WAITING}' AND rank = "
                f"(SELECT MIN(rank) FROM jobs WHERE state = '{WAITING}')) "
                f"SELECT {_FIELDS} FROM next ORDER BY substr(name, 1, ?) = ? AND seconds >= "
                "? * (SELECT MAX(seconds) FROM next) DESC, position LIMIT 1",
                (len(like) + 1, f"{like}/", NEAR),
            ).fetchone()
            if found is None:
                return None
            now = time.time()
            self._db.execute(
                "UPDATE jobs SET state = ?, host = ?, worker = ?, heard = ?, began = ?, "
                "share = 0, speed = 0, problem = '' WHERE name = ?",
                (RUNNING, self._host, worker, now, now, found[0]),
            )
        return Entry(*found)

    def beat(self, name: str, worker: int, share: float = 0.0, speed: float = 0.0) -> bool:
        """The worker is alive; False if the job is not its own any more.

        Args:
            name: of the job.
            worker: who has it.
            share: of the job that is done.
            speed: of its training, images/s.
        """
        changes = "heard = ?, share = ?, speed = ?"
        return self._update(name, worker, changes, time.time(), share, speed)

    def finish(self, name: str, worker: int) -> bool:
        """The record is there."""
        return self._update(name, worker, f"state = '{DONE}', ended = ?", time.time())

    def fail(self, name: str, worker: int, problem: str) -> bool:
        """It cannot be done; `problem` says why."""
        changes = f"state = '{FAILED}', ended = ?, problem = ?"
        return self._update(name, worker, changes, time.time(), problem)

    def give_back(self, worker: int, name: str = "", *, died: bool = False) -> None:
        """A worker of this machine ends; what it had waits again, unless it kills its workers.

        Args:
            worker: process id of who leased.
            name: of the only job that is meant, where one process leases for several workers.
            died: it did not end by itself.
        """
        mine: tuple[object, ...] = (RUNNING, self._host, worker)
        where = "state = ? AND host = ? AND worker = ?"
        if name:
            mine, where = (*mine, name), f"{where} AND name = ?"
        with self._alone():
            if died:
                self._count_death(where, *mine)
            self._db.execute(f"UPDATE jobs SET state = '{WAITING}' WHERE {where}", mine)

    def retry(self, names: Collection[str]) -> None:
        """Let those of these jobs that failed wait again."""
        with self._alone():
            self._db.executemany(
                "UPDATE jobs SET state = ?, deaths = 0, problem = '' WHERE state = ? AND name = ?",
                [(WAITING, FAILED, name) for name in names],
            )

    def reclaim(self) -> None:
        """Give jobs of workers that are no more back to the queue."""
        with self._alone():
            self._reclaim()

    def entries(self) -> list[Entry]:
        """All jobs in their order."""
        with self._explained():
            rows = self._db.execute(f"SELECT {_FIELDS} FROM jobs ORDER BY position")
            return [Entry(*row) for row in rows]

    def _begin_anew(self) -> None:
        """A table of a former version goes, and nothing is lost: records say what was done.

        Raises:
            QueueError: workers of that version are at it.
        """
        try:
            heard = self._db.execute("SELECT MAX(heard) FROM jobs WHERE state = ?", (RUNNING,))
            last = heard.fetchone()[0] or 0.0
        except sqlite3.OperationalError:  # there is none
            last = 0.0
        if time.time() - last < SILENCE:
            raise QueueError(
                f"another version of usbench works at {self.path}; stop it first, or give another "
                "--results"
            )
        self._db.execute("DROP TABLE IF EXISTS jobs")
        self._db.execute(f"PRAGMA user_version = {_FORMAT}")

    def _update(self, name: str, worker: int, changes: str, *values: object) -> bool:
        with self._explained():
            done = self._db.execute(
                f"UPDATE jobs SET {changes} "
                "WHERE name = ? AND state = ? AND host = ? AND worker = ?",
                (*values, name, RUNNING, self._host, worker),
            )
        return done.rowcount == 1

    def _reclaim(self) -> None:
        for entry in self.entries():
            if entry.state == RUNNING and self._is_void(entry):
                mine = (RUNNING, entry.name)
                where = "state = ? AND name = ?"
                self._count_death(where, *mine)
                self._db.execute(f"UPDATE jobs SET state = '{WAITING}' WHERE {where}", mine)

    def _count_death(self, where: str, *values: object) -> None:
        """Of a worker; a job that ends too many of them has failed."""
        self._db.execute(f"UPDATE jobs SET deaths = deaths + 1 WHERE {where}", values)
        self._db.execute(
            f"UPDATE jobs SET state = ?, ended = ?, problem = ? WHERE {where} AND deaths >= ?",
            (FAILED, time.time(), f"its process was killed {DEATHS} times", *values, DEATHS),
        )

    def _is_void(self, entry: Entry) -> bool:
        # here a process that only slept, with the machine perhaps, keeps its job
        if entry.host == self._host:
            return not _is_alive(entry.worker) or _is_over(entry.worker, entry.began)
        return time.time() - entry.heard > SILENCE

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One change to the file, by one process at a time, whole or not at all."""
        with self._explained():
            try:
                self._db.execute("BEGIN IMMEDIATE")
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """What SQLite cannot do is said with what to do.

        Raises:
            QueueError: in the place of SQLite's own error.
        """
        try:
            yield
        except sqlite3.Error as error:
            raise QueueError(
                f"{self.path}: {error}; see that its folder may be written to and has room, or "
                "name another --results; if no sweep is at it the file may be removed, since "
                "records say what is done"
            ) from error


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _is_over(process: int, began: float) -> bool:
    """Whether a number that is taken stands for a worker that is no more.

    Nobody may have waited for it, as in a container whose first process waits for none; or a
    later process has its number.

    Args:
        process: the number.
        began: when the worker took its job, seconds since 1970.
    """
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:  # no Linux
        return False
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return fields[0] == "Z" or time.time() - age > began + _CLOCKS
