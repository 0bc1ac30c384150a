"""Time of proving a built data set against merely decoding its images, in one run.

    python -m benchmark.bench.verify DATA [--rounds 5]

Decoding is what a proof cannot do without: every image and mask of every shard is read and turned
into pixels, on the same cores, nothing else; once by OpenCV, which the proof uses, and once by
Pillow, which `datasets` uses. The three take turns; the ratios are of the medians. What a proof
adds is SHA-256 over all pixels and files: where that runs at 1.7 GB/s, a fifth of the decoding.
"""

import argparse
import io
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from benchmark.bench.build import seconds
from dataset_builders.built import read_manifest
from dataset_builders.tasks import TASKS
from dataset_builders.verify import verify


def main() -> None:
    """Print the times and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, help="a built data set")
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    shards = [chosen.data / entry["name"] for entry in read_manifest(chosen.data)["files"]]
    sides = {
        "OpenCV alone": lambda: decode_all(shards, by_opencv),
        "Pillow alone": lambda: decode_all(shards, by_pillow),
        "verify": lambda: verify(chosen.data),
    }
    rounds = [{name: seconds(side) for name, side in sides.items()} for _ in range(chosen.rounds)]
    images = sum(pq.read_metadata(shard).num_rows for shard in shards)
    print(f"{images} images, {chosen.rounds} rounds, medians in seconds")
    print("                    wall       CPU")
    medians = {name: np.median([one[name] for one in rounds], axis=0) for name in sides}
    for name, (wall, cpu) in medians.items():
        print(f"{name:<16} {wall:8.2f}  {cpu:8.2f}")
    for name in ("OpenCV", "Pillow"):
        wall, cpu = medians["verify"] / medians[f"{name} alone"]
        print(f"verify / {name}  {wall:8.2f}  {cpu:8.2f}")


Decode = Callable[[bytes, bool], object]  # a file and whether it is read in colour


def decode_all(shards: list[Path], decode: Decode) -> None:
    """Every image and mask to pixels, a row group in each thread."""
    cv2.setNumThreads(1)
    groups = [
        (shard, group)
        for shard in shards
        for group in range(pq.read_metadata(shard).num_row_groups)
    ]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda job: decode_group(job[0], job[1], decode), groups))


def decode_group(shard: Path, group: int, decode: Decode) -> None:
    """Images (colour where the task is in colour) and masks of one row group."""
    with pq.ParquetFile(shard) as file:
        table = file.read_row_group(group, columns=["image", "mask"], use_threads=False)
    for column in ("image", "mask"):
        colour = column == "image" and TASKS[shard.parent.name].colour
        for cell in table.column(column).to_pylist():
            decode(cell["bytes"], colour)


def by_opencv(data: bytes, colour: bool) -> object:
    """As training and the proof decode."""
    mode = cv2.IMREAD_COLOR_RGB if colour else cv2.IMREAD_GRAYSCALE
    return cv2.imdecode(np.frombuffer(data, np.uint8), mode)


def by_pillow(data: bytes, colour: bool) -> object:
    """As `datasets` decodes, and one channel where the task is grey."""
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB" if colour else "L"))


if __name__ == "__main__":
    main()
