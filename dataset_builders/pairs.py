"""Sources that ship an image and its mask under one name, in two folders: find, pair, read."""

import re
from pathlib import Path

from dataset_builders.images import decode, read_bytes
from dataset_builders.names import matched
from dataset_builders.schema import Files, Item, Sample, Source

Pair = tuple[Path, Path]  # image, mask


def pair(
    source: Source, files: Files, pattern: re.Pattern[str]
) -> tuple[dict[tuple[str, str], Pair], dict[str, str]]:
    """Images with their masks by (part, number), and per folder what has no partner.

    The parts of these sources travel as separate archives, so a copy without all of them is
    common: what has no partner is left out and said, not refused.

    Args:
        source: for its errors.
        files: as in `Source.index`.
        pattern: with the groups part, "image" or "mask", number.

    Raises:
        SourceError: two different files of one name.
    """
    found = matched(source, files, pattern)
    keys = sorted({(part, number) for part, _, number in found}, key=lambda k: (k[0], int(k[1])))
    pairs: dict[tuple[str, str], Pair] = {}
    alone: dict[str, list[str]] = {}
    for part, number in keys:
        image, mask = (found.get((part, kind, number)) for kind in ("image", "mask"))
        if image and mask:
            pairs[part, number] = image, mask
        elif single := image or mask:
            alone.setdefault(single.parent.name, []).append(number)
    return pairs, {
        folder: f"{len(numbers)} files without partner: {', '.join(numbers[:3])}"
        + (", ..." if len(numbers) > 3 else "")
        for folder, numbers in alone.items()
    }


def read_pair(item: Item) -> Sample:
    """Image in grey with its original bytes; mask where its file is brighter than 127.

    Raises:
        SourceError: a file that cannot be decoded, or a sample that `Sample` refuses.
    """
    image, mask = item.files
    encoded = read_bytes(item.source, image)
    return Sample(
        item,
        image=decode(item.source, _name(image), encoded),
        mask=decode(item.source, _name(mask), read_bytes(item.source, mask)) > 127,
        encoded=encoded,
    )


def _name(path: Path) -> str:
    """With its folder, since image and mask share the last part."""
    return f"{path.parent.name}/{path.name}"
