"""Model hub access that fails at once, and says what else there is."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlparse

import huggingface_hub

from dataset_builders.errors import UsageError


class WeightsError(UsageError):
    """Pretrained weights that cannot be had; the message names the choices. Never a fallback."""


@contextmanager
def hub_or_cache() -> Iterator[None]:
    """Within it, the hub is asked only if its host can be found; else its local cache serves.

    Without this a machine off the net waits for a minute of retries before it says so.
    """
    before = huggingface_hub.constants.HF_HUB_OFFLINE
    huggingface_hub.constants.HF_HUB_OFFLINE = before or not _reachable()
    try:
        yield
    finally:
        huggingface_hub.constants.HF_HUB_OFFLINE = before


def _reachable() -> bool:
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy")):
        return True  # the proxy resolves names, we cannot tell
    host = urlparse(huggingface_hub.constants.ENDPOINT).hostname
    try:
        socket.getaddrinfo(host, 443)
    except OSError:
        return False
    return True
