"""Synthetic archives of all nine sources, each in its publisher's layout with its real quirks.

    python -m dataset_builders.phantom RAW_DIR

They go through the same builders as the real files, so everything runs before any download.
Equal arguments give equal files, byte for byte.
"""

import argparse
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

from dataset_builders import phantom_files as files
from dataset_builders import phantom_sources as drawn
from dataset_builders.phantom_files import Job

# Archive -> the folders packed into it; what is not listed stays loose. So every way in is used:
# a zip, a tar, a zip within a source's folder, a zip that two sources share, and plain folders.
ARCHIVES = {
    "Dataset_BUSI.zip": ("busi/Dataset_BUSI_with_GT",),
    "hc18/training_set.zip": ("hc18/training_set",),
    "mmotu.tar.gz": ("mmotu/OTU_2d",),
    "Thyroid Dataset.zip": ("tn3k/Thyroid Dataset", "tg3k/Thyroid Dataset"),
}
NOTICE = "SYNTHETIC.txt"

WRITERS: dict[str, Callable[[Job], None]] = {
    "busi": drawn.busi,
    "udiat": drawn.udiat,
    "hc18": drawn.hc18,
    "camus": drawn.camus,
    "hmc_qu": drawn.hmc_qu,
    "mmotu": drawn.mmotu,
    "tn3k": drawn.tn3k,
    "tg3k": drawn.tg3k,
    "ddti": drawn.ddti_637,
}


def write(
    raw: Path,
    *,
    images: int = 40,
    size: int = 128,
    seed: int = 0,
    sources: Iterable[str] | None = None,
    ddti_form: Literal["637", "original"] = "637",
) -> list[Path]:
    """Write synthetic sources into a folder of raw data, complete or not at all.

    Args:
        raw: made if absent; other sources may be there already.
        images: about how many usable ones each source gets, 16 to 600.
        size: width of an image in pixels, about; at least 64.
        seed: another seed draws other patients.
        sources: names of `dataset_builders.sources`; all by default.
        ddti_form: the layout of DDTI.

    Returns:
        Folders and archives that were made in `raw`.

    Raises:
        ValueError: an unknown source or form, or numbers out of range.
        FileExistsError: `raw` holds a file or folder that would be overwritten.
    """
    names = tuple(WRITERS if sources is None else sources)
    writers = WRITERS | ({"ddti": drawn.ddti_original} if ddti_form == "original" else {})
    if unknown := sorted(set(names) - set(writers)):
        raise ValueError(f"no source {unknown}; the names are {', '.join(writers)}")
    if ddti_form not in ("637", "original"):
        raise ValueError(f"no form '{ddti_form}' of DDTI; choose 637 or original")
    if not 16 <= images <= 600 or size < 64:
        raise ValueError(f"{images} images of {size} px; 16 to 600 of 64 px or more are right")
    raw.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".phantom-", dir=raw) as folder:
        scratch = Path(folder)
        for name in names:
            writers[name](Job(scratch / name, images, size, seed))
        _pack(scratch)
        made = sorted(path for path in scratch.iterdir() if path.is_file() or any(path.iterdir()))
        for path in made:
            if (raw / path.name).exists():
                raise FileExistsError(f"{raw / path.name} exists; choose another folder")
        placed = [path.rename(raw / path.name) for path in made]
    (raw / NOTICE).write_text("Drawn by dataset_builders.phantom: no image here is of a patient.\n")
    return placed


def _pack(scratch: Path) -> None:
    """Put folders into the archives of `ARCHIVES`."""
    for archive, folders in ARCHIVES.items():
        members = {}
        for folder in (scratch / name for name in folders):
            for path in sorted(folder.rglob("*")):
                if path.is_file():
                    members[path.relative_to(folder.parent).as_posix()] = path.read_bytes()
            shutil.rmtree(folder, ignore_errors=True)
        if members:
            pack = files.zipped if archive.endswith(".zip") else files.tarred
            (scratch / archive).write_bytes(pack(members))


def main() -> None:
    """Command line: `python -m dataset_builders.phantom RAW_DIR`."""
    parser = argparse.ArgumentParser(
        prog="python -m dataset_builders.phantom",
        description="Draw synthetic sources in their publishers' layouts, to try usbench on "
        "before any download.",
    )
    parser.add_argument("raw", type=Path, help="folder to write the sources to")
    parser.add_argument("--images", type=int, default=40, help="about how many a source")
    parser.add_argument("--size", type=int, default=128, help="width in pixels, about")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sources", nargs="+", help="all by default")
    options = parser.parse_args()
    try:
        made = write(**vars(options))
    except (ValueError, FileExistsError) as error:
        parser.error(str(error))
    print(f"{options.raw}: synthetic {', '.join(path.name for path in made)}")
    print(f"next: usbench build-data --raw {options.raw} --allow-missing")


if __name__ == "__main__":
    main()
