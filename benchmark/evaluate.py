"""A trained method and the test images: one row of statistics per image.

    task, id, group         which image
    duplicate_of            id of an image of the data set that shows the same, if any
    COLUMNS                 counts and distances at the protocol's size
    spacing_mm              side of a pixel at native size, null where unknown or not square
    NATIVE_COLUMNS          the same counts and distances at native size
    mask_png, pred_png      both masks at the protocol's size, as `benchmark.masks` packs them

Every score is made of these, later and without images or model.
"""

from collections.abc import Callable, Iterator
from itertools import islice

import cv2
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmark.background import Background
from benchmark.dataset import Images, Native
from benchmark.masks import pack, unpack
from benchmark.method import Method
from benchmark.metrics import NATIVE_COLUMNS, measure
from benchmark.metrics_gpu import measure_on_device

THRESHOLD = 0.5  # of the foreground probability
IMAGES_AHEAD = 256  # how far the device may be ahead of the statistics: 50 MB at 224 x 224
# Of a batch on a CPU: the maps of more leave its cache (U-Net at 224 x 224: 1.5 times as long).
CPU_PIXELS = 2**19
NativeRow = tuple[np.int64 | np.float64, ...]  # in the order of NATIVE_COLUMNS
ROW = (*NATIVE_COLUMNS, "mask_png", "pred_png")
Row = tuple[np.int64 | np.float64 | bytes, ...]  # in the order of ROW


@torch.inference_mode()
def evaluate(
    method: Method,
    images: Images,
    native: Native,
    task: int,
    device: torch.device,
    batch: int,
    advance: Callable[[int], None] = lambda count: None,
    precision: str = "fp32",
) -> pd.DataFrame:
    """Score one task's test images at the protocol's size and at their own.

    Threads measure the images of finished batches while the device is at the next.

    Args:
        method: predicts foreground probability; above 0.5 is foreground.
        images: the test split of one task.
        native: of the same images.
        task: the task's index among those the method serves.
        device: where the method is.
        batch: images at a time; but for rounding it has no influence on the rows.
        advance: told how many images were predicted.
        precision: of `benchmark.execution.Execution`.

    Returns:
        One row per image, with the columns that head this module.
    """
    method.eval()
    masks = images.masks.astype(np.bool_)
    truths = zip(masks, native.masks, strict=True)
    predictions = []
    with Background[Row](IMAGES_AHEAD) as background:
        pixels = torch.tensor(images.pixels).to(device)
        for probs in predict(method, pixels, task, batch, precision):
            predictions.append(probs > THRESHOLD)
            arrived = _to_host(probs)
            for place, (mask, png) in enumerate(islice(truths, len(probs))):
                background.submit(_row, arrived, place, mask, png)
            advance(len(probs))
        statistics = _measure(torch.cat(predictions), masks)
        rows = background.results()
    return pd.DataFrame(
        {
            "task": images.task,
            "id": images.ids,
            "group": images.groups,
            "duplicate_of": pd.array(native.duplicate_of, "string"),
            **statistics,
            "spacing_mm": native.spacing_mm,
            **dict(zip(ROW, map(list, zip(*rows, strict=True)), strict=True)),
        }
    )


def predict(
    method: Method, pixels: Tensor, task: int, batch: int, precision: str = "fp32"
) -> Iterator[Tensor]:
    """Foreground probability of images (N, C, H, W) uint8, in batches (B, H, W) float32.

    All stays on the images' device. The caller decides whether the method is in evaluation mode,
    and whether gradients are kept.
    """
    device = pixels.device.type
    if device == "cpu":
        batch = min(batch, max(1, CPU_PIXELS // pixels[0, 0].numel()))
    for part in pixels.split(batch):
        tasks = torch.full((len(part),), task, device=pixels.device)
        with torch.autocast(device, torch.bfloat16, enabled=precision == "bf16"):
            probs = method.predict(part.float() / 255, tasks)
        yield probs[:, 0].float()


def _to_host(probs: Tensor) -> Callable[[], NDArray[np.float32]]:
    """Begin to copy probabilities from the device; the function returned waits for their arrival.

    The caller need not wait: the device gets its next batch meanwhile.
    """
    if not probs.is_cuda:
        return probs.numpy
    host = torch.empty(probs.shape, pin_memory=True)  # others are copied with the caller waiting
    host.copy_(probs, non_blocking=True)
    copied = torch.cuda.Event(blocking=True)
    copied.record(torch.cuda.current_stream(probs.device))

    def arrived() -> NDArray[np.float32]:
        copied.synchronize()
        return np.asarray(host.numpy())

    return arrived


def _row(
    arrived: Callable[[], NDArray[np.float32]], place: int, mask: NDArray[np.bool_], png: bytes
) -> Row:
    """The values of `ROW` of the image at `place` in its batch."""
    probs = arrived()[place]
    return (*measure_native(probs, png), pack(mask), pack(probs > THRESHOLD))


def measure_native(probs: NDArray[np.float32], png: bytes) -> NativeRow:
    """Statistics of one image at its native size.

    Args:
        probs: (H, W) foreground probability at any size; it is stretched, then compared with the
            threshold, so that the contour is not made of enlarged pixels.
        png: the mask at native size.

    Returns:
        The values of `benchmark.metrics.NATIVE_COLUMNS`.
    """
    mask = unpack(png)
    pred = stretch(probs, mask.shape) > THRESHOLD
    statistics = measure(np.asarray(pred)[None], mask[None], threads=1)
    return tuple(values[0] for values in statistics.values())


def stretch(probs: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Probability (H, W) at another height and width, bilinearly."""
    return np.asarray(cv2.resize(probs, shape[::-1], interpolation=cv2.INTER_LINEAR))


def _measure(preds: Tensor, masks: NDArray[np.bool_]) -> dict[str, NDArray[np.int64 | np.float64]]:
    """Statistics at the protocol's size, computed where the predictions are."""
    if preds.is_cuda:
        return measure_on_device(preds, torch.from_numpy(masks).to(preds.device))
    return measure(preds.numpy(), masks)
