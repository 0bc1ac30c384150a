"""The misbehaving server, one for the tests of a module; every test has its own paths on it."""

import misbehaving_server
import pytest


@pytest.fixture(scope="module")
def server():
    with misbehaving_server.serving() as server:
        yield server


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
