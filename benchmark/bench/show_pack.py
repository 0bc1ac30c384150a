"""What `usbench bench --pack` prints: throughput of several trainings at a time."""

import shutil
import sys
from collections.abc import Iterator

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table as Grid
from rich.text import Text

from benchmark.bench.pack import NO_STREAMS, PROCESSES, STREAMS, PackBench, Packing, PackReport
from benchmark.render import to_screen


def as_text(report: PackReport) -> str:
    """The report for the terminal at hand."""
    width = shutil.get_terminal_size().columns
    return to_screen(_parts(report), width, sys.stdout.isatty())


def verdict(bench: PackBench) -> str:
    """What to do: "pack 4 by processes: 2.3x"."""
    best = bench.best
    if best.runs == 1 and best.way == PROCESSES:
        return "one at a time"
    told = f"pack {best.runs} by {best.way}: {best.ratio:.1f}x"
    return told if best.way == PROCESSES else f"{told} (`usbench sweep --pack` makes processes)"


def _parts(report: PackReport) -> Iterator[RenderableType]:
    done = list(report.methods.values())
    if done:
        yield _grid(done)
        for bench in done:
            yield Text(f"{bench.title}: {verdict(bench)}")
        yield Text(_note(report, done))
    for bench in done:
        for packing in bench.packings:
            if packing.problem and packing.problem != NO_STREAMS:
                what = f"{bench.title}, {packing.runs} by {packing.way}"
                yield Text(f"{what} failed: {packing.problem}", style="red")
    for name, reason in report.failed.items():
        yield Text(f"{name} failed: {reason}", style="red")


def _grid(benches: list[PackBench]) -> Grid:
    grid = Grid(
        title="Images/s of all runs, and times those of one process",
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    grid.add_column("method")
    for heading in ("runs", PROCESSES, "times", STREAMS, "times"):
        grid.add_column(heading, justify="right")
    for bench in benches:
        found = {(packing.runs, packing.way): packing for packing in bench.packings}
        for place, runs in enumerate(sorted({runs for runs, _ in found})):
            cells = [cell for way in (PROCESSES, STREAMS) for cell in _cells(found[runs, way])]
            grid.add_row("" if place else bench.title, str(runs), *cells)
    return grid


def _cells(packing: Packing) -> tuple[str, str]:
    if packing.problem:
        return "-", "-"
    return f"{packing.images_per_s:,.1f}", f"{packing.ratio:.2f}"


def _note(report: PackReport, done: list[PackBench]) -> str:
    """What a reader must know to read the numbers."""
    machine, first = report.machine, done[0]
    images = "random images" if report.data == "random" else f"data set {report.data[:12]}"
    if machine["device"].startswith("cpu"):
        shared = f"its {machine['threads']} threads are shared out; streams: {NO_STREAMS}"
    else:
        shared = "processes take turns on it, unless NVIDIA's MPS runs"
    return (
        f"{machine['device']}: {shared}. Preset {report.preset}, {images}; "
        f"{first.steps} steps of each run, {first.batch} images a step, all runs at the same time."
    )
