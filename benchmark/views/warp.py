"""Linear maps of square images about their centre: what comes in from outside is black."""

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmark.views import compiled


def as_unit(images: Tensor) -> Tensor:
    """Images as stored, uint8, as float32 in [0, 1]; others as they are."""
    return images / 255 if images.dtype == torch.uint8 else images


def warp(images: Tensor, masks: Tensor | None, matrices: Tensor) -> tuple[Tensor, Tensor]:
    """Take each pixel from where its matrix puts it.

    Stored images on a processor go through loops of our own, all else through torch's sampling.

    Args:
        images: (B, C, S, S) uint8, or float in [0, 1]; sampled bilinearly.
        masks: (B, 1, S, S) of 0 and 1, sampled at the nearest pixel; None for no masks.
        matrices: (B, 2, 2) float32; each maps an output pixel (x, y), counted from the centre, to
            the place in the input that it is taken from.

    Returns:
        Images in [0, 1] and masks, float and of the same shapes; for no masks (0, 1, S, S).
    """
    if masks is None:
        masks = images.new_empty((0, 1, *images.shape[2:]))
    if compiled.can_do(images, torch.uint8):
        warped: tuple[Tensor, Tensor] = compiled.warp(images, masks, matrices)
        return warped
    images = as_unit(images)
    grid = sampling_grid(matrices, images.shape[-1]).to(images.dtype)
    return (
        F.grid_sample(images, grid, mode="bilinear", align_corners=False),
        F.grid_sample(
            masks.to(grid.dtype), grid[: len(masks)], mode="nearest", align_corners=False
        ),
    )


def sampling_grid(matrices: Tensor, size: int) -> Tensor:
    """Places (B, S, S, 2), x then y, of all pixels; the image reaches from -1 to 1.

    `F.affine_grid` is a matrix product, which autocast would round to bf16: whole pixels.
    """
    line = (2 * torch.arange(size, device=matrices.device) + 1) / size - 1
    by_x, by_y = matrices[:, :, 0, None] * line, matrices[:, :, 1, None] * line  # (B, 2, S)
    places = by_x[:, :, None, :] + by_y[:, :, :, None]  # (B, 2, S, S)
    return places.permute(0, 2, 3, 1)
