"""A trained method and the test images: one row of statistics per image.

    task, id, group         which image
    duplicate_of            id of an image of the data set that shows the same, if any
    COLUMNS                 counts and distances at the protocol's size
    spacing_mm              side of a pixel at native size, null where unknown or not square
    NATIVE_COLUMNS          the same counts and distances at native size
    mask_png, pred_png      both masks at the protocol's size, as `benchmark.masks` packs them

Every score is made of these, later and without images or model.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmark.dataset import Images, Native
from benchmark.masks import pack, unpack
from benchmark.method import Method
from benchmark.metrics import NATIVE_COLUMNS, measure
from benchmark.metrics_gpu import measure_on_device

THRESHOLD = 0.5  # of the foreground probability
NativeRow = tuple[np.int64 | np.float64, ...]  # in the order of NATIVE_COLUMNS


@torch.inference_mode()
def evaluate(
    method: Method,
    images: Images,
    native: Native,
    task: int,
    device: torch.device,
    batch: int,
    advance: Callable[[int], None] = lambda count: None,
) -> pd.DataFrame:
    """Score one task's test images at the protocol's size and at their own.

    Args:
        method: predicts foreground probability; above 0.5 is foreground.
        images: the test split of one task.
        native: of the same images.
        task: the task's index among those the method serves.
        device: where the method is.
        batch: images at a time; has no influence on the rows.
        advance: told how many images were done.

    Returns:
        One row per image, with the columns that head this module.
    """
    method.eval()
    predictions, at_native_size = [], []
    with ThreadPoolExecutor() as pool:  # measures one batch while the device is at the next
        for start in range(0, len(images.ids), batch):
            of_batch = slice(start, start + batch)
            pixels = torch.tensor(images.pixels[of_batch], device=device).float() / 255
            tasks = torch.full((len(pixels),), task, device=device)
            probs = method.predict(pixels, tasks)[:, 0].float()  # (B, H, W)
            predictions.append(probs > THRESHOLD)
            rows = pool.map(measure_native, probs.cpu().numpy(), native.masks[of_batch])
            at_native_size.append(rows)
            advance(len(pixels))
    preds, masks = torch.cat(predictions), images.masks.astype(np.bool_)
    return pd.DataFrame(
        {
            "task": images.task,
            "id": images.ids,
            "group": images.groups,
            "duplicate_of": pd.array(native.duplicate_of, "string"),
            **_measure(preds, masks),
            "spacing_mm": native.spacing_mm,
            **_columns(row for rows in at_native_size for row in rows),
            "mask_png": [pack(mask) for mask in masks],
            "pred_png": [pack(pred) for pred in preds.cpu().numpy()],
        }
    )


def measure_native(probs: NDArray[np.float32], png: bytes) -> NativeRow:
    """Statistics of one image at its native size.

    Args:
        probs: (H, W) foreground probability at any size; it is resized bilinearly, then compared
            with the threshold, so that the contour is not made of enlarged pixels.
        png: the mask at native size.

    Returns:
        The values of `benchmark.metrics.NATIVE_COLUMNS`.
    """
    mask = unpack(png)
    pred = cv2.resize(probs, mask.shape[::-1], interpolation=cv2.INTER_LINEAR) > THRESHOLD
    statistics = measure(np.asarray(pred)[None], mask[None], threads=1)
    return tuple(values[0] for values in statistics.values())


def _measure(preds: Tensor, masks: NDArray[np.bool_]) -> dict[str, NDArray[np.int64 | np.float64]]:
    """Statistics at the protocol's size, computed where the predictions are."""
    if preds.is_cuda:
        return measure_on_device(preds, torch.from_numpy(masks).to(preds.device))
    return measure(preds.numpy(), masks)


def _columns(rows: Iterable[NativeRow]) -> dict[str, list[np.int64 | np.float64]]:
    columns = (list(column) for column in zip(*rows, strict=True))
    return dict(zip(NATIVE_COLUMNS, columns, strict=True))
