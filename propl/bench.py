"""ProPL's step against the released arithmetic: four full forwards, text encoder in the loop.

    python -m propl.bench [--preset paper] [--batch 16] [--steps 5] [--device cpu] [--threads 1]

Images and weights are random: time depends on neither. The two sides do the same steps in turns in
one process. Theirs is eager fp32, memory as it comes; ours is what `usbench run` does on the device
at hand. A third side, ours with more perturbations, tells what one costs beside a full forward,
which is what the released code pays for it.
"""

import argparse
import math
import time
from dataclasses import replace

import torch
from torch import Tensor
from transformers import BertConfig, BertModel

from benchmark import machine
from benchmark.bench.images import RANDOM, resident_batches
from benchmark.bench.rates import synchronise
from benchmark.bench.sides import Ours, PlainLoop, Side, Timing, take_turns
from benchmark.execution import PRECISIONS
from benchmark.method import Setup
from benchmark.protocol import PRESETS
from benchmark.resolve import Request, resolve
from dataset_builders.errors import UsageError
from propl.method import ProPL
from propl.plain import PlainProPL
from propl.prompts import TOKENS

MORE = 4  # perturbations beyond N, to tell what one costs
BERT = BertConfig()  # BERT-base: 12 layers of width 768
MINILM = BertConfig(
    hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536
)
READERS = {"bert": BERT, "cxr-bert": BERT, "minilm": MINILM}


class Released(PlainProPL):
    """N + 2 full forwards, each with the frozen text encoder; its weights are random."""

    def __init__(self, config: ProPL.Config, setup: Setup) -> None:
        super().__init__(config, setup)
        reader = BertModel(
            READERS[setup.protocol.text or self.text_encoder], add_pooling_layer=False
        )
        self.reader = reader.requires_grad_(False)
        self.tokens: Tensor
        self.register_buffer("tokens", torch.randint(1, 30_000, (len(setup.tasks), TOKENS)))

    def prompt(self, tasks: Tensor) -> Tensor:
        features: Tensor = self.reader(self.tokens[tasks]).last_hidden_state
        return features


def full_forward_ms(side: Side, repeats: int) -> float:
    """One forward of all that `Released` has, on the unlabelled half, without gradient."""
    method, batch, device = side.method, side.batches.at(0), side.plan.device
    assert isinstance(method, Released)
    now = time.perf_counter if device.type == "cuda" else time.process_time
    least = math.inf
    for _ in range(repeats + 1):  # the first warms up
        synchronise(device)
        began = now()
        with torch.no_grad():
            method.both(batch.img_u, batch.task_u, batch.key_u)
        synchronise(device)
        least = min(least, now() - began)
    return 1e3 * least


def compare(request: Request, steps: int) -> None:
    """Print the times of the settings asked for, so many steps of each side."""
    plan = resolve(request, RANDOM)
    n, half = ProPL.Config().perturbations, plan.protocol.batch // 2
    more = replace(plan, config=ProPL.Config(perturbations=n + MORE))
    batches = resident_batches(plan)
    released = PlainLoop(replace(plan, kind=Released), batches)
    sides = released, Ours(plan, batches), Ours(more, batches)
    timings = take_turns(sides, steps)
    theirs_ms, ours_ms, more_ms = (_ms(timing, plan.device) for timing in timings)
    extra, forward = (more_ms - ours_ms) / MORE, full_forward_ms(released, steps)

    protocol, on_gpu = plan.protocol, plan.device.type == "cuda"
    print(
        f"{request.preset}: {protocol.encoder or ProPL.encoder} at {protocol.size} px, "
        f"{half} + {half} images, text {protocol.text}, N = {n}; {plan.execution.precision} "
        f"on {machine.describe(plan.device)['device']}\n"
        f"{'wall' if on_gpu else 'processor'} time, ms a step"
    )
    print(f"  {f'{n + 2} full forwards':32}{theirs_ms:10.1f}")
    print(f"  {'this package':32}{ours_ms:10.1f}{theirs_ms / ours_ms:8.2f} times faster")
    print(f"  {'one perturbation more':32}{extra:10.1f}{extra / forward:8.2f} of a full forward")
    print(f"  {'a full forward, no gradient':32}{forward:10.1f}")
    if on_gpu:
        memory = " against ".join(f"{side.peak_memory_mb:,.0f}" for side in sides[:2])
        print(f"  peak memory beside the images: {memory} MB")


def _ms(timing: Timing, device: torch.device) -> float:
    """Wall time on a GPU, else processor time: other work on the machine counts little then."""
    return timing.ms_per_step if device.type == "cuda" else timing.cpu_ms_per_step


def main() -> None:
    """Compare under one preset."""
    parser = argparse.ArgumentParser(prog="python -m propl.bench")
    parser.add_argument("--preset", default="paper", choices=PRESETS)
    parser.add_argument("--batch", type=int, help="images a step, half of them labelled")
    parser.add_argument("--steps", type=int, default=5, help="timed on each side")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", choices=PRECISIONS, help="of our side")
    parser.add_argument("--compile", action="store_true", help="our side")
    parser.add_argument("--threads", type=int, default=1, help="of the CPU")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    changes = {"weights": "none", "batch": options.batch or PRESETS[options.preset].batch}
    request = Request(
        method="propl",
        split="1_4",
        preset=options.preset,
        overrides=changes,
        device=options.device,
        precision=options.precision,
        compile=options.compile,
    )
    try:
        compare(request, options.steps)
    except UsageError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
