"""Loops in machine code, where numba can be had."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

try:
    import numba
except ImportError:  # it often trails a new NumPy or Python by a release
    numba = None

COMPILED = numba is not None

F = TypeVar("F", bound=Callable[..., Any])


def jit(function: F, **settings: object) -> F:
    """The function in machine code that lets other threads run; as it is without numba.

    Args:
        function: of numbers and arrays.
        settings: of numba, beyond the usual.
    """
    if numba is None:
        return function
    try:
        return cast(F, numba.njit(nogil=True, cache=True, **settings)(function))
    except RuntimeError:  # numba found no folder it may write to: compile in each process
        return cast(F, numba.njit(nogil=True, **settings)(function))
