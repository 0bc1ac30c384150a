"""A file that has come in part, and which version of it that is."""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from requests.structures import CaseInsensitiveDict


@dataclass(frozen=True, slots=True)
class Version:
    """What a server said of the file when the transfer began."""

    url: str  # as asked for: two hosts may give one ETag to two files
    etag: str | None
    modified: str | None  # Last-Modified, as it was spelled
    total: int | None  # bytes

    @property
    def validator(self) -> str | None:
        """What If-Range may name: a strong ETag, else the date (RFC 9110, 13.1.5)."""
        if self.etag and not self.etag.startswith("W/"):
            return self.etag
        return self.modified

    def continues(self, headers: CaseInsensitiveDict[str], total: int | None) -> bool:
        """Whether a part with these headers, of a file of `total` bytes, is of this version.

        If-Range asks the server to see to that; some servers do not know it.
        """
        modified = headers.get("Last-Modified")  # may be left out of a part, an ETag may not
        return (
            total == (self.total or total)
            and headers.get("ETag") == self.etag
            and modified in (None, self.modified)
        )


class Partial:
    """`x.zip.part` and `x.zip.part.json` beside the target `x.zip`."""

    def __init__(self, target: Path) -> None:
        self.path = target.with_name(f"{target.name}.part")
        self._notes = target.with_name(f"{target.name}.part.json")

    @property
    def size(self) -> int:
        """Bytes that have come."""
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def version(self) -> Version | None:
        """Of what; None if nothing has come, or nobody knows of what."""
        with suppress(OSError, ValueError, TypeError):
            if self.size:
                return Version(**json.loads(self._notes.read_text("utf-8")))
        return None

    def begin(self, version: Version) -> None:
        """Start again with this version; what had come is deleted."""
        self.clear()
        self._notes.write_text(json.dumps(asdict(version), indent=1), "utf-8")
        self.path.touch()

    def append(self, pieces: Iterable[bytes]) -> Iterator[int]:
        """Write the pieces on, each at once, so that what came is there even after `kill -9`.

        Yields:
            Bytes so far, after every piece.
        """
        size = self.size
        with self.path.open("ab") as file:
            for piece in pieces:
                file.write(piece)
                file.flush()
                size += len(piece)
                yield size

    def clear(self) -> None:
        """Delete what has come."""
        # this order: bytes without notes are of no use, notes without bytes do no harm
        self.path.unlink(missing_ok=True)
        self._notes.unlink(missing_ok=True)

    def publish(self, target: Path) -> None:
        """Give the file its name."""
        with self.path.open("rb") as file:
            os.fsync(file.fileno())  # the name must not outlive the content in a loss of power
        self.path.replace(target)
        self._notes.unlink(missing_ok=True)
