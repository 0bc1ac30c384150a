"""The engine for a Ray cluster: one actor a slot, on whatever nodes there are.

The driver, which is this process, holds the queue and leases the jobs for its actors; where it is
killed, its leases are void, and Ray ends its actors. Where a node goes, what it did goes on from
its checkpoint elsewhere; where one comes, it gets work. An actor that does not see the folder of
results works in one of its own node, and the driver collects what it finished.
"""

import os
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from benchmark.files import replacing
from benchmark.hub_data import SCHEME
from benchmark.sweep.child import (
    BEAT_SECONDS,
    DIED,
    DONE,
    FAILED,
    HALTED,
    UNFIT,
    Outcome,
    versions_here,
)
from benchmark.sweep.collecting import PIECE, collect, earlier
from benchmark.sweep.embedded import slots_here
from benchmark.sweep.engine import WorkerError
from benchmark.sweep.jobs import Job, request_of
from benchmark.sweep.queue import WAITING, Entry, Queue
from benchmark.sweep.ray_actor import Actor, Order, Place, Token
from benchmark.sweep.worker import log_of
from dataset_builders.errors import UsageError

PATIENCE = 120.0  # seconds that runs have to write their checkpoints
_STILLBORN = 5  # so many actors in a row may end before they answer
_SWITCHES = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",  # its 15 gives way to all else on the machine
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # as later versions do; this one else warns
}
_TOLD = 5  # lines of an error that are kept in the queue
_STORE = 80 * 2**20  # bytes of Ray's object store: pieces of files are all that goes through it


@dataclass(eq=False)
class _Slot:
    """An actor, and what it was asked and has not answered yet."""

    actor: Any
    placing: Any
    place: Place | None = None
    entry: Entry | None = None  # the job that it does
    working: Any = None
    news: Any = None
    heard: float = 0.0
    like: str = ""  # method of its last job
    unfit: bool = False  # it gets no job, and keeps others from its place


@dataclass(frozen=True, slots=True)
class _Share:
    """What one slot takes of a cluster, and how many there are."""

    gpu: float
    cpus: int
    count: int


class RayWorkers:
    """Actors in a cluster, as many as it has room for, as long as there is work.

    Args:
        queue: their work.
        address: of the cluster, host:port, or "auto" for the one of this machine; None starts one
            here that ends with the sweep.
        slots: runs at a time; None for one a CPU, or `pack` a GPU where there are any.
        pack: runs at a time on one GPU.
        device: as `usbench run` takes it; "cpu" leaves GPUs alone.

    Raises:
        WorkerError: Ray is not installed.
    """

    def __init__(
        self,
        queue: Queue,
        address: str | None = None,
        slots: int | None = None,
        pack: int = 1,
        device: str = "auto",
    ) -> None:
        for name, value in _SWITCHES.items():
            os.environ.setdefault(name, value)
        try:
            import ray
        except ImportError:
            raise WorkerError(
                "--engine ray needs Ray, which is not installed; "
                "install it with: pip install 'usbench[ray]'"
            ) from None
        self._ray: Any = ray
        self._queue, self._address, self._limit, self._pack = queue, address, slots, pack
        self._on_gpus = device != "cpu"
        self._cpus = 1  # of a slot without a GPU
        self._slots: list[_Slot] = []
        self._unfit: dict[str, str] = {}  # Ray's id of a node -> why
        self._stillborn = 0
        self._versions = versions_here()
        self._token = _token(queue.path)

    def __enter__(self) -> Self:
        self._queue.reclaim()
        own: dict[str, Any] = {}
        if self._address is None:
            here = slots_here(self._limit, "cpu")
            self._cpus = here[0].threads
            cpus = self._cpus * len(here)
            own = {"num_cpus": cpus, "object_store_memory": _STORE, "include_dashboard": False}
        try:
            self._ray.init(
                self._address or "local", log_to_driver=False, logging_level="ERROR", **own
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise WorkerError(
                f"no Ray cluster to work with at {self._address or 'this machine'} "
                f"({str(error).strip().splitlines()[0]}); start one with `ray start --head`, and "
                "on every other machine `ray start --address=HOST:6379`"
            ) from None
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.stop()
        finally:
            self._ray.shutdown()

    def tend(self) -> bool:
        """Look after the actors once; returns whether there is work left.

        Raises:
            WorkerError: no node can do a run, or actors cannot even start.
        """
        for slot in list(self._slots):
            try:
                self._look_after(slot)
            except self._ray.exceptions.RayTaskError as error:
                self._broke(slot, error)
            except self._ray.exceptions.RayError:
                self._lost(slot)
        busy = sum(slot.entry is not None for slot in self._slots)
        waiting = sum(entry.state == WAITING for entry in self._queue.entries())
        self._grow(busy + waiting)
        return busy + waiting > 0

    def stop(self) -> None:
        """Ask all runs to stop; they leave checkpoints, and their jobs wait again."""
        busy = [slot for slot in self._slots if slot.working]
        for slot in busy:
            slot.actor.halt.remote()
        until = time.monotonic() + PATIENCE
        for slot in busy:
            with suppress(self._ray.exceptions.RayError, UsageError):  # the others have theirs
                left = max(0.0, until - time.monotonic())
                self._over(slot, self._ray.get(slot.working, timeout=left))
            self._give_back(slot)
        self._slots.clear()

    def _grow(self, wanted: int) -> None:
        """Make actors while there is room for them and work."""
        alive = {node["NodeID"] for node in self._ray.nodes() if node["Alive"]}
        self._unfit = {node: why for node, why in self._unfit.items() if node in alive}
        self._slots = [
            slot
            for slot in self._slots
            if not (slot.unfit and slot.place and slot.place.node not in alive)
        ]
        share = self._share()
        fit = [slot for slot in self._slots if not slot.unfit]
        if not fit and self._unfit and len(self._slots) >= share.count:
            raise WorkerError("no node can do a run: " + "; ".join(self._unfit.values()))
        room = min(share.count - len(self._slots), (self._limit or share.count) - len(fit))
        for _ in range(min(room, wanted - len(fit))):
            actor = (
                self._ray.remote(Actor)
                .options(
                    num_gpus=share.gpu,
                    num_cpus=0 if share.gpu else share.cpus,
                    max_concurrency=2,  # it answers while it works
                    scheduling_strategy="SPREAD",
                )
                .remote(self._token)
            )
            self._slots.append(_Slot(actor, actor.place.remote()))

    def _share(self) -> _Share:
        """Of the nodes that are alive now."""
        total = self._ray.cluster_resources()
        gpus, cpus = int(total.get("GPU", 0)), int(total.get("CPU", 0))
        if gpus and self._on_gpus:
            # rounded down, as Ray counts in ten thousandths: `pack` of them must fit
            return _Share(10_000 // self._pack / 10_000, 0, gpus * self._pack)
        return _Share(0, self._cpus, cpus // self._cpus)

    def _is_there(self, answer: Any) -> bool:  # noqa: ANN401 - Ray's
        return bool(self._ray.wait([answer], timeout=0)[0])

    def _look_after(self, slot: _Slot) -> None:
        if slot.place is None:
            if not self._is_there(slot.placing):
                return
            slot.place = self._ray.get(slot.placing)
            slot.unfit = slot.place.node in self._unfit
            self._stillborn = 0
        if slot.entry and self._is_there(slot.working):
            self._over(slot, self._ray.get(slot.working))
        elif slot.entry:
            self._hear(slot)
        if slot.entry is None and not slot.unfit and slot in self._slots:
            self._give(slot)

    def _give(self, slot: _Slot) -> None:
        """The next job, if there is one."""
        entry = self._queue.lease(os.getpid(), slot.like)
        if entry is None:
            return
        assert slot.place
        slot.entry, slot.like = entry, entry.name.partition("/")[0]
        folder, request = slot.place.folder, request_of(entry.spec)
        results = (folder or request.results).absolute()
        hub = str(request.data).startswith(SCHEME)
        data = request.data if hub else request.data.absolute()
        order = Order(
            name=entry.name,
            spec=Job(entry.name, replace(request, results=results, data=data)).spec,
            log=log_of(results / self._queue.path.name, entry.name),
            threads=self._threads(slot.place),
            versions=self._versions,
            earlier=earlier(request.results, entry.name) if folder else {},
        )
        slot.heard = time.monotonic()
        slot.working = slot.actor.work.remote(order, folder)

    def _threads(self, place: Place) -> int:
        """Of torch: where GPUs are shared out, every slot has its part of the node's CPUs."""
        nodes: list[dict[str, Any]] = self._ray.nodes()
        has: dict[str, float] = next(
            (node["Resources"] for node in nodes if node["NodeID"] == place.node), {}
        )
        slots = int(has.get("GPU", 0)) * self._pack if self._on_gpus else 0
        return max(1, int(has.get("CPU", 1)) // slots) if slots else self._cpus

    def _hear(self, slot: _Slot) -> None:
        """Tell the queue how the run is getting on, now and then."""
        if slot.news is None:
            if time.monotonic() - slot.heard > BEAT_SECONDS:
                slot.news, slot.heard = slot.actor.news.remote(), time.monotonic()
        elif self._is_there(slot.news):
            self._tell(slot)

    def _tell(self, slot: _Slot) -> None:
        assert slot.entry
        news, slot.news = self._ray.get(slot.news), None
        if news.log:
            log = log_of(self._queue.path, slot.entry.name)
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("ab") as file:
                file.write(news.log)
        if not self._queue.beat(slot.entry.name, os.getpid(), news.share, news.speed):
            slot.actor.halt.remote()  # another has the job

    def _over(self, slot: _Slot, outcome: Outcome) -> None:
        """A run ended, in whatever way."""
        assert slot.entry
        assert slot.place
        name, me = slot.entry.name, os.getpid()
        if slot.place.folder:
            if slot.news is not None:
                self._tell(slot)
            slot.news = slot.actor.news.remote()
            self._tell(slot)  # the rest of its log
        if outcome.state == DONE:
            if slot.place.folder:
                self._collect(slot, slot.place.folder, outcome)
            self._queue.finish(name, me)
        elif outcome.state == FAILED:
            self._queue.fail(name, me, outcome.problem)
        elif outcome.state == UNFIT:
            slot.unfit = True
            if slot.place.node not in self._unfit:  # told once
                self._unfit[slot.place.node] = outcome.problem
                self._queue.fail(name, me, outcome.problem)
        self._give_back(slot, died=outcome.state == DIED)
        if outcome.state == HALTED:  # it does no other
            self._drop(slot)

    def _collect(self, slot: _Slot, folder: Path, outcome: Outcome) -> None:
        """Bring what a run left here from the folder of its node."""

        def fetch(file: str, start: int) -> bytes:
            content: bytes = self._ray.get(slot.actor.read.remote(folder / file, start, PIECE))
            return content

        assert slot.entry
        name = slot.entry.name
        collect(request_of(slot.entry.spec).results, name, outcome.files, fetch)
        log = log_of(folder / self._queue.path.name, name)
        slot.actor.forget.remote([*(folder / file for file in outcome.files), log])

    def _broke(self, slot: _Slot, error: Exception) -> None:
        """An actor raised what it should not: its job fails, and the others go on.

        Raises:
            WorkerError: before it had one.
        """
        told = str(error).strip().splitlines()
        if slot.entry is None or slot.place is None:
            raise WorkerError(
                f"an actor could not start ({told[-1]}); install the same usbench on every node"
            )
        problem = "\n".join([f"on node {slot.place.host}:", *told[-_TOLD:]])
        self._queue.fail(slot.entry.name, os.getpid(), problem)
        self._drop(slot)  # it may be at the run still

    def _lost(self, slot: _Slot) -> None:
        """An actor is no more, or out of reach."""
        if slot.place is None:
            self._stillborn += 1
            if self._stillborn == _STILLBORN:
                raise WorkerError(
                    f"{_STILLBORN} actors in a row ended before they could take a job; "
                    "see the logs that Ray keeps on its nodes"
                )
        self._give_back(slot, died=True)
        self._drop(slot)

    def _drop(self, slot: _Slot) -> None:
        self._ray.kill(slot.actor)
        self._slots.remove(slot)

    def _give_back(self, slot: _Slot, *, died: bool = False) -> None:
        """Its job waits again, unless that is over."""
        if slot.entry:
            self._queue.give_back(os.getpid(), slot.entry.name, died=died)
        slot.entry = slot.working = slot.news = None


def _token(queue: Path) -> Token:
    """Beside the queue; the same for all drivers, so that nodes find what they began."""
    path = queue.absolute().with_suffix(".token")
    if not path.is_file():
        text = uuid.uuid4().hex.encode()
        with replacing(path, len(text)) as file:
            file.write(text)
    return Token(path, path.read_text())
