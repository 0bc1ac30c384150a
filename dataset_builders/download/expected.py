"""What is known of a file before it is fetched."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["zip", "rar", "csv", "any"]


@dataclass(frozen=True, slots=True)
class Expected:
    """All of it optional; the more is known, the more is checked."""

    size: int | None = None  # bytes
    sha256: str | None = None  # hex
    md5: str | None = None  # hex
    kind: Kind = "zip"  # by its first bytes; "any" is anything but a web page


UNKNOWN = Expected()
