"""Loops in machine code where numba is, and as they are where it is not."""

from types import SimpleNamespace

from benchmark import jit


def half(number: int) -> float:
    return number / 2


def test_a_loop_gives_the_same_in_machine_code():
    assert jit.jit(half)(5) == half(5)


def test_without_numba_a_loop_stays_as_it_is(monkeypatch):
    monkeypatch.setattr(jit, "numba", None)
    assert jit.jit(half) is half


def test_where_nothing_can_be_kept_it_is_compiled_all_the_same(monkeypatch):
    def njit(**options):
        if options.pop("cache", False):
            raise RuntimeError("cannot cache function: no locator available")
        return lambda function: (function, options)

    monkeypatch.setattr(jit, "numba", SimpleNamespace(njit=njit))
    assert jit.jit(half) == (half, {"nogil": True})
