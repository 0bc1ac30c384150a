"""Masks as 1-bit PNG files: a few hundred bytes each, which any image viewer opens."""

import cv2
import numpy as np
from numpy.typing import NDArray

from dataset_builders.errors import UsageError


def pack(mask: NDArray[np.bool_]) -> bytes:
    """A mask (H, W) as PNG, one bit a pixel, foreground white."""
    pixels = mask.astype(np.uint8) * 255
    _, encoded = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_BILEVEL, 1])
    return bytes(encoded)


def unpack(png: bytes) -> NDArray[np.bool_]:
    """The mask (H, W) of a PNG of any depth: anything but black is foreground.

    Raises:
        UsageError: the bytes are no image.
    """
    pixels = cv2.imdecode(np.frombuffer(png or b"?", np.uint8), cv2.IMREAD_GRAYSCALE)
    if pixels is None:
        raise UsageError(
            f"a stored mask of {len(png)} bytes is no PNG: the file that holds it is damaged; "
            "make it again with what wrote it"
        )
    return np.asarray(pixels > 0)
