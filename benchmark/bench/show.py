"""What `usbench bench` prints: how fast, where the time goes, what a step asks of the device."""

import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table as Grid
from rich.text import Text

from benchmark.bench.phases import PHASES
from benchmark.bench.step import StepBench
from benchmark.bench.suite import Report
from benchmark.execution import Execution
from benchmark.render import to_screen

Value = Callable[[StepBench], float | None]


@dataclass(frozen=True, slots=True)
class Column:
    """A heading of one or two lines, and what stands below it."""

    heading: str
    value: Value
    unit: str = ""


def as_text(report: Report) -> str:
    """The report for the terminal at hand."""
    width = shutil.get_terminal_size().columns
    return to_screen(_parts(report), width, sys.stdout.isatty())


def _parts(report: Report) -> Iterator[RenderableType]:
    done = list(report.methods.values())
    if done:
        yield _grid("Speed: ms a step and images/s", SPEED, done)
        yield _grid("Where a step's time goes: ms, one phase after another", TIME, done)
        yield _grid(
            "What a step asks of the device", [*ASKED, *(ON_GPU if on_gpu(report) else ())], done
        )
        yield Text("\n".join(_notes(report, done[0])))
    for name, reason in report.failed.items():
        yield Text(f"{name} failed: {reason}", style="red")
    if report.not_begun:
        yield Text(f"not begun, the budget was spent: {', '.join(report.not_begun)}")


SPEED = [
    Column("\nours", lambda b: b.ours.ms_per_step),
    Column("\n±", lambda b: 100 * _half_range(b), " %"),
    Column("plain\nloop", lambda b: b.plain.ms_per_step),
    Column("times\nfaster", lambda b: b.speedup),
    Column("CPU\nours", lambda b: b.ours.cpu_ms_per_step),
    Column("CPU\nplain", lambda b: b.plain.cpu_ms_per_step),
    Column("times\nfaster", lambda b: b.cpu_speedup),
    Column("\nimages/s", lambda b: b.ours.images_per_s),
]
TIME = [
    *(Column(f"\n{phase}", lambda b, phase=phase: b.phases_ms[phase]) for phase in PHASES),  # type: ignore[misc]
    Column("input\nshare", lambda b: 100 * b.input_share, " %"),
    Column("predict\nan image", lambda b: b.prediction_ms_per_image),
    Column("first\nsteps, s", lambda b: b.ours.first_steps_s),
]
ASKED = [
    Column("million\nparam.", lambda b: b.parameters / 1e6),
    Column("\nMB", lambda b: b.ours.peak_memory_mb),
    Column("\nGFLOP", lambda b: b.gflop_per_step),
    Column("\nGB", lambda b: b.gb_per_step),
    Column("aten\ncalls", lambda b: b.calls_per_step),
    Column("of matrix\nrate", lambda b: 100 * b.matrix_share, " %"),
    Column("of band-\nwidth", lambda b: 100 * b.bandwidth_share, " %"),
]
ON_GPU = [Column("CUDA\nkernels", lambda b: b.kernels_per_step)]


def on_gpu(report: Report) -> bool:
    """Whether kernels could be counted."""
    return report.machine["device"].startswith("cuda")


def _half_range(bench: StepBench) -> float:
    ours = bench.ours
    return (ours.ms_per_step_most - ours.ms_per_step_least) / 2 / ours.ms_per_step


def _grid(title: str, columns: list[Column], rows: list[StepBench]) -> Grid:
    grid = Grid(
        title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    grid.add_column("\nmethod")
    for column in columns:
        grid.add_column(column.heading, justify="right")
    for row in rows:
        grid.add_row(row.title, *(_number(column.value(row), column.unit) for column in columns))
    return grid


def _number(value: float | None, unit: str) -> str:
    """Three digits or more."""
    if value is None:
        return "-"
    decimals = 0 if isinstance(value, int) or value >= 99.95 else 1 if value >= 9.995 else 2
    return f"{value:,.{decimals}f}{unit}"


def _notes(report: Report, bench: StepBench) -> Iterator[str]:
    """What a reader must know to read the numbers."""
    protocol, machine = bench.protocol, report.machine
    images = "random images" if report.data == "random" else f"data set {report.data[:12]}"
    yield (
        f"{machine['device']}, CPU threads: {machine['threads']}. Preset {report.preset}: "
        f"{protocol.batch} images of {protocol.size} px a step; {images}; "
        f"weights {protocol.weights}."
    )
    yield (
        f"Ours: {_words(bench.execution)}. The plain loop: fp32 as torch has it, contiguous, not "
        "compiled, no graph, one tensor after another in the optimiser. They take turns; the "
        "middle turn counts, ± is half the range. CPU: processor time of all threads."
    )
    gpu = on_gpu(report)
    yield (
        "Input: dealing out the batch and making views; its share is of the time in "
        f"all {bench.input_share_of}{', 5 % at most is the goal' if gpu else ''}. "
        f"Predict: in batches of {protocol.evaluation_batch}. First steps: with building"
        f"{', tuning and capture' if gpu else ''}. MB: beyond the images."
    )
    matrix = ", ".join(f"{k} {v:.3g}" for k, v in report.rates.matrix_tflop_per_s.items())
    yield (
        f"Measured rates{'' if gpu else ', a second of processor time'}: matrix product {matrix} "
        "TFLOP/s; "
        f"copy {report.rates.copy_gb_per_s:.3g} GB/s, read and written. "
        "FLOP and GB are those of the uncompiled step."
    )


def _words(execution: Execution) -> str:
    """What differs from the plain loop."""
    flags = {name: value for name, value in asdict(execution).items() if value is True}
    return ", ".join([execution.precision, *flags])
