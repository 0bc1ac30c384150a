"""How often to try a mirror, how long to wait, how slow is too slow."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Patience:
    """Times are in seconds, sizes in bytes."""

    attempts: int = 6  # in a row that bring nothing worth while; then the next mirror
    worthwhile: int = 2**20  # a broken attempt that brought this much does not count
    first_wait: float = 1.0  # doubled after every attempt
    longest_wait: float = 60.0  # also of the waits a server asks for: beyond it, the next mirror
    connect: float = 20.0  # to be answered at all
    silence: float = 60.0  # without a single byte
    slowest: float = 1024.0  # bytes a second over a `window`; below it the connection is dropped
    window: float = 60.0


PATIENCE = Patience()
