"""Small archives to fetch, and a patience that costs tests no time."""

import io
import random
import zipfile

from dataset_builders.download.transfer import Patience


def archive(seed: int, size: int = 6000) -> bytes:
    """A zip of two members whose bytes do not shrink, so that all versions have one layout."""
    rng, memory = random.Random(seed), io.BytesIO()
    with zipfile.ZipFile(memory, "w") as file:
        for name in ("a.png", "b.png"):
            file.writestr(zipfile.ZipInfo(name), rng.randbytes(size // 2))
    return memory.getvalue()


OLD, NEW = archive(0), archive(1)
HALF = len(OLD) // 2

QUICK = Patience(
    attempts=4, first_wait=0, longest_wait=5, connect=5, silence=0.3, slowest=2000, window=0.1
)
