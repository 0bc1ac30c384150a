"""What keeps a file from being fetched, and what of that is worth another try."""

from dataset_builders.errors import UsageError


class DownloadError(UsageError):
    """No mirror gave the file: what, from where, why at each, what to do next."""


class MirrorError(Exception):
    """One mirror failed, and asking it again would change nothing.

    Args:
        reason: what happened, without a full stop: "HTTP 404 (not found)".
        remedy: what the user can do about it, in the imperative; empty if nothing of its own.
    """

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy


class TransientError(MirrorError):
    """One attempt failed, and the next may succeed.

    Args:
        reason: as of `MirrorError`.
        remedy: as of `MirrorError`.
        wait: seconds that the server asks to be left alone.
    """

    def __init__(self, reason: str, remedy: str = "", wait: float = 0.0) -> None:
        super().__init__(reason, remedy)
        self.wait = wait
