"""Evaluation against the loop over single images that released segmentation code has, in one run.

    python -m benchmark.bench.evaluate [--data DATA --task FH] [--size 64 --size 224] [--rounds 3]

Without --data a data set is built from synthetic archives. A tiny network and the U-Net of the
preset "mini" are trained for some steps, so that masks have the shapes of masks, and then scored
by four sides that take turns, with the same weights, on one thread:

    loop, MedPy     reads a row of the Parquet file, decodes and resizes image and mask, predicts a
    loop, MONAI     batch of one, and has Dice, IoU and HD95 made by that library
    evaluation      `benchmark.evaluate`: batches of resident images. It gives far more: counts and
                    all distances, the same at native size, both masks as PNG
    validation      `benchmark.validation`: Dice alone, what is looked at during a training

Times are medians over the rounds, in ms an image, of the processor; wall time stands beside the
whole. On a CPU a large network takes as long for an image alone as for one of many, and so bounds
the ratio of the whole; the ratio without the forward says what the rest gained. On a GPU a batch of
one leaves the device idle, so look at the wall time there.
"""

import argparse
import copy
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import torch
from monai.metrics import compute_dice, compute_hausdorff_distance, compute_iou
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmark import machine
from benchmark.augment import normalise, weak
from benchmark.bench.images import resident_batches
from benchmark.bench.rates import synchronise
from benchmark.dataset import Dataset, load, native, open_dataset, resize
from benchmark.evaluate import THRESHOLD, evaluate, measure_native, predict
from benchmark.losses import bce_dice
from benchmark.masks import pack
from benchmark.method import Batch, Clock, Method, Setup
from benchmark.metrics import measure
from benchmark.profiles import PROFILES
from benchmark.resolve import Request, resolve
from benchmark.train import make_optimizer, train
from benchmark.validation import Validation
from dataset_builders import phantom
from dataset_builders.build import build
from dataset_builders.tasks import TASKS

try:
    from medpy.metric import binary as medpy
except ImportError as error:
    raise SystemExit(f"{error}; pip install 'usbench[dev]' first") from error

STEPS = {"tiny": 200, "unet": 60}  # of training, at 64 x 64
GOAL = 30  # times the loop
TOLERANCE = 1e-3  # of mean Dice: a batch of one rounds otherwise, and a pixel may tip over


class Tiny(Method):
    """Three convolutions on a quarter of the size: as little forward as can find a mask."""

    encoder = ""

    def __init__(self, config: Method.Config, setup: Setup) -> None:
        super().__init__(config, setup)
        self.net = nn.Sequential(
            nn.AvgPool2d(4),
            nn.Conv2d(3, 8, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(8, 1, 3, padding=1),
            nn.Upsample(scale_factor=4, mode="bilinear"),
        )

    def losses(self, batch: Batch, clock: Clock) -> dict[str, Tensor]:
        img_x, mask_x = weak(batch.img_x, batch.mask_x, batch.key_x, self.setup.protocol)
        return {"mask": bce_dice(self.net(normalise(img_x)), mask_x)}

    def predict(self, images: Tensor, tasks: Tensor) -> Tensor:
        logits: Tensor = self.net(normalise(images))
        return logits.sigmoid()


class Known(Tiny):
    """No network at all: what is left is everything but the forward."""

    def predict(self, images: Tensor, tasks: Tensor) -> Tensor:
        return images[:, :1]


class Laps:
    """Processor and wall time in ms, charged to the stage that ends."""

    def __init__(self, device: torch.device) -> None:
        self.cpu: dict[str, float] = defaultdict(float)
        self.wall: dict[str, float] = defaultdict(float)
        self._device = device
        self._last = time.process_time(), time.perf_counter()

    def lap(self, stage: str) -> None:
        """All time since the last lap was that stage's."""
        synchronise(self._device)
        now = time.process_time(), time.perf_counter()
        self.cpu[stage] += 1e3 * (now[0] - self._last[0])
        self.wall[stage] += 1e3 * (now[1] - self._last[1])
        self._last = now


@dataclass(frozen=True, slots=True)
class Scene:
    """What all sides score: one task's test images at one size, by one trained method."""

    dataset: Dataset
    task: str
    size: int
    method: Method
    device: torch.device

    @property
    def batch(self) -> int:
        """Images at a time, of the sides that have batches."""
        return self.method.setup.protocol.evaluation_batch


Side = Callable[[Laps], float]  # returns the mean Dice
Metric = Callable[[NDArray[np.bool_], NDArray[np.bool_]], float]  # one pair; returns its Dice


def with_medpy(pred: NDArray[np.bool_], mask: NDArray[np.bool_]) -> float:
    """Dice, IoU and HD95 of one pair."""
    if pred.any() and mask.any():  # else it raises
        medpy.hd95(pred, mask)
    medpy.jc(pred, mask)
    return float(medpy.dc(pred, mask))


def with_monai(pred: NDArray[np.bool_], mask: NDArray[np.bool_]) -> float:
    """The same three by MONAI."""
    y_pred, y = (torch.from_numpy(one)[None, None].float() for one in (pred, mask))
    compute_hausdorff_distance(y_pred, y, include_background=True, percentile=95)
    compute_iou(y_pred, y)
    return float(compute_dice(y_pred, y))


def loop(scene: Scene, metric: Metric) -> Side:
    """One image after the other, weights in the layout that torch makes them in."""
    plain = copy.deepcopy(scene.method).to(memory_format=torch.contiguous_format).eval()
    shards = sorted((scene.dataset.root / scene.task).glob("test-*.parquet"))
    colour = TASKS[scene.task].colour
    task = torch.zeros(1, dtype=torch.int64, device=scene.device)

    @torch.no_grad()
    def side(laps: Laps) -> float:
        rows = pq.read_table(shards, columns=["image", "mask"])
        dice = []
        for place in range(len(rows)):
            (row,) = rows.slice(place, 1).to_pylist()
            encoded = row["image"]["bytes"], row["mask"]["bytes"]
            pixels, mask = resize(*encoded, scene.size, colour=colour)
            image = torch.from_numpy(pixels)[None].to(scene.device).float() / 255
            laps.lap("input")
            pred = (plain.predict(image, task)[0, 0] > THRESHOLD).cpu().numpy()
            laps.lap("forward")
            dice.append(metric(pred, mask > 0))
            laps.lap("metrics")
        return float(np.mean(dice))

    return side


def evaluation(scene: Scene) -> Side:
    """As a run does it, stages side by side."""

    def side(laps: Laps) -> float:
        images = load(scene.dataset, scene.task, "test", scene.size)
        own = native(scene.dataset, scene.task, "test")
        rows = evaluate(scene.method, images, own, 0, scene.device, scene.batch)
        laps.lap("all")
        return float(PROFILES["paper"].per_image(rows).dice.mean())

    return side


def evaluation_by_stage(scene: Scene) -> Side:
    """The same work, one stage after the other."""

    @torch.inference_mode()
    def side(laps: Laps) -> float:
        images = load(scene.dataset, scene.task, "test", scene.size)
        own = native(scene.dataset, scene.task, "test")
        pixels = torch.tensor(images.pixels).to(scene.device)
        laps.lap("input")
        method = scene.method.eval()
        probs = torch.cat(list(predict(method, pixels, 0, scene.batch))).cpu().numpy()
        laps.lap("forward")
        rows = pd.DataFrame(measure(probs > THRESHOLD, images.masks, threads=1))
        laps.lap("metrics")
        for one, mask, png in zip(probs, images.masks > 0, own.masks, strict=True):
            measure_native(one, png)
            pack(mask)
            pack(one > THRESHOLD)
        laps.lap("more")
        return float(PROFILES["paper"].per_image(rows).dice.mean())

    return side


def validation(scene: Scene, method: Method, stage: str) -> Side:
    """As a training is watched: images and masks are resident."""
    images = load(scene.dataset, scene.task, "test", scene.size)
    watching = Validation([images], method.setup.protocol, 1, scene.device)

    def side(laps: Laps) -> float:
        dice = watching.score(method, 1)
        laps.lap(stage)
        return dice

    return side


def trained(kind: type[Method] | None, data: Dataset, task: str, device: str) -> Method:
    """A method after some steps at 64 x 64; U-Net if no other is given."""
    steps = STEPS["unet" if kind is None else "tiny"]
    overrides = {"weights": "none", "text": "random", "steps": steps}
    asked = Request("unet", "1_4", tasks=(task,), preset="mini", overrides=overrides, device=device)
    plan = resolve(asked, data)
    torch.manual_seed(0)
    method = (kind or plan.kind)(plan.config, Setup((task,), plan.protocol, seed=0))
    method.to(memory_format=torch.channels_last).to(plan.device)
    optimizer = make_optimizer(method, plan.protocol)
    batches, total = resident_batches(plan), plan.protocol.steps
    train(method, batches, optimizer, plan.protocol, total, execution=plan.execution)
    return method


@dataclass(frozen=True, slots=True)
class Times:
    """Of one side, in ms an image."""

    input: float
    forward: float
    metrics: float  # Dice, IoU and HD95, or more of their kind; of the validation Dice
    more: float  # what the loop does not give
    all: float
    wall: float  # of all


def compare(scene: Scene, name: str, rounds: int) -> bool:
    """Print the times of one network at one size; whether all sides give the same Dice."""
    known = Known(scene.method.config, scene.method.setup).to(scene.device)
    sides = {
        "loop, MedPy": loop(scene, with_medpy),
        "loop, MONAI": loop(scene, with_monai),
        "evaluation": evaluation(scene),
        "evaluation by stage": evaluation_by_stage(scene),
        "validation": validation(scene, scene.method, "all"),
        "validation of known": validation(scene, known, "metrics"),
    }
    taken: dict[str, list[Laps]] = {side: [] for side in sides}
    dice: dict[str, float] = {}
    for _ in range(rounds + 1):  # the first fills caches and compiles
        for side, score in sides.items():
            laps = Laps(scene.device)
            dice[side] = score(laps)
            taken[side].append(laps)
    del dice["validation of known"]
    images = scene.dataset.images[scene.task][1]
    print(f"\n{name} at {scene.size} x {scene.size}, {images} test images of {scene.task}")
    show(times_of({side: laps[1:] for side, laps in taken.items()}, images))
    gap = max(dice.values()) - min(dice.values())
    print(f"  mean Dice {dice['evaluation']:.3f}, of all sides within {gap:.0e}")
    return gap < TOLERANCE


def times_of(taken: Mapping[str, Sequence[Laps]], images: int) -> dict[str, Times]:
    """Medians of the rounds."""

    def ms(side: str, stage: str) -> float:
        return float(median(laps.cpu[stage] for laps in taken[side])) / images

    def whole(side: str, clock: str) -> float:
        totals = [sum(getattr(laps, clock).values()) for laps in taken[side]]
        return float(median(totals)) / images

    def times(side: str, forward: str, others: str) -> Times:
        return Times(
            ms(others, "input"),
            ms(forward, "forward"),
            ms(others, "metrics"),
            ms(others, "more"),
            whole(side, "cpu"),
            whole(side, "wall"),
        )

    stages = "evaluation by stage"
    return {
        **{side: times(side, side, side) for side in ("loop, MedPy", "loop, MONAI")},
        "evaluation": times("evaluation", stages, stages),
        "validation": times("validation", stages, "validation of known"),
    }


def show(times: Mapping[str, Times]) -> None:
    """Two tables: the times, and how many times faster ours is."""
    heads = ("input", "forward", "metrics", "more", "all", "all, wall")
    print(f"  {'ms an image':<22}" + "".join(f"{head:>10}" for head in heads))
    for side, each in times.items():
        print(f"  {side:<22}" + "".join(f"{cell:10.3f}" for cell in astuple(each)))
    loops, ours = list(times.items())[:2], list(times.items())[2:]
    print(f"  {'times faster than':<50}" + "".join(f"{side:>13}" for side, _ in loops))
    for side, each in ours:
        for what, value in RATIOS.items():
            if what == LIKE_FOR_LIKE and not each.more:
                continue  # it gives no more than the loop: the line above says it
            ratios = [value(of_loop) / value(each) for _, of_loop in loops]
            reached = "" if min(ratios) < GOAL else f"   {GOAL} reached"
            print(f"    {side + ', ' + what:<48}" + "".join(f"{r:13.1f}" for r in ratios) + reached)
    bounds = [of_loop.all / times["evaluation"].forward for _, of_loop in loops]
    what = "all, if there were nothing but the forward"
    print(f"    {what:<48}" + "".join(f"{bound:13.1f}" for bound in bounds))


LIKE_FOR_LIKE = "without the forward and without more"
RATIOS: dict[str, Callable[[Times], float]] = {
    "all": lambda times: times.all,
    "all, wall": lambda times: times.wall,
    "without the forward": lambda times: times.input + times.metrics + times.more,
    LIKE_FOR_LIKE: lambda times: times.input + times.metrics,
}


def main() -> int:
    """Compare each network at each size; 1 if any disagree."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmark.bench.evaluate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, help="a data set; default: a synthetic one is built")
    parser.add_argument("--task", default="FH", choices=TASKS)
    parser.add_argument("--size", type=int, action="append", help="px; default: 64 and 224")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="auto")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    warnings.simplefilter("ignore")  # MONAI's about empty masks and its own deprecations
    agreed = []
    with tempfile.TemporaryDirectory() as folder:
        data = open_dataset(chosen.data or synthetic(Path(folder)))
        device = machine.pick_device(chosen.device)
        print(f"{machine.describe(device)['device']}, one thread, {chosen.rounds} rounds, medians")
        for name, kind in (("tiny", Tiny), ("U-Net", None)):
            method = trained(kind, data, chosen.task, chosen.device)
            for size in chosen.size or (64, 224):
                scene = Scene(data, chosen.task, size, method, device)
                agreed.append(compare(scene, name, chosen.rounds))
    return 0 if all(agreed) else 1


def synthetic(folder: Path) -> Path:
    """Fetal heads of 800 px, as HC18 has them: 48 of them for testing."""
    phantom.write(folder / "raw", images=192, size=800, sources=["hc18"])
    build(folder / "raw", folder / "data", allow_missing=True)
    return folder / "data"


if __name__ == "__main__":
    raise SystemExit(main())
