"""Tensors and plain values in one safetensors file; reading it runs no code, as a pickle would.

    8 bytes     length of the header
    header      JSON: dtype, shape and place of every tensor, and our values under `__metadata__`
    the rest    the tensors' bytes, row by row

The library's own writer is not used: it refuses tensors that share memory or are not contiguous,
and version 0.8 leaves files that only their owner may read, and stray ones when it is killed.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from benchmark.files import replacing

KEY = "usbench"  # of our values among the metadata, which the format wants to be text
DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


class TensorFileError(ValueError):
    """Not a whole file of ours; the message is the reason alone, the reader adds the remedy."""


def write(path: Path, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
    """Write tensors from any device, of any layout, and values that JSON can hold.

    Tensors that share memory are written once each.

    Raises:
        WriteError: the disk is full.
    """
    # large elements first, so that each begins at a multiple of its own size
    ordered = sorted(tensors.items(), key=lambda item: -item[1].element_size())
    header: dict[str, object] = {"__metadata__": {KEY: json.dumps(values)}}
    end = 0
    for name, tensor in ordered:
        start, end = end, end + tensor.numel() * tensor.element_size()
        dtype, shape = DTYPES[tensor.dtype], list(tensor.shape)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with replacing(path, 8 + len(text) + end) as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for _, tensor in ordered:
            # one at a time, so that the CPU never holds a second copy of all
            row = tensor.detach().cpu().contiguous().flatten()
            file.write(row.view(torch.uint8).numpy().data)


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors, on the CPU and contiguous, and values.

    Raises:
        TensorFileError: not such a file, or only a part of one.
        OSError: there is none, or it may not be read.
    """
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            if KEY not in metadata:
                raise TensorFileError("usbench did not write it")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise TensorFileError(str(error)) from error
    values: dict[str, Any] = json.loads(metadata[KEY])
    return tensors, values
