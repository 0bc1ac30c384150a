"""Files of a finished run, brought from another machine's folder of results into this one's."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from benchmark import record, weights
from benchmark.files import replace_together, replacing

PIECE = 16 * 2**20  # bytes that are sent at a time

Fetch = Callable[[str, int], bytes]  # of a file there, `PIECE` bytes from one on


def files_of(results: Path, name: str) -> dict[str, int]:
    """What a finished run left and its bytes; the record comes last. Empty without a record.

    Args:
        results: folder that holds `runs/`; the paths are relative to it.
        name: of the run.
    """
    path = record.path_of(results, name)
    if not path.is_file():
        return {}
    folder = weights.path_of(results, name, "all").parent
    beside = (path.with_suffix(".parquet"), path.with_suffix(".masks.parquet"))
    files = [*sorted(folder.glob("*.safetensors")), *filter(Path.is_file, beside), path]
    return {str(file.relative_to(results)): file.stat().st_size for file in files}


def earlier(results: Path, name: str) -> dict[str, bytes]:
    """The record that is there and its rows: a run of other tasks is added to them."""
    files = [file for file in files_of(results, name) if not _is_weights(file)]
    return {file: (results / file).read_bytes() for file in files}


def collect(results: Path, name: str, files: Mapping[str, int], fetch: Fetch) -> None:
    """Bring the files of a run here: first its weights, then the record and its rows at once.

    Args:
        results: where they go.
        name: of the run.
        files: as `files_of` lists them there.
        fetch: reads them there.

    Raises:
        WriteError: the disk is full; an earlier record is still there, and whole.
    """
    before = record.path_of(results, name)
    kept = set(record.load(before).tasks) if before.is_file() else set()
    for file, size in files.items():
        if _is_weights(file):
            kept.add(Path(file).stem)
            with replacing(results / file, size) as out:
                out.writelines(_pieces(file, size, fetch))
    weights.keep(results, name, {}, kept)
    replace_together(
        {
            results / file: b"".join(_pieces(file, size, fetch))
            for file, size in files.items()
            if not _is_weights(file)
        }
    )


def _is_weights(file: str) -> bool:
    return file.endswith(".safetensors")


def _pieces(file: str, size: int, fetch: Fetch) -> Iterator[bytes]:
    return (fetch(file, start) for start in range(0, size, PIECE))
