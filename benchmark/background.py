"""Work that threads do while the caller goes on: bounded, and in order."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, Self, TypeVar

T = TypeVar("T")


class Background(Generic[T]):
    """Calls whose results come in the order in which they were handed over.

    An error in one of them is raised by a later `submit`, or by `results`.

    Args:
        limit: calls that may be under way; one more waits for the oldest, so that a caller who is
            faster than the threads does not fill the memory.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._pool = ThreadPoolExecutor()
        self._under_way: deque[Future[T]] = deque()
        self._results: list[T] = []

    def submit(self, call: Callable[..., T], *arguments: object) -> None:
        """Have `call(*arguments)` done; it should spend its time outside Python's lock."""
        if len(self._under_way) == self._limit:
            self._results.append(self._under_way.popleft().result())
        self._under_way.append(self._pool.submit(call, *arguments))

    def results(self) -> list[T]:
        """All results so far, after waiting for the last."""
        while self._under_way:
            self._results.append(self._under_way.popleft().result())
        return self._results

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown(cancel_futures=kind is not None)
