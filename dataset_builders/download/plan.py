"""Get sources: skip what is here, try the mirrors in turn, keep what passes the check.

    raw/.hc18.part/zenodo.org/training_set.zip.part     under way; gone on with the next time
    raw/.hc18.part/zenodo.org/training_set.zip          whole; its content is checked
    raw/hc18/training_set.zip                           checked

A source's folder therefore holds nothing that is cut short or altered, whenever a download stops.
"""

import shutil
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import requests

from dataset_builders.download.content import check
from dataset_builders.download.errors import DownloadError, MirrorError
from dataset_builders.download.lock import alone
from dataset_builders.download.mirrors import MIRRORS, Mirrors, Way
from dataset_builders.download.transfer import Report
from dataset_builders.inventory import Stock, staging, take_stock
from dataset_builders.schema import Source

Show = Callable[[str], Report]  # a label -> what is told of the bytes under it

LEFT_BEHIND = (".part", ".part.json", ".lock")  # of what is under way


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one source."""

    stock: Stock  # afterwards
    fetched: bool = False
    notes: tuple[str, ...] = ()
    problem: str = ""  # why it is not here, and what to do; empty if it is
    by_hand: bool = False  # it cannot be fetched, and `problem` has the steps


def get_sources(
    raw: Path,
    sources: Iterable[Source],
    show: Show,
    *,
    mirrors: Mapping[str, Mirrors] = MIRRORS,
) -> Iterator[Outcome]:
    """Fetch what is missing or incomplete, source by source; a failure does not stop the others.

    None is raised of what can go wrong with one source: its `Outcome` tells.

    Args:
        raw: folder of raw data, made if absent.
        sources: got in this order.
        show: asked once for every source and mirror that is tried.
        mirrors: of each source by name.
    """
    for source in sources:
        yield _get(raw, source, show, mirrors[source.name])


def _get(raw: Path, source: Source, show: Show, mirrors: Mirrors) -> Outcome:
    # anew for every source, as the one before may have brought this one in its archive
    (stock,) = take_stock(raw, [source])
    if stock.state == "here":
        return Outcome(stock)
    if not mirrors.ways:
        return Outcome(stock, problem=_steps(source, mirrors), by_hand=True)
    folder = mirrors.folder or source.name
    try:
        raw.mkdir(parents=True, exist_ok=True)
        with alone(staging(raw, folder), lambda: None):
            (stock,) = take_stock(raw, [source])  # by another process, while this one waited
            if stock.state == "here":
                return Outcome(stock)
            notes = _try_all(raw, source, folder, show, mirrors)
    except OSError as error:
        problem = f"{raw} cannot be written ({error.strerror or error})"
        return Outcome(
            stock, problem=f"{source.name}: {problem}; make room or choose another --raw"
        )
    except DownloadError as error:
        return Outcome(stock, problem=str(error))
    (stock,) = take_stock(raw, [source])
    if stock.state != "here":
        problem = (
            f"{source.name}: fetched into {raw / folder}, but not whole together with what was "
            f"here before ({stock.problem}); move the older files away and repeat the command"
        )
        return Outcome(stock, True, tuple(notes), problem)
    return Outcome(stock, True, tuple(notes))


def _try_all(raw: Path, source: Source, folder: str, show: Show, mirrors: Mirrors) -> list[str]:
    """Fetch from the first mirror that has it, and put it in place.

    Raises:
        DownloadError: none has it: what happened at each, and what to do by hand.
    """
    failures = []
    for way in mirrors.ways:
        into = staging(raw, folder) / way.host
        into.mkdir(parents=True, exist_ok=True)
        try:
            _resolve(way)
            notes = way.get(into, raw / folder, show(f"{source.name}  {way.host}"))
            _check(source, into, raw / folder)
        except MirrorError as error:
            remedy = f" ({error.remedy})" if error.remedy else ""
            failures.append(f"{way.host}: {error}{remedy}")
        except DownloadError as error:
            failures.append(str(error).replace("\n", "\n    "))
        else:
            _settle(into, raw / folder)
            shutil.rmtree(staging(raw, folder), ignore_errors=True)
            return notes
        for empty in (into, staging(raw, folder)):
            with suppress(OSError):  # not empty: there is something to go on from
                empty.rmdir()
    lines = "\n".join(f"  - {failure}" for failure in failures)
    raise DownloadError(
        f"{source.name} could not be fetched:\n{lines}\n  {_by_hand(source, raw / folder, mirrors)}"
    )


def _resolve(way: Way) -> None:
    """Tell at once, and not after many tries, that there is no network.

    Raises:
        MirrorError: nobody knows the host, and no proxy is set that could.
    """
    url = f"https://{way.host}"
    if requests.utils.select_proxy(url, requests.utils.get_environ_proxies(url)):
        return
    try:
        socket.getaddrinfo(way.host.partition(":")[0], None)
    except OSError as error:
        raise MirrorError(f"no such host ({error.strerror})", "is there a network?") from error


def _check(source: Source, into: Path, have: Path) -> None:
    """Refuse what is not the release, and keep it where a person can look at it.

    Raises:
        MirrorError: what differs or is missing, in what was fetched or in what was here before.
    """
    fetched = check(source.name, [into])
    if not fetched.problem:
        return
    mine = sorted(path for path in have.rglob("*") if path.is_file())
    if mine and not (fetched.changed or fetched.damaged):  # those may be the rest of it
        problem = check(source.name, [into, have]).problem
        if not problem:
            return
        more = f" and {len(mine) - 1} more" if len(mine) > 1 else ""
        raise MirrorError(
            f"{problem}, together with what was here before ('{mine[0]}'{more})",
            f"move what is in {have} away and repeat the command, which then fetches that too",
        )
    refused = into.with_name(f"{into.name}.refused")
    shutil.rmtree(refused, ignore_errors=True)
    into.rename(refused)
    raise MirrorError(
        fetched.problem,
        f"it is kept in {refused}; to use it all the same, move its files to {have}",
    )


def _settle(into: Path, folder: Path) -> None:
    """Give what was fetched its place: all at once, or beside what is there."""
    files = [path for path in sorted(into.rglob("*")) if path.is_file()]
    for path in (path for path in files if path.name.endswith(LEFT_BEHIND)):
        path.unlink()
    if not folder.exists():
        into.rename(folder)
        return
    for path in (path for path in files if path.exists()):
        target = folder / path.relative_to(into)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)


def _steps(source: Source, mirrors: Mirrors) -> str:
    steps = "\n".join(f"  {n}. {step}" for n, step in enumerate(mirrors.by_hand, start=1))
    return f"{source.name} cannot be fetched by a program; by hand:\n{steps}"


def _by_hand(source: Source, folder: Path, mirrors: Mirrors) -> str:
    further = "".join(f"\n  {hint}" for hint in mirrors.by_hand)
    return f"By hand: {source.card.access}; put it into {folder}/{further}"
