"""File formats of the sources, written so that equal contents are equal bytes: no clock in them."""

import gzip
import io
import re
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import nibabel
import numpy as np
import openpyxl
import scipy.io
from numpy.random import Generator
from numpy.typing import NDArray

_YEAR_0 = (1980, 1, 1, 0, 0, 0)  # the earliest a zip can say


@dataclass(frozen=True, slots=True)
class Job:
    """What one source is asked to write, and the pens to do it with."""

    root: Path  # named after the source
    images: int
    size: int  # width in pixels, about
    seed: int

    def rng(self, *key: object) -> Generator:
        """Random numbers that depend on seed, source and key alone."""
        return np.random.default_rng([self.seed, zlib.crc32(f"{self.root.name}{key}".encode())])

    def frame(self, rng: Generator, low: float = 0.7, high: float = 1.1) -> tuple[int, int]:
        """Width and height in pixels; the height is `low` to `high` of the width."""
        width = round(self.size * rng.uniform(0.9, 1.1))
        return width, round(width * rng.uniform(low, high))

    def write(self, name: str, data: bytes | str) -> None:
        """A file below the source's folder."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)

    def picture(self, name: str, pixels: NDArray[np.uint8], *settings: int) -> None:
        """Grey, RGB or RGBA pixels in the format of the name's ending."""
        self.write(name, picture(Path(name).suffix.lower(), pixels, *settings))


def picture(suffix: str, pixels: NDArray[np.uint8], *settings: int) -> bytes:
    """PNG or JPEG of (H, W) grey, (H, W, 3) RGB or (H, W, 4) RGBA pixels.

    Args:
        suffix: ".png" or ".jpg".
        pixels: 0 to 255.
        settings: pairs of OpenCV's flags and values.
    """
    if pixels.ndim == 3:
        rgb = pixels.shape[2] == 3
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR if rgb else cv2.COLOR_RGBA2BGRA)
    return bytes(cv2.imencode(suffix, pixels, settings)[1])


def nifti(array: NDArray[np.uint8]) -> bytes:
    """CAMUS' .nii.gz of (lateral, depth) or (lateral, depth, time): float32, 0.308 mm."""
    volume = nibabel.Nifti1Image(array.astype(np.float32), np.diag([-0.308, -0.308, 1.0, 1.0]))
    volume.set_qform(volume.affine, code=1)
    volume.set_sform(volume.affine, code=1)
    return gzip.compress(volume.to_bytes(), compresslevel=1, mtime=0)


def metaimage(name: str, pixels: NDArray[np.uint8]) -> dict[str, bytes]:
    """CAMUS' layout of 2019, header and data by file name; a row is half as high as a pixel wide.

    Args:
        name: of both files, without ending.
        pixels: (depth, lateral).
    """
    header = f"""ObjectType = Image
NDims = 3
BinaryData = True
BinaryDataByteOrderMSB = False
CompressedData = False
TransformMatrix = 1  0  0  0  1  0  0  0  1
CenterOfRotation = 0  0  0
AnatomicalOrientation = RAI
Offset = 0  0  0
ElementSpacing = 0.308       0.154        1.54
DimSize = {pixels.shape[1]}  {pixels.shape[0]}    1
ElementNumberOfChannels = 1
ElementType = MET_UCHAR
ElementDataFile = {name}.raw
"""
    return {f"{name}.mhd": header.encode(), f"{name}.raw": pixels.tobytes()}


def avi(frames: Sequence[NDArray[np.uint8]]) -> bytes:
    """Motion JPEG, 25 frames a second, of (H, W, 3) RGB frames."""
    height, width = frames[0].shape[:2]
    with tempfile.TemporaryDirectory() as folder:  # OpenCV writes video to a path only
        path = Path(folder) / "clip.avi"
        writer = cv2.VideoWriter(
            str(path), cv2.CAP_OPENCV_MJPEG, cv2.VideoWriter.fourcc(*"MJPG"), 25, (width, height)
        )
        for frame in frames:
            writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        writer.release()
        return path.read_bytes()


def mat(**arrays: NDArray[np.float32]) -> bytes:
    """MATLAB 5 file; its first 116 bytes are free text, where SciPy puts the time."""
    file = io.BytesIO()
    scipy.io.savemat(file, arrays, do_compression=True)  # type: ignore[arg-type]  # takes files too
    return b"MATLAB 5.0 MAT-file, Platform: PCWIN64".ljust(116) + file.getvalue()[116:]


def xlsx(rows: Iterable[Sequence[str | int | None]], merged: Iterable[str] = ()) -> bytes:
    """A workbook of one sheet, with the given ranges of cells merged."""
    book = openpyxl.Workbook()
    sheet = book.worksheets[0]
    sheet.title = "Tabelle1"
    for row in rows:
        sheet.append(tuple(row))
    for cells in merged:
        sheet.merge_cells(cells)
    file = io.BytesIO()
    book.save(file)
    with zipfile.ZipFile(file) as saved:
        members = {name: saved.read(name) for name in saved.namelist()}
    members["docProps/core.xml"] = re.sub(
        rb"\d{4}-\d\d-\d\dT[\d:]+Z", b"2020-01-01T00:00:00Z", members["docProps/core.xml"]
    )
    return zipped(members)


def zipped(members: Mapping[str, bytes]) -> bytes:
    """Zip of named contents, in the given order."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name, _YEAR_0)
            archive.writestr(info, data, zipfile.ZIP_DEFLATED, compresslevel=1)
    return file.getvalue()


def tarred(members: Mapping[str, bytes]) -> bytes:
    """Tar, packed with gzip, of named contents in the given order."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return gzip.compress(file.getvalue(), compresslevel=1, mtime=0)
