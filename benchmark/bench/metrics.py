"""Time and agreement of our metrics against MONAI, MedPy and surface-distance, on one thread.

    python -m benchmark.bench.metrics [--images 1600] [--large 40]

Times are CPU time, best of three, so that other work on the machine counts little. MONAI is timed
on HD95 alone and in one call for all images, its fastest use; MedPy on HD95 and on dc + jc; ours
gives counts, both directions' quantiles and averages, and the pooled percentile. Google DeepMind's
surface-distance is compared with `benchmark.deepmind`, which works from stored PNG files. Where
there is a CUDA device, `benchmark.metrics_gpu` is timed on it, from logits there to all columns
here, by the clock on the wall and by CUDA events.
"""

import argparse
import time
import warnings
from collections.abc import Callable
from typing import TypeVar

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from monai.metrics import compute_dice, compute_hausdorff_distance, compute_iou

from benchmark.deepmind import hd95_of_pngs
from benchmark.distances import plain
from benchmark.masks import pack
from benchmark.metrics import COLUMNS, measure
from benchmark.metrics_gpu import measure_on_device
from benchmark.profiles import PROFILES

try:
    import surface_distance
    from medpy.metric import binary as medpy
except ImportError as error:
    raise SystemExit(f"{error}; pip install 'usbench[dev]' first") from error

T = TypeVar("T")
Masks = npt.NDArray[np.bool_]  # (N, H, W)

MONAI_TOLERANCE = 1e-3  # px: MONAI takes its percentile in float32
GPU_TOLERANCE = 1e-9  # px: means are added in another order
# Lengths in px at 224: smallest and largest half axis of the eight tasks' foreground ...
HALF_AXES = [(18, 45), (55, 90), (30, 50), (40, 65), (45, 70), (30, 70), (15, 30), (12, 40)]
STRAYS = [1.5, 4.0, 9.0]  # ... how far a predicted contour strays ...
SHARES = [0.45, 0.40, 0.15]  # ... and how often
RING = 4  # the myocardium's place among the tasks


def _smooth_noise(rng: np.random.Generator, size: int, sigma: float) -> npt.NDArray[np.float32]:
    noise = cv2.GaussianBlur(rng.standard_normal((size, size), np.float32), (0, 0), sigma)
    return np.asarray(noise / noise.std(), np.float32)


def _blob(
    rng: np.random.Generator, size: int, centre: npt.ArrayLike, half_axes: npt.ArrayLike
) -> npt.NDArray[np.bool_]:
    """An ellipse whose radius carries five random harmonics of the angle."""
    y, x = (np.indices((size, size)) - np.reshape(centre, (2, 1, 1))) / np.reshape(
        half_axes, (2, 1, 1)
    )
    angle, roughness = np.arctan2(y, x), rng.uniform(0.05, 0.4)
    radius = np.ones((size, size))
    for k in range(2, 7):
        radius += (
            roughness / k * rng.uniform(0.3, 1) * np.cos(k * angle + rng.uniform(0, 2 * np.pi))
        )
    return np.asarray(np.hypot(y, x) < radius)


def mask_pairs(images: int, size: int, seed: int = 0) -> tuple[Masks, Masks]:
    """Predictions and masks (N, size, size) of the shape and error of real ones, none empty.

    Masks are Fourier blobs of eight sizes; predictions displace their contour by
    smooth noise, and a third adds false islands. Mean Dice is about 0.9.
    """
    rng = np.random.default_rng(seed)
    scale = size / 224
    pred, mask = np.empty((2, images, size, size), np.bool_)
    for i in range(images):
        half_axes = scale * rng.uniform(*HALF_AXES[i % len(HALF_AXES)], 2)
        centre = scale * rng.uniform(80, 144, 2)
        mask[i] = _blob(rng, size, centre, half_axes)
        if i % len(HALF_AXES) == RING:
            mask[i] &= ~_blob(rng, size, centre, 0.7 * half_axes)
        inside, outside = (
            cv2.distanceTransform(side.astype(np.uint8), cv2.DIST_L2, 5)
            for side in (mask[i], ~mask[i])
        )
        stray = scale * rng.choice(STRAYS, p=SHARES)
        coarse, fine = _smooth_noise(rng, size, 9 * scale), _smooth_noise(rng, size, 1.5 * scale)
        pred[i] = inside - outside + stray * coarse + min(stray, 3 * scale) / 2 * fine > 0
        for _ in range(rng.integers(1, 4) if rng.random() < 0.35 else 0):
            island, radius = scale * rng.uniform(10, 214, 2), scale * rng.uniform(2, 10)
            pred[i] |= _blob(rng, size, island, (radius, radius))
    kept = pred.any(axis=(1, 2)) & mask.any(axis=(1, 2))
    return pred[kept], mask[kept]


def _cpu_ms(work: Callable[[], T], images: int) -> tuple[float, T]:
    """CPU time per image, the least of three runs, and the result."""
    best = float("inf")
    for _ in range(3):
        start = time.process_time()
        result = work()
        best = min(best, time.process_time() - start)
    return 1e3 * best / images, result


def compare(images: int, size: int) -> bool:
    """Print times and agreement on masks of one size; whether all agree."""
    pred, mask = mask_pairs(images, size)
    n = len(pred)
    measure(pred[:1], mask[:1])  # compile outside the clock
    ours, statistics = _cpu_ms(lambda: measure(pred, mask, threads=1), n)
    fallback, (_, plain_distances) = _cpu_ms(lambda: plain(pred, mask), n)

    y_pred, y = (torch.from_numpy(masks[:, None]).float() for masks in (pred, mask))
    monai, monai_hd95 = _cpu_ms(
        lambda: compute_hausdorff_distance(y_pred, y, include_background=True, percentile=95), n
    )
    pairs = list(zip(pred, mask, strict=True))
    medpy_ms, medpy_hd95 = _cpu_ms(lambda: [medpy.hd95(p, m) for p, m in pairs], n)
    overlap, medpy_overlap = _cpu_ms(
        lambda: [(medpy.dc(p, m), medpy.jc(p, m)) for p, m in pairs], n
    )
    pngs = [(pack(p), pack(m)) for p, m in pairs]
    weighted, our_weighted = _cpu_ms(lambda: [hd95_of_pngs(p, m) for p, m in pngs], n)
    deepmind, their_weighted = _cpu_ms(lambda: [_surface_distance(p, m) for p, m in pairs], n)

    frame = pd.DataFrame(statistics)
    scores, pooled = PROFILES["monai"].per_image(frame), PROFILES["medpy"].per_image(frame)
    print(f"{n} pairs of {size} x {size}, mean Dice {scores.dice.mean():.3f}; CPU ms per image:")
    for name, ms in (
        ("this package, everything", ours),
        ("the same without numba", fallback),
        ("MONAI, HD95", monai),
        ("MedPy, HD95", medpy_ms),
        ("MedPy, Dice and IoU", overlap),
        ("this package, profile deepmind", weighted),
        ("surface-distance, HD95", deepmind),
    ):
        print(f"  {name:32}{ms:9.4f}{ms / ours:8.1f} x")
    gap = np.abs(scores.hd95 - monai_hd95[:, 0].numpy()).max()
    float32 = scores[["dice", "iou"]].astype(np.float32)
    monai_overlap = torch.cat([compute_dice(y_pred, y), compute_iou(y_pred, y)], dim=1)
    distances = np.stack([statistics[name] for name in COLUMNS[-plain_distances.shape[1] :]], 1)
    checks = {
        "HD95 pooled, equal to MedPy's": np.array_equal(pooled.hd95, medpy_hd95),
        "Dice and IoU, equal to MedPy's": np.array_equal(pooled[["dice", "iou"]], medpy_overlap),
        "Dice and IoU, equal to MONAI's (float32)": np.array_equal(float32, monai_overlap),
        f"HD95 larger direction, {gap:.1e} px from MONAI's (float32)": gap < MONAI_TOLERANCE,
        "HD95 by length, equal to surface-distance's": our_weighted == their_weighted,
        "distances, equal without numba": np.array_equal(distances, plain_distances),
    }
    if torch.cuda.is_available():
        checks |= _on_gpu(pred, mask, frame)
    for name, holds in checks.items():
        print(f"  {name}: {'yes' if holds else 'NO'}")
    return all(checks.values())


def _surface_distance(pred: npt.NDArray[np.bool_], mask: npt.NDArray[np.bool_]) -> float:
    surfaces = surface_distance.compute_surface_distances(mask, pred, (1.0, 1.0))
    return float(surface_distance.compute_robust_hausdorff(surfaces, 95))


def _on_gpu(pred: Masks, mask: Masks, expected: pd.DataFrame) -> dict[str, bool]:
    """Print time and memory on the device; return whether it agrees, under the words that say so.

    From logits on the device to columns on the host; the masks are on the device already.
    """
    logits, masks = torch.from_numpy(pred).cuda().float() - 0.5, torch.from_numpy(mask).cuda()
    before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.reset_peak_memory_stats()
    held = torch.cuda.memory_allocated()
    walls, events = [], []
    for _ in range(6):  # the first warms up
        torch.cuda.synchronize()
        start = time.perf_counter()
        before.record()
        found = measure_on_device(logits > 0, masks)
        after.record()
        torch.cuda.synchronize()
        walls.append(1e3 * (time.perf_counter() - start))
        events.append(before.elapsed_time(after))
    memory = (torch.cuda.max_memory_allocated() - held) / 2**20
    print(
        f"  {torch.cuda.get_device_name()}, logits to everything, all {len(pred)} pairs: "
        f"{min(walls):.1f} ms wall, {min(events):.1f} ms between CUDA events, {memory:.0f} MiB"
    )
    gap = float((pd.DataFrame(found) - expected).abs().max().max())
    return {f"the GPU's within {gap:.1e} of ours": gap < GPU_TOLERANCE}


def main() -> int:
    """Compare at the protocol's size and at four times it; 1 if anything disagrees."""
    parser = argparse.ArgumentParser(prog="python -m benchmark.bench.metrics")
    parser.add_argument("--images", type=int, default=1600, help="pairs of 224 x 224")
    parser.add_argument("--large", type=int, default=40, help="pairs of 896 x 896")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", FutureWarning)  # MONAI's about its own deprecations
    warnings.simplefilter("ignore", DeprecationWarning)  # surface-distance is older than ...
    vars(np).setdefault("Inf", np.inf)  # ... SciPy's present names and NumPy 2
    agreed = [
        compare(images, size)
        for images, size in ((options.images, 224), (options.large, 896))
        if images > 0
    ]
    return 0 if all(agreed) else 1


if __name__ == "__main__":
    raise SystemExit(main())
