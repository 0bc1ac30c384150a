"""The engines by name, and what a user may say of each."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmark.settings import choose
from benchmark.sweep.embedded import Workers, slots_here
from benchmark.sweep.engine import Engine
from benchmark.sweep.queue import Queue
from dataset_builders.errors import UsageError

if TYPE_CHECKING:
    from benchmark.sweep.slurm_engine import SlurmWorkers

ENGINES = ("embedded", "ray", "slurm")


@dataclass(frozen=True, slots=True)
class Place:
    """Where the runs of a sweep are to be done.

    Raises:
        UsageError: an engine that is not known, or something that is said to another one.
    """

    engine: str = "embedded"
    device: str = "auto"  # as `usbench run` takes it
    slots: int | None = None  # runs at a time, of SLURM tasks; None: all there is room for
    pack: int = 1  # runs at a time on one GPU
    address: str | None = None  # of a Ray cluster
    slurm: tuple[str, ...] = ()  # name=value of sbatch
    detach: bool = False  # leave what was submitted to SLURM

    def __post_init__(self) -> None:
        choose("engine", self.engine, ENGINES)
        if ":" in self.device and self.engine != "embedded":
            raise UsageError(f"--device {self.device}: the engine chooses the GPU; write cuda")
        if self.address is not None and self.engine != "ray":
            raise UsageError(f"--address {self.address} is of a Ray cluster; add --engine ray")
        if (self.slurm or self.detach) and self.engine != "slurm":
            word = f"--slurm {self.slurm[0]}" if self.slurm else "--detach"
            raise UsageError(f"{word} is for a SLURM cluster; add --engine slurm")
        if self.engine == "slurm" and self.slots is None:
            raise UsageError("--engine slurm needs --slots: how many tasks run at a time")


def engine_at(place: Place, queue: Queue) -> Engine:
    """The engine that works there.

    Raises:
        UsageError: it is not installed, or cannot do what was asked for.
    """
    if place.engine == "slurm":
        return _slurm(place, queue)
    if place.engine == "ray":
        from benchmark.sweep.ray_engine import RayWorkers

        return RayWorkers(queue, place.address, place.slots, place.pack, place.device)
    return Workers(queue, slots_here(place.slots, place.device, place.pack))


def leave_to_slurm(place: Place, queue: Queue) -> str:
    """Submit the tasks and leave them; returns how to watch and to end them.

    Raises:
        UsageError: as `engine_at` does.
    """
    with _slurm(place, queue) as workers:
        return workers.detach()


def _slurm(place: Place, queue: Queue) -> "SlurmWorkers":
    from benchmark.sweep.slurm_engine import SlurmWorkers, parameters_of

    parameters = parameters_of(place.slurm, place.device, place.pack)
    return SlurmWorkers(queue, place.slots or 1, parameters, place.pack)
