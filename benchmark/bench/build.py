"""Time of a build against merely decoding the same source files, on the same cores, in one run.

    python -m benchmark.bench.build [--raw RAW] [--rounds 3]

Without --raw, synthetic archives are written first. Decoding is what a build cannot do without:
every file of every selected image is opened once and turned into pixels, nothing else. The two
take turns; the ratio is of the medians. The build's side also unpacks archives, as half of the
synthetic sources are.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import nibabel as nib
import numpy as np
from scipy.io import loadmat

from dataset_builders import phantom
from dataset_builders.acquire import Finder
from dataset_builders.build import build
from dataset_builders.schema import Item, NothingFoundError
from dataset_builders.selection import Placed, select
from dataset_builders.sources import SOURCES


def main() -> None:
    """Print both times, their ratio, and the peak of memory."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--raw", type=Path, help="the publishers' files; default: synthetic ones")
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        raw = chosen.raw or work / "raw"
        if chosen.raw is None:
            phantom.write(raw, images=120, size=480)
        placed = selected(raw, work / "unpacked")
        decoding, building = [], []
        for number in range(chosen.rounds):
            decoding.append(seconds(lambda: decode_all(placed)))
            out = work / f"data{number}"
            building.append(seconds(lambda out=out: build(raw, out, allow_missing=True)))  # type: ignore[misc]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    print(f"{len(placed)} images, {chosen.rounds} rounds, medians in seconds")
    print("                  wall       CPU")
    alone, whole = (np.median(rounds, axis=0) for rounds in (decoding, building))
    for name, pair in (("decoding alone", alone), ("build", whole), ("ratio", whole / alone)):
        print(f"{name:<14} {pair[0]:8.2f}  {pair[1]:8.2f}")
    print(f"peak memory    {peak:8.0f} MB")


def selected(raw: Path, scratch: Path) -> list[Placed]:
    """What the build will choose, with its files unpacked."""
    finder = Finder(raw, scratch)
    items: list[Item] = []
    for source in SOURCES.values():
        try:
            if files := finder.find(source):
                items += source.index(files).items
        except NothingFoundError:
            continue
    return select(items)


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Wall time and processor time of one call; the second is steadier on a shared machine."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def decode_all(placed: list[Placed]) -> None:
    """Every image and mask file once for each sample that uses it, a clip once for all frames."""
    files = [path for entry in placed for path in entry.item.files]
    clips = {path for path in files if path.suffix.lower() in _ONCE}
    plain = [path for path in files if path.suffix.lower() not in _ONCE]
    cv2.setNumThreads(1)
    with ThreadPoolExecutor() as pool:
        list(pool.map(decode, [*sorted(clips), *plain]))


_ONCE = (".avi", ".mat", ".xlsx", ".xml", ".csv")


def decode(path: Path) -> None:
    """Bytes to pixels, by the reader of the file's kind."""
    name = path.name.lower()
    if name.endswith((".nii", ".nii.gz")):
        np.asarray(nib.load(path).dataobj)
    elif name.endswith(".avi"):
        video = cv2.VideoCapture(str(path))
        while video.read()[0]:
            pass
        video.release()
    elif name.endswith(".mat"):
        loadmat(path)
    elif name.endswith((".png", ".jpg", ".jpeg")):
        cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    else:
        path.read_bytes()


if __name__ == "__main__":
    main()
