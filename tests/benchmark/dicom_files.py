"""DICOM files for tests, as small as a reader will take them."""

import io
from pathlib import Path

import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEGBaseline8Bit, UltrasoundImageStorage


def header(pixels: np.ndarray, photometric: str, syntax: UID) -> Dataset:
    """Of pixels (F, H, W) or (F, H, W, 3)."""
    colour = pixels.ndim == 4
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = UltrasoundImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset.SOPClassUID, dataset.SOPInstanceUID = UltrasoundImageStorage, "1.2.3"
    dataset.Modality = "US"
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = pixels.shape[:3]
    dataset.SamplesPerPixel = 3 if colour else 1
    if colour:
        dataset.PlanarConfiguration = 0
    dataset.PhotometricInterpretation = photometric
    bits = 8 * pixels.itemsize
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
    dataset.PixelRepresentation = int(np.issubdtype(pixels.dtype, np.signedinteger))
    return dataset


def write_dicom(path: Path, pixels: np.ndarray, photometric: str, **fields: object) -> Path:
    """Uncompressed."""
    dataset = header(pixels, photometric, ExplicitVRLittleEndian)
    dataset.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    for name, value in fields.items():
        setattr(dataset, name, value)
    dataset.save_as(path, enforce_file_format=True)
    return path


def write_jpeg_dicom(path: Path, pixels: np.ndarray) -> Path:
    """(F, H, W, 3) RGB as YBR_FULL_422, as most machines send films."""
    dataset = header(pixels, "YBR_FULL_422", JPEGBaseline8Bit)
    frames = []
    for frame in pixels:
        data = io.BytesIO()
        Image.fromarray(frame).save(data, "JPEG", quality=95, subsampling="4:2:2")
        frames.append(data.getvalue())
    dataset.PixelData = encapsulate(frames)
    dataset["PixelData"].VR = "OB"
    dataset.save_as(path, enforce_file_format=True)
    return path


def write_report(path: Path) -> Path:
    """A file without any image."""
    dataset = header(np.zeros((1, 2, 2), np.uint8), "MONOCHROME2", ExplicitVRLittleEndian)
    del dataset.Rows, dataset.Columns
    dataset.Modality = "SR"
    dataset.save_as(path, enforce_file_format=True)
    return path


def rewrite(path: Path, **fields: object) -> Path:
    """Change a file's header."""
    dataset = pydicom.dcmread(path)
    for name, value in fields.items():
        setattr(dataset, name, value)
    dataset.save_as(path)
    return path
