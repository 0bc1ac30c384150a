"""What does the runs on a node of a Ray cluster: the engine's `RayWorkers` make one a slot."""

import socket
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.files import replace_together
from benchmark.sweep.child import Child, Outcome


@dataclass(frozen=True, slots=True)
class Token:
    """A file beside the queue: whoever reads this text there sees the folder of results."""

    path: Path
    text: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where an actor is."""

    node: str  # Ray's id
    host: str
    folder: Path | None  # of results, which only this node sees; None: it sees the driver's


@dataclass(frozen=True, slots=True)
class Order:
    """A run to do."""

    name: str
    spec: str  # with paths of the node
    log: Path
    threads: int  # of torch, on the CPU
    versions: Mapping[str, str]  # that the node must have
    earlier: Mapping[str, bytes]  # files, relative to the folder, to go on from


@dataclass(frozen=True, slots=True)
class News:
    """Of the run that is under way."""

    share: float  # of it that is done
    speed: float  # images/s
    log: bytes  # printed since the last news, where the driver cannot read it itself


class Actor:
    """Does one run after another in a process of its own, and answers while it works.

    Args:
        token: to find out whether the folder of results is shared.
    """

    def __init__(self, token: Token) -> None:
        self._token = token
        self._child: Child | None = None
        self._log: Path | None = None  # unless it is in a shared folder
        self._told = 0  # bytes of it
        self._halted = False

    def place(self) -> Place:
        """Look around."""
        import ray

        try:
            shared = self._token.path.read_bytes() == self._token.text.encode()
        except OSError:
            shared = False
        folder = None if shared else Path(tempfile.gettempdir()) / f"usbench-{self._token.text}"
        if folder:
            folder.mkdir(mode=0o700, exist_ok=True)
        return Place(ray.get_runtime_context().get_node_id(), socket.gethostname(), folder)

    def work(self, order: Order, folder: Path | None) -> Outcome:
        """Do a run, to its end.

        Args:
            order: which.
            folder: of results, if the driver does not see it.
        """
        self._log, self._told = None, 0
        if folder:
            self._log = order.log
            self._told = order.log.stat().st_size if order.log.is_file() else 0
            if order.earlier:
                replace_together({folder / file: data for file, data in order.earlier.items()})
        self._child = self._child or Child(order.threads)
        if self._halted:
            self._child.halt()
        return self._child.do(order.name, order.spec, order.log, order.versions)

    def news(self) -> News:
        """How the run is getting on."""
        printed = b""
        if self._log and self._log.is_file():
            with self._log.open("rb") as file:
                file.seek(self._told)
                printed = file.read()
            self._told += len(printed)
        child = self._child
        return News(child.share if child else 0.0, child.speed if child else 0.0, printed)

    def halt(self) -> None:
        """Let the run leave a checkpoint and end; do no other."""
        self._halted = True
        if self._child:
            self._child.halt()

    def read(self, path: Path, start: int, count: int) -> bytes:
        """Bytes of a file that the driver does not see."""
        with path.open("rb") as file:
            file.seek(start)
            return file.read(count)

    def forget(self, paths: Sequence[Path]) -> None:
        """Remove files that the driver has."""
        for path in paths:
            path.unlink(missing_ok=True)
