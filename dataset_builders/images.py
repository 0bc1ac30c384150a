"""Pixels in and out: decoding with the same words of error for every source, PNG, hashes."""

import hashlib
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dataset_builders.schema import SourceError

# A frame of 100 megapixels is no ultrasound image; it is a damaged header or a decompression bomb.
MAX_PIXELS = 100_000_000


def read_bytes(source: str, path: Path) -> bytes:
    """The file whole; an empty or unreadable one is a `SourceError`."""
    try:
        data = path.read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        raise SourceError(source, f"'{path.name}'", reason, "check that it exists here") from error
    if not data:
        raise SourceError(source, f"'{path.name}'", "the file is empty", "get it again")
    return data


def decode(source: str, name: str, data: bytes, *, colour: bool = False) -> NDArray[np.uint8]:
    """Pixels of a PNG or JPEG: (H, W) grey, or (H, W, 3) RGB with `colour`.

    The orientation tag is not applied: no source uses it, and a mask has none.

    Raises:
        SourceError: damaged, truncated, or larger than `MAX_PIXELS`.
    """
    mode = cv2.IMREAD_COLOR_RGB if colour else cv2.IMREAD_GRAYSCALE
    if not _complete(data):
        raise SourceError(source, f"'{name}'", "truncated or not a PNG or JPEG", "get it again")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), mode | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        image = None
    if image is None or image.shape[0] * image.shape[1] > MAX_PIXELS:
        raise SourceError(
            source, f"'{name}'", "damaged, or larger than any ultrasound image", "get it again"
        )
    return np.asarray(image, np.uint8)


def decode_grey(source: str, name: str, data: bytes) -> tuple[NDArray[np.uint8], bytes | None]:
    """Grey pixels (H, W), and the file itself where it holds no colour.

    Only such a file can be kept as it is: every decoder finds the same grey in it, whereas they
    weigh red, green and blue differently.

    Raises:
        SourceError: as `decode`.
    """
    rgb = decode(source, name, data, colour=True)
    red, green, blue = cv2.split(rgb)  # comparing planes is five times as fast as pixels
    if np.array_equal(red, green) and np.array_equal(green, blue):
        return np.asarray(red, np.uint8), data
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8), None


def _complete(data: bytes) -> bool:
    """Whether the closing mark is there: OpenCV fills what a truncated file lacks with grey."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        width, height = int.from_bytes(data[16:20]), int.from_bytes(data[20:24])
        return b"IEND" in data[-1024:] and width * height <= MAX_PIXELS
    if data.startswith(b"\xff\xd8"):
        return b"\xff\xd9" in data[-1024:]
    return False


# Trying all filters for each row, as zlib's level does by default, takes most of an encoder's time.
# On speckle one filter is as small (22.4 kB a 224 px frame, 0.5 ms; level 4: 23.1 kB, 1.4 ms), and
# flat masks are smallest with none (0.3 kB, 0.07 ms; level 4: 0.4 kB, 0.7 ms).
_RUNS = [
    *(cv2.IMWRITE_PNG_COMPRESSION, 1),
    *(cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE),
]
_IMAGE = [*_RUNS, *(cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_SUB)]
_MASK = [*_RUNS, *(cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_NONE)]


def encode_png(pixels: NDArray[np.uint8], *, mask: bool = False) -> bytes:
    """Lossless PNG of (H, W) grey or (H, W, 3) RGB."""
    array = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(".png", array, _MASK if mask else _IMAGE)
    if not done:
        raise RuntimeError(f"OpenCV could not encode {pixels.shape} {pixels.dtype} as PNG")
    return bytes(data)


def pixel_sha256(pixels: NDArray[np.uint8]) -> str:
    """Hash of shape and values; equal for any encoding of equal pixels."""
    digest = hashlib.sha256(f"{pixels.shape}".encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()
