"""Files of a source, laid out in a test's folder."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from dataset_builders.schema import Files


def lay(root: Path, contents: Mapping[str, bytes]) -> Files:
    """Write files by their path inside the source's folder, as `Source.index` takes them."""
    for path, data in contents.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    return {PurePosixPath(path): root / path for path in contents}
