"""Names of files: which of them make one picture, and the order in which people list them."""

import filecmp
import re
from collections import defaultdict
from pathlib import Path

from dataset_builders.schema import Files, Source


def natural(name: str) -> tuple[tuple[int, str, str], ...]:
    """Sort key that counts: "benign (9)" before "benign (10)"."""
    return tuple(
        (int(digits or 0), digits, text) for digits, text in re.findall(r"(\d+)|(\D+)", name)
    )


def gather(
    source: Source, files: Files, pattern: re.Pattern[str], needed: tuple[str, ...], layout: str
) -> dict[str, dict[str, Path]]:
    """Files of one picture together: name -> role -> file, names in natural order.

    Equal copies count as one: many keep an archive beside the folder it unpacked to.

    Args:
        source: speaks in errors.
        files: all of the source's files; those that `pattern` does not know are passed over.
        pattern: searched in the path, so outer folders may have any name; its group `name` is
            the publisher's name of the picture, its group `role` tells its files apart.
        needed: roles that every picture must have.
        layout: files of one picture, as an example for who has none of them.

    Raises:
        SourceError: a picture that lacks a role or has two different files for one; no picture.
    """
    found: dict[str, dict[str, Path]] = defaultdict(dict)
    for path in sorted(files):
        if match := pattern.search(path.as_posix()):
            first = found[match["name"]].setdefault(match["role"], files[path])
            if first != files[path] and not filecmp.cmp(first, files[path], shallow=False):
                raise source.error(
                    f"'{path}'", f"differs from a second copy of '{first.name}'", "keep one of them"
                )
    if not found:
        raise source.nothing(files, layout)
    for roles in found.values():
        for role in needed:
            if role not in roles:
                present = ", ".join(f"'{file.name}'" for file in roles.values())
                raise source.error(present, f"its '{role}' is missing")
    return {name: found[name] for name in sorted(found, key=natural)}
