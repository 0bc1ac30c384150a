"""Speed of one method's training step, beside a plain loop over the same losses.

The plain loop is what one would write first: fp32, memory as it comes, nothing compiled, no graph,
the optimiser one tensor after another. The two take turns in one process. Of a method of several
stages it is a step of the last, with background as pseudo-labels; `begin` is not called.
"""

import time
from dataclasses import dataclass
from statistics import median

import torch

from benchmark.bench.count import count, kernels
from benchmark.bench.images import resident_batches, tasks_of
from benchmark.bench.phases import INPUT, PHASES, input_alone, phases
from benchmark.bench.rates import Rates, synchronise
from benchmark.bench.sides import Ours, PlainLoop, Timing, take_turns
from benchmark.evaluate import predict
from benchmark.execution import Execution
from benchmark.method import Method
from benchmark.methods import METHODS
from benchmark.protocol import Protocol
from benchmark.resolve import Plan
from benchmark.weights import trainable

STEPS = {"cuda": 100, "cpu": 10}  # timed on each side
PREDICTIONS = {"cuda": 5, "cpu": 2}  # the fastest counts
CLOSER = 5  # steps at most that are looked at phase by phase


@dataclass(frozen=True, slots=True)
class StepBench:
    """One method under one preset on one device."""

    title: str
    tasks: tuple[str, ...]
    execution: Execution
    protocol: Protocol
    config: Method.Config
    parameters: int  # that learn
    steps: int  # timed on each side
    ours: Timing
    plain: Timing
    speedup: float  # wall time per step, plain loop over ours
    cpu_speedup: float  # processor time per step, plain loop over ours
    phases_ms: dict[str, float]  # of an uncompiled step, with a wait after each phase
    input_share: float  # of the time in kernels, as executed; on a CPU of the phases
    input_share_of: str  # "kernels" or "phases"
    prediction_ms_per_image: float  # in batches as the evaluation has them
    calls_per_step: int  # aten calls that compute, uncompiled
    gflop_per_step: float
    gb_per_step: float  # read and written by those calls
    kernels_per_step: int | None  # launched on a GPU, as executed
    plain_kernels_per_step: int | None
    kernel_ms_per_step: float | None
    matrix_unit: str  # precision whose rate is the scale
    matrix_share: float  # of that rate, as measured; on a CPU by processor time
    bandwidth_share: float  # of the measured rate of copying, likewise


def measure(plan: Plan, rates: Rates, steps: int | None = None) -> StepBench:
    """Build a method twice, let the two take turns, then look closer at ours.

    Args:
        plan: of the method. With weights "none" text features are not had either: zeros of their
            width stand in.
        rates: of the device.
        steps: timed on each side; default `STEPS`.
    """
    device = plan.device
    steps = steps or STEPS[device.type]
    batches = resident_batches(plan)
    ours, plain = Ours(plan, batches), PlainLoop(plan, batches)
    timing, plain_timing = take_turns((ours, plain), steps)
    launched, plain_launched = (kernels(side.steps, device) for side in (ours, plain))
    execution = ours.stepper.execution
    prediction = prediction_ms(ours)
    ours.uncompiled()
    work = count(ours.steps)
    splits = [
        phases(ours.steps, batches, ours.optimizer, device) for _ in range(min(steps, CLOSER))
    ]
    phases_ms = {name: 1e3 * median(split[name] for split in splits) for name in PHASES}
    input_share, share_of = phases_ms[INPUT] / sum(phases_ms.values()), "phases"
    if launched and (of_input := kernels(input_alone(ours.steps, batches), device)):
        input_share, share_of = of_input.ms / launched.ms, "kernels"
    unit = matrix_unit(execution)
    ms = timing.ms_per_step if device.type == "cuda" else timing.cpu_ms_per_step
    return StepBench(
        title=METHODS[plan.request.method].title,
        tasks=tasks_of(plan),
        execution=execution,
        protocol=plan.protocol,
        config=plan.config,
        parameters=trainable(ours.method),
        steps=steps,
        ours=timing,
        plain=plain_timing,
        speedup=plain_timing.ms_per_step / timing.ms_per_step,
        cpu_speedup=plain_timing.cpu_ms_per_step / timing.cpu_ms_per_step,
        phases_ms=phases_ms,
        input_share=input_share,
        input_share_of=share_of,
        prediction_ms_per_image=prediction,
        calls_per_step=work.calls,
        gflop_per_step=work.flop / 1e9,
        gb_per_step=work.bytes / 1e9,
        kernels_per_step=launched.number if launched else None,
        plain_kernels_per_step=plain_launched.number if plain_launched else None,
        kernel_ms_per_step=launched.ms if launched else None,
        matrix_unit=unit,
        matrix_share=work.flop / ms / 1e9 / rates.matrix_tflop_per_s[unit],
        bandwidth_share=work.bytes / ms / 1e6 / rates.copy_gb_per_s,
    )


def matrix_unit(execution: Execution) -> str:
    """The fastest unit that an execution lets products and convolutions use."""
    return "bf16" if execution.precision == "bf16" else "tf32" if execution.tf32 else "fp32"


@torch.inference_mode()
def prediction_ms(side: Ours) -> float:
    """Milliseconds an image of predicting one batch of the evaluation, on the device."""
    batch, device = side.plan.protocol.evaluation_batch, side.plan.device
    pixels = side.batches.images.pixels[:batch]
    side.method.eval()
    times = []
    for _ in range(PREDICTIONS[device.type]):
        synchronise(device)
        began = time.perf_counter()
        for _ in predict(side.method, pixels, 0, batch, side.plan.execution.precision):
            pass
        synchronise(device)
        times.append(time.perf_counter() - began)
    side.method.train()
    return 1e3 * min(times) / len(pixels)
