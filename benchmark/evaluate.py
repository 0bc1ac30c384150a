"""A trained method and the test images: one row of statistics per image."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch

from benchmark.dataset import Images
from benchmark.method import Method
from benchmark.metrics import measure


@torch.inference_mode()
def evaluate(
    method: Method,
    images: Images,
    task: int,
    device: torch.device,
    batch: int,
    advance: Callable[[int], None] = lambda count: None,
) -> pd.DataFrame:
    """Score one task's test images at the protocol's size.

    Args:
        method: predicts foreground probability; above 0.5 is foreground.
        images: the test split of one task.
        task: the task's index among those the method serves.
        device: where the method is.
        batch: images at a time; has no influence on the rows.
        advance: told how many images were done.

    Returns:
        One row per image: task, id, group and `benchmark.metrics.COLUMNS`.
    """
    method.eval()
    predictions = []
    for start in range(0, len(images.ids), batch):
        pixels = torch.tensor(images.pixels[start : start + batch], device=device).float() / 255
        tasks = torch.full((len(pixels),), task, device=device)
        foreground = method.predict(pixels, tasks) > 0.5  # (B, 1, H, W)
        predictions.append(foreground[:, 0].cpu().numpy())
        advance(len(pixels))
    statistics = measure(np.concatenate(predictions), images.masks.astype(bool))
    names = {"task": images.task, "id": images.ids, "group": images.groups}
    return pd.DataFrame({**names, **statistics})
