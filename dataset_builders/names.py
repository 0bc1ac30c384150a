"""Names of files: which of them make one picture, and the order in which people list them."""

import filecmp
import re
from collections import defaultdict
from pathlib import Path, PurePosixPath

from dataset_builders.schema import Files, Source


def natural(name: str) -> tuple[tuple[int, str, str], ...]:
    """Sort key that counts: "benign (9)" before "benign (10)"."""
    return tuple(
        (int(digits or 0), digits, text) for digits, text in re.findall(r"(\d+)|(\D+)", name)
    )


def matched(source: Source, files: Files, pattern: re.Pattern[str]) -> dict[tuple[str, ...], Path]:
    """Files whose path `pattern` finds, by what its groups hold.

    In lower case if the pattern ignores case. Equal copies count as one: many keep an archive
    beside the folder it unpacked to, or an archive that several sources share beside another copy.

    Args:
        source: speaks in errors.
        files: all of the source's files; those that `pattern` does not know are passed over.
        pattern: searched in the path, so outer folders may have any name.

    Raises:
        SourceError: two different files of one name.
    """
    found: dict[tuple[str, ...], PurePosixPath] = {}
    fold = str.lower if pattern.flags & re.IGNORECASE else str
    for path in sorted(files):
        if match := pattern.search(path.as_posix()):
            first = found.setdefault(tuple(map(fold, match.groups())), path)
            if first != path and not filecmp.cmp(files[first], files[path], shallow=False):
                raise source.error(
                    f"'{first}' and '{path}'", "two different files of one name", "keep one copy"
                )
    return {key: files[path] for key, path in found.items()}


def gather(
    source: Source, files: Files, pattern: re.Pattern[str], needed: tuple[str, ...], layout: str
) -> dict[str, dict[str, Path]]:
    """Files of one picture together: name -> role -> file, names in natural order.

    Args:
        source: as in `matched`.
        files: as in `matched`.
        pattern: as in `matched`; its group `name` is the publisher's name of the picture, its
            group `role` tells its files apart, and it has no other.
        needed: roles that every picture must have.
        layout: files of one picture, as an example for who has none of them.

    Raises:
        SourceError: a picture that lacks a role or has two different files for one; no picture.
    """
    found: dict[str, dict[str, Path]] = defaultdict(dict)
    place = {group: index - 1 for group, index in pattern.groupindex.items()}
    for key, path in matched(source, files, pattern).items():
        found[key[place["name"]]][key[place["role"]]] = path
    if not found:
        raise source.nothing(files, layout)
    for roles in found.values():
        for role in needed:
            if role not in roles:
                present = ", ".join(f"'{file.name}'" for file in roles.values())
                raise source.error(present, f"its '{role}' is missing")
    return {name: found[name] for name in sorted(found, key=natural)}
