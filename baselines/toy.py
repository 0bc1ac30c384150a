"""A toy on which unlabelled images must help: whether the semi-supervised methods work at all.

    python -m baselines.toy [--methods fixmatch unimatch] [--seeds 3] [--steps 600]

Breast lesions as `dataset_builders.phantom` draws them in two domains, Dataset B and BUSI, 64 px:
8 labelled and 256 unlabelled images, the others for testing. All methods have DeepLabv3+ on the
packaged EfficientNet-Lite0, the same first weights, batches and weak views at a seed, and the same
number of steps (ST++ has as many for each of its three trainings); their settings are the paper's.

Prints a row a method: mean Dice over test images and seeds beside that of the labelled-only method.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from baselines.semi import SemiSupervised
from benchmark.data import Batches, resident
from benchmark.dataset import Images, load, open_dataset
from benchmark.evaluate import predict
from benchmark.execution import Execution
from benchmark.method import Method, Setup
from benchmark.methods import METHODS, SINGLE_SEMI
from benchmark.protocol import PRESETS
from benchmark.resolve import method_class
from benchmark.train import make_optimizer, train
from dataset_builders.build import build
from dataset_builders.phantom import write

TASK, SIZE = "BC", 64
LABELLED, UNLABELLED = 8, 256
IMAGES = 180  # of each domain: 264 of both are for training
SOURCES = "busi", "udiat"
REFERENCE = "labelled only"
SEMI = tuple(name for name, entry in METHODS.items() if entry.category == SINGLE_SEMI)


@dataclass(frozen=True, slots=True)
class Toy:
    """Training images in order of rank, the labelled ones first, and test images."""

    training: Images
    test: Images


def draw(folder: Path) -> Toy:
    """The toy's images; the same every time."""
    write(folder / "raw", images=IMAGES, sources=SOURCES)
    build(folder / "raw", folder / "data", allow_missing=True)
    dataset = open_dataset(folder / "data")
    training = load(dataset, TASK, "train", SIZE)
    count = LABELLED + UNLABELLED
    kept = Images(
        TASK,
        training.ids[:count],
        training.groups[:count],
        training.pixels[:count],
        training.masks[:count],
    )
    return Toy(kept, load(dataset, TASK, "test", SIZE))


def dice_of(kind: type[SemiSupervised], toy: Toy, seed: int, steps: int) -> float:
    """Train a method and return its mean Dice over the test images, in per cent."""
    protocol = PRESETS["mini"].with_(size=SIZE, steps=steps)
    torch.manual_seed(seed)
    method = kind(kind.Config(), Setup((TASK,), protocol, seed))
    images = resident([toy.training], [LABELLED], torch.device("cpu"), unlabelled=True)
    batches = Batches(images, protocol.batch, seed, unlabelled=True)
    optimizer = make_optimizer(method, protocol)
    train(method, batches, optimizer, protocol, steps, execution=Execution())
    return score(method, toy.test)


@torch.no_grad()
def score(method: Method, test: Images) -> float:
    """Mean Dice of single images, in per cent; 100 where mask and prediction are empty."""
    method.eval()
    probs = torch.cat(list(predict(method, torch.tensor(test.pixels), 0, 64))).numpy()
    found, truth = probs > 0.5, test.masks > 0
    overlap = (found & truth).sum((1, 2))
    both = found.sum((1, 2)) + truth.sum((1, 2))
    return float(100 * np.where(both, 2 * overlap / np.maximum(both, 1), 1).mean())


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 1 if a method does not beat the labelled-only one."""
    parser = argparse.ArgumentParser(prog="python -m baselines.toy")
    parser.add_argument("--methods", nargs="+", default=SEMI, choices=SEMI)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=600)
    options = parser.parse_args(arguments)
    kinds: dict[str, type[SemiSupervised]] = {REFERENCE: SemiSupervised}
    for name in options.methods:
        kind = method_class(METHODS[name].target or "")
        assert issubclass(kind, SemiSupervised)
        kinds[METHODS[name].title] = kind
    with tempfile.TemporaryDirectory() as folder:
        toy = draw(Path(folder))
    print(
        f"{LABELLED} labelled and {UNLABELLED} unlabelled images, {len(toy.test.ids)} for testing, "
        f"{SIZE} px; {options.steps} steps; seeds 0 to {options.seeds - 1}"
    )
    print(f"{'':<16}Dice in %{'':<{6 * options.seeds}} mean    gain  seconds")
    means: dict[str, float] = {}
    for name, kind in kinds.items():
        began = time.process_time()
        scores = [dice_of(kind, toy, seed, options.steps) for seed in range(options.seeds)]
        seconds = (time.process_time() - began) / options.seeds
        means[name] = float(np.mean(scores))
        gain = means[name] - means[REFERENCE]
        row = "".join(f"{value:7.2f}" for value in scores)
        print(f"{name:<16}{row}  {means[name]:9.2f}{gain:+8.2f}{seconds:9.0f}", flush=True)
    return 0 if all(mean >= means[REFERENCE] for mean in means.values()) else 1


if __name__ == "__main__":
    raise SystemExit(main())
