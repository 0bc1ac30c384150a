"""One step of a transfer: ask for what is missing, and keep what comes."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import requests

from dataset_builders.download.answer import Answer, ask
from dataset_builders.download.checks import check_file, check_head, check_length
from dataset_builders.download.errors import DownloadError, MirrorError, TransientError
from dataset_builders.download.expected import Expected
from dataset_builders.download.partial import Partial, Version
from dataset_builders.download.patience import Patience

Report = Callable[[int, int | None], None]  # (bytes so far, bytes in all if known)


@dataclass(frozen=True, slots=True)
class Step:
    """What every request for one target has in common."""

    session: requests.Session
    partial: Partial
    expected: Expected
    report: Report
    patience: Patience

    def advance(self, url: str) -> None:
        """Bring the partial file to its end by one request; on return it is whole and checked.

        Raises:
            TransientError: it broke off, and what came is kept; or it was put together from two
                answers that do not fit, and is deleted.
            MirrorError: this mirror has no such file.
            DownloadError: there is no room for it.
        """
        begun = self._begun(url)
        whole = self._complete(begun) if begun else self._from_start(url)
        try:
            check_file(self.partial.path, self.expected)
        except MirrorError as error:
            self.partial.clear()
            if whole:
                raise
            raise TransientError(f"{error.reason}, put together from parts") from error

    def _begun(self, url: str) -> Version | None:
        """The version to go on with: of this mirror, and provably the same in the end."""
        version = self.partial.version
        if version is None or version.url != url:
            return None
        proof = version.validator or self.expected.sha256 or self.expected.md5
        return version if proof else None

    def _from_start(self, url: str) -> bool:
        with ask(self.session, url, {}, self.patience) as answer:
            if answer.status != 200:
                raise MirrorError(f"HTTP {answer.status} to a request for the whole file")
            self._take_all(url, answer)
        return True

    def _complete(self, begun: Version) -> bool:
        """Ask for the rest; returns whether the whole came instead."""
        size = self.partial.size
        if size == begun.total:  # it was killed between the last byte and the check
            return False
        headers = {"Range": f"bytes={size}-"}
        if begun.validator:
            headers["If-Range"] = begun.validator
        with ask(self.session, begun.url, headers, self.patience) as answer:
            if answer.status == 200:  # the file has changed, or the server knows no ranges
                self._take_all(begun.url, answer)
                return True
            first, total = answer.range
            if answer.status == 416 and total == size:  # of a length that it had not announced
                return False
            if answer.status == 416 or first != size:
                self.partial.clear()
                raise TransientError("it sent another part than the one asked for")
            if not begun.continues(answer.headers, total):
                self.partial.clear()
                raise TransientError("the file has changed since the transfer began")
            self._keep(answer.pieces(), total)
        return False

    def _take_all(self, url: str, answer: Answer) -> None:
        """Start again with this answer, unless its beginning shows that it is not the file."""
        head, pieces = answer.peek()
        check_head(head, self.expected)
        total = answer.length
        if total is not None:
            check_length(total, self.expected)
        self._check_length_matters(answer)
        self._check_room(total)
        headers = answer.headers
        self.partial.begin(Version(url, headers.get("ETag"), headers.get("Last-Modified"), total))
        self._keep(pieces, total)

    def _check_length_matters(self, answer: Answer) -> None:
        expected = self.expected
        known = answer.length is not None or answer.chunked or expected.size is not None
        if not (known or expected.sha256 or expected.md5 or expected.kind == "zip"):
            raise MirrorError(
                "it does not say how long the file is, so a part of it would pass for the whole"
            )

    def _check_room(self, total: int | None) -> None:
        size = total or self.expected.size or 0
        free = shutil.disk_usage(self.partial.path.parent).free + self.partial.size
        if size > free:
            raise DownloadError(
                f"{self.partial.path} takes {size / 1e6:,.1f} MB and {free / 1e6:,.1f} MB are free "
                "there; make room, then repeat the command"
            )

    def _keep(self, pieces: Iterator[bytes], total: int | None) -> None:
        """Write the pieces on, and see that they reach `total`, in bytes."""
        size, right = self.partial.size, total or self.expected.size
        self.report(size, right)
        for size in self.partial.append(pieces):
            self.report(size, right)
            if right is not None and size > right:
                self.partial.clear()
                raise MirrorError(f"it sends more than the {right} bytes of the file")
        if total is not None and size < total:
            raise TransientError(f"the connection ended after {size} of {total} bytes")
