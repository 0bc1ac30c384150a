"""All that is to be run on a GPU, in order of what it is worth, as far as a budget goes.

    python results/gpu.py --data data --budget 25m

Call it again and it goes on: what has a record is done, what has a checkpoint is resumed. Speed is
measured method by method, each in a process and a file of its own.
"""

import argparse
import json
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmark.commands.selection import seconds_in
from benchmark.methods import METHODS
from benchmark.protocol import PRESETS
from benchmark.resolve import method_class
from dataset_builders.errors import UsageError

LEAST = 30.0  # seconds; with less left nothing is begun
FIRST = ("unet", "mamba_unet", "segformer", "unimatch", "u2pl", "ddfp", "dodnet", "clip_um",
         "univ_full")  # fmt: skip
# Two ways to begin, never mixed in a table. Neither asks a model hub for anything.
SHARED = ("encoder=tf_efficientnet_lite2", "weights=packaged", "text=minilm")
OWN = ("weights=none", "text=minilm")


@dataclass(frozen=True)
class Stage:
    """A command that can be called again and again until nothing of it is left."""

    name: str
    words: tuple[str, ...]  # of usbench
    out: Path | None = None  # what it writes when it is done; None: records say what is

    def is_done(self) -> bool:
        """Whether there is nothing to do; a sweep finds that out by itself."""
        if self.out is None or not self.out.exists():
            return False
        return not json.loads(self.out.read_text()).get("not_begun")

    def with_budget(self, seconds: float) -> tuple[str, ...]:
        """The words, and that it shall end in time, where it can be told to."""
        if "--pack" in self.words:
            return self.words
        return (*self.words, "--budget", f"{seconds:.0f}" + "s" * (self.words[0] == "sweep"))


def can_share(name: str) -> bool:
    """Whether a method's encoder can be exchanged for the shared one."""
    kind = method_class(METHODS[name].target or "")
    return "packaged" in kind.weights and not kind.from_scratch(kind.Config())


def stages(results: Path, data: Path, preset: str = "paper") -> Iterator[Stage]:
    """In order. The shared encoder comes first: it is the fair comparison of methods.

    Args:
        results: where records and measurements go.
        data: built data set.
        preset: of the trainings; speed is always that of `paper`.
    """
    yield from speeds(results, "fp32")
    yield from speeds(results, "bf16", "--compile")
    pack = results / "bench/pack.json"
    words = ("bench", "--method", "unet", "--method", "propl", "--pack", "1,2,4")
    yield Stage("runs at a time", (*words, "--out", str(pack)), pack)
    several = partial(sweeps, results=results, data=data, preset=preset)
    yield from several("ProPL", tables="1-3", methods=("propl",))
    yield from several("its ablations", tables="4-6", methods=("propl",))
    for number in (1, 3, 4):  # 2 is the default
        own = (f"propl.perturbations={number}",)
        yield from several(f"N = {number}", tables="1-3", methods=("propl",), settings=own)
    yield from several("the main rivals", tables="1-3", methods=FIRST)
    yield from several("all methods", tables="1-3", methods=tuple(METHODS))
    for seed in ("1", "2"):
        yield from several(f"seed {seed}", tables="1-6", methods=tuple(METHODS), seeds=seed)


def speeds(results: Path, precision: str, *more: str) -> Iterator[Stage]:
    """The speed of each method. What one breaks on a GPU, no other meets."""
    for name in METHODS:
        out = results / f"bench/{precision}/{name}.json"
        words = ("bench", "--method", name, "--precision", precision, *more, "--out", str(out))
        yield Stage(f"speed of {name}, {precision}", words, out)


def sweeps(
    name: str,
    *,
    results: Path,
    data: Path,
    preset: str,
    tables: str,
    methods: tuple[str, ...],
    settings: tuple[str, ...] = (),
    seeds: str = "0",
) -> Iterator[Stage]:
    """One sweep with the shared encoder, where it can be had, and one with the methods' own."""
    for folder, beginning in (("shared", SHARED), ("own", OWN)):
        which = [method for method in methods if folder == "own" or can_share(method)]
        given = [word for value in (*beginning, *settings) for word in ("--set", value)]
        yield Stage(
            f"{name}, {folder} encoder",
            ("sweep", "--tables", tables, "--methods", ",".join(which), "--seeds", seeds, *given,
             "--preset", preset, "--data", str(data), "--results", str(results / folder),
             "--no-weights", "--retry"),
        )  # fmt: skip


def main() -> int:
    """Exit code 1 if some runs failed; that of a command that could not begin, else 0."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("data"), help="built data set")
    parser.add_argument("--results", type=Path, default=Path("results/gpu"))
    parser.add_argument("--budget", default="25m", help="90s, 25m, 8h")
    parser.add_argument(
        "--preset", default="paper", choices=PRESETS, help="of the trainings; one a folder"
    )
    parser.add_argument("--dry-run", action="store_true", help="only print the commands")
    asked = parser.parse_args()
    try:
        end = time.monotonic() + seconds_in(asked.budget)
    except UsageError as error:
        parser.error(str(error))
    worst = 0
    for stage in stages(asked.results, asked.data, asked.preset):
        if asked.dry_run:
            print(f"# {stage.name}\nusbench {shlex.join(stage.words)}")
            continue
        if stage.is_done():
            continue
        if (left := end - time.monotonic()) < LEAST:
            print("the budget is spent; the same command goes on")
            break
        print(f"# {stage.name}", flush=True)
        words = [sys.executable, "-m", "benchmark.cli", *stage.with_budget(left)]
        code = subprocess.run(words, check=False).returncode
        if code > 1:
            return code
        worst = worst or code
    return worst


if __name__ == "__main__":
    raise SystemExit(main())
