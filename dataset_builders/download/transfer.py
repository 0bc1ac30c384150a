"""Fetch one file over HTTP: resumed where it broke off, checked before it takes its name.

    fetch(["https://a.org/x.zip", "https://b.org/x.zip"], Path("raw/x.zip"), Expected(size=123))

While it is under way, three files lie beside the target: `x.zip.part` (what has come so far),
`x.zip.part.json` (which version of the file that is) and `x.zip.lock`.
"""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import requests

from dataset_builders.download.answer import new_session
from dataset_builders.download.checks import check_file
from dataset_builders.download.errors import DownloadError, MirrorError, TransientError
from dataset_builders.download.expected import UNKNOWN, Expected
from dataset_builders.download.lock import alone
from dataset_builders.download.partial import Partial
from dataset_builders.download.patience import PATIENCE, Patience
from dataset_builders.download.step import Report, Step

__all__ = ["PATIENCE", "DownloadError", "Expected", "Patience", "Report", "fetch"]


def fetch(
    urls: Sequence[str],
    target: Path,
    expected: Expected = UNKNOWN,
    *,
    report: Report = lambda done, total: None,
    session: requests.Session | None = None,
    patience: Patience = PATIENCE,
) -> Path:
    """Fetch a file from the first mirror that gives it whole.

    A target that is there already is checked, and returned without a request. A second process
    that wants the same target waits for the first and then finds its file.

    Args:
        urls: mirrors of the same file, tried in this order; http or https.
        target: the file to write; its folder is made.
        expected: what is known of the file beforehand.
        report: called after every piece, from the start of what is resumed.
        session: carries cookies or credentials; by default one that carries none.
        patience: how often to try, how long to wait, how slow is too slow.

    Returns:
        `target`, whole and checked.

    Raises:
        DownloadError: no mirror gave the file, a file of that name is there and is wrong, or the
            disk is full. What has come so far is kept for the next call.
    """
    partial = Partial(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if not _is_here(target, expected):  # asked before the lock: the folder may be read-only
            with ExitStack() as stack:
                stack.enter_context(alone(target, lambda: report(partial.size, expected.size)))
                if not _is_here(target, expected):
                    session = session or stack.enter_context(new_session())
                    _from_any(urls, target, Step(session, partial, expected, report, patience))
                    partial.publish(target)
    except OSError as error:  # the disk's; those of the network are MirrorErrors by now
        size = expected.size or (partial.version.total if partial.version else None)
        takes = f"it takes {size / 1e6:,.1f} MB; " if size else ""
        raise DownloadError(
            f"{target} cannot be written ({error.strerror or error}); {takes}mend that; "
            f"{_by_hand(target, partial)}"
        ) from error
    report(target.stat().st_size, target.stat().st_size)
    return target


def _is_here(target: Path, expected: Expected) -> bool:
    if not target.exists():
        return False
    try:
        check_file(target, expected)
    except MirrorError as error:
        raise DownloadError(
            f"{target} is there, but {error.reason}; move it away and repeat the command"
        ) from error
    return True


def _from_any(urls: Sequence[str], target: Path, step: Step) -> None:
    """Ask the mirrors in their order, but first the one that an earlier call had begun with."""
    begun = step.partial.version
    failures = []
    for url in sorted(urls, key=lambda url: begun is None or url != begun.url):
        try:
            _from_mirror(url, step)
        except MirrorError as error:
            remedy = f"; {error.remedy}" if error.remedy else ""
            failures.append(f"  {url}: {error.reason}{remedy}")
        else:
            return
    raise DownloadError(
        "\n".join(
            [
                f"{target.name} could not be fetched:",
                *(failures or ["  no address is known"]),
                _by_hand(target, step.partial),
            ]
        )
    )


def _by_hand(target: Path, partial: Partial) -> str:
    manual = f"or get the file in a browser and save it as {target}"
    if partial.size:
        return (
            f"{partial.size} bytes are kept in {partial.path}: repeat the command to go on from "
            f"there, {manual}"
        )
    return f"repeat the command later, {manual}"


def _from_mirror(url: str, step: Step) -> None:
    """Ask one mirror until the file is whole, or `patience` is at its end.

    Raises:
        MirrorError: naming the last failure.
    """
    patience, partial = step.patience, step.partial
    reached, failures, wait = 0, 0, patience.first_wait
    while True:
        try:
            step.advance(url)
        except TransientError as error:
            failures += 1
            if partial.size >= reached + patience.worthwhile:
                failures, wait = 0, patience.first_wait
            reached = max(reached, partial.size)
            if failures == patience.attempts:
                tries = f"{error.reason} (the last of {failures} tries)"
                raise MirrorError(tries, error.remedy) from error
            if error.wait > patience.longest_wait:
                asks = f"{error.reason}, and it asks to be left alone for {error.wait:,.0f} s"
                raise MirrorError(asks, "try again after that") from error
            time.sleep(max(wait, error.wait))
            wait = min(2 * wait, patience.longest_wait)
        else:
            return
